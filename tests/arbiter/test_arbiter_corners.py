"""Room: tests -- the arbiter's core where roads cross: jobs behind jobs, ends, late answers.

Knows:     tests/arbiter/arbiter_driver.py, arbiter.core, bus.commands, bus.events.
Known by:  nobody.
Never:     sleeps, forks, mocks.

With test_arbiter_core.py these reach every branch of the core's modules (`tools/check.py cores`).
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arbiter_driver import Daemon, configuration, configured, spec

from circus.arbiter import core
from circus.arbiter.differences import difference
from circus.arbiter.state import Entry
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Body, Draft
from circus.bus.values import NS_PER_SECOND as S


def refused_of(daemon: Daemon) -> e.CommandRefused:
    """The last thing said was a refusal: this one."""
    body = daemon.said[-1].body
    assert isinstance(body, e.CommandRefused), body
    return body


def test_a_core_that_was_asked_to_begin_anew_is_told_done_by_the_next() -> None:
    """The job is open when this incarnation ends; the one that resumes from its fold ends it."""
    daemon = configured(spec("a"))
    command = daemon.tell(c.CoreRestart(keeper=True))
    (asked,) = [r.body for r in daemon.said if isinstance(r.body, e.CoreRestarting)]
    assert e.CoreRestarting(keeper=True) == asked
    assert command not in daemon.finished
    (told,) = core.resume(daemon.state)
    assert e.CommandFinished(command) == told.body
    assert ("client", "x") == (told.to, told.id)
    daemon.check_fold()


def test_a_core_that_comes_back_has_nothing_to_ask_for() -> None:
    """Open jobs wait for answers and timers, which are records and come again."""
    daemon = configured(spec("a"))
    assert () == core.resume(daemon.state)


def test_a_record_that_is_nobodys_business_decides_nothing() -> None:
    """An input that the table does not list has an empty decision."""
    daemon = configured(spec("a"))
    said = len(daemon.said)
    daemon.tell(e.CoreReady(), actor="core")
    assert said == len(daemon.said)


def test_add_without_start_is_done_at_once() -> None:
    """The watcher exists and stays stopped; nobody is asked anything."""
    daemon = configured()
    command = daemon.tell(c.ArbiterAdd(spec("web")))
    assert daemon.finished[command] == e.CommandFinished(command)
    assert ["web"] == list(daemon.state.entries)
    assert not daemon.asked
    daemon.check_fold()


def test_start_of_all_leaves_alone_what_does_not_start_by_itself() -> None:
    """By its own name it starts; a command that concerns nobody is done at once."""
    daemon = configured(spec("a"), spec("b", autostart=False))
    daemon.tell(c.ArbiterStart())
    assert daemon.names() == ["watcher.start a"]
    daemon.answer_all()
    daemon = configured(spec("b", autostart=False))
    command = daemon.tell(c.ArbiterStart())
    assert daemon.finished[command] == e.CommandFinished(command)
    assert not daemon.asked


def test_restart_of_all_leaves_alone_what_an_operator_has_stopped() -> None:
    """Desired state again; a restart by name starts it."""
    daemon = configured(spec("a"), spec("b"))
    daemon.tell(c.ArbiterStop(("b",)))
    daemon.answer_all()
    daemon.tell(c.ArbiterRestart())
    assert daemon.names() == ["watcher.restart a"]
    daemon.answer_all()
    daemon.tell(c.ArbiterRestart(("b",)))
    daemon.answer_all()
    assert not daemon.state.entries["b"].halted
    daemon.check_fold()


def test_what_an_operator_has_stopped_stays_stopped_under_one_new_file_after_another() -> None:
    """Another priority makes another watcher of it, twice: neither is started."""
    daemon = configured(spec("a"), spec("b"))
    daemon.tell(c.ArbiterStop(("b",)))
    daemon.answer_all()
    for priority in (1, 2):
        daemon.tell(configuration(spec("a"), spec("b", priority=priority)))
        assert daemon.names() == ["watcher.remove b"]
        daemon.answer_all()
        assert daemon.state.entries["b"].halted
        assert not daemon.asked
    daemon.check_fold()


def test_an_option_newer_than_the_record_of_a_watcher_is_no_change() -> None:
    """What an older version has recorded lacks it, and the watcher had its default: an upgrade
    replaces nobody, unless the file says something else."""
    wanted = spec("web")
    old = {name: value for name, value in wanted.items() if name not in ("use_sockets", "sockets")}
    entry = Entry("web", "watcher:web#1", old, 1)
    assert {} == difference(entry, wanted)
    assert {"use_sockets": True} == difference(entry, {**wanted, "use_sockets": True})


def test_hundreds_of_watchers_are_stopped_in_several_decisions() -> None:
    """At most 256 effects in one; each is asked once."""
    names = [f"w{number:03}" for number in range(600)]
    daemon = configured(*(spec(name) for name in names))
    command = daemon.tell(c.ArbiterStop())
    assert sorted(f"watcher.stop {name}" for name in names) == sorted(daemon.names())
    for _, drafts, _ in daemon.history:
        assert sum(isinstance(draft.body, c.WatcherStop) for draft in drafts) <= 256
    daemon.answer_all()
    assert daemon.finished[command].outcome == "done"
    daemon.check_fold()


def test_a_reload_waits_for_the_warmup_of_the_start_before_it() -> None:
    """One timer spaces all starts; the next job follows when the first has sent its children."""
    daemon = Daemon()
    first = daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    second = daemon.tell(c.ArbiterReload())
    assert daemon.names() == ["watcher.start a"]
    while daemon.asked or daemon.timers:
        daemon.answer_all()
        if daemon.timers:
            daemon.wake()
    children = [r.name for r in daemon.said if isinstance(r.body, core.CHILDREN)]
    assert ["watcher.start"] * 2 + ["watcher.reload"] * 2 == children
    assert {first, second} <= set(daemon.finished)
    assert 0 == daemon.state.warmup
    daemon.check_fold()


@pytest.mark.parametrize(
    "command", [c.ArbiterStop(("a",)), c.ArbiterRemove("a"), c.ArbiterStop(("b",))]
)
def test_a_command_in_a_warmup_does_not_stop_the_start(command: Body) -> None:
    """What is asked of one watcher meanwhile has nothing to do with the timer of the others."""
    daemon = Daemon()
    start = daemon.tell(configuration(spec("a"), spec("b"), spec("c"), warmup_delay=S))
    daemon.answer()
    daemon.tell(command)
    while daemon.asked or daemon.timers:
        daemon.answer_all()
        if daemon.timers:
            daemon.wake()
    started = [r.watcher for r in daemon.said if isinstance(r.body, c.WatcherStart)]
    assert ["a", "b", "c"] == started
    assert daemon.finished[start].outcome == "done"
    assert 0 == daemon.state.warmup
    daemon.check_fold()


def test_a_warmup_whose_watchers_are_gone_ends_by_itself() -> None:
    """The timer wakes and finds nothing left to start: it is disarmed, and the job is done."""
    daemon = Daemon()
    start = daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.answer()
    daemon.tell(c.ArbiterRemove("b"))
    daemon.answer_all()
    daemon.wake()
    assert daemon.finished[start].outcome == "done"
    assert 0 == daemon.state.warmup
    again = daemon.tell(c.ArbiterReload())
    daemon.answer_all()
    assert daemon.finished[again].outcome == "done"
    daemon.check_fold()


def test_a_start_of_which_nothing_is_left_is_done_when_its_turn_comes() -> None:
    """What it has still to start is removed while the timer runs; it has an asker to answer."""
    daemon = Daemon()
    daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.answer_all()
    daemon.wake()
    daemon.answer_all()
    start = daemon.tell(c.ArbiterStart(("a", "b")))
    daemon.answer()
    daemon.tell(c.ArbiterRemove("b"))
    daemon.answer()
    assert start not in daemon.finished
    daemon.wake()
    assert daemon.finished[start].outcome == "done"
    daemon.check_fold()


def test_a_reload_by_signal_of_which_nothing_is_left_is_forgotten() -> None:
    """Nobody asked, so nobody is told; a job that stays would be folded and kept for ever."""
    daemon = Daemon()
    daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S, source="library"))
    daemon.answer_all()
    daemon.wake()
    daemon.answer_all()
    daemon.tell(e.SignalReceived(SIGHUP), actor="core", id=None)
    daemon.answer()
    assert 1 == len(daemon.state.jobs)
    daemon.tell(c.ArbiterRemove("b"))
    daemon.answer_all()
    assert {} == daemon.state.jobs
    daemon.check_fold()


def test_a_warmup_timer_that_was_armed_before_wakes_nobody() -> None:
    """Only the arming in force counts."""
    daemon = Daemon()
    daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    said = len(daemon.said)
    daemon.tell(e.TimerWoke("warmup", 1), actor="clock", id=None)
    daemon.tell(e.TimerWoke("other", daemon.state.warmup), actor="clock", id=None)
    assert said == len(daemon.said)


def test_a_configuration_waits_for_what_it_changes() -> None:
    """It is finished when the last watcher that it set has answered, and not before."""
    daemon = configured(spec("a"), spec("b"))
    command = daemon.tell(configuration(spec("a", numprocesses=3), spec("b")))
    assert daemon.names() == ["watcher.set a"]
    assert command not in daemon.finished
    daemon.answer_all()
    assert daemon.finished[command].outcome == "done"
    daemon.check_fold()


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    """Old mail: of a job that is over, or a child that has answered already."""
    daemon = configured(spec("a"))
    said = len(daemon.said)
    daemon.tell(e.CommandFinished(4711), actor="watcher:a#3", id="999")
    daemon.tell(e.CommandFinished(4711), actor="watcher:a#3", id=b"not ours")
    assert said == len(daemon.said)


@pytest.mark.parametrize(("grace", "asked"), [(None, 0), (S, 2)])
def test_a_second_quit_joins_the_first(grace: int | None, asked: int) -> None:
    """It may shorten the grace; nothing else is asked twice."""
    daemon = configured(spec("a"), spec("b"))
    first = daemon.tell(c.ArbiterQuit())
    before = len(daemon.asked)
    second = daemon.tell(c.ArbiterQuit(grace))
    assert daemon.finished[second] == e.CommandFinished(second)
    assert asked == len(daemon.asked) - before
    daemon.answer_all()
    assert daemon.finished[first].outcome == "done"
    daemon.check_fold()


def test_a_daemon_without_watchers_is_stopped_at_once() -> None:
    """Whoever asks: a client hears so, a signal needs no answer."""
    daemon = configured()
    command = daemon.tell(c.ArbiterQuit())
    assert daemon.state.phase.value == "stopped"
    assert daemon.finished[command] == e.CommandFinished(command)
    daemon = configured()
    daemon.tell(e.SignalReceived(SIGTERM), actor="core", id=None)
    assert daemon.state.phase.value == "stopped"
    assert daemon.state.jobs == {}
    daemon.check_fold()


def test_a_daemon_that_stops_takes_no_more_commands() -> None:
    """The refusal says so, with Circus's number."""
    daemon = configured(spec("a"))
    daemon.tell(c.ArbiterQuit())
    daemon.tell(c.ArbiterStart())
    assert refused_of(daemon).reason == "cannot start: circusd is stopping; start it again first"


