"""Room: tests -- the figures of a ledger are those that its records say, in every form.

Knows:     circus.replay.pictures.stats and its forms.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, written

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.values import NS_PER_SECOND, Moment
from circus.replay.pictures.slices import SLICES, Slices
from circus.replay.pictures.stats import Spread, WatcherStats, stats
from circus.replay.pictures.stats_shown import percent, resampled, spoken

SECOND = NS_PER_SECOND
STEADY = {"numprocesses": 2, "respawn": True}


class Said(NamedTuple):
    """A body, when it was said, and of which life."""

    second: float
    body: Body
    spawn_id: int | None = None


def told(*story: Said) -> list[Record]:
    """Records about `web`."""
    records = []
    for seq, (second, body, spawn_id) in enumerate(story, 1):
        now = Moment(10**18 + round(second * SECOND), round((100 + second) * SECOND))
        draft = Draft(body, None, "web", spawn_id, spawn_id)
        records.append(stamped(Stamp(seq, 0, "watcher:web#1", now, 1), draft))
    return records


def figures(*story: Said, since: float | None = None) -> WatcherStats:
    start = None if since is None else 10**18 + round(since * SECOND)
    (one,) = stats(told(*story), since=start).watchers
    return one


def spawned(second: float, spawn_id: int) -> Said:
    return Said(second, events.ProcessSpawned(spawn_id, 0), spawn_id)


def exited(second: float, spawn_id: int, code: int = 1) -> Said:
    body = events.ProcessExited(spawn_id, code, None, False, {}, 0, 0)
    return Said(second, body, spawn_id)


ADDED = Said(0, events.WatcherAdded(STEADY, ""))
STARTING = Said(0, events.WatcherStarting())
BOTH = (ADDED, STARTING, spawned(0, 7), spawned(0, 8))
END = Said(10, events.CommandAccepted(1))


def test_what_runs_all_the_time_is_available() -> None:
    """
    Both processes from the first moment to the last.
    """
    one = figures(*BOTH, END)
    assert (1.0, 0, 2, 2, 2, 0) == (
        one.availability, one.down, one.wanted, one.running, one.started, one.restarts,
    )  # fmt: skip


def test_a_missing_process_costs_its_share() -> None:
    """
    One of two, for four of ten seconds.
    """
    one = figures(*BOTH, exited(3, 7), spawned(7, 9), END)
    assert (0.8, 4 * SECOND, 1) == (one.availability, one.down, one.restarts)
    assert {"failed": 1} == dict(one.ends)
    assert {"failed: code 1": 1} == dict(one.causes)
    assert Spread(1, 3 * SECOND, 3 * SECOND, 3 * SECOND, 3 * SECOND) == one.uptime


def test_what_is_stopped_is_not_missing() -> None:
    """
    Nobody wanted it between `watcher.stopping` and the end.
    """
    stop = (Said(5, events.WatcherStopping()), exited(5, 7, 0), exited(5, 8, 0))
    one = figures(*BOTH, *stop, END)
    assert (1.0, 0, 0) == (one.availability, one.restarts, one.running)


def test_what_is_restarted_is_missing_meanwhile() -> None:
    """
    It is to serve again: one second without both of ten.
    """
    restart = (Said(5, commands.WatcherRestart()), Said(5, events.WatcherStopping()))
    gone = (exited(5, 7, 0), exited(5, 8, 0), Said(6, events.WatcherStarting()))
    one = figures(*BOTH, *restart, *gone, spawned(6, 9), spawned(6, 10), END)
    assert 0.9 == one.availability


def test_more_processes_than_wanted_count_for_no_more() -> None:
    """
    A reload has twice as many for a while; `watcher.resized` says how many there should be.
    """
    more = (spawned(1, 9), spawned(1, 10), Said(5, events.WatcherResized(8)))
    one = figures(*BOTH, *more, END)
    assert pytest.approx((2 * 5 + 4 * 5) / (2 * 5 + 8 * 5)) == one.availability


def test_nobody_knows_how_many_should_run_where_none_is_replaced() -> None:
    """
    `respawn = false`: what has ended has done its work.
    """
    once = Said(0, events.WatcherAdded({**STEADY, "respawn": False}, ""))
    assert figures(once, STARTING, spawned(0, 7), exited(3, 7, 0), END).availability is None


def test_a_range_begins_with_how_things_stood_then() -> None:
    """
    What ran already runs on; what ended before is not counted.
    """
    one = figures(*BOTH, exited(3, 7), spawned(5, 9), exited(8, 8), END, since=4)
    assert (1, 1, 1) == (one.started, one.restarts, sum(one.ends.values()))
    assert pytest.approx(1 - 3 / 12) == one.availability


def test_the_time_to_ready_is_from_the_wish_to_the_filled_slot() -> None:
    """
    Of what still runs, too.
    """
    wish = Said(1, commands.ProcessSpawn("spec"))  # the third record: its life is number 3
    filled = Said(1.5, events.SlotFilled(7), 3)
    one = figures(ADDED, STARTING, wish, spawned(1.25, 3), filled, END)
    assert SECOND // 2 == one.ready.median


def test_a_spread_is_by_nearest_rank() -> None:
    """
    Every figure is one of the values.
    """
    assert Spread(100, 1, 50, 95, 100) == Spread.of(range(1, 101))
    assert Spread() == Spread.of([])


def test_slices_keep_their_sums_when_they_become_wider() -> None:
    """
    Whatever the range becomes.
    """
    slices = Slices(0, "up")
    slices.spread("up", 0, 3 * SECOND, 2)
    slices.spread("up", 3600 * SECOND, 3601 * SECOND, 1)
    assert 7 * SECOND == sum(slices.sums["up"])
    assert len(slices.upto(3601 * SECOND, "up")) in range(SLICES // 2, SLICES + 1)


def test_the_least_of_several_slices_is_shown() -> None:
    """
    A short failure does not vanish in a narrow terminal.
    """
    assert [0.5, None, 1.0] == resampled([1.0, 0.5, None, None, 1.0, None], 3)


def test_what_is_not_all_is_never_called_all() -> None:
    """
    And durations are said as people say them.
    """
    assert ["100 %", "99.999 %", "unknown"] == [percent(one) for one in (1, 0.9999999, None)]
    spans = [SECOND // 4, 90 * SECOND, 3600 * SECOND, 30 * 3600 * SECOND, 125 * SECOND]
    assert ["250 ms", "90 s", "1 h 00 m", "1 d 06 h", "2 m 05 s"] == [*map(spoken, spans)]


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    """
    The terminal's lines, the table, the picture and JSON, of one ledger.
    """
    state = written(tmp_path / "state")
    spawns = sum(record.name == "process.spawned" for record in records_in(state))
    plain, table, picture, data = (
        ask("stats", state, *form).output for form in ((), ("--csv",), ("--svg",), ("--json",))
    )
    watchers = json.loads(data)["watchers"]
    assert ["db", "web"] == sorted(one["watcher"] for one in watchers)
    assert spawns == sum(one["started"] for one in watchers)
    rows = list(csv.DictReader(table.splitlines()))
    assert [one["restarts"] for one in watchers] == [int(row["restarts"]) for row in rows]
    assert "\x1b" not in plain
    assert all(f"{one['started']} started" in plain for one in watchers)
    texts = [element.text for element in ET.fromstring(picture).iter() if element.text]  # noqa: S314 -- our own
    assert {"db", "web"} <= set(texts)


def test_one_watcher_alone_can_be_asked_for(tmp_path: Path) -> None:
    """
    In any case.
    """
    asked = ask("stats", written(tmp_path / "state"), "--watcher", "DB", "--json")
    assert ["db"] == [one["watcher"] for one in json.loads(asked.output)["watchers"]]
