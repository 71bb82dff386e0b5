"""What one run has: a folder of its own, the worker, its births; and sizes, real or toy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench.births import Births, worker_program

ROOT: Final = Path(__file__).parent.parent
KEPT: Final = ROOT / ".bench"
START_SECONDS: Final = 25.0

Figures = Mapping[str, float]


class Stage(NamedTuple):
    """The place of one run of one contestant."""

    folder: Path
    program: Path
    births: Births
    toy: bool
    notes: list[str]  # what reading the ledger back has shown

    def sized(self, full: int, toy: int) -> int:
        """`full`, or `toy` in the smoke test."""
        return toy if self.toy else full

    def lasting(self, full: float, toy: float) -> float:
        """The same for seconds."""
        return toy if self.toy else full


Run = Callable[[Stage], Figures]


class Target(NamedTuple):
    """One line of what must be reached: a figure of `ours`, alone or as a ratio to bare."""

    figure: str
    kind: Literal["ratio", "value"]
    bound: Literal["at most", "at least"]
    limit: float

    def is_met(self, actual: float) -> bool:
        """The comparison itself."""
        return actual <= self.limit if self.bound == "at most" else actual >= self.limit


class Item(NamedTuple):
    """One benchmark: contestants by label, in the order in which a round runs them."""

    name: str
    title: str
    runs: Mapping[str, Run]
    targets: tuple[Target, ...] = ()
    against: Mapping[str, str] = {}  # figure -> the bare figure that its ratio is taken to
    ratios: bool = True
    ours: str = "ours"
    bare: str = "bare"
    turns: int = 1  # in one round: what is over in a moment says little once (peers have one)
    floors: Mapping[str, str] = {}  # contestant -> who makes the same system calls, and no more
    about: str = ""  # how it is measured and what the figures mean, for docs/performance.md


def keep_folder() -> Path:
    """.bench/: what is made once and kept from run to run, and not for git."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / ".gitignore").write_text("*\n", encoding="ascii")
    return KEPT


@contextmanager
def opened(*, toy: bool) -> Iterator[Stage]:
    """A fresh stage; at the end no worker and no file is left."""
    folder = Path(tempfile.mkdtemp(prefix="cb-", dir="/tmp"))
    births = Births(folder / "births")
    try:
        yield Stage(folder, worker_program(keep_folder()), births, toy, [])
    finally:
        births.close()
        shutil.rmtree(folder, ignore_errors=True)


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
