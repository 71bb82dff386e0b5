"""Memory of all supervisor processes with 1,000 workers."""

from __future__ import annotations

import time
from typing import Final

from bench import proc
from bench.contestants import OURS, PEERS, Bare, Contestant, running
from bench.stage import Figures, Item, Run, Stage, Target

WORKERS: Final = 1000
SETTLE_SECONDS: Final = 3.0
KIB_PER_MIB: Final = 1024


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        with running(kind, stage, stage.sized(WORKERS, 2)) as started:
            started.wait_born()
            time.sleep(stage.lasting(SETTLE_SECONDS, 0.2))
            sizes = [proc.pss_kib(pid) / KIB_PER_MIB for pid in started.processes()]
        rest = {"first process MiB": sizes[0], "others MiB": sum(sizes[1:])}
        return {"PSS MiB": sum(sizes), **rest}

    return run


KINDS: Final[dict[str, type[Contestant]]] = {
    "bare": Bare, "ours": OURS["ours"], "ours, memory": OURS["ours, memory"], **PEERS,
}  # fmt: skip

ITEMS: Final = (
    Item(
        "memory", "Memory at N=1,000",
        {label: _run(kind) for label, kind in KINDS.items()},
        (Target("PSS MiB", "value", "at most", 40),),
        about="Proportional set size. Ours: the keeper first, the core as the other. Interpreters "
        "that run at the same time share pages, which makes all of them look smaller.",
    ),
)  # fmt: skip
