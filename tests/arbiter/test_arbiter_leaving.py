"""Room: tests -- watchers on their way out: nobody sends for them again, the end waits for them.

Knows:     tests/arbiter/arbiter_driver.py, bus.commands, bus.events.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGTERM

sys.path.insert(0, str(Path(__file__).parent))

from arbiter_driver import Daemon, configuration, configured, spec

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.values import NS_PER_SECOND as S


def names_said(daemon: Daemon) -> list[str]:
    """What the arbiter has said, by name."""
    return [record.name for record in daemon.said]


def test_the_end_waits_for_a_watcher_that_is_being_removed() -> None:
    """It is not asked to stop again: it may be gone before it could answer."""
    daemon = configured(spec("a"), spec("b"))
    daemon.tell(c.ArbiterRemove("a"))
    removal = daemon.asked.popleft()
    daemon.tell(e.SignalReceived(int(SIGTERM)), actor="reaper", id=None)
    assert daemon.names() == ["watcher.stop b"]

    daemon.answer_all()
    assert "arbiter.stopped" not in names_said(daemon)
    daemon.asked.append(removal)
    daemon.answer_all()
    assert "arbiter.stopped" in names_said(daemon)
    daemon.check_fold()


def test_the_end_waits_where_all_are_being_removed() -> None:
    """Nobody is left to ask, but somebody still to wait for."""
    daemon = configured(spec("a"))
    daemon.tell(c.ArbiterRemove("a"))
    daemon.tell(c.ArbiterQuit())
    assert "arbiter.stopped" not in names_said(daemon)
    daemon.answer_all()
    assert "arbiter.stopped" in names_said(daemon)
    daemon.check_fold()


def test_what_was_to_be_started_and_is_removed_meanwhile_is_waited_for_no_more() -> None:
    """The job of which nothing is left ends when its turn comes."""
    daemon = configured()
    daemon.tell(c.ArbiterAdd(spec("a")))
    daemon.tell(c.ArbiterAdd(spec("b")))
    daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.tell(c.ArbiterStart(("a",)))
    start = daemon.tell(c.ArbiterStart(("a", "b")))
    daemon.tell(c.ArbiterRemove("b"))
    daemon.answer_all()
    while daemon.timers:
        daemon.wake()
        daemon.answer_all()
    assert daemon.finished[start].outcome == "done"
    daemon.check_fold()


def test_jobs_whose_watcher_is_removed_meanwhile_end_behind_one_that_has_work() -> None:
    """What is sent last wakes them: they have nothing of their own to wait for."""
    daemon = Daemon()
    daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.answer_all()
    before = daemon.tell(c.ArbiterReload(("b",)))
    bereft = [daemon.tell(c.ArbiterReload(("a",))), daemon.tell(c.ArbiterRestart(("a",)))]
    daemon.tell(c.ArbiterRemove("a"))
    daemon.answer_all()
    while daemon.timers:
        daemon.wake()
        daemon.answer_all()
    assert {"done"} == {daemon.finished[job].outcome for job in (before, *bereft)}
    assert daemon.state.jobs == {}
    daemon.check_fold()


def test_the_start_of_one_configuration_does_not_end_anothers() -> None:
    """Two at once: each has its own end."""
    daemon = Daemon()
    first = daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    second = daemon.tell(configuration(spec("a"), spec("b"), warmup_delay=S))
    daemon.answer_all()
    while daemon.timers:
        daemon.wake()
        daemon.answer_all()
    assert "done" == daemon.finished[first].outcome
    assert "done" == daemon.finished[second].outcome
    daemon.check_fold()
