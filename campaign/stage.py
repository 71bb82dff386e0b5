"""What one row of the campaign has: a folder, a count, a time to end, and a list of wrongs.

A row does its fault as often as it is asked to, or until its time is over, and says what it found.
It ends everything that it has started, by pid; the harness looks whether that is true.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

WRONGS_KEPT: Final = 20
FIRST_SECONDS: Final = 30.0  # more time than its share, where it has not come to one
NS: Final = 1_000_000_000


class NotHere(Exception):
    """This machine, or this version, cannot do it: the row counts as not run."""


class Wrong(Exception):
    """The row cannot go on: what it found is worse than one more line in its list."""


class Task(NamedTuple):
    """What a row is asked to do. The same seed throws the same dice; what the kernel does with
    them is its own affair."""

    wanted: int
    seconds: float
    seed: int
    before: int = 0  # of rows that go through all cases: so many are behind us


class Stage:
    """One run of one row.

    `counts` and `times` (ms) add up over several runs; `figures` do not, the last one is shown.
    """

    def __init__(
        self, folder: Path, task: Task, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        self.folder = folder
        self.task = task
        self.dice = random.Random(task.seed)
        self.done = 0
        self.wrongs: list[str] = []
        self.counts: Counter[str] = Counter()
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.figures: dict[str, str] = {}
        self._tell = tell
        self._end = time.monotonic() + task.seconds

    def going(self) -> bool:
        """Whether there is more to do, and time for it: for the first there is always time."""
        is_time = self.left() > (0 if self.done else -FIRST_SECONDS)
        return self.done < self.task.wanted and is_time and not self.wrongs

    @property
    def number(self) -> int:
        """Of a row that goes through all cases: which one is next."""
        return self.task.before + self.done

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def did(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        self._tell(self.done)

    def expect(self, true: object, text: str) -> None:
        """A rule; broken, it is a line in the outcome."""
        if not true and len(self.wrongs) < WRONGS_KEPT:
            self.wrongs.append(text)

    def expect_none(self, wrongs: list[str]) -> None:
        """What some judge has found."""
        self.wrongs += wrongs[: max(0, WRONGS_KEPT - len(self.wrongs))]

    def pause(self, least: float, most: float) -> None:
        """So that the next fault comes at another moment."""
        time.sleep(self.dice.uniform(least, most))


class Row(NamedTuple):
    """One line of RELIABILITY 6: the fault, how often, and who does it."""

    id: str
    fault: str
    unit: str
    ci: int
    night: int
    part: int  # of a night's work: so many in one process, on fresh ground
    run: Callable[[Stage], None]
    weight: float = 1.0  # of the time that is left


class Outcome(NamedTuple):
    """What became of one row, or of several parts of its work."""

    id: str
    status: str  # ok, failed, not run
    done: int
    wanted: int
    seconds: float
    seed: int = 0
    parts: int = 1
    counts: Mapping[str, int] = {}
    times: Mapping[str, Sequence[float]] = {}
    figures: Mapping[str, str] = {}
    wrongs: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return self.status == OK


OK: Final = "ok"
FAILED: Final = "failed"
NOT_RUN: Final = "not run"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of all values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def boot_ns() -> int:
    """The clock of the ledger and of the workers."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
