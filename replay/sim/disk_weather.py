"""Room: replay -- how often a disk does what disks do: full, failing, lying, slow, rotten.

Knows:     replay.sim.agenda.
Known by:  replay.sim.disk, replay.sim.syncer, replay.drive (draws it).
Never:     touches a byte.
"""

from __future__ import annotations

import errno
import os
from typing import Final

import attr

from circus.replay.sim.agenda import Agenda, Dice
from circus.replay.sim.platter import TEARS

SECOND: Final = 1_000_000_000
SLOW_NS_MAX: Final = 30 * SECOND
OUT_NS_MAX: Final = 60 * SECOND
ROOM_MAX: Final = 4096
FAULTS: Final = (
    "disk.short", "disk.full", "disk.dead", "disk.write_error", "disk.name_error",
    "disk.sync_error", "disk.sync_slow", "disk.read_error", "disk.rot", "disk.name_lost",
    "disk.cut", "disk.torn_size", *(f"disk.torn_{name}" for name in TEARS),
)  # fmt: skip


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class DiskWeather:
    """How often what happens, per call; all zero is a calm disk."""

    torn: float = 0.0  # a power cut: every unsynced write of a file has its own fate
    short: float = 0.0  # a write takes only a part
    full: float = 0.0  # from some byte on there is no space, for a while
    dead: float = 0.0  # nothing can be written, named or synced, for a while
    write_error: float = 0.0  # EIO, perhaps after a part
    name_error: float = 0.0  # EIO of create, rename, unlink, truncate, a directory's sync
    sync_error: float = 0.0  # EIO, the data are gone, and the next sync says that all is well
    sync_slow: float = 0.0  # up to 30 s
    read_error: float = 0.0  # EIO
    cut: float = 0.0  # the power fails in the middle of a change of names or sizes
    rot: float = 0.0  # a bit of a file that nobody writes to is another one from now on

    @classmethod
    def drawn(cls, chance: Dice) -> DiskWeather:
        """Most faults are absent from a run, so that none hides another one."""
        return cls._drawn(chance, 0.3, 1)

    @classmethod
    def drawn_bad(cls, chance: Dice) -> DiskWeather:
        """A disk that this run is about."""
        return cls._drawn(chance, 0.6, BAD)

    @classmethod
    def _drawn(cls, chance: Dice, share: float, times: int) -> DiskWeather:
        return cls(
            **{
                name: min(1.0, most * times * chance.random()) * (chance.random() < share)
                for name, most in _MOST.items()
            }
        )


_MOST: Final = {
    "torn": 1.0, "short": 0.02, "full": 0.002, "dead": 0.002, "write_error": 0.005,
    "name_error": 0.02, "sync_error": 0.02, "sync_slow": 0.02, "read_error": 0.01, "rot": 0.01,
    "cut": 0.05,
}  # fmt: skip
BAD: Final = 4
CALM: Final = DiskWeather()


class Trouble:
    """What is wrong with one disk right now."""

    __slots__ = ("_agenda", "_dead_until", "_full_until", "_room", "weather")

    def __init__(self, agenda: Agenda, weather: DiskWeather) -> None:
        self.weather = weather
        self._agenda = agenda
        self._dead_until = 0
        self._full_until = 0
        self._room = 0

    def strikes(self, name: str, rate: float) -> bool:
        """Whether this fault happens now; counted if it does."""
        if rate and self._agenda.chance.random() < rate:
            self._agenda.coverage.faults[name] += 1
            return True
        return False

    def taken(self, size: int) -> int:
        """How many of so many bytes a write takes, at least one; OSError if it takes none."""
        weather, chance = self.weather, self._agenda.chance
        self._live()
        if self.strikes("disk.full", weather.full):
            self._full_until = self._agenda.boot + chance.randrange(OUT_NS_MAX)
            self._room = chance.randrange(ROOM_MAX)
        if self._agenda.boot < self._full_until:
            size = min(size, self._room)
            self._room -= size
            if not size:
                raise _error(errno.ENOSPC)
        if self.strikes("disk.write_error", weather.write_error):
            raise _error(errno.EIO)
        if size > 1 and self.strikes("disk.short", weather.short):
            size = chance.randrange(1, size)
        return size

    def name(self) -> None:
        """A call that changes names or sizes."""
        self._live()
        if self.strikes("disk.name_error", self.weather.name_error):
            raise _error(errno.EIO)

    def read(self) -> None:
        """A call that looks at a file."""
        if self.strikes("disk.read_error", self.weather.read_error):
            raise _error(errno.EIO)

    def sync_error(self) -> OSError | None:
        """What a sync that begins now will say in the end."""
        if self._is_dead() or self.strikes("disk.sync_error", self.weather.sync_error):
            return _error(errno.EIO)
        return None

    def sync_time(self) -> int:
        """How long it takes, beyond what any sync takes."""
        if self.strikes("disk.sync_slow", self.weather.sync_slow):
            return self._agenda.chance.randrange(SLOW_NS_MAX)
        return 0

    def _live(self) -> None:
        if self._is_dead():
            raise _error(errno.EIO)

    def _is_dead(self) -> bool:
        if self.strikes("disk.dead", self.weather.dead):
            self._dead_until = self._agenda.boot + self._agenda.chance.randrange(OUT_NS_MAX)
        return self._agenda.boot < self._dead_until


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
