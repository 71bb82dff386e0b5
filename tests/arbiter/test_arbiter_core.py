"""Room: tests -- the arbiter's core with watchers that answer when the test says.

Knows:     tests/arbiter/arbiter_driver.py, bus.commands, bus.events.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGHUP, SIGTERM

sys.path.insert(0, str(Path(__file__).parent))

from arbiter_driver import Daemon, configuration, configured, spec

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.values import NS_PER_SECOND as S


def test_watchers_start_high_priority_first_and_then_in_file_order() -> None:
    """autostart = False is left alone."""
    daemon = Daemon()
    specs = spec("a"), spec("B", priority=5), spec("c", autostart=False), spec("d")
    command = daemon.tell(configuration(*specs))
    assert daemon.names() == ["watcher.start B", "watcher.start a", "watcher.start d"]
    assert any(isinstance(r.body, e.ArbiterStarted) for r in daemon.said)
    assert command not in daemon.finished
    daemon.answer_all()
    assert daemon.finished[command] == e.CommandFinished(command)
    assert daemon.state.jobs == {}
    daemon.check_fold()


def test_warmup_lies_between_two_starts() -> None:
    """One, and the next when the timer wakes."""
    daemon = Daemon()
    command = daemon.tell(configuration(spec("a"), spec("b"), spec("c"), warmup_delay=S))
    for name in ("a", "b", "c"):
        assert daemon.names() == [f"watcher.start {name}"]
        daemon.answer()
        if daemon.timers:
            daemon.wake()
    assert command in daemon.finished
    daemon.check_fold()


def test_the_same_configuration_again_does_nothing() -> None:
    """Also after a restart of the core."""
    daemon = configured(spec("a"), spec("b"))
    command = daemon.tell(configuration(spec("a"), spec("b")))
    assert not daemon.asked
    assert command in daemon.finished


def test_a_changed_configuration_is_applied_field_by_field() -> None:
    """set for what can be set, remove and add for what is fixed, start for the new."""
    daemon = configured(spec("a"), spec("b"), spec("gone"))
    new = spec("a", numprocesses=3), spec("b", priority=4), spec("fresh")
    command = daemon.tell(configuration(*new))
    assert sorted(daemon.names()) == [
        "watcher.remove b", "watcher.remove gone", "watcher.set a", "watcher.start fresh",
    ]  # fmt: skip
    daemon.answer_all()
    assert sorted(daemon.state.entries) == ["a", "b", "fresh"]
    assert daemon.state.entries["b"].spec["priority"] == 4
    assert command in daemon.finished
    assert daemon.tell(configuration(*new)) in daemon.finished
    assert not daemon.asked
    daemon.check_fold()


def test_one_start_nests_the_reply_under_info() -> None:
    """As Circus does."""
    daemon = configured(spec("a", autostart=False))
    command = daemon.tell(c.ArbiterStart(("a",)))
    daemon.answer({"started": [7], "kept": []})
    assert daemon.finished[command].reply == {"info": {"started": [7], "kept": []}}


def test_add_and_start_answers_at_the_top_level() -> None:
    """As Circus does; and a name is taken whatever its case."""
    daemon = configured()
    command = daemon.tell(c.ArbiterAdd(spec("Web"), start=True))
    daemon.answer({"started": [7], "kept": []})
    assert daemon.finished[command].reply == {"started": [7], "kept": []}
    daemon.tell(c.ArbiterAdd(spec("wEB")))
    refused = daemon.said[-1].body
    assert isinstance(refused, e.CommandRefused)
    assert (refused.errno, "already exist" in refused.reason) == (5, True)
    daemon.check_fold()


def test_unknown_names_are_refused() -> None:
    """Circus's text and number."""
    daemon = configured()
    daemon.tell(c.ArbiterStop(("x",)))
    refused = daemon.said[-1].body
    assert isinstance(refused, e.CommandRefused)
    assert (refused.errno, "program x not found" in refused.reason) == (3, True)


def test_remove_forgets_the_watcher_when_it_is_gone() -> None:
    """And the name is free again."""
    daemon = configured(spec("a"))
    command = daemon.tell(c.ArbiterRemove("A"))
    daemon.answer()
    assert command in daemon.finished
    assert daemon.state.entries == {}
    daemon.check_fold()


def test_quit_stops_low_priority_first_and_then_says_so() -> None:
    """All at once, in order."""
    daemon = configured(spec("a"), spec("b", priority=5))
    command = daemon.tell(c.ArbiterQuit())
    assert daemon.names() == ["watcher.stop a", "watcher.stop b"]
    daemon.answer_all()
    assert daemon.state.phase.value == "stopped"
    assert command in daemon.finished
    daemon.check_fold()


def test_term_is_honoured_while_starting_and_a_second_one_hurries() -> None:
    """Circus loses it; here the start is superseded."""
    daemon = Daemon()
    command = daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.asked.clear()
    daemon.tell(e.SignalReceived(SIGTERM), actor="core", id=None)
    assert daemon.finished[command].outcome == "superseded"
    assert daemon.names() == ["watcher.stop b", "watcher.stop a"]
    daemon.tell(e.SignalReceived(SIGTERM), actor="core", id=None)
    assert daemon.asked[-1].body == c.WatcherStop(S)
    daemon.answer_all()
    assert daemon.state.phase.value == "stopped"
    assert sum(isinstance(r.body, e.ArbiterStopped) for r in daemon.said) == 1
    daemon.check_fold()


def test_after_a_quit_only_what_the_operator_had_stopped_stays_stopped() -> None:
    """Desired state survives."""
    daemon = configured(spec("a"), spec("b"))
    daemon.tell(c.ArbiterStop(("b",)))
    daemon.answer_all()
    daemon.tell(c.ArbiterQuit())
    daemon.answer_all()
    daemon.tell(configuration(spec("a"), spec("b")))
    assert daemon.names() == ["watcher.start a"]


def test_hup_reloads_a_library_and_leaves_a_file_to_the_shell() -> None:
    """The shell answers HUP with arbiter.configure when there is a file."""
    daemon = configured(spec("a"))
    daemon.tell(e.SignalReceived(SIGHUP), actor="core", id=None)
    assert not daemon.asked
    daemon = configured(spec("a"), source="library")
    daemon.tell(e.SignalReceived(SIGHUP), actor="core", id=None)
    assert daemon.names() == ["watcher.reload a"]
    daemon.answer_all()
    assert daemon.state.jobs == {}
    daemon.check_fold()
