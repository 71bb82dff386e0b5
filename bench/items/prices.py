"""What single steps cost: one spawn call, and one process in a crowd that dies or is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from bench import ours, proc
from bench.births import STAY, boot_ns
from bench.contestants import (
    FLOOR_OF,
    FLOORS,
    OURS,
    PAIR,
    CannotMeasure,
    Contestant,
    Ours,
    plain_environ,
    running,
)
from bench.stage import START_SECONDS, Figures, Item, Run, Stage, percentile
from circus.bus.codec import records_of
from circus.bus.reader import LedgerReader

SPAWNS: Final = 300
WORKERS: Final = 500
SETTLE_SECONDS: Final = 1.0
NS_PER_US: Final = 1e3
SPAWNER: Final = Path(__file__).parent.parent / "spawner.py"

# --- one spawn ------------------------------------------------------------------------------------


def _spawns(stage: Stage) -> Figures:
    words = [str(stage.sized(SPAWNS, 3)), str(stage.program), str(stage.births.path), STAY]
    argv = [ours.program("python"), str(SPAWNER), *words]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=plain_environ())
    taken: dict[str, list[float]] = json.loads(done.stdout)
    return {f"{road} µs": percentile(times, 0.5) / NS_PER_US for road, times in taken.items()}


# --- one process in a crowd -----------------------------------------------------------------------


def _spent(pids: list[int]) -> tuple[int, int]:
    """Processor time of keeper and core, and whoever stands for them."""
    first, second = map(proc.cpu_ns, pids)
    return first, second


def _crowd(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        count = stage.sized(WORKERS, 4)
        births = stage.births
        with running(kind, stage, count) as started:
            started.wait_born()
            time.sleep(stage.lasting(SETTLE_SECONDS, 0.1))
            pids = started.processes()
            marks, spent = [boot_ns()], [_spent(pids)]
            for birth in births.heard[:count]:
                os.kill(birth.pid, signal.SIGKILL)
            if not births.reach(2 * count, START_SECONDS):
                raise CannotMeasure(f"deaths without a replacement after {START_SECONDS} s")
            time.sleep(stage.lasting(SETTLE_SECONDS, 0.3))  # The last records come behind it.
            marks.append(boot_ns())
            spent.append(_spent(pids))
        inputs = _inputs(stage, *marks) if issubclass(kind, Ours) else 0
        keeper, core = (b - a for a, b in zip(*spent, strict=True))
        figures = {
            "keeper µs per death": keeper / count / NS_PER_US,
            "core µs per death": core / count / NS_PER_US,
        }
        return figures | ({"core µs per input": core / inputs / NS_PER_US} if inputs else {})

    return run


def _inputs(stage: Stage, begin: int, end: int) -> int:
    """How many records of that time were addressed to the watcher."""
    frames = LedgerReader(f"{stage.folder}/state/ledger").frames()
    return sum(
        begin <= record.boot < end and (record.to or "").startswith("watcher:")
        for frame in frames
        for record in records_of(frame.payload)
    )


CROWD: Final[dict[str, type[Contestant]]] = {
    **FLOORS, "ours": OURS["ours"], "ours, memory": OURS["ours, memory"],
}  # fmt: skip

ITEMS: Final = (
    Item(
        "spawn_price", "One spawn call",
        {"ours": _spawns},
        ratios=False,
        about="p50 of 300 calls on each road, in turn in one process of the keeper's size; the "
        "programs stay. The fast road has one pipe for the errors of all spawns (*shared pipe*, "
        "ADR-0021); beside it `subprocess.Popen`, what a pipe for each, read to its end, would "
        "cost, and what it adds to put the limit of descriptors back where the keeper has raised "
        "it; *full road* is fork and every step in Python.",
    ),
    Item(
        "input_price", "One death among 500: processor time",
        {label: _crowd(kind) for label, kind in CROWD.items()},
        floors=FLOOR_OF,
        bare=PAIR,
        about="Processor time (schedstat, all threads) of both processes from the kill of 500 "
        "until a second after the last replacement, divided by 500. An input is a record that is "
        "addressed to the watcher (`process.exited`, `process.spawned` and what else it hears); "
        "what the core spends for it includes decision, frame, ledger, digest and both transports "
        "(ADR-0087). Ratios are to two bare processes, where nobody thinks.",
    ),
)  # fmt: skip
