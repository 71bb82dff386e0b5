"""Reads a ledger back after a run: is every spawn and every exit there exactly once?

An early sketch was fast because it lost exits; only the ledger's reader noticed. So no figure of
ours counts whose ledger does not add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.births import Birth
from circus.bus.codec import records_of
from circus.bus.events import ProcessExited, ProcessSpawned
from circus.bus.reader import LedgerReader


class LedgerWrong(Exception):
    """The record and what happened differ: the run does not count."""


class Story(NamedTuple):
    """What the ledger holds about processes."""

    records: int
    spawned: Counter[int]
    exited: Counter[int]
    pids: Counter[int]


def read_story(state_dir: Path) -> Story:
    """Every frame from the first on, digests verified by the reader."""
    story = Story(0, Counter(), Counter(), Counter())
    count = 0
    for frame in LedgerReader(f"{state_dir}/ledger").frames():
        for record in records_of(frame.payload):
            count += 1
            assert record.seq == count, f"a hole before {record.seq}"
            if isinstance(record.body, ProcessSpawned):
                story.spawned[_id_of(record.spawn_id)] += 1
                story.pids[record.body.pid] += 1
            elif isinstance(record.body, ProcessExited):
                story.exited[_id_of(record.spawn_id)] += 1
    return story._replace(records=count)


def check_story(state_dir: Path, births: Iterable[Birth]) -> str:
    """One sentence about a ledger whose daemon has ended; LedgerWrong if it does not add up."""
    story = read_story(state_dir)
    born = Counter(birth.pid for birth in births)
    faults = {
        "spawned twice": [i for i, n in story.spawned.items() if n > 1],
        "exited twice": [i for i, n in story.exited.items() if n > 1],
        "exited, never spawned": [*story.exited.keys() - story.spawned.keys()],
        "spawned, never exited": [*story.spawned.keys() - story.exited.keys()],
        # A worker killed before its first instruction was spawned all the same.
        "born, not in the ledger": [*(born - story.pids)],
    }
    wrong = {what: ids[:5] for what, ids in faults.items() if ids}
    if wrong:
        raise LedgerWrong(f"cannot believe this run: {wrong} in {story.records} records")
    return (
        f"{story.records} records, {story.spawned.total()} spawns and "
        f"{story.exited.total()} exits, each exactly once"
    )


def _id_of(spawn_id: int | None) -> int:
    assert spawn_id is not None, "a process without an identity"
    return spawn_id
