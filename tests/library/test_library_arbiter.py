"""The Arbiter of Circus's library on real processes: values, errors, before and after."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus import get_arbiter
from circus.arbiter import Arbiter, ThreadedArbiter
from circus.arbiter.library import AlreadyExist
from circus.watcher import Watcher

WAIT = 20
PROGRAM = "sleep 1000"


@pytest.fixture
def arbiter(state_dir: Path, reaped: object) -> Iterator[Arbiter]:
    """One that runs two processes of `sleep` in the background."""
    made = get_arbiter(
        [{"name": "Sleeper", "cmd": PROGRAM, "numprocesses": 2}],
        background=True,
        state_dir=str(state_dir),
    )
    made.start().result(WAIT)
    yield made
    made.stop()


def fds() -> int:
    """How many descriptors this program has."""
    return len(os.listdir("/proc/self/fd"))


def test_start_in_the_background_is_done_when_all_watchers_run(arbiter: Arbiter) -> None:
    """
    The future of `start` is done when every process has been spawned.
    """
    assert (2, 1) == (arbiter.numprocesses(), arbiter.numwatchers())
    assert {"Sleeper": "active"} == arbiter.statuses()
    assert arbiter.running


def test_a_watcher_is_found_whatever_the_case(arbiter: Arbiter) -> None:
    """
    `get_watcher` ignores letter case, and raises KeyError for what is not there.
    """
    assert "Sleeper" == arbiter.get_watcher("sLEEPER").name
    with pytest.raises(KeyError):
        arbiter.get_watcher("nobody")


def test_life_methods_answer_as_circus_does(arbiter: Arbiter) -> None:
    """
    `start`, `restart` and `reload` tell sorted pids; `stop` tells None.
    """
    watcher = arbiter.get_watcher("sleeper")
    first = sorted(watcher.pids)
    assert {"started": [], "kept": first} == watcher.start().result(WAIT)
    told = watcher.restart().result(WAIT)
    assert first == told["stopped"]
    assert sorted(watcher.pids) == told["started"]
    again = watcher.reload().result(WAIT)
    assert told["started"] == again["stopped"]
    assert watcher.stop().result(WAIT) is None
    assert ("stopped", 0) == (watcher.status(), len(watcher))
    assert watcher.is_stopped()


def test_more_and_fewer_processes_are_numbers(arbiter: Arbiter) -> None:
    """
    `incr`, `decr` and `set_numprocesses` tell the new number, never below 0.
    """
    watcher = arbiter.get_watcher("sleeper")
    numbers = [
        watcher.incr().result(WAIT),
        watcher.incr(2).result(WAIT),
        watcher.decr(4).result(WAIT),
        watcher.decr(4).result(WAIT),
        watcher.set_numprocesses(1).result(WAIT),
    ]
    assert [3, 5, 1, 0, 1] == numbers
    assert 1 == watcher.numprocesses


def test_setting_an_option_says_what_it_cost(arbiter: Arbiter) -> None:
    """
    `set_opt`: 0 manages, 1 reloads, -1 does nothing; unknown options are ignored.
    """
    watcher = arbiter.get_watcher("sleeper")
    costs = [watcher.set_opt(*pair) for pair in (("numprocesses", 3), ("cmd", "sleep 9"), ("x", 1))]
    assert [0, 1, -1] == costs
    assert ("sleep 9", 3) == (watcher.cmd, dict(watcher.options())["numprocesses"])
    watcher.numprocesses = 1
    assert 1 == watcher.numprocesses


def test_a_watcher_may_come_and_go_while_others_run(arbiter: Arbiter) -> None:
    """
    `add_watcher` gives a watcher that is not started; `rm_watcher` stops and forgets it.
    """
    watcher = arbiter.add_watcher("two", PROGRAM, numprocesses=3)
    assert "stopped" == watcher.status()
    assert 3 == len(watcher.start().result(WAIT)["started"])
    with pytest.raises(AlreadyExist):
        arbiter.add_watcher("TWO", PROGRAM)
    assert arbiter.rm_watcher("two").result(WAIT) is None
    assert ["Sleeper"] == [one.name for one in arbiter.watchers]
    with pytest.raises(KeyError):
        arbiter.rm_watcher("two")


def test_processes_answer_as_circus_s_do(arbiter: Arbiter) -> None:
    """
    `processes` maps pids to objects with Circus's members; a signal ends one and it is replaced.
    """
    watcher = arbiter.get_watcher("sleeper")
    pid, process = next(iter(watcher.processes.items()))
    assert (pid, 0, []) == (process.pid, process.status, process.children())
    assert process.age() >= 0
    assert {1, 2} == {one.wid for one in watcher.processes.values()}
    assert pid == process.info()["pid"] == watcher.process_info(pid)["pid"]
    assert set(watcher.pids) == set(watcher.info()) == set(watcher.get_active_pids())
    process.stop()
    assert 2 == process.status
    assert "No such process (stopped?)" == process.info()


def test_a_signal_reaches_one_process(arbiter: Arbiter, until: Callable[[int], None]) -> None:
    """
    `send_signal` sends to a pid of the watcher and passes over others.
    """
    watcher = arbiter.get_watcher("sleeper")
    pid = watcher.pids[0]
    watcher.send_signal(os.getpid(), 9)
    watcher.send_signal(pid, 9)
    until(pid)
    with pytest.raises(KeyError):
        watcher.send_signal_child(os.getpid(), 1, 15)


def test_all_watchers_stop_start_restart_and_reload(arbiter: Arbiter) -> None:
    """
    The arbiter's own methods tell None when it is done.
    """
    assert arbiter.stop_watchers().result(WAIT) is None
    assert 0 == arbiter.numprocesses()
    assert arbiter.start_watchers().result(WAIT) is None
    assert 2 == arbiter.numprocesses()
    assert arbiter.reload().result(WAIT) is None
    assert arbiter.restart().result(WAIT) is None
    assert arbiter.manage_watchers().result(WAIT) is None
    arbiter.reap_processes()
    assert 2 == arbiter.numprocesses()


def test_what_was_is_told_after_the_end(arbiter: Arbiter) -> None:
    """
    After `stop` questions are answered from the last projection; commands are refused.
    """
    pids = arbiter.get_watcher("sleeper").pids
    assert arbiter.stop().result(WAIT) is None
    assert arbiter.stop().result(WAIT) is None
    watcher = arbiter.get_watcher("sleeper")
    assert ("stopped", 0, 2) == (watcher.status(), len(watcher), watcher.numprocesses)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not arbiter.running


def test_an_arbiter_can_be_started_again(arbiter: Arbiter) -> None:
    """
    The same object, the same state directory, the next incarnation.
    """
    arbiter.stop()
    assert arbiter.start().result(WAIT) is False
    assert 2 == arbiter.numprocesses()


def test_before_the_start_methods_change_the_description(state_dir: Path, reaped: object) -> None:
    """
    Nothing runs yet; what is changed counts when it starts. Stopping is harmless.
    """
    made = get_arbiter([{"cmd": PROGRAM}], background=True, state_dir=str(state_dir))
    assert made.stop().result(WAIT) is None
    watcher = made.get_watcher("sleep")
    assert 3 == watcher.incr(2).result(WAIT)
    watcher.graceful_timeout = 5
    made.add_watcher("second", PROGRAM)
    assert (0, 2, "stopped") == (made.numprocesses(), made.numwatchers(), watcher.status())
    made.start().result(WAIT)
    assert (4, 5) == (made.numprocesses(), watcher.graceful_timeout)
    made.stop()


def test_descriptions_are_not_changed() -> None:
    """
    The same list may be used twice.
    """
    description: dict[str, Any] = {"cmd": PROGRAM, "env": {"A": "b"}, "numprocesses": 2}
    before = {**description, "env": dict(description["env"])}
    get_arbiter([description])
    get_arbiter([description])
    assert before == description


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"plugins": [{"use": "x.Y"}]}, "plugins"),
        ({"statsd": True}, "stats"),
        ({"httpd": True}, "web page"),
        ({"sockets": [object()]}, "sockets"),
        ({"controller": "tcp://0.0.0.0:5555"}, "loopback"),
        ({"controller": "udp://127.0.0.1:1"}, "ipc"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(
    options: dict[str, Any], error: str
) -> None:
    """
    ValueError before anything starts.
    """
    with pytest.raises(ValueError, match=error):
        get_arbiter([{"cmd": PROGRAM}], **options)


@pytest.mark.parametrize(
    ("description", "error"),
    [
        ({"cmd": PROGRAM, "numprocesses": "many"}, ValueError),
        ({"cmd": PROGRAM, "numproceses": 2}, ValueError),
        ({"cmd": PROGRAM, "hooks": {"before_start": "x.y"}}, ValueError),
        ({"cmd": PROGRAM, "singleton": True, "numprocesses": 2}, ValueError),
        ({"name": "x"}, KeyError),
    ],
)
def test_a_bad_description_is_refused_at_once(
    description: dict[str, Any], error: type[Exception]
) -> None:
    """
    All that is wrong is said when the arbiter is made.
    """
    with pytest.raises(error):
        get_arbiter([description])


def test_options_that_nobody_knows_are_kept() -> None:
    """
    Circus's free options are the program's own: they are listed and change nothing.
    """
    watcher = get_arbiter([{"cmd": PROGRAM, "my_own_label": "x"}]).get_watcher("sleep")
    assert "x" == dict(watcher.options())["my_own_label"] == watcher.my_own_label


def test_a_loopback_endpoint_is_the_caller_s_choice() -> None:
    """
    Plain tcp on the loopback is accepted with a warning.
    """
    with pytest.warns(UserWarning, match="every user of this machine"):
        made = get_arbiter([{"cmd": PROGRAM}], controller="tcp://127.0.0.1:5555")
    assert "tcp://127.0.0.1:5555" == made.endpoint


def test_futures_can_be_awaited(state_dir: Path, reaped: object) -> None:
    """
    Where an asyncio loop runs, nothing blocks it: everything is awaited.
    """

    async def use() -> list[Any]:
        made = Arbiter(
            [Watcher("w", PROGRAM)], loop=asyncio.get_running_loop(), state_dir=str(state_dir)
        )
        started = await made.start()
        number = await made.get_watcher("w").incr()
        return [started, number, await made.stop()]

    assert [False, 2, None] == asyncio.run(use())


def test_two_arbiters_in_one_program(state_dir: Path, reaped: object) -> None:
    """
    Neither knows of the other.
    """
    made = [
        ThreadedArbiter([{"cmd": PROGRAM, "numprocesses": n}], state_dir=f"{state_dir}/{n}")
        for n in (1, 2)
    ]
    for one in made:
        one.start().result(WAIT)
    made[0].stop()
    assert [0, 2] == [one.numprocesses() for one in made]
    made[1].stop()


def test_start_in_a_thread_of_the_program(state_dir: Path, reaped: object) -> None:
    """
    Outside the main thread `start` blocks its thread, without signal handlers; `stop` comes from
    here.
    """
    made = get_arbiter([{"cmd": PROGRAM}], state_dir=str(state_dir))
    running = threading.Event()
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(made.start(cb=lambda _: running.set()).result())
    )
    thread.start()
    assert running.wait(WAIT)
    assert 1 == made.numprocesses()
    assert made.stop().result(WAIT) is None
    thread.join(WAIT)
    assert [False] == results


def test_twenty_arbiters_leave_nothing_behind(state_dir: Path, reaped: object) -> None:
    """
    No descriptor, no thread, no process.
    """
    before = (0, 0)
    for turn in range(21):
        made = get_arbiter([{"cmd": PROGRAM}], background=True, state_dir=str(state_dir))
        made.start().result(WAIT)
        made.stop()
        del made
        if turn == 0:  # What the first one loads for good is no leak.
            before = (fds(), threading.active_count())
    assert before == (fds(), threading.active_count())
