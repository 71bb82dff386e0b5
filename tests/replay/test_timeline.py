"""Room: tests -- the timeline's columns say what the record says, and the page cannot call home.

Knows:     circus.replay.pictures.
Known by:  pytest.
Never:     sleeps, patches; opens the page (that is tests/replay/test_timeline_page.py).
"""

from __future__ import annotations

import json
import re
import struct
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any
from zlib import decompress

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, written

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.values import NS_PER_SECOND, Moment
from circus.replay.pictures import timeline
from circus.replay.pictures.axis import Axis
from circus.replay.pictures.lives import Life, Lives, Outcome
from circus.replay.pictures.tale import TEXT_CHARACTERS_MAX, Kind, kind_of, text_of

USAGE: dict[str, int] = {}


def said(seq: int, body: Body, *, spawn_id: int | None = 1, second: float = 0) -> Record:
    """A record of slot 1 of `web`."""
    now = Moment(1_000 * NS_PER_SECOND, round((second or seq) * NS_PER_SECOND))
    draft = Draft(body, None, "web", 1, spawn_id)
    return stamped(Stamp(seq, 0, "reaper", now, 1), draft)


def exited(code: int | None, signal: int | None = None) -> Body:
    return events.ProcessExited(100, code, signal, False, USAGE, 0, 0)


def lives(*bodies: Body) -> list[Life]:
    """What becomes of one spawn, one second after the other."""
    told: list[Life] = []
    fold = Lives(told.append)
    for seq, body in enumerate((commands.ProcessSpawn("spec"), *bodies), 1):
        record = said(seq, body)
        fold.take(record, record.boot)
    fold.finish()
    return told


