"""Room: replay -- many worlds on several cores, told in the order in which they were asked for.

Knows:     replay.soak.
Known by:  replay.program.
Never:     lets the number of cores decide which worlds count: so a report is the same for any.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from typing import Final

from circus.replay.soak import TRACED_WORLDS, Errand, Outcome, run

# A long world takes as long as some twenty short ones: nobody waits for it while there are others.
AHEAD: Final = 64

IsOver = Callable[[int], bool]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def outcomes(wanted: Iterator[Errand], jobs: int, is_over: IsOver) -> Iterator[Outcome]:
    """Run what is wanted until `is_over`, which is told how many steps are under way. The trace is
    always completed (replay.soak); of the others those that run are told, the rest is given up."""
    if jobs > 1:
        yield from _side_by_side(wanted, jobs, is_over)
        return
    for errand in wanted:
        if errand.number >= TRACED_WORLDS and is_over(0):
            return
        yield run(errand)


def _side_by_side(wanted: Iterator[Errand], jobs: int, is_over: IsOver) -> Iterator[Outcome]:
    with ProcessPoolExecutor(jobs) as pool, closing(_Flight(is_over)) as flight:
        for errand in wanted:
            yield from flight.arrivals(errand)
            if flight.over:
                return
            flight.running.append((errand, pool.submit(run, errand)))


class _Flight:
    """The worlds under way, in the order in which they were asked for."""

    def __init__(self, is_over: IsOver) -> None:
        self.running: deque[tuple[Errand, Future[Outcome]]] = deque()
        self.over = False
        self._is_over = is_over

    def arrivals(self, errand: Errand) -> Iterator[Outcome]:
        """What has to be heard of before this one may begin; all there is if none may any more."""
        while len(self.running) >= AHEAD or self._would_do(errand):
            if not self.running:
                self.over = True
                return
            yield self.running.popleft()[1].result()
            if self._is_over(0):
                self.close()

    def close(self) -> None:
        """Give up what has not begun and is no part of the trace."""
        running = list(self.running)
        self.running.clear()
        for errand, future in running:
            if errand.number < TRACED_WORLDS or not future.cancel():
                self.running.append((errand, future))

    def _would_do(self, errand: Errand) -> bool:
        """Whether what is under way will be enough, as far as anybody can know."""
        if errand.number < TRACED_WORLDS:
            return False
        return self._is_over(sum(one.steps for one, _ in self.running))
