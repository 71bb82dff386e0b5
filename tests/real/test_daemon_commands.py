"""Every command that Circus knows, to a real daemon: the reply, the effect, the record."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any, Final

import pytest

from circus.bus.record import fields_of
from circus.bus.wire import Request, decode_reply, encode_request

Launch = Callable[..., Any]

TOML: Final = """
[watcher.one]
cmd = "sleep 1000"
numprocesses = 2

[watcher.two]
cmd = "sleep 1000"
max_retry = 3

[watcher.later]
cmd = "sleep 1000"
autostart = false
"""
INI: Final = """
[watcher:one]
cmd = sleep 1000
numprocesses = 2

[watcher:two]
cmd = sleep 1000
max_retry = 3

[watcher:later]
cmd = sleep 1000
autostart = False
"""


@pytest.mark.parametrize(("text", "suffix"), [(TOML, ".toml"), (INI, ".ini")])
def test_life_commands_have_circus_replies_and_effects(
    launch: Launch, text: str, suffix: str
) -> None:
    """Start, stop, restart, reload in all its forms, by client and by circusctl."""
    daemon = launch(text, suffix=suffix).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "two")
    assert {"one": "active", "two": "active", "later": "stopped"} == (
        daemon.ask("status")["statuses"]
    )
    before = daemon.pids("one")
    assert 2 == len(before)
    reply = daemon.do("stop", name="one")
    assert sorted(before) == sorted(p for p in before if not runs(p))
    assert "ok" == reply["status"]
    assert [] == daemon.pids("one")
    started = daemon.do("start", name="one")["info"]
    assert sorted(daemon.pids("one")) == sorted(started["started"])
    again = daemon.do("start", name="one")["info"]
    assert ([], sorted(daemon.pids("one"))) == (list(again["started"]), sorted(again["kept"]))
    before = daemon.pids("one")
    replaced = daemon.do("restart", name="one")["info"]
    assert sorted(before) == sorted(replaced["stopped"])
    assert sorted(daemon.pids("one")) == sorted(replaced["started"])
    for how in ({}, {"sequential": True}, {"graceful": False}):
        before = daemon.pids("one")
        replaced = daemon.do("reload", name="one", **how)["info"]
        assert sorted(before) == sorted(replaced["stopped"]), how
        assert 2 == len(daemon.pids("one"))
        assert sorted(daemon.pids("one")) == sorted(replaced["started"]), how
    assert 0 == daemon.ctl("stop", "--waiting").returncode
    assert {"stopped"} == set(daemon.ask("status")["statuses"].values())
    assert 0 == daemon.ctl("start", "t*", "--waiting").returncode
    assert {"one": "stopped", "two": "active", "later": "stopped"} == (
        daemon.ask("status")["statuses"]
    )
    daemon.do("start", name="later")
    assert 1 == len(daemon.pids("later"))
    _all_forms_from_the_command_line(daemon)
    assert 0 == daemon.ctl("quit", "--waiting").returncode
    assert 0 == daemon.wait()
    assert [] == daemon.left()
    daemon.judge()


def _all_forms_from_the_command_line(daemon: Any) -> None:
    for line in (("restart",), ("reload",), ("reload", "--terminate"), ("reload", "--sequential")):
        result = daemon.ctl(*line, "--waiting")
        assert (0, "ok\n") == (result.returncode, result.stdout), (line, result)


def test_numbers_and_options_are_changed_and_told(launch: Launch) -> None:
    """Incr, decr, set, get, options, list, numprocesses, numwatchers, stats and their like."""
    daemon = launch(TOML).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "two")
    assert 3 == daemon.do("incr", name="one")["numprocesses"]
    assert 5 == daemon.do("incr", name="one", nb=2)["numprocesses"]
    assert "4\n" == daemon.ctl("decr", "one", "--waiting").stdout
    assert 4 == len(daemon.pids("one"))
    assert 0 == daemon.do("decr", name="one", nb=9)["numprocesses"]
    assert [] == daemon.pids("one")
    daemon.do("set", name="one", options={"numprocesses": 2, "graceful_timeout": 7.5})
    assert {"numprocesses": 2, "graceful_timeout": 7.5} == (
        daemon.ask("get", name="one", keys=["numprocesses", "graceful_timeout"])["options"]
    )
    assert 2 == len(daemon.pids("one"))
    before = daemon.pids("one")
    daemon.do("set", name="one", options={"cmd": "sleep 2000"})
    assert not set(before) & set(daemon.pids("one"))
    assert 0 == daemon.ctl("set", "one", "max_retry", "9", "--waiting").returncode
    assert "max_retry: 9\n" == daemon.ctl("get", "one", "max_retry").stdout
    options = daemon.ask("options", name="one")["options"]
    assert ("sleep 2000", 9, 7.5) == tuple(
        options[name] for name in ("cmd", "max_retry", "graceful_timeout")
    )
    assert "numprocesses: 2" in daemon.ctl("options", "one").stdout
    assert "later,one,two\n" == daemon.ctl("list").stdout
    assert ",".join(map(str, daemon.pids("one"))) == daemon.ctl("list", "one").stdout.strip()
    assert 3 == daemon.ask("numprocesses")["numprocesses"]
    assert "2\n" == daemon.ctl("numprocesses", "one").stdout
    assert "3\n" == daemon.ctl("numwatchers").stdout
    stats = daemon.ask("stats", name="one")["info"]
    assert {str(pid) for pid in daemon.pids("one")} == set(stats)
    assert {"one", "two", "later"} == set(daemon.ask("stats")["infos"])
    assert "sleep" in daemon.ctl("stats", "one").stdout
    assert 0 == daemon.ctl("dstats").returncode
    assert 0 == daemon.ctl("globaloptions").returncode
    whole = json.loads(daemon.ctl("status", "--json").stdout)
    assert (daemon.pid, 1) == (whole["keeper"]["pid"], whole["core"]["incarnation"])
    assert 0 == daemon.stop()
    daemon.judge()


CHILDREN: Final = """
[watcher.parent]
cmd = '''sh -c 'sh -c "sleep 1000 & wait" & sleep 1001 & wait' '''
leftovers = "kill"

