"""`circusctl` against real sockets: what is sent, what is printed, how it ends."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from circus import ctl_values
from circus.bus.spec import OPTIONS, Unit
from circus.bus.wire import CTL_BYTES_MAX
from circus.circusctl import run
from circus.client import CallError, Client

Serve = Callable[..., Any]
ERROR = {"reason": "program x not found", "errno": 3}


@pytest.fixture
def served(serve: Serve) -> Any:
    return serve().start()


def answering(served: Any, fields: Mapping[str, Any]) -> list[str]:
    served.answer = lambda _: fields
    return ["--state-dir", str(served.state_dir)]


@pytest.mark.parametrize(
    ("line", "fields", "printed"),
    [
        ("status", {"statuses": {"web": "active", "db": "stopped"}}, "db: stopped\nweb: active\n"),
        ("status web", {"status": "active"}, "active\n"),
        ("list", {"watchers": ["db", "web"]}, "db,web\n"),
        ("list web", {"pids": [7, 9]}, "7,9\n"),
        ("numprocesses", {"numprocesses": 4}, "4\n"),
        ("numwatchers", {"numwatchers": 2}, "2\n"),
        ("incr web", {"seq": 9}, "ok\n"),
        ("incr web 2 --waiting", {"numprocesses": 5}, "5\n"),
        ("get web respawn", {"options": {"respawn": True}}, "respawn: True\n"),
        ("options web", {"options": {"cmd": "a", "env": {}}}, "cmd: a\nenv: {}\n"),
        ("start", {"seq": 9}, "ok\n"),
        ("quit", {}, "ok\n"),
        (
            "stats web",
            {"name": "web", "info": {7: {"pid": 7, "cmdline": "top", "username": "me", "nice": 0,
             "mem_info1": "1M", "mem_info2": "2M", "cpu": 0.5, "mem": 0.1, "ctime": "0:00.1"}}},
            "7: 7 top me 0 1M 2M 0.5 0.1 0:00.1\n",
        ),
    ],
)  # fmt: skip
def test_answers_are_printed_as_circus_prints_them(
    served: Any, capsys: pytest.CaptureFixture[str], line: str, fields: dict[str, Any], printed: str
) -> None:
    """Scripts read these lines (CIRCUS.md, 4.2)."""
    assert 0 == run([*answering(served, fields), *line.split()])
    assert printed == capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "properties"),
    [
        ("stop web --match simple --waiting", {"name": "web", "match": "simple", "waiting": True}),
        ("reload web --terminate", {"name": "web", "graceful": False}),
        ("signal web HUP", {"name": "web", "signum": "HUP"}),
        ("get web cmd env", {"name": "web", "keys": ("cmd", "env")}),
        ("signal web 12 9 --children", {"name": "web", "pid": 12, "signum": 9, "children": True}),
        ("kill web 12 --signum 2 --graceful_timeout 1.5",
         {"name": "web", "pid": 12, "signum": 2, "graceful_timeout": 1.5}),
        ("set web numprocesses 0 respawn no graceful_timeout 2.5",
         {"name": "web",
          "options": {"numprocesses": 0, "respawn": False, "graceful_timeout": 2.5}}),
        ("add web sleep --json 5", {"name": "web", "cmd": "sleep --json 5"}),
        ("add --start --option numprocesses 3 web sleep",
         {"name": "web", "cmd": "sleep", "start": True, "options": {"numprocesses": 3}}),
        ("rm web --nostop", {"name": "web", "nostop": True}),
        ("decr web 0", {"name": "web", "nb": 0}),
    ],
)  # fmt: skip
def test_arguments_become_properties(served: Any, line: str, properties: dict[str, Any]) -> None:
    """Nothing is dropped, nothing is sent as a string that is a number."""
    assert 0 == run([*answering(served, {"options": {}}), *line.split()])
    assert properties == served.requests[-1].properties
    assert line.split(maxsplit=1)[0] == served.requests[-1].command


def test_flags_stand_before_or_after_the_command(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are what people type."""
    place = answering(served, {"watchers": []})
    for line in ([*place, "--json", "list"], ["list", *place, "--json"]):
        assert 0 == run(line)
        assert [] == json.loads(capsys.readouterr().out)["watchers"]


