"""Room: tests -- the standalone Process, as Circus's documentation shows it.

Knows:     circus.process.Process.
Known by:  nobody.
Never:     sleeps; leaves a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from circus.process import (
    DEAD_OR_ZOMBIE,
    RUNNING,
    UNEXISTING,
    NoSuchProcess,
    Process,
)

Start = Callable[..., Process]
STUBBORN = "sh -c 'trap \"\" TERM; echo up; while :; do read x; done'"


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Process] = []

    def make(*words: Any, **options: Any) -> Process:
        started.append(Process(*words, **options))
        return started[-1]

    yield make
    for process in started:
        if process.is_alive():
            process.send_signal(signal.SIGKILL)
            process.wait(20)
        process.close_output_channels()


def _line(process: Process) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_documented_example(start: Start) -> None:
    """Started on construction; status 0, then 2 once `stop` has returned."""
    process = start("Top", "sleep 1000", shell=True)
    assert RUNNING == process.status
    assert process.age() >= 0
    info = process.info()
    assert str(info).startswith(f"Top: {process.pid}  s")
    assert {"pid", "cmdline", "username", "mem", "cpu", "children"} <= set(info)
    process.stop()
    assert UNEXISTING == process.status
    assert "No such process (stopped?)" == process.info()
    process.stop()


def test_it_is_a_zombie_until_somebody_asks_for_its_end(start: Start) -> None:
    """Looking at `status` and `info` does not collect it; `poll` does."""
    process = start("Top", "sh -c 'exec >&-; exit 3'")
    assert b"" == _line(process)
    os.waitid(os.P_PID, process.pid or 0, os.WEXITED | os.WNOWAIT)
    assert DEAD_OR_ZOMBIE == process.status
    assert "  N/A " in str(process.info())
    assert " Zombie N/A N/A N/A N/A N/A" in str(process.info())
    assert DEAD_OR_ZOMBIE == process.status
    assert 3 == process.poll()
    assert UNEXISTING == process.status


def test_both_forms_are_accepted(start: Start) -> None:
    """(name, cmd, …) as documented, (name, wid, cmd, …) as in Circus's code."""
    assert b"7\n" == _line(start("a", 7, "echo $(circus.wid)"))
    assert b"x y\n" == _line(start("a", "echo", ["x", "y"]))
    assert 7 == start("a", 7, "true").wid


def test_stop_kills_what_does_not_listen(start: Start) -> None:
    """TERM, up to a second, KILL; recorded in this order."""
    process = start("deaf", STUBBORN, close_child_stdin=False)
    assert b"up\n" == _line(process)
    process.stop()
    assert UNEXISTING == process.status
    assert -signal.SIGKILL == process.returncode()
    names = [record.name for record in process.records]
    assert [
        "process.spawn", "process.spawned", "process.signalled", "process.signalled",
        "process.exited", "process.reaped",
    ] == names  # fmt: skip


def test_children_are_listed_and_signalled(start: Start) -> None:
    """Direct ones by pid, all of them, or the whole family below."""
    process = start("family", "sh -c 'sleep 1000 & echo up; wait; echo done'")
    assert b"up\n" == _line(process)
    (child,) = process.children()
    assert process.is_child(child)
    assert not process.is_child(os.getpid())
    with pytest.raises(NoSuchProcess):
        process.send_signal_child(os.getpid(), signal.SIGTERM)
    assert [child] == process.children(recursive=True)
    process.send_signal_children(signal.SIGTERM)
    assert b"done\n" == _line(process)
    process.wait(20)


def test_a_failed_start_says_why(start: Start) -> None:
    """OSError with a sentence; nothing is left."""
    with pytest.raises(FileNotFoundError, match="command not found: no-such-program"):
        start("x", "no-such-program")
    with pytest.raises(OSError, match="working directory /nope does not exist"):
        start("x", "true", working_dir="/nope")
    with pytest.raises(OSError, match="unknown user nobody-here"):
        start("x", "true", uid="nobody-here")


def test_signals_to_what_is_gone_raise(start: Start) -> None:
    """Never to a reused pid."""
    process = start("x", "true")
    process.wait(20)
    with pytest.raises(NoSuchProcess):
        process.send_signal(signal.SIGTERM)


def test_waiting_has_an_end(start: Start) -> None:
    """TimeoutError; the process runs on."""
    process = start("x", "sleep 1000")
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    assert process.is_alive()


def test_wrong_options_are_refused_before_anything_runs() -> None:
    """Unknown, repeated, or no command at all."""
    wrong: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("x", "true"), {"nope": 1}), (("x", "true"), {"cmd": "y"}), (("x",), {}),
    ]  # fmt: skip
    for words, options in wrong:
        with pytest.raises(TypeError):
            Process(*words, **options)


def test_it_loads_no_zmq() -> None:
    """Nor anything else of the daemon."""
    source = (
        "import sys; from circus.process import Process; Process('x', 'true').stop();"
        "print([m for m in ('zmq', 'asyncio', 'structlog', 'hypothesis') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "[]\n" == run.stdout
