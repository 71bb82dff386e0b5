"""Room: tests -- the watcher's core, given, when, then.

Knows:     tests/watcher/driver.py, bus.commands.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from driver import Driver, started

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.values import NS_PER_SECOND as S


def test_a_start_fills_every_slot_and_answers_the_pids() -> None:
    """Circus's reply of `start`: started and kept."""
    driver = Driver(numprocesses=3)
    command = driver.tell(c.WatcherStart())
    assert driver.state.status == "starting"
    driver.run()
    assert sorted(driver.state.slots) == [1, 2, 3]
    reply = {"started": tuple(sorted(driver.live.values())), "kept": ()}
    assert driver.finished[command] == e.CommandFinished(command, "done", reply)
    driver.check_fold()


def test_a_thousand_spawns_take_several_decisions() -> None:
    """At most 256 effects in one decision (the driver asserts it), all spawned in the end."""
    driver = started(numprocesses=1000)
    assert len(driver.live) == 1000
    driver.tell(c.WatcherStop())
    assert len(driver.signals(SIGTERM)) == 1000
    driver.obey()
    assert driver.state.status == "stopped"
    driver.check_fold()


def test_a_death_is_replaced_in_its_slot_at_once() -> None:
    """One record answers an exit after a long life: the spawn that replaces it."""
    driver = started(numprocesses=2)
    first = next(iter(driver.live))
    driver.exit(first, after=5 * S)
    assert driver.said[-1].body == c.ProcessSpawn(driver.state.digest, 1, first)
    assert driver.said[-1].slot == 1
    driver.run()
    assert len(driver.live) == 2


