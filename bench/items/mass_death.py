"""500 workers killed at once, until the last replacement runs."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from bench.births import boot_ns
from bench.contestants import EVERYBODY, FLOOR_OF, Contestant, running
from bench.stage import Figures, Item, Run, Stage, Target

WORKERS: Final = 500
TURNS: Final = 3
PATIENCE_SECONDS: Final = 20.0
NS_PER_MS: Final = 1e6


def measure(kind: type[Contestant], stage: Stage, workers: int) -> tuple[float, int]:
    """ms until the last replacement, and how many deaths were never made good."""
    births = stage.births
    with running(kind, stage, workers) as started:
        started.wait_born()
        time.sleep(stage.lasting(1.0, 0.1))
        pids = [birth.pid for birth in births.heard]
        killed = boot_ns()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        births.reach(2 * workers, PATIENCE_SECONDS)
        later = [birth.at for birth in births.heard[workers:]]
    return (max(later, default=killed) - killed) / NS_PER_MS, workers - len(later)


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        taken, lost = measure(kind, stage, stage.sized(WORKERS, 4))
        return {"all ms": taken, "lost": lost}

    return run


ITEMS: Final = (
    Item(
        "mass_death",
        "Mass death: 500 killed at once to the last replacement's first instruction",
        {label: _run(kind) for label, kind in EVERYBODY.items()},
        (Target("all ms", "ratio", "at most", 1.2), Target("lost", "value", "at most", 0)),
        floors=FLOOR_OF,
        turns=TURNS,
        about="`lost`: deaths without a replacement after 20 s. Bare is the epoll loop with our "
        "spawn call.",
    ),
)