[watcher.plain]
cmd = "sleep 1000"
"""


def test_signals_reach_whom_they_are_sent_to(launch: Launch, grown: Any) -> None:
    """A signal to all, to one pid, to its children, one child, or its whole family."""
    daemon = launch(CHILDREN).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "parent")
    tale.next("watcher.started", "plain")
    (plain,) = daemon.pids("plain")
    assert 0 == daemon.ctl("signal", "plain", "hup").returncode
    exited = tale.next("process.exited", "plain")
    ended = fields_of(exited.body)
    assert (plain, signal.SIGHUP) == (ended["pid"], ended["signal"])
    tale.next("slot.filled", "plain")
    (plain,) = daemon.pids("plain")
    daemon.do("signal", name="plain", pid=plain, signum="SIGUSR1")
    assert signal.SIGUSR1 == fields_of(tale.next("process.exited", "plain").body)["signal"]
    tale.next("slot.filled", "plain")
    (parent,) = daemon.pids("parent")
    shell, sleep = sorted(grown(parent, 2))
    (deep,) = grown(shell, 1)
    daemon.do("signal", name="parent", pid=parent, childpid=sleep, signum="kill")
    grown.ended(sleep)
    assert parent in daemon.pids("parent")
    daemon.do("signal", name="parent", pid=parent, children=True, recursive=True, signum=9)
    grown.ended(shell)
    grown.ended(deep)
    # Both children are gone, so the shell that waited for them ends, and is replaced.
    tale.next("process.exited", "parent", lambda r: fields_of(r.body)["pid"] == parent)
    tale.next("slot.filled", "parent")
    (parent,) = daemon.pids("parent")
    family = [*grown(parent, 2)]
    daemon.do("kill", name="parent", pid=parent, signum="kill")
    tale.next("process.reaped", "parent", lambda r: fields_of(r.body)["pid"] == parent)
    for pid in family:
        grown.ended(pid)
    tale.next("slot.filled", "parent")
    (before,) = daemon.pids("plain")
    assert 0 == daemon.ctl("kill", "plain", "--waiting").returncode
    tale.next("slot.filled", "plain", lambda r: fields_of(r.body)["pid"] != before)
    assert 3 == daemon.ctl("signal", "plain", "nosuchsignal").returncode
    assert 0 == daemon.stop()
    daemon.judge()


def test_watchers_are_added_and_removed(launch: Launch) -> None:
    """Add with and without start and options, rm with and without nostop, names without case."""
    daemon = launch(TOML).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "two")
    daemon.do("add", name="new", cmd="sleep", args=["1000"], options={"numprocesses": 2})
    assert "stopped" == daemon.ask("status", name="new")["status"]
    daemon.do("start", name="NEW")
    assert 2 == len(daemon.pids("New"))
    reason = daemon.refused("add", name="New", cmd="sleep 1")["reason"]
    assert "already exist" in reason
    flags = ("--start", "--waiting", "--option", "numprocesses", "3")
    line = ("add", *flags, "third", "sleep", "1000")
    assert 0 == daemon.ctl(*line).returncode
    assert 3 == len(daemon.pids("third"))
    gone = daemon.pids("new")
    daemon.do("rm", name="new")
    assert not any(runs(pid) for pid in gone)
    assert "not found" in daemon.refused("status", name="new")["reason"]
    stay = daemon.pids("third")
    assert 0 == daemon.ctl("rm", "--nostop", "third", "--waiting").returncode
    assert all(runs(pid) for pid in stay)
    assert 3 == daemon.ask("numwatchers")["numwatchers"]
    for pid in stay:
        os.kill(pid, signal.SIGKILL)
    for _ in stay:
        tale.next("process.reaped", "third")
    assert 0 == daemon.ctl("add", "third", "sleep", "1000", "--start").returncode
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_client_s_retry_gets_the_stored_outcome_and_who_asked_is_on_record(
    launch: Launch,
) -> None:
    """The same id again is the same wish, and every command names its peer."""
    daemon = launch(TOML).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    identity = os.urandom(16)
    properties = {"name": "one", "nb": 1, "waiting": True}
    request = encode_request(Request(identity, "incr", properties))
    first, second = (decode_reply(daemon.raw([request])).body for _ in range(2))
    assert first == {**second, "time": first["time"]}
    assert 3 == len(daemon.pids("one"))
    assert 0 == daemon.ctl("stop", "two", "--waiting").returncode
    why = daemon.ctl("why", "two").stdout
    assert f"asked by uid {os.geteuid()}" in why
    assert 0 == daemon.stop()
    asked = [record for record in daemon.judge() if record.actor == "client"]
    assert 2 == len(asked)
    assert {(os.geteuid(), os.getegid())} == {(r.peer["uid"], r.peer["gid"]) for r in asked}
    assert os.getpid() == asked[0].peer["pid"]


def test_reloadconfig_and_retry_are_commands_too(launch: Launch) -> None:
    """A changed file is a plan: added, removed, changed; a bad one changes nothing."""
    daemon = launch(TOML).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.started", "two")
    stay, leave = daemon.pids("one"), daemon.pids("two")
    daemon.config.write_text("[watcher.one]\ncmd = 'sleep 1000'\nnumprocess = 1\n")
    assert "numprocess" in daemon.refused("reloadconfig")["reason"]
    daemon.config.write_text(
        "[watcher.one]\ncmd = 'sleep 1000'\nnumprocesses = 3\n[watcher.fresh]\ncmd = 'sleep 1000'\n"
    )
    assert 0 == daemon.ctl("reloadconfig", "--waiting").returncode
    assert {"one": "active", "fresh": "active"} == daemon.ask("status")["statuses"]
    assert set(stay) < set(daemon.pids("one"))
    assert not any(runs(pid) for pid in leave)
    assert 0 == daemon.ctl("retry", "one", "--waiting").returncode
    assert 3 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    daemon.judge()


def runs(pid: int) -> bool:
    """Whether a process runs: a zombie, on its way to be reaped, does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
