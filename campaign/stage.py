"""What one row of the campaign has: a folder, a count, a time to end, and a list of wrongs.

A row does its fault as often as it is asked to, or until its time is over, and says what it found.
It ends everything that it has started, by pid; the harness looks whether that is true.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

WRONGS_KEPT: Final = 20
FIRST_SECONDS: Final = 30.0  # more time than its share, where it has not come to one
NS: Final = 1_000_000_000


class NotHere(Exception):
    """This machine, or this version, cannot do it: the row counts as not run."""


class Wrong(Exception):
    """The row cannot go on: what it found is worse than one more line in its list."""


class Stage:
    """One run of one row."""

    def __init__(
        self, folder: Path, wanted: int, seconds: float, seed: int,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.wanted = wanted
        self.seed = seed
        self.dice = random.Random(seed)
        self.done = 0
        self.wrongs: list[str] = []
        self.figures: dict[str, str] = {}
        self._tell = tell
        self._end = time.monotonic() + seconds

    def going(self) -> bool:
        """Whether there is more to do, and time for it: for the first there is always time."""
        is_time = self.left() > (0 if self.done else -FIRST_SECONDS)
        return self.done < self.wanted and is_time and not self.wrongs

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
    """One line of RELIABILITY 6: the fault, how often, what must hold, and who does it."""

    id: str
    fault: str
    unit: str
    ci: int
    night: int
    holds: str
    run: Callable[[Stage], None]
    weight: float = 1.0  # of the time that is left
    root: bool = False  # needs namespaces, mounts or another user


class Outcome(NamedTuple):
    """What became of one row."""

    id: str
    status: str  # ok, failed, not run
    done: int
    wanted: int
    seconds: float
    figures: Mapping[str, str]
    wrongs: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return self.status == OK


OK: Final = "ok"
FAILED: Final = "failed"
NOT_RUN: Final = "not run"


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def boot_ns() -> int:
    """The clock of the ledger and of the workers."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