def test_a_command_past_its_deadline_has_no_effect() -> None:
    """Nobody waits for it any more."""
    daemon = configured(spec("a"))
    late = Draft(c.ArbiterStop(), "arbiter", id="x", deadline=daemon.now - 1)
    daemon.decide(daemon.stamp(late, "client", 0))
    assert refused_of(daemon).reason == "cannot stop: its deadline has passed; send it again"
    assert not daemon.asked


@pytest.mark.parametrize(
    "draft",
    [
        Draft(e.CommandFinished(4711)),
        Draft(e.ArbiterStarted(), id="4711"),
        Draft(e.CoreRestarting()),
        Draft(c.ArbiterConfigure((spec("nobody"),), {}, "d"), "arbiter"),
        Draft(c.WatcherStop(), "watcher:nobody#9", "nobody", id="4711"),
        Draft(c.Continue(), "arbiter", id="4711:1:done"),
        Draft(e.CoreReady()),
    ],
)
def test_the_fold_lets_alone_what_it_cannot_place(draft: Draft) -> None:
    """It is total: a record about nothing that it knows leaves the state as it was."""
    daemon = configured(spec("a"))
    before = copy.deepcopy(daemon.state)
    assert before == core.evolve(daemon.state, daemon.stamp(draft, "arbiter", 4711))
