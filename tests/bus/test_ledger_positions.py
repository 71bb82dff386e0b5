"""Room: tests -- a disk that fails, or a process that dies, at every call in turn.

Knows:     bus.ledger, bus.space; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.

What is reserved, renamed, cut and taken away on the way: all of a ledger's life with small
segments, once for every call of it that changes the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import LOG_ID, NOW, filled, kept, opened, reread

from circus.bus.disk import RealDisk
from circus.bus.snapshots import Snapshot, save
from circus.bus.space import Kept

BYTES_MAX: Final = 1024
DECISIONS: Final = 30


class Dead(BaseException):
    """The process is gone."""


class Counted(RealDisk):
    """Its calls that change something are numbered; some of them do not work."""

    def __init__(self, fails: Iterable[int] = (), number: int | None = None) -> None:
        self.calls = 0
        self._open: set[int] = set()
        self._fails = frozenset(fails)
        self._number = number

    def _step(self) -> None:
        self.calls += 1
        if self.calls - 1 in self._fails:
            if self._number is None:
                raise Dead
            raise OSError(self._number, os.strerror(self._number))

    def lock(self, path: str) -> int:
        self._open.add(super().lock(path))
        return max(self._open)

    def close(self, handle: int) -> None:
        super().close(handle)
        self._open.discard(handle)

    def die(self) -> None:
        """As the kernel does: a lock ends with its process."""
        for handle in tuple(self._open):
            self.close(handle)

    def create(self, path: str, room: int = 0) -> int:
        self._step()
        return super().create(path, room)

    def append(self, handle: int, data: bytes | memoryview) -> int:
        self._step()
        return super().append(handle, data)

    def truncate(self, handle: int, size: int) -> None:
        self._step()
        super().truncate(handle, size)

    def sync(self, handle: int) -> None:
        self._step()  # What a power cut takes is the simulator's to show.

    def sync_dir(self, path: str) -> None:
        self._step()

    def rename(self, old: str, new: str) -> None:
        self._step()
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        self._step()
        super().unlink(path)


def live(directory: Path, disk: Counted, said: list[bytes]) -> None:
    """All that a core does with its ledger: append, reserve, cut, take away, close."""
    directory.mkdir(0o700)  # Without a directory a daemon does not start, and says why.
    ledger = opened(directory, disk, bytes_max=BYTES_MAX)
    for number in range(DECISIONS):
        said += filled(ledger, 1)
        if ledger.degraded:
            ledger.retry(NOW)
        elif ledger.space.is_due():
            ledger.space.look(NOW.wall)
        if number % 10 == 5:
            ledger.cut(NOW)
    for _ in range(3):
        if ledger.degraded:
            ledger.retry(NOW)
    assert not ledger.degraded
    assert said == kept(ledger)
    with suppress(OSError):  # What cannot be synced at the very end is told to who ends it.
        ledger.close()


def calls_of_a_life(directory: Path) -> int:
    disk = Counted()
    live(directory, disk, [])
    shutil.rmtree(directory)
    return disk.calls


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("times", [1, 3])
def test_whatever_call_fails_nothing_is_lost(tmp_path: Path, number: int, times: int) -> None:
    """
    Once, twice or for a while: creating, reserving, renaming, syncing, cutting the next segment.
    """
    directory = tmp_path / "ledger"
    for at in range(calls_of_a_life(directory)):
        said: list[bytes] = []
        live(directory, Counted(range(at, at + times), number), said)
        ledger, after = reread(directory)
        assert said == after, at
        ledger.close()
        shutil.rmtree(directory)


def test_wherever_a_process_dies_the_next_one_goes_on_with_a_prefix(tmp_path: Path) -> None:
    """
    All that was written is there (a process crash loses nothing), and nothing half.
    """
    directory = tmp_path / "ledger"
    for at in range(calls_of_a_life(directory)):
        said: list[bytes] = []
        disk = Counted([at])
        with pytest.raises(Dead):
            live(directory, disk, said)
        disk.die()
        ledger, after = reread(directory)
        assert said == after[: len(said)], at
        assert len(after) - len(said) <= 1, at
        more = filled(ledger, 3)
        assert after + more == kept(ledger)
        ledger.close()
        shutil.rmtree(directory)


def test_whatever_call_fails_only_what_may_go_is_taken_away(tmp_path: Path) -> None:
    """
    Retention stops where it cannot go on; a start finds a history without a hole.
    """
    directory = tmp_path / "ledger"
    for at in range(12):
        said: list[bytes] = []
        live(directory, Counted(), said)
        save(RealDisk(), str(directory), Snapshot(LOG_ID, DECISIONS, b"c" * 16, 0, "1", b"state"))
        disk = Counted([at], errno.EIO)
        ledger = opened(directory, disk, bytes_max=BYTES_MAX)
        ledger.space.kept = Kept(bytes=0)
        surplus, _ = ledger.space.look(NOW.wall)
        if surplus is not None:
            ledger.space.take_away(surplus)
        first = ledger.first_retained
        assert said[first - 1 :] == kept(ledger, first - 1)
        with suppress(OSError):
            ledger.close()
        again = opened(directory)
        assert said[again.first_retained - 1 :] == kept(again, again.first_retained - 1)
        again.close()
        shutil.rmtree(directory)
