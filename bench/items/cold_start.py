"""From exec of the supervisor to its first, and to its last worker's first instruction."""

from __future__ import annotations

from typing import Final

from bench.contestants import (
    FLOOR_OF,
    FLOORS,
    FULL,
    OURS,
    PEERS,
    Bare,
    BarePopen,
    Contestant,
    OursAgain,
    running,
)
from bench.stage import Figures, Item, Run, Stage, Target

WORKERS: Final = 1000
NS_PER_MS: Final = 1e6


def measure(kind: type[Contestant], stage: Stage, workers: int) -> tuple[float, float]:
    """First and last birth after the exec, in ms."""
    with running(kind, stage, workers) as started:
        started.wait_born()
        births = [birth.at for birth in stage.births.heard[:workers]]
        begun = started.started
    return (min(births) - begun) / NS_PER_MS, (max(births) - begun) / NS_PER_MS


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        workers = stage.sized(WORKERS, 4)
        first, last = measure(kind, stage, workers)
        return {"first ms": first, "all ms": last, "ms per worker": (last - first) / workers}

    return run


def _alone(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        return {"first ms": measure(kind, stage, 1)[1]}

    return run


KINDS: Final[dict[str, type[Contestant]]] = {
    "bare": BarePopen, "bare, our spawn call": Bare, **FLOORS, **OURS,
    "ours, configuration compiled before": OursAgain, **FULL, **PEERS,
}  # fmt: skip
ALONE: Final = {label: kind for label, kind in KINDS.items() if label not in FLOORS}

ITEMS: Final = (
    Item(
        "cold_start", "Cold start: exec to 1,000 workers running",
        {label: _run(kind) for label, kind in KINDS.items()},
        (Target("all ms", "ratio", "at most", 1.5), Target("first ms", "value", "at most", 150)),
        floors=FLOOR_OF,
        about="Bare is a Python that runs `subprocess.Popen` in a loop; both begin with the exec "
        "of a Python. `first ms` of bare is one interpreter and one import. *ours* starts in an "
        "empty directory, so it reads and compiles its configuration; every later start finds it.",
    ),
    Item(
        "cold_start_one", "Cold start: exec to the only worker running",
        {label: _alone(kind) for label, kind in ALONE.items()},
        about="The same with one worker: the price of the start itself. Ours starts two "
        "interpreters, the second of which imports zmq and msgpack; the item below has the floor.",
    ),
)  # fmt: skip
