"""Room: tests -- `circus-replay state` and `diff`: what every actor knew at any record.

Knows:     circus.replay.history, circus.replay.ask.state.
Known by:  pytest.
Never:     sleeps, patches, times anything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, segments, written

from circus.arbiter.memory_codec import encode
from circus.bus.words.plain import as_json
from circus.replay.ask.state import Change, described, differences, plainly, state_at
from circus.replay.check import folded
from circus.replay.history import History
from circus.replay.moments import Point
from circus.replay.opening import open_ledger


def without_snapshots(place: Path) -> Path:
    for snapshot in (place / "ledger").glob("snap-*"):
        snapshot.unlink()
    return place


@pytest.mark.parametrize("seq", [1, 2, 86, 87, 150, 226, 300, 337])
def test_the_state_is_the_fold_of_the_records_up_to_there(tmp_path: Path, seq: int) -> None:
    """
    From a snapshot, from a checkpoint on the way back, or from the beginning.
    """
    place = written(tmp_path)
    expected = folded(record for record in records_in(place) if record.seq <= seq)
    history = History(open_ledger(place), keep_every=20)
    memory = history.at(seq)
    for wanted in (337, 5, seq):
        memory = history.at(wanted)
        assert wanted == memory.seq
    states = {address: actor.state for address, actor in memory.past.actors.items()}
    assert expected == states
    without_snapshots(place)
    assert encode(History(open_ledger(place)).at(seq)) == encode(history.at(seq))


def test_stepping_back_reads_little(tmp_path: Path) -> None:
    """
    No more than the records between two checkpoints are folded again.
    """
    place = without_snapshots(written(tmp_path))
    opened = open_ledger(place)
    history = History(opened, keep_every=10)
    history.at(337)
    for seq in range(336, 0, -17):
        begun = history._nearest(seq).seq
        assert seq - 10 - 16 <= begun <= seq, seq


def test_a_snapshot_of_another_history_is_passed_over(tmp_path: Path) -> None:
    """
    A damaged one as well: the ledger says the same.
    """
    place = written(tmp_path)
    expected = described(History(open_ledger(place)).at(337))
    newest, middle, _ = sorted((place / "ledger").glob("snap-*"), reverse=True)
    raw = bytearray(newest.read_bytes())
    raw[200] ^= 1
    newest.write_bytes(raw)
    middle.rename(middle.with_name("snap-00000000000000000300"))
    assert expected == described(History(open_ledger(place)).at(337))


def test_a_time_means_the_last_record_before_it(tmp_path: Path) -> None:
    """
    The state at a record's own time holds it.
    """
    place = written(tmp_path)
    records = records_in(place)
    state = state_at(open_ledger(place), Point(wall=records[149].at))
    assert records[149].at == state["at"]
    told = ask("state", place, "--at", "150", "--json")
    assert 150 == json.loads(told.output)["seq"]
    assert 0 == told.exit_code


def test_the_lines_name_watchers_processes_and_options(tmp_path: Path) -> None:
    """
    Pids, spawns and how long; a watcher's chosen options.
    """
    told = ask("state", written(tmp_path), "--at", "100")
    assert told.output.startswith("after record 100 at ")
    assert "web: active; 3 deaths, 0 failed spawns" in told.output
    assert '  cmd="exits 1 0.3" max_retry=3' in told.output
    assert "slot 2: running pid 3 spawn #18 for " in told.output


def test_a_difference_is_a_path_and_two_values(tmp_path: Path) -> None:
    """
    What was not there before, or is not any more, is told as such.
    """
    before = {"a": {"b": 1, "c": [1]}, "gone": 2}
    after = {"a": {"b": 2, "c": [1]}, "new": {"d": 3}}
    expected = [
        Change(("a", "b"), 1, 2),
        Change(("gone",), 2, None),
        Change(("new",), None, {"d": 3}),
    ]
    assert expected == list(differences(before, after))
    place = written(tmp_path)
    told = ask("diff", place, "100", "105")
    assert "watchers.db.deaths: 8 -> 9" in told.output
    changes = json.loads(ask("diff", place, "100", "105", "--json").output)["changes"]
    assert len(told.output.splitlines()) == len(changes)
    assert "nothing is different\n" == ask("diff", place, "100", "100").output


def test_what_is_behind_a_hole_is_folded_anew(tmp_path: Path) -> None:
    """
    As a core does; the hole is told, and the status says that not all was read.
    """
    place = without_snapshots(written(tmp_path))
    segments(place)[4].unlink()
    told = ask("state", place)
    assert 1 == told.exit_code
    assert told.stdout.startswith("after record 337 ")
    assert "cannot read all: " in told.stderr


def test_values_of_every_kind_are_said_plainly() -> None:
    """
    Nothing of Python's is left in what is printed.
    """
    assert {"a": [1, "00ff"], "s": [1, 2]} == plainly({"a": (1, b"\x00\xff"), "s": {2, 1}})


def test_every_state_can_be_said_as_json(tmp_path: Path) -> None:
    """
    In the middle of jobs and operations, too.
    """
    place = written(tmp_path)
    history = History(open_ledger(place))
    for seq in range(1, 338, 3):
        assert as_json(described(history.at(seq)))
