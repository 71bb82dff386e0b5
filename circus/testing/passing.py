"""Room: front -- how time passes in the world of a test, and who hears of what happens.

Knows:     replay.world, circus.testing.chronicle.
Known by:  circus.testing.world.
Never:     looks at a real clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from circus.bus.record import Record
from circus.bus.values import seconds_to_ns
from circus.replay.sim.agenda import BOOT_START
from circus.replay.world import World as Simulated
from circus.testing.chronicle import Chronicle
from circus.testing.pattern import Pattern

# Of one wait, and for each second of it: what does that much is busy without end.
HAPPENINGS_MAX: Final = 200_000
HAPPENINGS_PER_SECOND_MAX: Final = 2_000

Hear = Callable[[Record], object]


class Passing:
    """Lets happen what is due: happenings of the world, appointments of the test, news."""

    def __init__(self, simulated: Simulated, chronicle: Chronicle) -> None:
        self._simulated = simulated
        self._chronicle = chronicle
        self._told = 0  # entries of the chronicle that the listeners have heard
        self._listeners: list[tuple[Pattern, Hear]] = []
        self._appointments: list[tuple[int, int, Callable[[], object]]] = []
        self._made = 0

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        """When the world is so old."""
        self._made += 1
        heapq.heappush(self._appointments, (BOOT_START + seconds_to_ns(seconds), self._made, act))

    def listen(self, pattern: Pattern, hear: Hear) -> None:
        """From the next record on."""
        self._tell()
        self._listeners.append((pattern, hear))

    def run(self, seconds: float, enough: Callable[[], bool] = bool) -> None:
        """So long at most, until it is enough."""
        until = self._simulated.agenda.boot + seconds_to_ns(seconds)
        most = max(HAPPENINGS_MAX, round(seconds * HAPPENINGS_PER_SECOND_MAX))
        for _ in range(most):
            self._tell()
            if enough():
                return
            if not self._go_on(until):
                enough()  # It may have come with the very last happening.
                return
        raise AssertionError(
            f"no rest: {most} happenings within {seconds:g} s of the world; "
            "a program, a service or a configuration is busy without end"
        )

    def _go_on(self, until: int) -> bool:
        """The next thing that is due; False when the time is over."""
        agenda, appointments = self._simulated.agenda, self._appointments
        mine = appointments[0][0] if appointments else None
        due = agenda.next_due()
        if mine is not None and mine <= until and (due is None or mine <= due):
            agenda.pause(max(0, mine - agenda.boot))
            heapq.heappop(appointments)[2]()
            return True
        if due is not None and due <= until:
            self._simulated.step()
            return True
        agenda.pause(max(0, until - agenda.boot))
        return False

    def _tell(self) -> None:
        """News for the listeners, who may cause more of it only by letting time pass."""
        entries = self._chronicle.entries
        while self._told < len(entries):
            entry = entries[self._told]
            self._told += 1
            if isinstance(entry, Record):
                self._tell_all(entry)

    def _tell_all(self, record: Record) -> None:
        for pattern, hear in tuple(self._listeners):
            if pattern.matches(record):
                hear(record)


class Search:
    """The first record behind a place that a pattern means; looks at each entry once."""

    def __init__(self, chronicle: Chronicle, pattern: Pattern, start: int) -> None:
        self.record: Record | None = None
        self.place = start
        self._chronicle = chronicle
        self._pattern = pattern

    def found(self) -> bool:
        """Look at what is new."""
        for place, record in self._chronicle.records(self._pattern, self.place):
            self.place, self.record = place + 1, record
            return True
        self.place = len(self._chronicle.entries)
        return False