def tables_and_columns(page: str) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What is embedded in a page."""
    found = dict(re.findall(r'<script type="[^"]+" id="(\w+)">([^<]*)</script>', page))
    raw = decompress(b64decode(found["columns"]))
    return json.loads(found["tables"]), struct.unpack(f"<{len(raw) // 4}I", raw)


STARVED = events.ProcessExited(100, None, 9, False, {"oom_kill": 1}, 0, 0)
SPAWNED = events.ProcessSpawned(100, 0)


@pytest.mark.parametrize(
    ("bodies", "outcome", "how"),
    [
        ([SPAWNED], Outcome.RUNNING, ""),
        ([SPAWNED, exited(0)], Outcome.CLEAN, "code 0"),
        ([SPAWNED, exited(3)], Outcome.FAILED, "code 3"),
        ([SPAWNED, exited(None, 11)], Outcome.KILLED, "SIGSEGV"),
        ([SPAWNED, STARVED], Outcome.KILLED, "SIGKILL, out of memory"),
        ([SPAWNED, events.SlotStopping("stop"), exited(None, 15)], Outcome.ASKED, "SIGTERM"),
        ([SPAWNED, events.SlotStopping("stop"), exited(None, 9)], Outcome.FORCED, "SIGKILL"),
        ([SPAWNED, events.ProcessLost(100, "gone")], Outcome.LOST, "gone"),
        ([events.ProcessSpawnFailed("exec", 2, "no such")], Outcome.UNBORN, "exec: no such"),
        ([events.ProcessNeverRun("not heard of")], Outcome.UNBORN, "not heard of"),
    ],
)
def test_a_life_has_the_outcome_that_its_end_says(
    bodies: list[Body], outcome: Outcome, how: str
) -> None:
    """
    By whether it was asked to end, and by what the kernel gave.
    """
    (life,) = lives(*bodies)
    assert (outcome, how) == (life.outcome, life.how)


def test_what_a_watcher_sees_late_is_no_second_life() -> None:
    """
    `slot.filled` may be recorded after the exit of what filled it.
    """
    (life,) = lives(SPAWNED, exited(1), events.SlotFilled(100))
    assert NS_PER_SECOND == life.uptime


def test_a_life_whose_end_is_not_on_record_is_lost_when_its_place_is_taken() -> None:
    """
    A hole in the ledger does not make a process run for ever.
    """
    told: list[Life] = []
    fold = Lives(told.append)
    spawns = (commands.ProcessSpawn("spec"), commands.ProcessSpawn("spec", 1, 1))
    for seq, body in enumerate(spawns, 1):
        fold.take(said(seq, body, spawn_id=seq), seq)
    assert [(1, Outcome.LOST)] == [(life.spawn_id, life.outcome) for life in told]


def test_distances_are_those_of_the_boot_clock() -> None:
    """
    The wall clock may be set; it says only where a boot begins.
    """
    axis = Axis()
    start = axis.at(said(1, events.CoreReady(), second=5))
    assert 1_000 * NS_PER_SECOND == start
    assert 2 * NS_PER_SECOND == axis.at(said(2, events.CoreReady(), second=7)) - start


def test_a_new_boot_goes_on_where_the_wall_clock_is() -> None:
    """
    And never before what was already drawn.
    """
    axis = Axis()
    before = axis.at(said(1, events.CoreReady(), second=500))
    assert before == axis.at(said(2, events.CoreReady(), second=1))


def test_a_note_that_an_actor_writes_to_itself_is_no_mark() -> None:
    """
    Only what somebody else asked for is drawn as a command.
    """
    stop = Draft(commands.WatcherStop(), "watcher:web#7", "web")
    now = Moment(0, 0)
    asked = stamped(Stamp(1, 0, "client", now, 1), stop)
    noted = stamped(Stamp(2, 1, "watcher:web#7", now, 1), stop)
    assert [Kind.COMMAND, Kind.NONE] == [kind_of(asked), kind_of(noted)]


def test_a_text_is_short_and_shows_its_control_characters() -> None:
    """
    A page's lines are lines.
    """
    text = text_of(said(1, events.WatcherFailed("one\ntwo\x1b[31m" + "x" * 500)))
    assert text.startswith("reason one\\x0atwo\\x1b[31mx")
    assert TEXT_CHARACTERS_MAX == len(text)


def test_the_page_has_every_record_and_every_life(tmp_path: Path) -> None:
    """
    As columns: the first is the distance of the numbers, one for all but the first.
    """
    records = records_in(written(tmp_path / "state"))
    tables, numbers = tables_and_columns(timeline.draw(records).page("a ledger"))
    count = len(records)
    assert count == tables["records"]
    assert (0, *[1] * (count - 1)) == numbers[:count]
    assert sum(record.name == "process.spawn" for record in records) == tables["lives"]
    assert 10 * count + 7 * tables["lives"] == len(numbers)


def test_no_text_of_the_record_becomes_markup() -> None:
    """
    A watcher may be called anything; the page's policy lets no script run but its own.
    """
    evil = "</script><script>alert(1)</script>{{script}}"
    page = timeline.draw([said(1, events.WatcherFailed(evil))]).page(evil)
    tables, _ = tables_and_columns(page)
    assert evil == tables["title"]
    assert 3 == page.count("<script")
    assert "default-src 'none'; script-src 'sha256-" in page


def test_the_verb_writes_the_page(tmp_path: Path) -> None:
    """
    Whole or not at all; without a place to write to it says what is missing.
    """
    state, page = written(tmp_path / "state"), tmp_path / "out.html"
    assert 0 == ask("timeline", state, "-o", page).exit_code
    assert page.read_text().startswith("<!doctype html>")
    refused = ask("timeline", state)
    assert (2, True) == (refused.exit_code, "cannot draw" in refused.output)
    assert 2 == ask("timeline", state, "-o", tmp_path / "no/such/place.html").exit_code
    assert ["out.html", "state"] == sorted(path.name for path in tmp_path.iterdir())


def test_one_watcher_alone_is_drawn_with_the_daemon(tmp_path: Path) -> None:
    """
    What concerns all of them stays.
    """
    state, page = written(tmp_path / "state"), tmp_path / "out.html"
    ask("timeline", state, "-o", page, "--watcher", "DB")
    tables, _ = tables_and_columns(page.read_text())
    assert {"", "db"} == {watcher for watcher, _ in tables["subjects"]}


def test_what_ran_already_when_a_part_begins_is_drawn_from_its_start() -> None:
    """
    And what had ended by then is not; the page shows the part at first.
    """
    later = 1_000 * NS_PER_SECOND + 1
    bodies = [commands.ProcessSpawn("spec"), SPAWNED, exited(0)]
    ended = [said(seq, body, spawn_id=1) for seq, body in enumerate(bodies, 1)]
    reaching = [said(4 + n, body, spawn_id=4) for n, body in enumerate(bodies)]
    last = reaching[-1]._replace(at=later)
    drawing = timeline.draw([*ended, *reaching[:-1], last], since=later)
    tables, numbers = tables_and_columns(drawing.page("a part"))
    assert (3, 1, 2, 4) == tuple(
        tables[key] for key in ("records", "lives", "viewFrom", "firstSeq")
    )
    assert (1, 2, 0, 0, 3) == numbers[-5:]


def test_a_trace_has_a_slice_for_every_life_and_an_arrow_from_its_cause(tmp_path: Path) -> None:
    """
    As Perfetto's viewer reads it: a process for each watcher, a thread for each slot.
    """
    state, file = written(tmp_path / "state"), tmp_path / "trace.json"
    assert 0 == ask("timeline", state, "--perfetto", file).exit_code
    told = json.loads(file.read_text())["traceEvents"]
    spawns = [record for record in records_in(state) if record.name == "process.spawn"]
    slices = [one for one in told if one["ph"] == "X"]
    assert sorted(record.seq for record in spawns) == sorted(
        one["args"]["spawn_id"] for one in slices
    )
    processes = {one["pid"]: one["args"]["name"] for one in told if one["name"] == "process_name"}
    assert {"circusd", "web", "db"} == set(processes.values())
    arrows = [one["id"] for one in told if one["ph"] == "s"]
    assert arrows
    assert arrows == [one["id"] for one in told if one["ph"] == "f"]
    assert all(one["ts"] >= 0 and one.get("dur", 0) >= 0 for one in told if one["ph"] != "M")
