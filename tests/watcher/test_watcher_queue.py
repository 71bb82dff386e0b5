"""Room: tests -- the watcher's queue: what waits, what overtakes, what is done at once.

Knows:     tests/watcher/driver.py, bus.commands.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGTERM

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from driver import Driver, oldest, started

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Command
from circus.bus.values import NS_PER_SECOND as S


@pytest.mark.parametrize("command", [c.WatcherIncr(), c.WatcherSet({"numprocesses": 3})])
def test_a_stop_ends_a_resize_that_waits_for_its_spawn(command: Command) -> None:
    """The number is changed, which is all that a resize promises; the stop waits for nothing."""
    driver = started(numprocesses=2)
    resize = driver.tell(command)
    assert resize not in driver.finished

    stop = driver.tell(c.WatcherStop())

    assert "done" == driver.finished[resize].outcome
    assert 3 == driver.state.spec.numprocesses
    driver.rest()
    assert "done" == driver.finished[stop].outcome
    assert {} == driver.live
    driver.check_fold()


def test_what_waits_and_is_no_start_outlives_a_stop() -> None:
    """An option set behind a reload is set after the stop that overtook both."""
    driver = started(numprocesses=2)
    reload = driver.tell(c.WatcherReload())
    change = driver.tell(c.WatcherSet({"numprocesses": 5}))

    stop = driver.tell(c.WatcherStop())
    driver.rest()

    assert "superseded" == driver.finished[reload].outcome
    assert "done" == driver.finished[stop].outcome == driver.finished[change].outcome
    assert 5 == driver.state.spec.numprocesses
    assert "stopped" == driver.state.status
    driver.check_fold()


def test_three_stops_end_in_the_order_in_which_they_came() -> None:
    """Each waits behind the one before it, in front of everything else."""
    driver = started(numprocesses=2)
    stops = [driver.tell(c.WatcherStop()) for _ in range(3)]
    start = driver.tell(c.WatcherStart())

    driver.rest()

    assert [*stops, start] == list(driver.finished)[-4:]
    assert list(driver.signals(SIGTERM)) == sorted(set(driver.signals(SIGTERM)))
    assert 2 == len(driver.live)
    driver.check_fold()


def test_a_removal_supersedes_what_waits_behind_a_stop() -> None:
    """The stop under way goes on; the start behind it will never be."""
    driver = started(numprocesses=2)
    stop = driver.tell(c.WatcherStop())
    start = driver.tell(c.WatcherStart())

    remove = driver.tell(c.WatcherRemove())

    assert "superseded" == driver.finished[start].outcome
    driver.rest()
    assert "done" == driver.finished[stop].outcome == driver.finished[remove].outcome
    assert "removed" == driver.state.status
    driver.check_fold()


def test_a_start_of_what_runs_is_done_at_once() -> None:
    """It says which pids were kept."""
    driver = started(numprocesses=2)

    command = driver.tell(c.WatcherStart())

    assert {"started": (), "kept": tuple(sorted(driver.live.values()))} == driver.reply(command)
    driver.check_fold()


def test_a_reload_that_is_not_graceful_stops_all_before_it_starts_any() -> None:
    """As a restart does."""
    driver = started(numprocesses=2)
    olds = sorted(driver.live.values())

    command = driver.tell(c.WatcherReload(graceful=False))

    assert not driver.asked
    driver.rest()
    assert tuple(olds) == driver.reply(command)["stopped"]
    assert 2 == driver.peak
    driver.check_fold()


def test_a_stop_ends_the_slots_that_wait() -> None:
    """Nobody is left to wake for."""
    driver = started(numprocesses=2, backoff=60 * S)
    for _ in range(2):
        driver.exit(max(driver.live))
        driver.run()
    assert 2 == len(driver.state.slots)

    driver.tell(c.WatcherStop())

    assert 1 == len(driver.state.slots)
    driver.rest()
    assert {} == driver.state.slots
    driver.check_fold()


def test_a_singleton_cannot_be_set_to_two() -> None:
    """The refusal says what to do instead."""
    driver = started(singleton=True)
    driver.tell(c.WatcherSet({"numprocesses": 2}))
    refused = driver.said[-1].body

    assert isinstance(refused, e.CommandRefused)
    assert "a singleton has at most one process" in refused.reason
    assert 1 == driver.state.spec.numprocesses


def test_setting_what_is_set_changes_nothing() -> None:
    """No process is replaced for a value that it has already."""
    driver = started(numprocesses=2)

    command = driver.tell(c.WatcherSet({"cmd": "sleep 9", "numprocesses": 2}))

    assert "done" == driver.finished[command].outcome
    assert not any(isinstance(r.body, e.WatcherUpdated) for r in driver.said)
    assert [] == driver.signals(SIGTERM)
    driver.check_fold()


@pytest.mark.parametrize("command", [c.WatcherIncr(2), c.WatcherManage(), c.WatcherSet({})])
def test_what_is_asked_of_a_stopped_watcher_starts_nothing(command: Command) -> None:
    """The number may change; an operator starts it."""
    driver = Driver(numprocesses=2, max_age=S)

    done = driver.tell(command)

    assert "done" == driver.finished[done].outcome
    assert not driver.asked
    driver.check_fold()


def test_manage_finds_nothing_to_do_where_nobody_is_old() -> None:
    """With `max_age` and young processes it is done at once."""
    driver = started(numprocesses=2, max_age=60 * S)

    command = driver.tell(c.WatcherManage())

    assert "done" == driver.finished[command].outcome
    assert [] == driver.signals(SIGTERM)
    driver.check_fold()


def test_a_failed_watcher_lets_its_other_processes_end_in_peace() -> None:
    """Their exits are seen and replaced by nobody; a `continue` on its way moves nothing."""
    driver = started(numprocesses=2, give_up=1)
    driver.exit(max(driver.live))
    assert "failed" == driver.state.status

    driver.tell(c.Continue())
    driver.exit(max(driver.live), after=60 * S)

    assert "failed" == driver.state.status
    assert {} == driver.state.slots
    assert not driver.asked
    driver.check_fold()


def test_a_reload_whose_new_processes_cannot_start_leaves_the_old_ones() -> None:
    """It fails, and no slot waits to become one too many."""
    driver = started(numprocesses=2, max_retry=-1, backoff=S)
    olds = dict(driver.live)

    command = driver.tell(c.WatcherReload())
    driver.spawn_failed()
    driver.spawn_failed()

    assert "failed" == driver.finished[command].outcome
    assert 2 == len(driver.state.slots)
    assert olds == driver.live
    assert not driver.timers
    driver.check_fold()


def test_a_reload_that_fails_while_a_slot_waits_is_still_a_start() -> None:
    """The slot that waited before it goes on waiting; the one too many goes."""
    driver = Driver(numprocesses=2, max_retry=-1, backoff=S)
    driver.tell(c.WatcherStart())
    driver.spawned()
    driver.spawn_failed()
    driver.tell(c.WatcherReload())

    while driver.asked:
        driver.spawn_failed()

    assert "starting" == driver.state.status
    assert 2 == len(driver.state.slots)
    driver.wake()
    driver.run()
    assert "active" == driver.state.status
    assert 2 == len(driver.live)
    driver.check_fold()


def test_a_reload_that_is_given_up_half_way_does_not_start_again() -> None:
    """With a slot that waited before it: what came is kept in place of that, nothing is added."""
    driver = Driver(numprocesses=3, max_retry=-1, backoff=S)
    driver.tell(c.WatcherStart())
    driver.spawned()
    driver.spawned()
    driver.spawn_failed()
    driver.tell(c.WatcherReload())
    driver.spawned()
    driver.spawn_failed()

    assert not driver.asked
    assert 3 == len(driver.state.slots) == len(driver.live)
    assert "active" == driver.state.status
    driver.check_fold()


def test_a_reload_that_is_given_up_at_its_last_process_keeps_no_surplus() -> None:
    """As many as there should be, the younger ones; none goes while others are under way."""
    driver = started(numprocesses=3, max_retry=-1, backoff=S)
    olds = set(driver.live)
    driver.tell(c.WatcherReload())
    driver.spawned()
    driver.spawn_failed()
    assert olds < set(driver.live)
    assert not driver.state.stopping

    driver.spawned()
    driver.rest()

    assert 3 == len(driver.live) == len(driver.state.slots)
    assert 1 == len(olds & set(driver.live))
    driver.check_fold()


def test_a_reload_that_is_given_up_makes_fewer_of_them_all_the_same() -> None:
    """The number was changed with the option that the reload was for."""
    driver = started(numprocesses=2, max_retry=-1, backoff=S)
    driver.tell(c.WatcherSet({"numprocesses": 1, "cmd": "other"}))
    driver.spawn_failed()
    driver.rest()

    assert 1 == len(driver.live) == len(driver.state.slots)
    driver.check_fold()


def test_a_reload_that_has_failed_for_good_leaves_the_old_processes_and_nothing_else() -> None:
    """Those that it was to replace run on; a start finds nothing missing."""
    driver = started(numprocesses=2, max_retry=1, backoff=S)
    driver.tell(c.WatcherReload())
    driver.spawn_failed()
    driver.spawn_failed()
    driver.wake()
    driver.spawn_failed()
    assert "failed" == driver.state.status
    assert 2 == len(driver.state.slots) == len(driver.live)

    driver.tell(c.WatcherStart())

    assert "active" == driver.state.status
    assert 2 == len(driver.state.slots) == len(driver.live)
    driver.check_fold()


def test_a_reload_that_has_failed_for_good_ends_what_it_has_brought() -> None:
    """One of the new ones came, another cannot: the old ones have shown that they run."""
    driver = started(numprocesses=2, max_retry=1, backoff=S)
    olds = set(driver.live)
    driver.tell(c.WatcherReload())
    driver.spawned()
    driver.spawn_failed()
    driver.wake()
    driver.spawn_failed()

    assert "failed" == driver.state.status
    driver.rest()
    assert olds == set(driver.live)
    driver.check_fold()


def test_an_old_spawn_that_fails_while_its_replacement_comes_is_not_tried_again() -> None:
    """A reload has asked for another in its place; with what never ran it is the same."""
    for told in (e.ProcessSpawnFailed("exec", 2, "no such program"), e.ProcessNeverRun("crash")):
        driver = started(numprocesses=1, backoff=S)
        driver.exit(oldest(driver), after=S)
        old = driver.asked.popleft()
        reload = driver.tell(c.WatcherReload())

        driver.tell(told, spawn_id=old)
        driver.run()

        assert "done" == driver.finished[reload].outcome
        assert 1 == len(driver.live) == len(driver.state.slots)
        driver.check_fold()


def test_a_slot_that_has_waited_through_a_reload_that_was_given_up_stays_empty() -> None:
    """The old ones and those that came are enough; the surplus goes when its pause is over."""
    driver = started(numprocesses=4, max_retry=-1, backoff=S)
    driver.exit(oldest(driver), after=S)
    driver.spawn_failed()
    driver.tell(c.WatcherReload())
    driver.spawned()
    driver.spawn_failed()
    driver.spawned()
    assert 5 == len(driver.live)

    driver.wake()

    assert not driver.asked
    driver.rest()
    assert 4 == len(driver.live) == len(driver.state.slots)
    driver.check_fold()
