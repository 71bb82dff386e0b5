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
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import DEADLINE, SECOND, Daemon, Embedded, mark_of, read_line

from circus.process import last_words
from circus.process.core_child import EXIT_WITHIN, CoreLife, Lost
from circus.process.launch import Plan

HOUR = 3600 * SECOND
NOW = 1000 * SECOND


class Patient(CoreLife):
    """A life without a process: what would be done to it is noted."""

    def __init__(self, silence: int) -> None:
        super().__init__(silence=silence)
        self.done: list[str] = []
        self.begun(1)

    def abort(self) -> None:
        self.done.append("abort")

    def kill(self) -> None:
        super().kill()
        self.done.append("kill")


def look_at(core: CoreLife) -> int:
    """One look when it is due; how long until the next."""
    now = core.due or NOW
    core.look(now)
    return (core.due or now) - now


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


def test_what_a_core_said_last_counts_even_if_nobody_can_answer_it(
    tmp_path: Path, mark: str
) -> None:
    """
    The keeper wants to answer an earlier word and finds the link closed: `stopping` is in it still.
    """
    assert 5 == Daemon(tmp_path, mark, "brief").end()


def test_a_core_that_does_not_answer_a_term_is_done_without(tmp_path: Path, mark: str) -> None:
    """After two seconds the keeper stops everything itself and keeps what it saw."""
    daemon = Daemon(tmp_path, mark, "deaf")
    spawned = daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 0 == daemon.end()
    words = last_words.read(str(tmp_path))
    assert [int(spawned[4])] == [r[3] for r in words if r[0] == "exited"]
    assert "spawned" == words[0][0], "perhaps nobody has heard of its birth"


def test_cores_that_never_become_ready_wait_longer_each_time() -> None:
    """The pauses are taken in order and the last one stays; a ready core is replaced at once."""
    life = CoreLife((HOUR, 2 * HOUR))
    for pause in (HOUR, 2 * HOUR, 2 * HOUR, 0, HOUR):
        life.begun(1)
        life.look(NOW)
        if pause == 0:
            life.is_ready(found=7, head=9)
            life.look(NOW)
        life.ended(1, None, 0)
        life.put_off(NOW)
        assert NOW + pause == life.due


def test_ready_cores_that_die_at_one_place_of_the_ledger_are_put_off() -> None:
    """The second that found the ledger where the first left it waits, if it died at once; one that
    got anywhere, or lived for a while, is replaced at once."""
    life = CoreLife((HOUR, 2 * HOUR))
    # What the core found, where it was when it was ready, how long it lived, and the pause after.
    for found, head, lived, pause in (
        (0, 5, 0, 0), (5, 8, 0, HOUR), (8, 11, 0, 2 * HOUR), (20, 23, 0, 0), (23, 26, SECOND, 0),
        (26, 29, 0, HOUR),
    ):  # fmt: skip
        life.begun(1)
        life.is_ready(found, head)
        life.look(NOW)
        life.ended(None, 9, 0)
        life.put_off(NOW + lived)
        assert NOW + lived + pause == life.due, (found, head)


def test_a_silent_core_is_aborted_and_then_killed() -> None:
    """Three looks without a word; one that has not begun to speak gets ten times as long."""
    core = Patient(silence=3 * SECOND)
    core.is_ready(found=0, head=1)
    looks = [look_at(core) for _ in range(4)]
    assert [SECOND, SECOND, SECOND, EXIT_WITHIN] == looks
    assert ["abort"] == core.done
    core.look(core.due or 0)
    assert ["abort", "kill"] == core.done
    core.ended(None, signal.SIGKILL, 7)
    assert [Lost(1, None, signal.SIGKILL, 3 * SECOND, 7)] == core.lost
    unready = Patient(silence=3 * SECOND)
    assert [SECOND] * 30 == [look_at(unready) for _ in range(30)]
    assert EXIT_WITHIN == look_at(unready)


def test_a_core_that_speaks_now_and_then_is_left_alone() -> None:
    """Silence is counted anew after each word; a clock that jumps is one look."""
    core = Patient(silence=3 * SECOND)
    core.is_ready(found=0, head=1)
    for heard in (False, False, True, False, False, False, True, False):
        core.heard = heard
        core.look((core.due or 0) + HOUR)
    assert [] == core.done
    core.bear(0)
    core.look(core.due or 0)
    assert core.due is None


def test_a_stopped_core_is_replaced_and_its_workers_run_on(tmp_path: Path, mark: str) -> None:
    """SIGSTOP: neither SIGABRT nor anything but SIGKILL reaches it; the next one hears why."""
    daemon = Daemon(tmp_path, mark, "hung", silence=SECOND)
    hung, worker = (words := daemon.line("spawned"))[0], words[4]
    assert f"({hung}, None, 9, {SECOND}, " in " ".join(daemon.line("hello"))
    assert worker in " ".join(daemon.line("held"))
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()


def test_a_core_that_is_ready_at_last_hears_of_all_before_it(tmp_path: Path, mark: str) -> None:
    """Three cores end before they are ready; the fourth is told how, and everything goes on."""
    daemon = Daemon(tmp_path, mark, "late", pause=1)
    pids = [daemon.line("hello")[0] for _ in range(3)]
    hello = " ".join(daemon.line("hello"))
    assert [pid for pid in pids if f"({pid}, 1, None, 0, " in hello] == pids
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
