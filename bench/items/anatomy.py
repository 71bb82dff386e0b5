"""Where the time of one reaction goes, as the ledger itself tells it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.contestants import Contestant, Ours, OursFull, OursMemory
from bench.items.reaction import KILLS, NS_PER_MS, Death, measure
from bench.stage import Figures, Item, Run, Stage, percentile
from circus.bus.codec import records_of
from circus.bus.commands import ProcessSpawn
from circus.bus.events import ProcessExited, ProcessSpawned
from circus.bus.reader import LedgerReader
from circus.bus.record import Record

WORKERS: Final = 10
STEPS: Final = (
    "killed → peeked", "peeked → recorded", "recorded → decided", "decided → spawned",
    "spawned → first instruction",
)  # fmt: skip


class _Lives:
    """The records that matter, found by what joins them."""

    def __init__(self, state_dir: Path) -> None:
        self.spawns: dict[int, Record] = {}
        self.exits: dict[int, Record] = {}
        self.spawned: dict[int, Record] = {}
        for frame in LedgerReader(f"{state_dir}/ledger").frames():
            for record in records_of(frame.payload):
                self._note(record)

    def _note(self, record: Record) -> None:
        body = record.body
        if isinstance(body, ProcessSpawn):
            self.spawns[record.seq] = record
        elif isinstance(body, ProcessExited) and record.spawn_id is not None:
            self.exits[record.spawn_id] = record
        elif isinstance(body, ProcessSpawned):
            self.spawned[body.pid] = record

    def steps(self, death: Death) -> list[float]:
        """The five parts of one reaction, in ms; they add up to the whole."""
        came = self.spawned[death.heir.pid]
        assert isinstance(came.body, ProcessSpawned)
        assert came.spawn_id is not None
        spawn = self.spawns[came.spawn_id]
        assert isinstance(spawn.body, ProcessSpawn)
        assert spawn.body.replaces is not None, "a replacement replaces somebody"
        went = self.exits[spawn.body.replaces]
        assert isinstance(went.body, ProcessExited)
        moments = (
            death.at, went.body.observed, went.boot, spawn.boot, came.body.started, death.heir.at,
        )  # fmt: skip
        return [(b - a) / NS_PER_MS for a, b in pairwise(moments)]


def _run(kind: type[Contestant]) -> Run:
    def run(stage: Stage) -> Figures:
        deaths = measure(kind, stage, stage.sized(WORKERS, 2), stage.sized(KILLS, 3))
        lives = _Lives(stage.folder / "state")
        columns = zip(*(lives.steps(death) for death in deaths), strict=True)
        parts = {f"{n} ms": percentile(list(c), 0.5) for n, c in zip(STEPS, columns, strict=True)}
        return {**parts, "whole ms": percentile([death.ms for death in deaths], 0.5)}

    return run


ITEMS: Final = (
    Item(
        "anatomy",
        "Where a reaction's time goes (p50 of each part)",
        {
            "ours": _run(Ours),
            "ours, memory": _run(OursMemory),
            "ours, full road": _run(OursFull),
        },
        ratios=False,
        about="Every moment is in the record: the keeper's peek (`data.observed`), the stamps of "
        "the exit's and of the spawn's frame, the keeper's spawn (`data.started`); the first and "
        "the last are the killer's and the new worker's clocks. *Killed → peeked* is the kernel's "
        "death of the process and the keeper's wake-up; *peeked → recorded* the link to the core "
        "and its wake-up; *recorded → decided* the append, the watcher and the second stamp; "
        "*decided → spawned* the second append, the link back, the keeper's wake-up, vfork and "
        "exec (full road: fork and every step); the last is the loader, and less than nothing "
        "where the worker is quicker than its parent.",
    ),
)
