"""Room: tests -- the watcher's core where roads cross: late timers, failures, ends under way.

Knows:     tests/watcher/driver.py, bus.commands, watcher.core.
Known by:  nobody.
Never:     sleeps, forks, mocks.

With test_watcher_core.py these reach every branch of the core's modules (`tools/check.py cores`).
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from driver import CHANCE, Driver, oldest, started

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Body, Draft
from circus.bus.values import NS_PER_SECOND as S
from circus.watcher import core

# --- input that changes nothing -------------------------------------------------------------------


def test_a_core_that_comes_back_asks_for_nothing() -> None:
    """What is open are records: they come again by themselves."""
    assert () == core.resume(started().state)


def test_a_record_that_is_nobodys_business_decides_nothing() -> None:
    """An input that the table does not list has an empty decision."""
    driver = started()
    record = driver.stamp(Draft(e.CoreReady(), driver.state.address), "core", 0)

    assert () == core.decide(driver.state, record, CHANCE)


@pytest.mark.parametrize(
    "body",
    [e.TimerWoke("warmup", 1), e.TimerWoke("age:1", 1), e.TimerWoke("grace:1", 1), c.Continue()],
)
def test_a_removed_watcher_sleeps_through_its_timers(body: Body) -> None:
    """What was on its way when it was removed means nothing."""
    driver = started()
    driver.tell(c.WatcherRemove())
    driver.rest()
    said = len(driver.said)

    driver.tell(body)

    assert said == len(driver.said)


@pytest.mark.parametrize("timer", ["warmup", "grace:3", "retry:1", "retry:9"])
def test_a_timer_that_was_armed_anew_wakes_nobody_early(timer: str) -> None:
    """Only the arming in force counts; of a slot that is gone none does."""
    driver = started(warmup_delay=S)
    driver.wake()
    driver.tell(c.WatcherStop())
    said = len(driver.said)

    driver.tell(e.TimerWoke(timer, 2))

    assert said == len(driver.said)


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (c.WatcherStop(), {}),
        (e.CommandFinished(999), {}),
        (c.ProcessSignal(15), {"spawn_id": 999, "slot": 9}),
        (c.TimerArm("age:9", S), {"slot": 9}),
        (e.SlotFilled(7), {"slot": 9, "spawn_id": 999}),
        (e.SlotStopping("stop"), {"slot": 9, "spawn_id": 999}),
        (e.CoreReady(), {}),
    ],
)
def test_the_fold_lets_alone_what_it_cannot_place(body: Body, about: dict[str, Any]) -> None:
    """It is total: a record about nothing that it knows leaves the state as it was."""
    driver = started()
    before = copy.deepcopy(driver.state)

    record = driver.stamp(Draft(body, watcher="web", **about), driver.state.address, 0)

    assert before == core.evolve(driver.state, record)


# --- ends and failures ----------------------------------------------------------------------------


def test_stopping_what_is_stopped_is_done_at_once() -> None:
    """Desired state is reached already; nothing is signalled."""
    driver = Driver()

    command = driver.tell(c.WatcherStop())

    assert "done" == driver.finished[command].outcome
    assert [] == driver.signals(SIGTERM)
    driver.check_fold()


def test_a_restart_of_what_is_stopped_starts_it() -> None:
    """There is nothing to stop first."""
    driver = Driver(numprocesses=2)

    command = driver.tell(c.WatcherRestart())
    driver.run()

    assert tuple(sorted(driver.live.values())) == driver.reply(command)["started"]


def test_a_spawn_that_fails_under_a_stop_is_not_tried_again() -> None:
    """It was asked to end before it had begun."""
    driver = Driver(numprocesses=2)
    driver.tell(c.WatcherStart())
    stop = driver.tell(c.WatcherStop())

    driver.spawn_failed()
    driver.spawn_failed()

    assert "stopped" == driver.state.status
    assert stop in driver.finished
    assert not driver.asked
    driver.check_fold()


def test_a_spawn_that_never_ran_under_a_stop_is_not_tried_again() -> None:
    """The core died before the keeper heard of it, and meanwhile nobody wants it."""
    driver = Driver()
    driver.tell(c.WatcherStart())
    stop = driver.tell(c.WatcherStop())

    driver.tell(e.ProcessNeverRun("the core died"), spawn_id=driver.asked.popleft())

    assert "stopped" == driver.state.status
    assert stop in driver.finished
    assert not driver.asked
    driver.check_fold()


def test_a_stop_takes_over_from_a_restart_that_is_stopping() -> None:
    """The restart is superseded, nobody is signalled twice, nothing is started."""
    driver = started(numprocesses=2)
    restart = driver.tell(c.WatcherRestart())

    stop = driver.tell(c.WatcherStop())

    assert "superseded" == driver.finished[restart].outcome
    assert list(driver.live) == driver.signals(SIGTERM)
    driver.rest()
    assert "done" == driver.finished[stop].outcome
    assert "stopped" == driver.state.status
    driver.check_fold()


def test_decr_takes_the_slot_that_waits_before_a_process_that_runs() -> None:
    """Nobody is ended where nobody need be."""
    driver = started(numprocesses=2, backoff=60 * S)
    for _ in range(2):
        driver.exit(max(driver.live))
        driver.run()
    assert 1 == len(driver.live)

    command = driver.tell(c.WatcherDecr())

    assert {"numprocesses": 1} == driver.finished[command].reply
    assert [] == driver.signals(SIGTERM)
    assert 1 == len(driver.state.slots)
    driver.check_fold()


def test_a_start_gives_waiting_slots_their_chance_at_once() -> None:
    """Who says start does not mean in a minute: the fault may be mended."""
    driver = Driver(numprocesses=2, backoff=60 * S, max_retry=-1)
    first = driver.tell(c.WatcherStart())
    driver.spawn_failed()
    driver.spawn_failed()
    assert "failed" == driver.finished[first].outcome

    command = driver.tell(c.WatcherStart())
    driver.run()

    assert tuple(sorted(driver.live.values())) == driver.reply(command)["started"]
    assert 2 == len(driver.live)
    driver.check_fold()


def test_a_slot_that_waits_gives_up_with_its_watcher() -> None:
    """A failed watcher waits for an operator: what wakes later finds nothing to do."""
    driver = started(numprocesses=2, give_up=3, backoff=60 * S)
    first = oldest(driver)
    for wid in (driver.state.spawns[first], driver.state.spawns[max(driver.live)]):
        for _ in range(2):
            driver.exit(driver.state.slots[wid].spawn_id)
            driver.run()
    driver.wake()
    driver.run()
    driver.exit(oldest(driver))
    assert "failed" == driver.state.status

    driver.wake()

    assert {} == driver.state.slots
    assert not driver.asked
    driver.check_fold()


def test_warmup_lies_before_the_replacement_of_a_short_life_too() -> None:
    """No spawn goes past the timer that spaces them."""
    driver = Driver(numprocesses=2, warmup_delay=S, min_uptime=60 * S)
    driver.tell(c.WatcherStart())
    while driver.asked or driver.timers:
        driver.run()
        driver.wake()
    assert "active" == driver.state.status

    driver.exit(oldest(driver))

    assert 1 == len(driver.asked)
    assert "warmup" in driver.timers
    driver.check_fold()


def test_manage_ends_those_that_have_grown_too_old() -> None:
    """`max_age` and its variance past: one grace timer for all of them."""
    driver = started(numprocesses=3, max_age=60 * S, max_age_variance=S)
    olds = list(driver.live)
    driver.now += 62 * S

    command = driver.tell(c.WatcherManage())

    assert olds == driver.signals(SIGTERM)
    driver.rest()
    assert "done" == driver.finished[command].outcome
    assert 3 == len(driver.live)
    driver.check_fold()


def test_age_does_not_matter_to_what_ends_anyway() -> None:
    """An age timer that wakes under a stop asks for nothing more."""
    driver = started(numprocesses=2, max_age=60 * S, graceful_timeout=600 * S)
    driver.tell(c.WatcherStop())
    said = len(driver.said)

    driver.wake()

    assert said == len(driver.said)


def test_a_replacement_that_arrives_in_a_reload_is_one_of_the_old() -> None:
    """It was asked for before the reload began, so the reload replaces it too."""
    driver = started(numprocesses=2)
    driver.exit(oldest(driver), after=5 * S)

    command = driver.tell(c.WatcherReload())
    driver.rest()

    assert 2 == len(driver.reply(command)["started"])
    assert 2 == len(driver.live)
    driver.check_fold()


def test_without_respawn_a_short_life_is_not_replaced() -> None:
    """It counts as short all the same; the last one stops the watcher."""
    driver = started(numprocesses=2, respawn=False, backoff=S)
    driver.exit(oldest(driver))
    assert not driver.asked
    driver.exit(oldest(driver))
    assert "stopped" == driver.state.status
    assert not driver.timers
    driver.check_fold()
