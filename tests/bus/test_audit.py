"""Room: tests -- the audit of lives can fail: each way in which a life does not add up is noticed.

Knows:     tests/bus/audit.py.
Known by:  pytest.
Never:     imports anything of circus.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from audit import Unbalanced, audit


def told(*names: str, **last: Any) -> list[tuple[int, list[dict[str, Any]]]]:
    """A spawn with seq 1, and what is said about it; `last`: a reconciliation behind all that."""
    records: list[dict[str, Any]] = [{"seq": 1, "name": "process.spawn", "spawn_id": 1}]
    for name in names:
        records.append({"seq": len(records) + 1, "name": name, "spawn_id": 1})
    if last:
        data = {"barrier": 1, "adopted": [], "lost": [], "never_run": [], **last}
        records.append({"seq": len(records) + 1, "name": "reaper.reconciled", "data": data})
    return [(1, records)]


@pytest.mark.parametrize(
    "story",
    [
        told(),
        told("process.spawned"),
        told("process.spawned", "process.exited", "process.reaped"),
        told("process.spawn_failed", barrier=1),
        told("process.never_run", never_run=[1]),
        told("process.spawned", adopted=[1]),
        told("process.spawned", "process.lost", lost=[1]),
        told(barrier=0),
        [*told(barrier=1), (1, told("process.spawn_failed")[0][1][1:])],
    ],
)
def test_lives_that_add_up_are_counted(story: Any) -> None:
    """
    One outcome; an end after a beginning; a reap after an end.
    """
    assert 1 == audit(story)


@pytest.mark.parametrize(
    "story",
    [
        told("process.spawned", "process.spawned"),
        told("process.spawned", "process.never_run"),
        told("process.never_run", "process.exited"),
        told("process.exited"),
        told("process.spawned", "process.reaped"),
        told("process.spawned", "process.exited", "process.lost"),
        told("process.spawned", "process.exited", "process.reaped", "process.reaped"),
        [*told(barrier=1), (1, told("process.spawned")[0][1][1:])],
        [*told(barrier=1), (1, told("process.never_run")[0][1][1:])],
        told("process.spawned", lost=[1]),
        told("process.spawned", never_run=[1]),
        told("process.never_run", adopted=[1]),
    ],
)
def test_a_life_that_does_not_add_up_is_noticed(story: Any) -> None:
    """
    Told twice, ended before it began, reaped alive, forgotten by a start.
    """
    with pytest.raises(Unbalanced, match="spawn 1 "):
        audit(story)
