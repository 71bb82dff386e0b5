"""500 workers asked to end, until the supervisor says that they have."""

from __future__ import annotations

import time
from typing import Final

from bench.births import boot_ns
from bench.contestants import (
    FLOOR_OF,
    FLOORS,
    OURS,
    PEERS,
    BarePopen,
    Contestant,
    running,
    wait_gone,
)
from bench.stage import Figures, Item, Run, Stage, Target

WORKERS: Final = 500
TURNS: Final = 3
NS_PER_MS: Final = 1e6


def measure(kind: type[Contestant], stage: Stage, workers: int) -> float:
    """ms from the request to the answer, after which no worker runs."""
    with running(kind, stage, workers) as started:
        started.wait_born()
        time.sleep(stage.lasting(1.0, 0.1))
        begun = boot_ns()
        started.stop_workers()
        taken = boot_ns() - begun
        wait_gone([birth.pid for birth in stage.births.heard], 10)
    return taken / NS_PER_MS


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        return {"ms": measure(kind, stage, stage.sized(WORKERS, 3))}

    return run


KINDS: Final[dict[str, type[Contestant]]] = {"bare": BarePopen, **FLOORS, **OURS, **PEERS}

ITEMS: Final = (
    Item(
        "stop",
        "Stop of 500",
        {label: _run(kind) for label, kind in KINDS.items()},
        (Target("ms", "ratio", "at most", 2.5),),
        floors=FLOOR_OF,
        turns=TURNS,
        about="From the request (ours and circus: `stop` with `waiting`) to the answer that all "
        "have stopped; every exit is on record then. Bare sends TERM to all and reaps all.",
    ),
)
