"""Room: replay -- the world's heap of happenings, its clocks, its chance and its crash points.

Knows:     bus.values, replay.sim.coverage.
Known by:  every part of the simulated world.
Never:     reads a real clock, has chance that does not come from the seed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Final, TypeAlias

from circus.bus.record import new_tuple
from circus.bus.values import Moment
from circus.replay.sim.coverage import Coverage

WALL_START: Final = 1_700_000_000_000_000_000
BOOT_START: Final = 100_000_000_000
PPM: Final = 1_000_000
DOZE_NS: Final = 50_000_000

Happening = Callable[[], None]
Dice: TypeAlias = random.Random  # the world's chance


class Crash(BaseException):
    """The core is gone, here and now. No `except Exception` of production code sees it."""


class PowerCut(Crash):
    """So is the machine."""


class Agenda:
    """What will happen, in order of time; equal times in an order that chance decides."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.boot = BOOT_START
        self.wall = WALL_START
        self.woke = 0  # when the machine last woke up from doing nothing for long
        self.touched = 0
        self.crash_at: int | None = None  # the seam call that does not return
        self.crash: type[Crash] = Crash  # what it raises
        self.slept = 0
        self.slew = 0  # how much faster the wall clock goes than the other, in ppm
        self.coverage = Coverage()
        self._streams: dict[str, Dice] = {}
        self._heap: list[tuple[int, float, int, Happening]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def stream(self, name: str) -> Dice:
        """Chance of its own for one kind of weather: where it draws nothing, a seed that is older
        than the weather means what it has always meant."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Dice(f"{self.seed} {name}")
        return stream

    def moment(self) -> tuple[int, int]:
        """Wall clock and boot time."""
        return self.wall, self.boot

    def later(self, delay: int, happening: Happening) -> None:
        """Let it happen `delay` ns from now."""
        self._count += 1
        due = self.boot + delay if delay > 0 else self.boot
        heapq.heappush(self._heap, (due, self.chance.random(), self._count, happening))

    def cancel(self) -> None:
        """Nothing of what was to happen will."""
        self._heap.clear()

    def advance(self) -> Happening | None:
        """Go to the next happening and take it."""
        if not self._heap:
            return None
        due, _, _, happening = heapq.heappop(self._heap)
        duration = due - self.boot
        if duration > 0:
            self.pass_time(duration)
        return happening

    def pass_time(self, duration: int) -> None:
        """Both clocks go on; the wall clock at its own pace."""
        self.boot += duration
        self.wall += duration + duration * self.slew // PPM if self.slew else duration

    @property
    def awake(self) -> int:
        """Boot time without suspends: what is under way is as far from its end after one."""
        return self.boot - self.slept

    def next_due(self) -> int | None:
        """Boot ns of the next happening."""
        return self._heap[0][0] if self._heap else None

    def pause(self, duration: int) -> None:
        """Time passes though nothing happens; whatever was due meanwhile is late."""
        self.pass_time(duration)
        if duration > DOZE_NS:
            self.woke = self.boot

    def suspend(self, duration: int) -> None:
        """Everything sleeps, and wakes up where it was; only the clocks have gone on."""
        self.pass_time(duration)
        self.woke = self.boot
        self.slept += duration
        # All are shifted alike, so the heap stays one.
        self._heap = [(due + duration, tie, n, what) for due, tie, n, what in self._heap]

    def some(self, most: int) -> int:
        """A delay: usually none, at most `most`."""
        dice = self.chance.random
        return 0 if dice() < 0.6 else int(dice() * (most + 1))

    def touch(self, seam: str) -> None:
        """The core is about to touch the world. Raises Crash where it was told to."""
        self.touched += 1
        if self.touched == self.crash_at:
            crash, self.crash = self.crash, Crash
            self.crash_at = None
            raise crash(seam)


class SimClock:
    """The core's clock. Looking at it takes a moment, so that no two looks are equal."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda

    def now(self) -> Moment:
        agenda = self._agenda
        agenda.touch("clock")
        return new_tuple(Moment, (agenda.wall, agenda.boot))