def test_the_second_short_life_in_a_row_is_backed_off_and_doubled() -> None:
    """Backoff begins with the second short life."""
    driver = started(backoff=S // 10)
    for _ in range(4):
        driver.exit(next(iter(driver.live)))
        if not driver.asked:
            driver.wake()
        driver.run()
    waits = [r.body for r in driver.said if isinstance(r.body, e.SlotWaiting)]
    assert [wait.failures for wait in waits] == [2, 3, 4]
    for doubled, wait in enumerate(waits):
        assert S // 10 << doubled <= wait.delay <= (S // 10 << doubled) * 1.1
    driver.check_fold()


def test_give_up_fails_the_watcher_and_start_clears_it() -> None:
    """A failed watcher waits for an operator."""
    driver = started(give_up=2)
    driver.exit(next(iter(driver.live)))
    driver.run()
    driver.exit(next(iter(driver.live)))
    assert driver.state.status == "failed"
    driver.tell(c.WatcherRetry())
    driver.run()
    assert driver.state.status == "active"


def test_failed_spawns_end_with_max_retry() -> None:
    """One try and max_retry more, at once without backoff, as in Circus."""
    driver = Driver(max_retry=2)
    command = driver.tell(c.WatcherStart())
    for _ in range(3):
        driver.spawn_failed()
    assert not driver.asked
    assert driver.state.status == "failed"
    assert driver.finished[command].outcome == "failed"
    driver.check_fold()


def test_endless_retries_never_spin() -> None:
    """max_retry -1 without backoff waits longer and longer, at most about a second."""
    driver = Driver(max_retry=-1)
    command = driver.tell(c.WatcherStart())
    for _ in range(20):
        driver.spawn_failed()
        driver.wake()
    delays = [r.body.delay for r in driver.said if isinstance(r.body, e.SlotWaiting)]
    assert delays[0] >= 10_000_000
    assert S <= delays[-1] <= 1.1 * S
    assert driver.finished[command].outcome == "failed"


def test_a_stop_kills_after_the_grace_and_never_earlier() -> None:
    """One shared timer; SIGKILL only when it wakes."""
    driver = started(numprocesses=3)
    command = driver.tell(c.WatcherStop())
    assert len(driver.timers) == 1
    assert driver.signals(SIGKILL) == []
    driver.wake()
    assert driver.signals(SIGKILL) == list(driver.live)
    assert command not in driver.finished
    driver.obey()
    assert driver.finished[command] == e.CommandFinished(command)
    assert driver.state.status == "stopped"
    driver.check_fold()


def test_a_second_stop_with_less_grace_shortens_the_first() -> None:
    """An impatient operator is heard."""
    driver = started(numprocesses=2)
    driver.tell(c.WatcherStop())
    began = driver.now
    driver.tell(c.WatcherStop(S))
    driver.wake()
    assert driver.now == began + S
    assert driver.signals(SIGKILL) == list(driver.live)
    driver.obey()
    assert set(driver.finished) == set(driver.accepted)


def test_a_stop_during_start_signals_the_spawn_in_flight() -> None:
    """Nothing that was asked for stays behind."""
    driver = Driver(numprocesses=2)
    start = driver.tell(c.WatcherStart())
    driver.tell(c.WatcherStop())
    assert len(driver.signals(SIGTERM)) == 2
    assert driver.finished[start].outcome == "superseded"
    driver.rest()
    assert driver.live == {}
    assert driver.state.status == "stopped"
    driver.check_fold()


def test_a_start_during_stop_waits_for_its_end() -> None:
    """Commands to one watcher queue."""
    driver = started(numprocesses=2)
    driver.tell(c.WatcherStop())
    start = driver.tell(c.WatcherStart())
    assert not driver.asked
    driver.rest()
    assert driver.finished[start].outcome == "done"
    assert len(driver.live) == 2


def test_a_restart_stops_all_before_it_starts_any() -> None:
    """Never more than numprocesses."""
    driver = started(numprocesses=2)
    old = sorted(driver.live.values())
    command = driver.tell(c.WatcherRestart())
    driver.rest()
    new = sorted(driver.live.values())
    reply = {"stopped": tuple(old), "started": tuple(new), "kept": ()}
    assert driver.finished[command].reply == reply
    assert driver.peak == 2


def test_a_graceful_reload_spawns_the_new_ones_first() -> None:
    """Slots n+1..2n, and then the old ones end."""
    driver = started(numprocesses=2)
    old = sorted(driver.live.values())
    command = driver.tell(c.WatcherReload())
    assert driver.signals(SIGTERM) == []
    driver.rest()
    assert sorted(driver.state.slots) == [3, 4]
    new = sorted(driver.live.values())
    reply = {"stopped": tuple(old), "started": tuple(new), "kept": ()}
    assert driver.finished[command].reply == reply
    assert driver.peak == 4
    driver.check_fold()


@pytest.mark.parametrize("options", [{"singleton": True}, {"numprocesses": 3}])
def test_a_sequential_reload_replaces_one_after_the_other(options: dict[str, object]) -> None:
    """A singleton always goes this way: two of it never live."""
    driver = started(**options)
    most = len(driver.live)
    command = driver.tell(c.WatcherReload(sequential=True))
    driver.rest()
    assert driver.peak == most
    assert len(driver.reply(command)["stopped"]) == most
    assert len(driver.reply(command)["started"]) == most


def test_a_reload_with_send_hup_keeps_every_process() -> None:
    """SIGHUP each."""
    driver = started(numprocesses=2, send_hup=True)
    command = driver.tell(c.WatcherReload())
    assert driver.signals(SIGHUP) == list(driver.live)
    assert driver.reply(command)["kept"] == tuple(sorted(driver.live.values()))


def test_a_stopped_watcher_stays_stopped_under_reload() -> None:
    """What an operator stopped is started by an operator."""
    driver = Driver()
    command = driver.tell(c.WatcherReload())
    assert not driver.asked
    assert driver.finished[command].outcome == "done"


def test_incr_and_decr_answer_the_number() -> None:
    """Decr ends the oldest."""
    driver = started(numprocesses=2)
    oldest = next(iter(driver.live))
    command = driver.tell(c.WatcherIncr(2))
    driver.run()
    assert driver.finished[command].reply == {"numprocesses": 4}
    command = driver.tell(c.WatcherDecr(1))
    assert driver.signals(SIGTERM) == [oldest]
    driver.rest()
    assert driver.finished[command].reply == {"numprocesses": 3}
    driver.check_fold()


def test_a_singleton_refuses_more_politely() -> None:
    """Circus's reply."""
    driver = started(singleton=True)
    command = driver.tell(c.WatcherIncr())
    assert driver.finished[command].reply == {"numprocesses": 1, "singleton": True}


def test_warmup_spawns_one_at_a_time() -> None:
    """The next only when the timer wakes."""
    driver = Driver(numprocesses=3, warmup_delay=S)
    command = driver.tell(c.WatcherStart())
    assert len(driver.asked) == 1
    for _ in range(3):
        driver.run()
        driver.wake()
    assert len(driver.live) == 3
    assert command in driver.finished
    assert driver.state.warmup == 0
    driver.check_fold()


def test_an_old_process_is_killed_first_and_then_replaced() -> None:
    """max_age, as in Circus."""
    driver = started(max_age=60 * S, max_age_variance=0)
    old = next(iter(driver.live))
    driver.wake()
    assert driver.signals(SIGTERM) == [old]
    driver.rest()
    assert len(driver.live) == 1
    assert old not in driver.live


def test_set_replaces_processes_only_where_the_option_costs_it() -> None:
    """LIVE options touch nothing, RELOAD options replace gracefully."""
    driver = started(numprocesses=2)
    before = dict(driver.live)
    driver.tell(c.WatcherSet({"graceful_timeout": S}))
    driver.rest()
    assert driver.live == before
    command = driver.tell(c.WatcherSet({"cmd": "sleep 8"}))
    driver.rest()
    assert not set(driver.live) & set(before)
    assert driver.finished[command] == e.CommandFinished(command)
    assert driver.state.spec.cmd == "sleep 8"
    driver.check_fold()


@pytest.mark.parametrize("options", [{"nope": 1}, {"priority": 2}])
def test_set_refuses_what_cannot_be_set(options: dict[str, object]) -> None:
    """Unknown and fixed options."""
    driver = started()
    driver.tell(c.WatcherSet(options))
    refused = driver.said[-1].body
    assert isinstance(refused, e.CommandRefused)
    assert refused.reason.startswith("cannot set web")


def test_kill_replaces_what_it_ended_and_signal_ends_nothing() -> None:
    """Neither waits in the queue."""
    driver = started(numprocesses=2)
    driver.tell(c.WatcherSignal(12))
    assert driver.signals(12) == list(driver.live)
    before = dict(driver.live)
    command = driver.tell(c.WatcherKill())
    assert command not in driver.finished
    driver.rest()
    assert command in driver.finished
    assert len(driver.live) == 2
    assert not set(driver.live) & set(before)
    driver.check_fold()


def test_without_respawn_the_watcher_stops_with_its_last_process() -> None:
    """Nothing is replaced."""
    driver = started(numprocesses=2, respawn=False)
    for spawn_id in list(driver.live):
        driver.exit(spawn_id, after=5 * S)
    assert not driver.asked
    assert driver.state.status == "stopped"
    driver.check_fold()


def test_a_removed_watcher_never_acts_again() -> None:
    """Stopped, removed, deaf."""
    driver = started()
    command = driver.tell(c.WatcherRemove())
    driver.rest()
    assert command in driver.finished
    assert driver.state.status == "removed"
    driver.tell(c.WatcherStart())
    assert isinstance(driver.said[-1].body, e.CommandRefused)


def test_a_late_command_is_refused() -> None:
    """Past its deadline it has no effect."""
    driver = Driver()
    driver.tell(c.WatcherStart(), deadline=driver.now - 1)
    assert isinstance(driver.said[-1].body, e.CommandRefused)
    assert not driver.asked


def test_an_exit_of_an_unknown_spawn_decides_nothing() -> None:
    """Old mail."""
    driver = started()
    count = len(driver.said)
    driver.tell(e.ProcessLost(5, "gone"), spawn_id=999)
    assert len(driver.said) == count


def test_a_spawn_that_never_ran_is_asked_for_again() -> None:
    """The core died before the keeper heard of it: nobody's failure."""
    driver = Driver()
    driver.tell(c.WatcherStart())
    driver.tell(e.ProcessNeverRun("the core died"), spawn_id=driver.asked.popleft())
    assert driver.said[-1].name == "process.spawn"
    driver.run()
    assert driver.state.status == "active"
    driver.check_fold()


def test_a_lost_process_is_replaced_and_counts_as_no_failure() -> None:
    """Nobody can say how long it lived."""
    driver = started(give_up=1)
    spawn_id, pid = driver.live.popitem()
    driver.tell(e.ProcessLost(pid, "another boot"), spawn_id=spawn_id)
    driver.run()
    assert driver.state.status == "active"
    assert len(driver.live) == 1


def test_a_command_behind_a_reload_begins_when_it_ends() -> None:
    """The queue goes on by itself."""
    driver = started(numprocesses=2)
    driver.tell(c.WatcherReload())
    command = driver.tell(c.WatcherIncr())
    assert command not in driver.finished
    driver.rest()
    assert driver.finished[command].reply == {"numprocesses": 3}
    assert len(driver.live) == 3
    driver.check_fold()
