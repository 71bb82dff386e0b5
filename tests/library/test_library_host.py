"""The program around the library: its signals, its death, its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from circus.bus.events import ProcessExited
from circus.bus.subscribe import subscribe

pytestmark = pytest.mark.real

WAIT = 30
BLOCKING = """
import os, signal, sys
from circus import get_arbiter

mine = signal.signal(signal.SIGTERM, lambda *_: None)
arbiter = get_arbiter([{"cmd": "sleep 1000", "numprocesses": 3}], state_dir=sys.argv[1])

def started(future):
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    print(*arbiter.get_watcher("sleep").pids, *children, flush=True)

result = arbiter.start(cb=started).result()
assert result is False
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
arbiter.stop()
assert os.listdir("/proc/self/task") == [str(os.getpid())]
"""
BACKGROUND = """
import signal, sys
from circus import get_arbiter

arbiter = get_arbiter(
    [{"cmd": "sleep 1000", "numprocesses": 3}], background=True, state_dir=sys.argv[1]
)
signal.signal(signal.SIGTERM, lambda *_: (arbiter.stop(), sys.exit(7)))
arbiter.start().result()
print(*arbiter.get_watcher("sleep").pids, flush=True)
signal.pause()
"""
FORGETFUL = """
import sys
from circus import get_arbiter

arbiter = get_arbiter(
    [{"cmd": "sleep 1000", "numprocesses": 3}], background=True, state_dir=sys.argv[1]
)
arbiter.start().result()
print(*arbiter.get_watcher("sleep").pids, flush=True)
"""

Host = Callable[[str], tuple["subprocess.Popen[str]", list[int]]]


@pytest.fixture
def host(state_dir: Path, reaped: Callable[..., int]) -> Host:
    """Start a program that uses the library; it and the pids that it prints are seen to."""

    def start(script: str) -> tuple[subprocess.Popen[str], list[int]]:
        program = subprocess.Popen(
            [sys.executable, "-c", script, str(state_dir)],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        reaped(program)
        assert program.stdout is not None
        pids = [int(word) for word in program.stdout.readline().split()]
        for pid in pids:
            if Path(f"/proc/{pid}").exists():
                reaped(pid)
        return program, pids

    return start


def test_ctrl_c_reaches_only_the_program(
    host: Host, state_dir: Path, until: Callable[[int], None]
) -> None:
    """
    The terminal signals the group in front: keeper and workers are not in it. The workers get their
    stop signal, the program its own handlers back.
    """
    program, pids = host(BLOCKING)
    os.killpg(program.pid, signal.SIGINT)
    assert 0 == program.wait(WAIT)
    for pid in pids:
        until(pid)
    with subscribe(str(state_dir), after=0, follow=False) as past:
        ends = [record.body for record in past if isinstance(record.body, ProcessExited)]
    assert [signal.SIGTERM] * 3 == [body.signal for body in ends]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_signals_stop_a_program_that_is_blocked_in_start(
    signum: signal.Signals, host: Host, until: Callable[[int], None]
) -> None:
    """
    INT, TERM and QUIT stop everything in order, and `start` returns.
    """
    program, pids = host(BLOCKING)
    program.send_signal(signum)
    assert 0 == program.wait(WAIT)
    for pid in pids:
        until(pid)


def test_hup_reloads_and_goes_on(host: Host, until: Callable[[int], None], state_dir: Path) -> None:
    """
    SIGHUP replaces every worker gracefully, as Circus does.
    """
    program, pids = host(BLOCKING)
    program.send_signal(signal.SIGHUP)
    for pid in pids[:3]:
        until(pid)
    with subscribe(str(state_dir), after=0) as told:
        assert any(record.name == "watcher.reloaded" for record in told)
    program.send_signal(signal.SIGTERM)
    assert 0 == program.wait(WAIT)


def test_the_example_program_tells_its_story(reaped: object) -> None:
    """
    A worker is lost, replaced, and all of it can be read afterwards.
    """
    example = Path(__file__).parent.parent.parent / "examples/library_embedded.py"
    ran = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, check=True, timeout=WAIT
    )
    assert "replaced: True {'worker': 'active'}" in ran.stdout
    assert "3 exits" in ran.stdout


def test_the_death_of_the_program_stops_its_workers(
    host: Host, until: Callable[[int], None]
) -> None:
    """
    SIGKILL leaves no time to say anything: the keeper sees it and ends the workers, then itself.
    """
    program, pids = host(BLOCKING)
    program.kill()
    assert -signal.SIGKILL == program.wait(WAIT)
    assert len(pids) == 4
    for pid in pids:
        until(pid)


def test_stop_may_be_called_in_a_signal_handler(host: Host, until: Callable[[int], None]) -> None:
    """
    A program with a background arbiter and handlers of its own.
    """
    program, pids = host(BACKGROUND)
    program.send_signal(signal.SIGTERM)
    assert 7 == program.wait(WAIT)
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()


def test_a_program_that_forgets_to_stop_leaves_nothing(host: Host, state_dir: Path) -> None:
    """
    At the end of the interpreter everything is stopped in order.
    """
    program, pids = host(FORGETFUL)
    assert 0 == program.wait(WAIT)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with subscribe(str(state_dir), after=0, follow=False) as past:
        assert "core.stopped" == [record.name for record in past][-1]


def test_importing_the_library_loads_no_zeromq() -> None:
    """
    `from circus import get_arbiter` and the Watcher cost a program nothing before they are used.
    """
    script = (
        "import sys; from circus import get_arbiter; from circus.watcher import Watcher; "
        "Watcher('a', 'b'); print('zmq' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=WAIT
    )
    assert "False" == told.stdout.strip()
