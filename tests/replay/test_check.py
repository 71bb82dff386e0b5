"""Room: tests -- `circus-replay check`: what was decided is decided again, or the first difference.

Knows:     circus.replay.ask.check.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, rewritten, segments, written

from circus.bus.events import CoreStarted, SlotFilled
from circus.bus.record import Record
from circus.bus.shapes import altered
from circus.replay.ask.check import check_ledger
from circus.replay.opening import open_ledger


def test_every_decision_is_made_again(tmp_path: Path) -> None:
    """
    Nothing is skipped where the ledger is whole.
    """
    place = written(tmp_path)
    checked = check_ledger(open_ledger(place))
    assert (None, 0, ()) == (checked.mismatch, checked.skipped, checked.why_skipped)
    assert checked.records == len(records_in(place))
    assert checked.decisions > 50
    told = ask("check", place)
    assert 0 == told.exit_code
    assert "all are made again byte for byte" in told.output


@pytest.mark.invented
def test_a_decision_that_is_not_made_again_is_told_with_both_sides(tmp_path: Path) -> None:
    """
    The seq, what is recorded, what is decided now, and what that does to the actor; status 1.
    """
    place = written(tmp_path / "state")
    wrong = next(r.seq for r in records_in(place) if isinstance(r.body, SlotFilled))

    def change(record: Record) -> Record:
        if record.seq != wrong:
            return record
        return record._replace(body=altered(record.body, pid=4711))

    copy = rewritten(place, tmp_path / "copy", change)
    assert 0 == ask("verify", copy).exit_code
    told = ask("check", copy)
    assert 1 == told.exit_code
    assert f"record {wrong}: watcher:" in told.output
    assert "decides otherwise" in told.output
    assert '"pid": 4711' in told.output
    whole = json.loads(ask("check", copy, "--json").output)["mismatch"]
    assert [wrong, wrong] == [whole["expected"][0]["seq"], whole["got"][0]["seq"]]
    assert 4711 == whole["expected"][0]["data"]["pid"]
    assert any("pid" in one["path"] for one in whole["state"])


@pytest.mark.invented
def test_a_decision_that_is_left_out_is_a_difference(tmp_path: Path) -> None:
    """
    An input that has no answer on record, and has one now.
    """
    place = written(tmp_path / "state")
    records = records_in(place)
    wrong = next(r for r in records if r.name in {"slot.vacated", "slot.filled"})
    copy = rewritten(
        place, tmp_path / "copy",
        lambda r: r._replace(cause=r.cause - 1) if r.seq == wrong.seq else r,
    )  # fmt: skip
    assert 1 == ask("check", copy).exit_code


def test_behind_lost_records_it_begins_with_the_next_snapshot(tmp_path: Path) -> None:
    """
    What could not be checked is counted, and why.
    """
    place = written(tmp_path)
    snapshots = sorted(int(p.name[5:]) for p in (place / "ledger").glob("snap-*"))
    segments(place)[0].unlink()
    checked = check_ledger(open_ledger(place))
    assert checked.mismatch is None
    assert snapshots[0] - 13 == checked.skipped
    assert checked.decisions > 20
    assert "what was before record 14 is gone" in checked.why_skipped
    for snapshot in (place / "ledger").glob("snap-*"):
        snapshot.unlink()
    nothing = check_ledger(open_ledger(place))
    assert (0, 337 - 13) == (nothing.decisions, nothing.skipped)


@pytest.mark.parametrize("version", ["0.0.9"])
def test_what_another_version_decided_is_believed_not_judged(tmp_path: Path, version: str) -> None:
    """
    It says so.
    """
    place = written(tmp_path / "state")

    def change(record: Record) -> Record:
        if isinstance(record.body, CoreStarted):
            return record._replace(body=altered(record.body, version=version))
        return record

    checked = check_ledger(open_ledger(rewritten(place, tmp_path / "copy", change)))
    assert (0, None) == (checked.decisions, checked.mismatch)
    assert f"version {version} decided it" in checked.why_skipped[0]
