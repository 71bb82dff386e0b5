"""SIGTERM, SIGINT and SIGQUIT are honoured at any moment; SIGHUP reloads; nothing waits for
the slowest."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from circus.bus.record import fields_of

Launch = Callable[..., Any]

MANY: Final = """
[circus]
loglevel = "error"
warmup_delay = 0.01

[watcher.many]
cmd = "sleep 1000"
numprocesses = 200
warmup_delay = 0.005

[watcher.later]
cmd = "sleep 1000"
priority = -1
"""
CHURN: Final = """
[circus]
loglevel = "error"

[watcher.churn]
cmd = "true"
numprocesses = 20
backoff = 0
give_up = 0

[watcher.mass]
cmd = "sleep 1000"
numprocesses = 50
"""
STUBBORN: Final = """
[watcher.stubborn]
cmd = '''sh -c 'trap "" TERM; echo > %(dir)s/up; while :; do sleep 1000; done' '''
graceful_timeout = %(grace)s
leftovers = "kill"

[watcher.calm]
cmd = "sleep 1000"
numprocesses = 2
"""


def ends(daemon: Any, *signums: int) -> None:
    """These signals, then a clean end with nothing left and a good ledger."""
    for signum in signums:
        daemon.signal(signum)
    assert 0 == daemon.wait()
    assert [] == daemon.left()
    daemon.judge()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_end_is_honoured_in_the_middle_of_a_start(launch: Launch, signum: int) -> None:
    """200 workers with warm-up: the end comes at the third."""
    daemon = launch(MANY).start()
    tale = daemon.tale()
    tale.some(3, "process.spawned", "many")
    ends(daemon, signum)


def test_an_end_is_honoured_before_anything_has_started(launch: Launch) -> None:
    """As early as there is somebody to hear it: the lock is taken, the core is on its way."""
    daemon = launch(MANY).start()
    daemon.locked()
    ends(daemon, signal.SIGTERM)


def test_an_end_is_honoured_during_churn_mass_respawn_and_reload(launch: Launch) -> None:
    """Everything moves at once, and still everything ends."""
    daemon = launch(CHURN).start()
    tale = daemon.tale()
    tale.next("watcher.started", "mass")
    tale.some(30, "process.exited", "churn")
    ends(daemon, signal.SIGTERM)
    tale = daemon.tale(daemon.head())
    daemon.start()
    tale.next("watcher.started", "mass")
    daemon.ask("signal", name="mass", signum="kill")
    tale.some(10, "process.exited", "mass")
    ends(daemon, signal.SIGINT)
    tale = daemon.tale(daemon.head())
    daemon.start()
    tale.next("watcher.started", "mass")
    daemon.ask("reload", name="mass")
    tale.some(2, "slot.filled", "mass")
    ends(daemon, signal.SIGTERM)


def test_a_second_signal_shortens_the_grace(launch: Launch, tmp_path: Path, written: Any) -> None:
    """A minute of grace becomes a second."""
    daemon = launch(STUBBORN % {"dir": tmp_path, "grace": 60}).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    written(tmp_path / "up")
    daemon.signal(signal.SIGTERM)
    tale.next("process.signalled", "stubborn")
    ends(daemon, signal.SIGTERM)


def test_a_stop_of_a_stubborn_worker_delays_nobody_else(
    launch: Launch, tmp_path: Path, written: Any
) -> None:
    """Commands to one watcher queue; commands to others do not wait for it."""
    daemon = launch(STUBBORN % {"dir": tmp_path, "grace": 3}).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    written(tmp_path / "up")
    daemon.ask("stop", name="stubborn")
    queued = daemon.ask("incr", name="stubborn")["seq"]
    daemon.do("restart", name="calm")
    daemon.do("reload", name="calm")
    daemon.do("incr", name="calm")
    daemon.do("add", name="new", cmd="sleep 1000", start=True)
    daemon.do("stop", name="new")
    daemon.do("rm", name="new")
    assert "stopping" == daemon.ask("status", name="stubborn")["status"]
    tale.next("watcher.stopped", "stubborn")
    tale.next(
        "command.finished", "stubborn", lambda r: fields_of(r.body)["command"] == queued
    )  # fmt: skip
    assert 0 == daemon.stop()
    daemon.judge()


def test_hup_reads_a_native_configuration_again(launch: Launch) -> None:
    """What changed is carried out; a bad file is logged and changes nothing."""
    text = '[watcher.one]\ncmd = "sleep 1000"\n[watcher.two]\ncmd = "sleep 1000"\n'
    daemon = launch(text).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "two")
    before = daemon.pids("one")
    daemon.config.write_text("[watcher.one]\ncmd = 'sleep 1000'\nnumprocesses = 'x'\n")
    daemon.signal(signal.SIGHUP)
    tale.next("signal.received")
    daemon.logged("numprocesses")
    assert before == daemon.pids("one")
    daemon.config.write_text("[watcher.one]\ncmd = 'sleep 1000'\nnumprocesses = 2\n")
    daemon.signal(signal.SIGHUP)
    configured = tale.next("arbiter.configured")
    assert ("two",) == fields_of(configured.body)["removed"]
    tale.next("watcher.removed", "two")
    assert {"one": "active"} == daemon.ask("status")["statuses"]
    assert {*before} < {*daemon.pids("one")}
    assert 0 == daemon.stop()
    daemon.judge()


def test_hup_reloads_the_watchers_of_an_ini_file(launch: Launch) -> None:
    """Gracefully, as Circus does, and never one that an operator stopped."""
    text = "[watcher:one]\ncmd = sleep 1000\n[watcher:two]\ncmd = sleep 1000\n"
    daemon = launch(text, suffix=".ini").start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "two")
    daemon.do("stop", name="two")
    (before,) = daemon.pids("one")
    daemon.signal(signal.SIGHUP)
    tale.next("watcher.reloaded", "one")
    (after,) = daemon.pids("one")
    assert before != after
    assert "stopped" == daemon.ask("status", name="two")["status"]
    assert 0 == daemon.stop()
    daemon.judge()
