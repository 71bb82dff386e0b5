"""Room: tests -- the books of every process, kept from what the second reader has read.

Knows:     the names in docs/wire.md, as text; nothing of circus.
Known by:  tests/conftest.py, which audits whatever ledger a test leaves.
Never:     asks how a process died; only that each life is told once, in order, and to its end.

A spawn on record has one outcome: spawned, spawn_failed or never_run. Only the spawns that nobody
has been able to settle yet may have none: those behind the last `reaper.reconciled`, and those that
the keeper lists as failed, of which it tells behind its list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

OUTCOMES = {"process.spawned", "process.spawn_failed", "process.never_run"}
ENDS = {"process.exited", "process.lost"}


class Unbalanced(AssertionError):
    """A life that does not add up; the text says whose, and what is wrong."""


def audit(frames: Iterable[tuple[int, Iterable[Mapping[str, Any]]]]) -> int:
    """How many spawns there are; Unbalanced if the life of one of them does not add up."""
    lives: dict[int, list[str]] = {}
    failed: set[int] = set()  # they cannot have become anything else
    for record in chain.from_iterable(records for _, records in frames):
        name, spawn_id = record.get("name"), record.get("spawn_id")
        if name == "process.spawn":
            lives[record["seq"]] = []
        elif name == "reaper.reconciled":
            failed |= settled(lives, record)
        elif spawn_id in lives and name in {*OUTCOMES, *ENDS, "process.reaped"}:
            goes_on(lives[spawn_id], name, spawn_id)
            if spawn_id in failed and name in OUTCOMES - {"process.spawn_failed"}:
                raise Unbalanced(f"spawn {spawn_id} was held by no list, and is {name}")
    return len(lives)


def goes_on(life: list[str], name: str, spawn_id: int) -> None:
    """One more fact about a life."""
    life.append(name)
    outcomes = [one for one in life if one in OUTCOMES]
    ends = [one for one in life if one in ENDS]
    if len(outcomes) > 1 or len(ends) > 1 or life.count("process.reaped") > 1:
        raise Unbalanced(f"spawn {spawn_id} is told twice: {life}")
    if name in ENDS and outcomes != ["process.spawned"]:
        raise Unbalanced(f"spawn {spawn_id} ends and has not begun: {life}")
    if name == "process.reaped" and not ends:
        raise Unbalanced(f"spawn {spawn_id} is reaped before its end is told: {life}")


def settled(lives: Mapping[int, list[str]], record: Mapping[str, Any]) -> set[int]:
    """After a start every spawn that was asked for before has an outcome, and the lists hold it;
    those that have none yet."""
    data = record["data"]
    listed = {
        "process.spawned": "adopted",
        "process.lost": "lost",
        "process.never_run": "never_run",
    }
    for name, key in listed.items():
        for spawn_id in data[key]:
            if spawn_id in lives and name not in lives[spawn_id]:
                raise Unbalanced(f"spawn {spawn_id} is {key}, and its record is missing")
    return {
        spawn_id
        for spawn_id, life in lives.items()
        if spawn_id <= data["barrier"] and not OUTCOMES.intersection(life)
    }
