"""The laws that every ledger of an ended daemon obeys, whatever happened.

Knows:     both readers of the ledger, replay.check.
Known by:  the fixtures of this directory.
Never:     asks the daemon: the files are the witness.
"""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from circus.bus.codec import records_of
from circus.bus.reader import LedgerReader
from circus.bus.record import Record, fields_of
from circus.replay.check import check

SECOND_READER: Final = Path(__file__).parent.parent / "bus" / "second_reader.py"
OUTCOMES: Final = ("process.spawned", "process.spawn_failed", "process.never_run")
ENDS: Final = ("process.exited", "process.lost")


def read(state_dir: Path) -> list[Record]:
    """Every record, by the first reader."""
    reader = LedgerReader(str(state_dir / "ledger"))
    return [record for frame in reader.frames() for record in records_of(frame.payload)]


def read_again(state_dir: Path) -> list[dict[str, Any]]:
    """Every record as a map, by the second reader, who shares no line with the first."""
    spec = importlib.util.spec_from_file_location("second_reader", SECOND_READER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frames = module.read_ledger(state_dir / "ledger")
    return [record for _, records in frames for record in records]


def judge(state_dir: Path) -> list[Record]:
    """All laws over the ledger of a daemon that has ended cleanly."""
    records = read(state_dir)
    check_readers(records, read_again(state_dir))
    check_lives(records)
    check_commands(records)
    divergence = check(records)
    assert divergence is None, str(divergence)
    assert [] == [r for r in records if r.name in {"actor.failed", "input.set_aside"}]
    return records


def check_readers(records: Sequence[Record], again: Sequence[dict[str, Any]]) -> None:
    """Two readers agree, and no number is missing."""
    assert list(range(1, len(records) + 1)) == [r.seq for r in records]
    assert [(r.seq, r.name, r.actor, r.cause) for r in records] == [
        (m["seq"], m["name"], m["actor"], m["cause"]) for m in again
    ]
    for record in records:
        assert record.cause < record.seq, record


def check_lives(records: Sequence[Record]) -> None:
    """spawn < spawned < exited < reaped, each exactly once; a failed spawn has nothing after it."""
    lives: dict[int, list[str]] = defaultdict(list)
    wanted = {"process.spawn", *OUTCOMES, *ENDS, "process.reaped"}
    for record in records:
        if record.name in wanted:
            assert record.spawn_id is not None, record
            lives[record.spawn_id].append(record.name)
    for spawn_id, life in lives.items():
        assert life[:1] == ["process.spawn"], (spawn_id, life)
        if life[1:2] == ["process.spawned"]:
            assert life[2:3] in ([ENDS[0]], [ENDS[1]]), (spawn_id, life)
            assert life[3:] == (["process.reaped"] if life[2] == ENDS[0] else []), (spawn_id, life)
        else:
            assert life[1:] in [[outcome] for outcome in OUTCOMES], (spawn_id, life)


def check_commands(records: Sequence[Record]) -> None:
    """A client's command is accepted or refused, once; accepted ones end exactly once."""
    answers: Counter[int] = Counter()
    accepted: set[int] = set()
    finished: Counter[int] = Counter()
    for record in records:
        if record.name in {"command.accepted", "command.refused"}:
            answers[fields_of(record.body)["command"]] += 1
        if record.name == "command.accepted":
            accepted.add(fields_of(record.body)["command"])
        elif record.name == "command.finished":
            finished[fields_of(record.body)["command"]] += 1
    assert dict.fromkeys(accepted, 1) == dict(finished)
    asked = [record for record in records if record.actor == "client"]
    assert {r.seq: 1 for r in asked} == {r.seq: answers[r.seq] for r in asked}
    for record in asked:
        assert set(record.peer or {}) == {"uid", "gid", "pid"}, record
