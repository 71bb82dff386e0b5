"""The two readers of circusctl's command line, the short one and click, understand the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.circusctl import NotPlain, Plain, read_plain, run
from circus.ctl_commands import command_line, run_with_click
from circus.ctl_table import FLAGS, TABLE, Switch, Value, Word, property_of
from circus.ctl_target import Target

PLAIN = (
    "status", "status web", "STATUS web", "list", "list web --json", "--json list web",
    "stats web 7 --extended", "dstats", "numprocesses web", "numwatchers", "options web",
    "get web cmd env", "globaloptions", "start", "stop web --waiting", "restart --waiting web",
    "reload web --terminate --sequential", "incr web", "incr web 2 --waiting", "decr web 0",
    "set web numprocesses 3 respawn no", "signal web HUP", "signal web 12 9 --children",
    "kill web 12 --signum TERM", "kill web --signum=9", "rm web --nostop", "retry web",
    "reloadconfig --waiting", "quit",
)  # fmt: skip
FOR_CLICK = (
    "", "--help", "-h", "status --help", "--version", "nosuch", "status --nosuch", "status a b",
    "incr web many", "incr", "get web", "set web numprocesses", "set web numprocesses many",
    "stop web --match simple", "kill web --graceful_timeout 1", "kill web --signum -9",
    "add web sleep 1", "list -- web", "list --json=yes", "list --timeout 1", "signal web 1 2 3",
    "events", "why web", "kill web --signum",
)  # fmt: skip


class Asked(Target):
    """Notes what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[tuple[str, dict[str, Any]]] = []

    def client(self) -> Any:
        return self

    def ask(self, command: str, properties: dict[str, Any]) -> Any:
        self.questions.append((command, properties))
        raise KeyboardInterrupt  # there is no answer to show

    @property
    def understood(self) -> Any:
        return self.questions, self.json, self.state_dir, self.endpoint


def by_click(arguments: list[str]) -> Asked:
    asked = Asked()
    run_with_click(arguments, asked)
    return asked


def by_the_short_road(plain: Plain) -> Asked:
    asked = Asked()
    for name, value in plain.flags.items():
        setattr(asked, name, value)
    asked.questions.append((plain.command, plain.properties))
    return asked


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_means_what_click_understands(line: str) -> None:
    """The same command, properties and flags."""
    arguments = ["--state-dir", "/nowhere", *line.split(), "--endpoint=ipc:///x"]
    assert by_click(arguments).understood == by_the_short_road(read_plain(arguments)).understood


@pytest.mark.parametrize("line", FOR_CLICK)
def test_a_line_with_any_doubt_is_for_click(line: str) -> None:
    """Above all whatever is wrong: there is one voice for usage and help."""
    with pytest.raises(NotPlain):
        read_plain(line.split())


FLAG_WORDS = [one.name for line in TABLE.values() for one in line.parameters
              if not isinstance(one, Word)]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from([*TABLE, *FLAG_WORDS, *(flag.name for flag in FLAGS)]),
    st.sampled_from(["web", "7", "-1", "1.5", "", "-", "--", "TERM", "cmd", "--json=", "no",
                     "--state-dir=/x", "--signum=9", "--extended=1", "simple", " 3", "1_0", "-h"]),
)  # fmt: skip


@given(st.sampled_from(list(TABLE)), st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=2))
def test_what_the_short_road_takes_it_takes_as_click_does(
    command: str, behind: list[str], before: list[str]
) -> None:
    """For any line: either it is left to click, or both read the same from it."""
    arguments = [*before, command, *behind]
    try:
        plain = read_plain(arguments)
    except NotPlain:
        return
    assert by_click(arguments).understood == by_the_short_road(plain).understood


def test_no_property_has_the_name_of_a_flag() -> None:
    """One namespace on the command line, two behind it."""
    flags = {property_of(flag.name) for flag in FLAGS}
    for line in TABLE.values():
        names = {
            property_of(one.name) for one in line.parameters if isinstance(one, Switch | Value)
        }
        assert not flags & (names | {one.name for one in line.parameters if isinstance(one, Word)})


def test_the_help_shows_every_command_of_the_table() -> None:
    """And every flag of it."""
    line = command_line()
    context = line.make_context("circusctl", ["status"])
    for name, told in TABLE.items():
        command = line.get_command(context, name)
        assert command is not None
        text = command.get_help(context)
        assert told.help in text
        for one in (*told.parameters, *FLAGS):
            assert isinstance(one, Word) or one.name in text


def test_a_plain_line_loads_no_click(serve: Any) -> None:
    """That is what it is for; a line for click does."""
    served = serve().start()
    served.answer = lambda _: {"watchers": []}
    code = (
        "import sys; from circus.circusctl import run; status = run(sys.argv[1:]);"
        "print(sorted({'click', 'inspect', 'gettext'} & set(sys.modules)), status)"
    )
    command = [sys.executable, "-c", code, "--state-dir", str(served.state_dir), "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\n[] 0\n" == done.stdout
    done = subprocess.run([*command, "--timeout", "5"], capture_output=True, text=True, check=True)
    assert "\n['click', 'gettext', 'inspect'] 0\n" == done.stdout


def test_an_interrupt_ends_both_roads_alike(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 and an empty line, so that the shell's prompt stands at the beginning of one."""

    def interrupt(_: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"watchers": []}

    served = serve().start()
    served.answer = interrupt
    for line in (["list"], ["--timeout", "60", "list"]):
        assert 1 == run(["--state-dir", str(served.state_dir), *line])
        assert capsys.readouterr().err == "\n"
