"""Room: tests -- `circus-replay why`: from files what `circusctl why` says from a daemon.

Knows:     circus.replay.ask.why.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, segments, written

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.values import NS_PER_SECOND, Moment
from circus.bus.words.causes import why
from circus.replay.moments import Point

SPAWN = commands.ProcessSpawn("d")


class Said:
    """Records in memory, one after the other, all of watcher `web`."""

    def __init__(self, *bodies: Body) -> None:
        self.records: list[Record] = []
        for seq, body in enumerate(bodies, 1):
            stamp = Stamp(seq, 0, "arbiter", Moment(seq * NS_PER_SECOND, seq), 1)
            draft = Draft(body, watcher="web", slot=1, spawn_id=2)
            self.records.append(stamped(stamp, draft))

    def containing(self, needle: bytes) -> Iterator[Record]:
        """More is allowed."""
        return iter(self.records)

    def of_watcher(self, name: str) -> Iterator[Record]:
        """There is only one."""
        return iter(self.records)

    def at(self, seq: int) -> Record | None:
        """By number."""
        return self.records[seq - 1]


def test_a_stopped_watcher_is_traced_to_who_stopped_it(tmp_path: Path) -> None:
    """
    To the client's command.
    """
    place = written(tmp_path)
    told = ask("why", place, "web")
    assert 0 == told.exit_code
    assert told.output.startswith("watcher web is stopped, since ")
    assert "none of its processes is running." in told.output
    assert "because the stop of web was asked for" in told.output
    chain = json.loads(ask("why", place, "web", "--json").output)["chain"]
    assert "client" == chain[-1]["actor"]
    assert [r["cause"] for r in chain[:-1]] == [r["seq"] for r in chain[1:]]


def test_any_record_has_its_causes_and_a_point_in_time_its_own(tmp_path: Path) -> None:
    """
    Nothing later than the point is known there.
    """
    place = written(tmp_path)
    told = ask("why", place, "#101")
    assert "(#95, " in told.output
    assert told.output.endswith("  the core reads it at each start.\n")
    before = ask("why", place, "web", "--at", "150")
    assert "watcher web is active, since " in before.output
    assert 3 == ask("why", place, "#101", "--at", "100").exit_code
    ended = next(r for r in records_in(place) if r.name == "process.exited")
    pid = str(getattr(ended.body, "pid", 0))
    then = str(Point(seq=ended.seq - 1).seq)
    assert f"process {pid} of watcher " in ask("why", place, pid, "--at", then).output
    assert " runs since " in ask("why", place, pid, "--at", then).output


def test_what_is_not_on_record_is_said_and_costs_the_status(tmp_path: Path) -> None:
    """
    Exit status 3, as circusctl.
    """
    place = written(tmp_path)
    for subject in ("nosuch", "987654", "#400"):
        told = ask("why", place, subject)
        assert (3, True) == (told.exit_code, "cannot say why: the record has no" in told.output)


def test_a_chain_that_leads_into_a_lost_segment_says_so(tmp_path: Path) -> None:
    """
    And the missing records are told.
    """
    place = written(tmp_path)
    segments(place)[0].unlink()
    told = ask("why", place, "#101")
    assert "is further back than shown or retained." in told.output


@pytest.mark.parametrize(
    ("spec", "bodies", "expected"),
    [
        ({"autostart": False}, [], "it does not start by itself (autostart = false)."),
        (
            {"numprocesses": 1},
            [events.WatcherStarted(), events.WatcherResized(0)],
            "it is to keep no process (numprocesses = 0).",
        ),
        (
            {"respawn": True},
            [events.WatcherStarted(), events.WatcherUpdated({"respawn": False}, "e")],
            "what has ended is not started again (respawn = false).",
        ),
        (
            {},
            [events.WatcherStarting(), events.SlotWaiting(delay=5 * NS_PER_SECOND, failures=3)],
            "5s after its last failure.",
        ),
    ],
)
def test_what_does_not_run_says_why_not(
    spec: dict[str, object], bodies: list[Body], expected: str
) -> None:
    """
    Not started by itself, nothing to keep, not replaced, or waiting until a time.
    """
    answer = why(Said(events.WatcherAdded(spec, "d"), *bodies), "web")
    assert expected in answer.told()


def test_a_slot_that_was_spawned_again_does_not_wait() -> None:
    """
    Only what keeps it now is told.
    """
    waiting = events.SlotWaiting(delay=5 * NS_PER_SECOND, failures=3)
    said = Said(events.WatcherAdded({}, "d"), events.WatcherStarting(), waiting, SPAWN)
    assert "is tried again" not in why(said, "web").told()