def test_a_refusal_ends_with_3_and_its_reason(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, so that the output stays clean."""
    place = answering(served, ERROR)
    assert 3 == run([*place, "stop", "x"])
    printed = capsys.readouterr()
    assert ("", "error: program x not found\n") == (printed.out, printed.err)
    assert 3 == run([*place, "stop", "x", "--json"])
    assert 3 == json.loads(capsys.readouterr().out)["errno"]


def test_nobody_there_ends_with_1(state_dir: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence about what to do."""
    assert 1 == run(["--state-dir", str(state_dir), "--timeout", "0.1", "list"])
    assert capsys.readouterr().err.startswith("error: cannot reach circusd at ipc://")


def test_a_request_that_would_end_the_connection_is_not_sent(served: Any) -> None:
    """What is only too long is refused by the daemon."""
    with Client(str(served.state_dir)) as client, pytest.raises(CallError, match="send less"):
        client.call("list", name="x" * CTL_BYTES_MAX)
    assert [] == served.requests


@pytest.mark.parametrize("held", [False, True])
def test_a_daemon_that_has_ended_is_not_waited_for(
    state_dir: Path, capsys: pytest.CaptureFixture[str], *, held: bool
) -> None:
    """Its lock is free; while somebody holds it an answer may still come."""
    with (state_dir / "lock").open("w") as lock:
        if held:
            fcntl.flock(lock, fcntl.LOCK_EX)
        timeout = "0.1" if held else "100000"
        assert 1 == run(["--state-dir", str(state_dir), "--timeout", timeout, "list"])
    said = capsys.readouterr().err
    assert said.startswith("error: cannot reach circusd at ipc://")
    assert held != (f"it has ended (its lock in {state_dir} is free)" in said)


@pytest.mark.parametrize(
    "line",
    ["nosuch", "set web numprocesses", "set web numprocesses many", "incr", "list --nosuch",
     "--timeout -1 list", "signal web 1 2 3", "signal web x 9", "events --after yesterday", ""],
)  # fmt: skip
def test_a_wrong_line_ends_with_2(line: str, state_dir: Any) -> None:
    """Before anything is sent."""
    assert 2 == run(["--state-dir", str(state_dir), *line.split()])


def test_an_answer_without_its_fields_ends_with_1(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence, not a traceback."""
    assert 1 == run([*answering(served, {}), "get", "web", "cmd"])
    assert capsys.readouterr().err.startswith("error: cannot understand the answer")


def test_control_characters_are_shown_not_sent(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal obeys escapes; a name must not give it orders."""
    assert 0 == run([*answering(served, {"watchers": ["a\x1b[2J", "b\u202e"]}), "list"])
    assert "a\\x1b[2J,b\\u202e\n" == capsys.readouterr().out


def test_events_end_at_the_head_that_they_saw(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per record; with --json one object with the envelope's names."""
    served.append(2)
    served.append(1, watcher="db")
    place = answering(served, {})
    assert 0 == run([*place, "events"])
    assert 3 == len(capsys.readouterr().out.splitlines())
    assert 0 == run(["events", "--after", "1", "--watcher", "web", "--json", *place])
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (2, "event", "watcher.resized", 1, "web", {"numprocesses": 2}) == (
        record["seq"], record["kind"], record["name"], record["v"], record["watcher"],
        record["data"],
    )  # fmt: skip


def test_trimmed_history_is_an_error_not_silence(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator is told where the ledger begins."""
    served.append(3)
    served.append(3)
    served.ledger.first_retained = 4
    assert 3 == run([*answering(served, {}), "events", "--after", "1"])
    assert "cannot read that far back" in capsys.readouterr().err


def test_events_follow_until_they_are_interrupted(served: Any, reaped: Any) -> None:
    """Each line is flushed: other programs read them from a pipe."""
    served.append(1)
    command = [sys.executable, "-m", "circus.circusctl", "events", "--after", "0", "--follow",
               "--json", "--state-dir", str(served.state_dir)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reaped(process)
    assert process.stdout is not None
    assert 1 == json.loads(process.stdout.readline())["seq"]
    served.append(1)
    assert 2 == json.loads(process.stdout.readline())["seq"]


def test_a_plain_command_loads_no_vocabulary(served: Any) -> None:
    """Its start is most of its time."""
    place = answering(served, {"statuses": {}})
    code = (
        "import sys; from circus.circusctl import run; status = run(sys.argv[1:]);"
        "print(sorted({'attr', 'rich', 'json.tool', 'circus.bus.codec', 'structlog',"
        "'circus.bus.events', 'asyncio', 'shlex'} & set(sys.modules)), status)"
    )
    command = [sys.executable, "-c", code, *place, "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[] 0" == done.stdout.split("\n")[-2]


def test_the_help_needs_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a line."""
    assert 0 == run(["--help"])
    assert "numprocesses" in capsys.readouterr().out
    assert 0 == run(["add", "--help"])


def test_every_option_has_a_form_of_its_own() -> None:
    """`set` and `add` know how each option is written; a new one must be told apart here."""
    groups = {
        "integers": ctl_values.INTEGERS, "seconds": ctl_values.SECONDS,
        "switches": ctl_values.SWITCHES, "numbers": ctl_values.NUMBERS_OR_NAMES,
        "words": ctl_values.WORDS, "texts": ctl_values.TEXTS, "pairs": ctl_values.PAIRS,
        "wholes": ctl_values.WHOLES,
    }  # fmt: skip
    assert set(OPTIONS) <= set().union(*groups.values())
    seconds = {n for n, a in OPTIONS.items() if a.metadata["unit"] is Unit.SECONDS}
    assert ctl_values.SECONDS == seconds
    switches = {n for n, a in OPTIONS.items() if isinstance(a.default, bool)}
    assert ctl_values.SWITCHES == switches


def test_a_repeated_call_has_the_same_id(served: Any) -> None:
    """No answer: another socket, the same wish (docs/wire.md)."""
    lost: list[Any] = []

    def lose_first(frames: list[Any]) -> list[Any] | None:
        lost.append(frames)
        return None if len(lost) == 1 else frames

    served.mangle = lose_first
    with Client(served.state_dir, timeout=3.0) as client:
        assert "ok" == client.call("incr", name="web")["status"]
    assert 1 == len({request.id for request in served.requests})
    assert 2 == len(served.requests)


def test_a_malformed_answer_is_an_error(served: Any) -> None:
    """Something else listens there, or another protocol."""
    served.mangle = lambda frames: [b"\xc1", frames[1]]
    with Client(served.state_dir) as client, pytest.raises(CallError, match="cannot understand"):
        client.call("list")
