"""50 workers that exit at once: how many spawns a second, with every one on record?"""

from __future__ import annotations

import time
from typing import Final

from bench.births import EXIT
from bench.contestants import EVERYBODY, FLOOR_OF, Contestant, running
from bench.stage import START_SECONDS, Figures, Item, Run, Stage, Target

WORKERS: Final = 50
SECONDS: Final = 5.0
SLICE_SECONDS: Final = 0.05
NS_PER_SECOND: Final = 1e9


def measure(kind: type[Contestant], stage: Stage, seconds: float) -> float:
    """Births per second in the middle of the run."""
    births = stage.births
    with running(kind, stage, stage.sized(WORKERS, 2), EXIT):
        births.reach(1, START_SECONDS)
        end = time.monotonic() + seconds + 0.5
        while time.monotonic() < end:
            time.sleep(SLICE_SECONDS)
            births.drain()
        # The first half second is the start's.
        begin = births.heard[0].at + 0.5 * NS_PER_SECOND
        last = begin + (seconds - 0.1) * NS_PER_SECOND
        counted = sum(begin <= birth.at < last for birth in births.heard)
    return counted * NS_PER_SECOND / (last - begin)


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        return {"spawns/s": measure(kind, stage, stage.lasting(SECONDS, 0.4))}

    return run


ITEMS: Final = (
    Item(
        "churn",
        "Churn: 50 workers that exit at once, backoff off",
        {label: _run(kind) for label, kind in EVERYBODY.items()},
        (Target("spawns/s", "ratio", "at least", 0.8),),
        floors=FLOOR_OF,
        about="Births per second over 5 s. Each life is two decisions and about eight records of "
        "ours in the ledger; the readback counts every one.",
    ),
)
