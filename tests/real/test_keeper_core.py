"""Room: tests -- the keeper and its core: replaced, waited for, done without; kill -9 of all.

Knows:     tests/real/keepers.py, process.core_child, last_words.
Known by:  nobody.
Never:     sleeps; leaves a process behind (a fixture looks for its mark in every environment).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import DEADLINE, SECOND, Daemon, Embedded, mark_of, read_line

from circus.process import last_words
from circus.process.core_child import CoreChild
from circus.process.launch import Plan
from circus.process.spawn import Spawner

HOUR = 3600 * SECOND


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Nothing that carries it is left by a test."""
    yield from mark_of(tmp_path)


def test_a_core_that_refuses_its_configuration_ends_the_keeper(tmp_path: Path, mark: str) -> None:
    """An exit code of sysexits before it was ever ready is the keeper's own."""
    assert 78 == Daemon(tmp_path, mark, "refuse").end()


def test_a_killed_core_is_replaced_and_its_workers_run_on(tmp_path: Path, mark: str) -> None:
    """Kill -9 of the core: the same worker is held by the next one, which hears of the loss."""
    daemon = Daemon(tmp_path, mark, "polite")
    first, worker = (words := daemon.line("spawned"))[0], words[4]
    os.kill(int(first), signal.SIGKILL)
    hello = daemon.line("hello")
    assert first != hello[0]
    assert first in " ".join(hello)
    held = " ".join(daemon.line("held"))
    assert "'alive'" in held
    assert worker in held
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()


def test_term_is_the_cores_to_answer_and_its_exit_code_is_ours(tmp_path: Path, mark: str) -> None:
    """`stopping` with a code, then the core's exit: the keeper ends with that code."""
    daemon = Daemon(tmp_path, mark, "polite")
    daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()
    assert [] == last_words.read(str(tmp_path))


def test_a_core_that_does_not_answer_a_term_is_done_without(tmp_path: Path, mark: str) -> None:
    """After two seconds the keeper stops everything itself and keeps what it saw."""
    daemon = Daemon(tmp_path, mark, "deaf")
    spawned = daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 0 == daemon.end()
    words = last_words.read(str(tmp_path))
    assert [int(spawned[4])] == [r[3] for r in words if r[0] == "exited"]


def test_cores_that_never_become_ready_wait_longer_each_time() -> None:
    """The pauses are taken in order and the last one stays; a ready core is replaced at once."""
    core = CoreChild(lambda _fd: ("true",), Spawner(), pauses=(HOUR, 2 * HOUR))
    for pause in (HOUR, 2 * HOUR, 2 * HOUR, 0, HOUR):
        os.close(core.start())
        assert select.select([core.pidfd], [], [], DEADLINE)[0]
        core.ready = pause == 0
        core.reap()
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        core.put_off(before)
        assert before + pause == core.due


def test_a_core_that_is_ready_at_last_hears_of_all_before_it(tmp_path: Path, mark: str) -> None:
    """Three cores end before they are ready; the fourth is told how, and everything goes on."""
    daemon = Daemon(tmp_path, mark, "late", pause=1)
    pids = [daemon.line("hello")[0] for _ in range(3)]
    hello = " ".join(daemon.line("hello"))
    assert [pid for pid in pids if f"({pid}, 1, None)" in hello] == pids
    daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()


def test_term_without_a_core_runs_the_stop_plans_by_priority(tmp_path: Path, mark: str) -> None:
    """While the next core is put off: the lowest priority first, and what was seen is kept."""
    daemon = Daemon(tmp_path, mark, "dying", pause=HOUR)
    complaint = " ".join(daemon.line("circus-keeper:"))
    assert "the core ended before it was ready (code 1)" in complaint
    daemon.process.send_signal(signal.SIGTERM)
    assert 0 == daemon.end()
    words = last_words.read(str(tmp_path))
    assert [3, 4, 2] == [r[2] for r in words if r[0] == "signalled"]
    assert {2: 15, 3: 15, 4: 15} == {r[1]: r[5] for r in words if r[0] == "exited"}


def test_a_second_term_leaves_nobody_more_than_a_second(tmp_path: Path, mark: str) -> None:
    """A plan's grace of an hour ends with it, by SIGKILL."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    os.mkfifo(tmp_path / "up")
    fifo = os.open(tmp_path / "up", os.O_RDONLY | os.O_NONBLOCK)
    # What is ignored stays ignored by the program that follows.
    deaf = keeper.spawn(
        keeper.launch("sh", "-c", f"trap '' TERM; echo up >{tmp_path}/up; exec sleep 1000"),
        Plan(grace=HOUR),
    )
    keeper.wait("spawned")
    assert b"up\n" == read_line(fifo)
    os.close(fifo)
    with socket.socket(fileno=os.dup(keeper.link.fileno())) as ours:
        ours.shutdown(socket.SHUT_WR)
        _hung_up(ours)
    os.kill(keeper.pid, signal.SIGTERM)
    assert 0 == keeper.end()
    words = last_words.read(str(tmp_path))
    assert [15, 9] == [r[3] for r in words if r[0] == "signalled"]
    assert [(deaf, 9)] == [(r[1], r[5]) for r in words if r[0] == "exited"]


def _hung_up(link: socket.socket) -> None:
    """Wait until the other end is closed: the keeper has begun its stop plans then."""
    poller = select.poll()
    poller.register(link, 0)
    assert poller.poll(DEADLINE * 1000)


def test_a_killed_keeper_leaves_its_workers_alone(tmp_path: Path, mark: str) -> None:
    """Kill -9 of the keeper: the workers run on, the lock is free, another keeper may start."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.spawn(keeper.launch("sleep", "1000"))
    (spawned,) = keeper.wait("spawned")
    worker = os.pidfd_open(spawned[3])
    os.kill(keeper.pid, signal.SIGKILL)
    assert -signal.SIGKILL == keeper.end()
    assert ([], [], []) == select.select([worker], [], [], 0)
    second = Embedded(tmp_path, mark, os.getpid())
    second.wait("hello")
    assert 0 == second.end()
    signal.pidfd_send_signal(worker, signal.SIGKILL)
    assert select.select([worker], [], [], DEADLINE)[0]
    os.close(worker)
