"""What 500 workers that do nothing cost, with heartbeats on and somebody subscribed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench import proc
from bench.contestants import OURS, PEERS, Bare, BarePairBeat, Contestant, Ours, running
from bench.stage import Figures, Item, Run, Stage, Target

WORKERS: Final = 500
SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 2.0
LISTEN: Final = (
    "import sys, circus\n"
    "print('listening', flush=True)\n"
    "for record in circus.subscribe(sys.argv[1], after=0):\n"
    "    print(record.seq, flush=True)\n"
)
HEAR: Final = (
    "import sys, zmq\n"
    "events = zmq.Context().socket(zmq.SUB)\n"
    "events.subscribe(b'')\n"
    "events.connect(sys.argv[1])\n"
    "while True:\n"
    "    print(events.recv_multipart(), flush=True)\n"
)


@contextmanager
def listener(contestant: Contestant) -> Iterator[None]:
    """A subscriber in a process of its own, where there is something to subscribe to."""
    if isinstance(contestant, Ours):
        words = [LISTEN, str(contestant.state)]
    elif isinstance(contestant, BarePairBeat):
        words = [HEAR, f"ipc://{contestant.stage.folder}/events.sock"]
    else:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def measure(kind: type[Contestant], stage: Stage, workers: int, seconds: float) -> float:
    """Per cent of one processor, over all processes of the supervisor."""
    with running(kind, stage, workers) as started:
        started.wait_born()
        with listener(started):
            time.sleep(stage.lasting(SETTLE_SECONDS, 0.2))
            pids = started.processes()
            before = sum(map(proc.cpu_ns, pids))
            begun = time.monotonic_ns()
            time.sleep(seconds)
            spent = sum(map(proc.cpu_ns, pids)) - before
            lasted = time.monotonic_ns() - begun
    return 100 * spent / lasted


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        workers = stage.sized(WORKERS, 2)
        return {"% CPU": measure(kind, stage, workers, stage.lasting(SECONDS, 0.5))}

    return run


BEAT: Final = "bare, two processes, heartbeat"
KINDS: Final[dict[str, type[Contestant]]] = {
    "bare": Bare, BEAT: BarePairBeat, "ours": OURS["ours"], **PEERS,
}  # fmt: skip

ITEMS: Final = (
    Item(
        "idle",
        "Idle: 500 workers, heartbeats on, one subscriber",
        {label: _run(kind) for label, kind in KINDS.items()},
        (Target("% CPU", "value", "at most", 0.05),),
        ratios=False,
        floors={"ours": BEAT},
        about="Processor time of all supervisor processes (schedstat, ns) over 20 s. What remains "
        "of ours is one heartbeat a second.",
    ),
)
