"""Room: tests -- the watcher's core with crowds, and with what stands beside the queue.

Knows:     tests/watcher/driver.py, bus.commands, watcher.core.
Known by:  nobody.
Never:     sleeps, forks, mocks.

With test_watcher_core.py these reach every branch of the core's modules (`tools/check.py cores`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from driver import started

from circus.bus import commands as c
from circus.bus.record import Draft
from circus.bus.values import NS_PER_SECOND as S

CROWD = 600  # more than two decisions can carry


# --- crowds ---------------------------------------------------------------------------------------


def test_a_crowd_that_ignores_term_is_killed_in_several_decisions() -> None:
    """Each gets SIGKILL once, though one decision cannot name them all."""
    driver = started(numprocesses=CROWD)
    command = driver.tell(c.WatcherStop())

    driver.wake()

    assert sorted(driver.live) == sorted(driver.signals(SIGKILL))
    driver.obey()
    assert "done" == driver.finished[command].outcome
    driver.check_fold()


def test_a_signal_to_a_crowd_reaches_each_of_it_once() -> None:
    """It is finished when the last one has been signalled."""
    driver = started(numprocesses=CROWD)

    command = driver.tell(c.WatcherSignal(12))

    assert list(driver.live) == driver.signals(12)
    assert "done" == driver.finished[command].outcome
    driver.check_fold()


def test_two_reasons_to_go_on_are_one_reason() -> None:
    """A crowd whose grace is over and a signal under way: one `actor.continue` a decision."""
    driver = started(numprocesses=CROWD)
    kill = driver.tell(c.WatcherKill(grace=S))
    signal = driver.stamp(Draft(c.WatcherSignal(12), driver.state.address, id="x"), "client", 0)
    driver.decide(signal)
    driver.now += 2 * S

    driver.settle()

    assert sorted(driver.live) == sorted(driver.signals(SIGKILL)) == sorted(driver.signals(12))
    for _, _, said in driver.history:
        assert sum(isinstance(own.body, c.Continue) for own in said) <= 1
    driver.rest()
    assert {kill, signal.seq} <= set(driver.finished)
    driver.check_fold()


def test_a_crowd_is_told_to_hang_up_in_several_decisions() -> None:
    """`send_hup`: who ends meanwhile is not waited for."""
    driver = started(numprocesses=CROWD, send_hup=True)
    command = driver.stamp(Draft(c.WatcherReload(), driver.state.address, id="x"), "client", 0)
    driver.decide(command)
    first = set(driver.signals(SIGHUP))
    gone = max(driver.live)
    assert gone not in first

    driver.inbox.clear()  # the exit overtakes the `actor.continue`
    driver.exit(gone, after=5 * S)
    driver.tell(c.Continue())
    driver.rest()

    assert CROWD - 1 == len(set(driver.signals(SIGHUP)))
    assert "done" == driver.finished[command.seq].outcome
    driver.check_fold()


# --- asides ---------------------------------------------------------------------------------------


def test_kill_and_signal_may_mean_one_pid() -> None:
    """The others run on; a pid that is not there is no reason to wait."""
    driver = started(numprocesses=3)
    target, pid = next(iter(driver.live.items()))

    driver.tell(c.WatcherSignal(12, pid=pid))
    killed = driver.tell(c.WatcherKill(pid=pid))
    nobody = driver.tell(c.WatcherKill(pid=4))

    assert [target] == driver.signals(12) == driver.signals(SIGTERM)
    assert nobody in driver.finished
    driver.rest()
    assert killed in driver.finished
    driver.check_fold()


@pytest.mark.parametrize(
    ("command", "scope"),
    [
        (c.WatcherSignal(12, child_pid=7), "children"),
        (c.WatcherSignal(12, children=True), "children"),
        (c.WatcherSignal(12, children=True, recursive=True), "descendants"),
        (c.WatcherSignal(12, recursive=True), "tree"),
        (c.WatcherSignal(12), "process"),
    ],
)
def test_a_signal_says_whom_of_a_family_it_means(command: c.WatcherSignal, scope: str) -> None:
    """In the words of `process.signal`."""
    driver = started()
    driver.tell(command)
    signals = [r.body for r in driver.said if isinstance(r.body, c.ProcessSignal)]

    assert [scope] == [signal.scope for signal in signals]
    assert [command.child_pid] == [signal.child_pid for signal in signals]


def test_hang_up_sent_by_hand_is_not_a_reloads() -> None:
    """With `send_hup` and a queue whose head is no reload the aside alone counts it."""
    driver = started(send_hup=True)
    stop = driver.tell(c.WatcherStop())

    aside = driver.tell(c.WatcherSignal(int(SIGHUP)))

    assert aside in driver.finished
    driver.rest()
    assert stop in driver.finished
    driver.check_fold()


def test_a_removal_supersedes_the_kill_that_it_does_not_wait_for() -> None:
    """`rm --nostop` leaves the processes alone: a kill that waits for them would wait for ever."""
    driver = started(numprocesses=2)
    kill = driver.tell(c.WatcherKill())

    remove = driver.tell(c.WatcherRemove(nostop=True))

    assert "superseded" == driver.finished[kill].outcome
    assert "done" == driver.finished[remove].outcome
    assert "removed" == driver.state.status


def test_a_kill_ends_with_the_last_process_of_what_is_removed() -> None:
    """Both waited for the same end, and each is told of it once."""
    driver = started()
    kill = driver.tell(c.WatcherKill())
    remove = driver.tell(c.WatcherRemove())

    driver.rest()

    assert "done" == driver.finished[kill].outcome == driver.finished[remove].outcome
    assert "removed" == driver.state.status
    driver.check_fold()
