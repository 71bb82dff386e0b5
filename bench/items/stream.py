"""The event stream to one and five users of the SDK: how late, how many, without holes?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.births import EXIT, STAY
from bench.contestants import CannotMeasure, Ours, running
from bench.stage import START_SECONDS, Figures, Item, Run, Stage, Target, opened

LISTENER: Final = Path(__file__).parent.parent / "listener.py"
KILLS: Final = 200
PAUSE_SECONDS: Final = 0.01
CHURN_SECONDS: Final = 3.0
LISTENER_SECONDS: Final = 60.0
NS_PER_US: Final = 1e3
NS_PER_SECOND: Final = 1e9

Told = dict[str, float]


@contextmanager
def _listening(place: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(LISTENER), str(place)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _told(process: subprocess.Popen[str]) -> Told:
    try:
        out, _ = process.communicate(timeout=LISTENER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CannotMeasure("a subscriber never saw the end") from error
    told: Told = json.loads(out)
    if told["holes"]:
        raise CannotMeasure(f"a subscriber saw holes: {told}")
    return told


def _followed(stage: Stage, listeners: int, action: str) -> list[Told]:
    """What each listener says about one life of a daemon."""
    workers = stage.sized(10, 2)
    with ExitStack() as stack:
        with running(Ours, stage, workers, action) as started:
            started.wait_born(1)
            hear = [stack.enter_context(_listening(started.state)) for _ in range(listeners)]
            if action == STAY:
                _kill_some(stage, workers)
            else:
                time.sleep(stage.lasting(CHURN_SECONDS, 0.3))
        return [_told(process) for process in hear]


def _kill_some(stage: Stage, workers: int) -> None:
    births = stage.births
    births.reach(workers, START_SECONDS)
    alive = [birth.pid for birth in births.heard]
    for number in range(stage.sized(KILLS, 3)):
        time.sleep(PAUSE_SECONDS)
        os.kill(alive[number % workers], signal.SIGKILL)
        born = births.next(START_SECONDS)
        assert born is not None, "nobody was replaced"
        alive[number % workers] = born.pid


def _run(listeners: int) -> Run:
    def run(stage: Stage) -> Figures:
        calm = _followed(stage, listeners, STAY)
        with opened(toy=stage.toy) as second:
            busy = _followed(second, listeners, EXIT)
            stage.notes.extend(second.notes)
        rates = [told["live"] * NS_PER_SECOND / told["ns"] for told in busy]
        return {
            "late p50 µs": max(told["p50"] for told in calm) / NS_PER_US,
            "late p99 µs": max(told["p99"] for told in calm) / NS_PER_US,
            "churn records/s each": min(rates),
            "churn late p50 µs": max(told["p50"] for told in busy) / NS_PER_US,
            "holes": max(told["holes"] for told in busy),
        }

    return run


ITEMS: Final = (
    Item(
        "stream", "Event stream to users of the SDK",
        {"ours": _run(1), "ours, 5 subscribers": _run(5)},
        (Target("holes", "value", "at most", 0),),
        ratios=False,
        about="How late: from the switchboard's stamp to the record in the hands of a program that "
        "iterates `circus.subscribe`, the slowest of all subscribers; first with 200 single "
        "deaths, then under churn of 10 workers. Every subscriber checks that no seq is missing.",
    ),
)  # fmt: skip
