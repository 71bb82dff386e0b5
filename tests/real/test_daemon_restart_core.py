"""`circusctl restart-core`: another core under running workers, in order and on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from circus.bus.record import fields_of

Launch = Callable[..., Any]

TEXT: Final = """
[watcher.one]
cmd = "sleep 1000"
numprocesses = 3

[watcher.stubborn]
cmd = '''sh -c 'trap "" TERM; echo > %(dir)s/up; while :; do sleep 1000; done' '''
graceful_timeout = 3
"""


def test_restart_core_touches_no_worker_and_loses_no_command(
    launch: Launch, tmp_path: Any, written: Any
) -> None:
    """
    The command is finished once the next core is there; a stop that was under way goes on, and
    who asks again for its end gets it. The old core is not told as lost: it made room.
    """
    daemon = launch(TEXT % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "stubborn")
    written(tmp_path / "up")
    before = daemon.pids("one")
    stubborn = daemon.pids("stubborn")
    assert "ok" == daemon.ask("stop", name="stubborn")["status"]
    reply = daemon.do("restart-core")
    assert "ok" == reply["status"]
    assert before == daemon.pids("one")
    first, second = daemon.tale().some(2, "core.started")
    assert fields_of(first.body)["keeper_pid"] == fields_of(second.body)["keeper_pid"]
    assert fields_of(first.body)["pid"] != fields_of(second.body)["pid"]
    exited = tale.next("process.exited", "stubborn")
    assert stubborn == [fields_of(exited.body)["pid"]]
    daemon.do("incr", name="one")
    assert 4 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    records = daemon.judge()
    assert [] == [record for record in records if record.name == "core.lost"]
    stopped = [fields_of(r.body)["reason"] for r in records if r.name == "core.stopped"]
    assert ["restart", "asked to"] == stopped
    asked = next(record for record in records if record.name == "core.restart")
    finished = [r for r in records if r.name == "command.finished" and r.to == "client"]
    assert asked.seq in [fields_of(record.body)["command"] for record in finished]


def test_restart_core_from_the_command_line(launch: Launch) -> None:
    """It answers when it is done, and the pid file says the same as before."""
    daemon = launch('[watcher.one]\ncmd = "sleep 1000"\n').start()
    daemon.tale().next("core.ready")
    before = daemon.pids("one")
    done = daemon.ctl("restart-core", "--waiting")
    assert (0, "ok") == (done.returncode, done.stdout.strip())
    assert before == daemon.pids("one")
    assert 0 == daemon.stop()
    daemon.judge()


def test_upgrade_replaces_core_and_keeper_under_running_workers(launch: Launch) -> None:
    """The keeper keeps its pid and its children; that it is another one now is on record."""
    daemon = launch('[watcher.one]\ncmd = "sleep 1000"\nnumprocesses = 2\n').start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    before = daemon.pids("one")
    assert "ok" == daemon.ask("upgrade")["status"]
    tale.next("core.restarting")
    tale.next("keeper.reexec")
    assert before == daemon.pids("one")
    daemon.do("incr", name="one")
    assert 3 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    daemon.judge()
