"""What an operator wanted stays wanted, over a new core and a new circusd; a file that has changed
meanwhile is a plan on record."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from circus.bus.record import fields_of

Launch = Callable[..., Any]

TEXT: Final = """
[watcher.one]
cmd = "sleep 1000"

[watcher.two]
cmd = "sleep 1000"

[watcher.gone]
cmd = "sleep 1000"
"""


def changed(daemon: Any, tale: Any) -> None:
    """An operator has been there."""
    tale.next("core.ready")
    if not tale.of("arbiter.started"):
        tale.next("arbiter.started")
    daemon.do("stop", name="two")
    daemon.do("set", name="one", options={"max_retry": 9})
    daemon.do("incr", name="one", nb=2)
    daemon.do("add", name="more", cmd="sleep 1000", start=True)


def as_it_was_left(daemon: Any) -> None:
    """All of it still holds."""
    statuses = daemon.ask("status")["statuses"]
    assert ("stopped", "active") == (statuses["two"], statuses["one"])
    assert 9 == daemon.ask("get", name="one", keys=["max_retry"])["options"]["max_retry"]


def test_what_an_operator_changed_survives_a_new_core(launch: Launch) -> None:
    """The file is the same: nothing of it is carried out again."""
    daemon = launch(TEXT).start()
    tale = daemon.tale()
    changed(daemon, tale)
    pids = daemon.pids("one")
    daemon.do("restart-core")
    as_it_was_left(daemon)
    assert pids == daemon.pids("one")
    assert "active" == daemon.ask("status")["statuses"]["more"]
    assert 0 == daemon.stop()
    daemon.judge()


def test_what_an_operator_changed_survives_a_new_circusd(launch: Launch) -> None:
    """What was removed by command stays away, what was added is there and runs again."""
    daemon = launch(TEXT).start()
    tale = daemon.tale()
    changed(daemon, tale)
    daemon.do("rm", name="gone")
    assert 0 == daemon.stop()
    tale = daemon.tale(daemon.head())
    daemon.start()
    tale.next("watcher.started", "more")
    as_it_was_left(daemon)
    assert "gone" not in daemon.ask("status")["statuses"]
    assert 0 == daemon.stop()
    daemon.judge()


# --- a file that has changed meanwhile ------------------------------------------------------------

BEFORE: Final = """
[watcher.same]
cmd = "sleep 1000"
numprocesses = 2

[watcher.halted]
cmd = "sleep 1000"

[watcher.grown]
cmd = "sleep 1000"

[watcher.other]
cmd = "sleep 1000"

[watcher.gone]
cmd = "sleep 1000"
"""
AFTER: Final = """
[watcher.same]
cmd = "sleep 1000"
numprocesses = 2

[watcher.halted]
cmd = "sleep 1001"

[watcher.grown]
cmd = "sleep 1000"
numprocesses = 3

[watcher.other]
cmd = "sleep 1001"

[watcher.more]
cmd = "sleep 1000"
"""
PLAN: Final[dict[str, Any]] = {
    "added": ("more",),
    "removed": ("gone",),
    "changed": {"halted": ("cmd",), "grown": ("numprocesses",), "other": ("cmd",)},
}
NO_PLAN: Final[dict[str, Any]] = {"added": (), "removed": (), "changed": {}}


def halted_one(launch: Launch) -> Any:
    """A daemon on the first file, in which somebody has stopped a watcher."""
    daemon = launch(BEFORE).start()
    carried_out(daemon.tale())
    daemon.do("stop", name="halted")
    return daemon


def carried_out(tale: Any) -> dict[str, Any]:
    """The next plan on record, once everything that it asked for is done."""
    plan = tale.next("arbiter.configured")
    tale.next(
        "command.finished", where=lambda record: fields_of(record.body)["command"] == plan.cause
    )
    whole = fields_of(plan.body)
    return {name: whole[name] for name in PLAN}


def command_line(pid: int) -> list[str]:
    """Of a process that has just been spawned, whose memory the kernel may still be setting up."""
    harness = sys.modules["tests_real_daemon"]
    with harness.deadline(f"the command line of {pid}"):
        while not (words := Path(f"/proc/{pid}/cmdline").read_bytes()):
            os.sched_yield()
    return words.decode("ascii").split("\0")[:-1]


def is_as_the_new_file_says(daemon: Any) -> None:
    """Whom an operator had stopped is stopped, and has the new options when it is started."""
    wanted = dict.fromkeys(("same", "grown", "other", "more"), "active")
    assert {**wanted, "halted": "stopped"} == daemon.ask("status")["statuses"]
    assert (2, 3) == (len(daemon.pids("same")), len(daemon.pids("grown")))
    daemon.do("start", name="halted")
    for name in ("halted", "other"):
        (pid,) = daemon.pids(name)
        assert ["sleep", "1001"] == command_line(pid)


def test_a_changed_file_is_a_plan_that_a_new_core_carries_out(launch: Launch) -> None:
    """Only what has changed is touched: all other processes are the same afterwards."""
    daemon = halted_one(launch)
    same, grown, other = (daemon.pids(name) for name in ("same", "grown", "other"))
    daemon.config.write_text(AFTER, encoding="utf-8")
    tale = daemon.tale(daemon.head())
    os.kill(daemon.core_pid(), signal.SIGKILL)
    assert carried_out(tale) == PLAN
    assert same == daemon.pids("same")
    assert grown == daemon.pids("grown")[:1]
    assert not set(other) & set(daemon.pids("other"))
    is_as_the_new_file_says(daemon)
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_changed_file_is_a_plan_that_a_new_circusd_carries_out(launch: Launch) -> None:
    """And no plan at all at the start after that, whose file is the same again."""
    daemon = halted_one(launch)
    assert 0 == daemon.stop()
    daemon.config.write_text(AFTER, encoding="utf-8")
    tale = daemon.tale(daemon.head())
    daemon.start()
    assert carried_out(tale) == PLAN
    is_as_the_new_file_says(daemon)
    assert 0 == daemon.stop()
    tale = daemon.tale(daemon.head())
    daemon.start()
    assert carried_out(tale) == NO_PLAN
    assert "active" == daemon.ask("status")["statuses"]["halted"]
    assert 0 == daemon.stop()
    daemon.judge()
