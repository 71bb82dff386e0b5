"""Room: tests -- the keeper replaced in its own process, under churn, with nothing lost.

Knows:     tests/real/keepers.py, process.successor.
Known by:  nobody.
Never:     sleeps; leaves a process behind (a fixture looks for its mark in every environment).
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import Embedded, count_of, held_by, mark_of

from circus.process.successor import STATE_VERSION, Unreadable, read_state, write_state
from circus.process.version import VERSION

REPLACEMENTS = 70
CHURNING = 8


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Nothing that carries it is left by a test."""
    yield from mark_of(tmp_path)


@pytest.fixture
def keeper(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    yield from held_by(tmp_path, mark)


class Churn:
    """Short lives, one after the other, each counted from its spawn to its reap."""

    def __init__(self, keeper: Embedded) -> None:
        self._keeper = keeper
        self._launch = keeper.launch("sh", "-c", "exit $(($$ % 200))")
        self.asked: set[int] = set()
        self.pids: dict[int, int] = {}
        self.codes: dict[int, int] = {}
        self.reaped: list[int] = []
        self.others: list[Any] = []
        keeper.ask(("spec", self._launch.digest, self._launch.to_map()))

    def begin(self, count: int) -> None:
        """So many more lives."""
        for _ in range(count):
            seq = self._keeper.seq()
            self.asked.add(seq)
            self._keeper.link.send(
                [("spawn", seq, self._launch.digest, "owner", self._launch.plan)]
            )
        assert self._keeper.link.flush()

    def hear(self, reports: list[Any]) -> None:
        """Count, acknowledge, and start another life for each that ended."""
        for report in reports:
            if report[0] == "spawned":
                self.pids[report[1]] = report[3]
            elif report[0] == "exited":
                assert report[1] not in self.codes, "an exit was told twice"
                self.codes[report[1]] = report[4]
                self._keeper.ask(("ack", [report[1]]))
            elif report[0] == "reaped":
                self.reaped.append(report[1])
            else:
                self.others.append(report)

    def until(self, name: str) -> Any:
        """Churn on until this is reported."""
        while name not in [report[0] for report in self.others]:
            before = len(self.reaped)
            self.hear(self._keeper.until(bool))
            self.begin(len(self.reaped) - before)
        return self.others.pop([report[0] for report in self.others].index(name))


def test_seventy_replacements_under_churn_lose_nothing(keeper: Embedded) -> None:
    """Each life is told once, with its true status; a worker that runs through all of it is still
    the same child; signals that come meanwhile are told, not died of."""
    calm = keeper.spawn(keeper.launch("sleep", "1000"))
    pid = keeper.wait("spawned")[0][3]
    churn = Churn(keeper)
    churn.begin(CHURNING)
    for number in range(REPLACEMENTS):
        keeper.ask(("reexec", number, ""))
        os.kill(keeper.pid, signal.SIGUSR1)
        assert ("reexeced", number, VERSION) == churn.until("reexeced")
        os.kill(keeper.pid, signal.SIGUSR1)
    while len(churn.reaped) < len(churn.asked):
        churn.hear(keeper.until(bool))
    assert churn.asked == set(churn.pids) == set(churn.codes)
    assert churn.asked == set(churn.reaped)
    assert len(churn.asked) == len(churn.reaped)
    assert {seq: pid % 200 for seq, pid in churn.pids.items()} == churn.codes
    assert [] == [report for report in churn.others if report[0] != "os_signal"]
    keeper.ask(("list", 1))
    assert [(calm, "alive", pid)] == [(r[0], *r[2:4]) for r in keeper.wait("held")[0][2]]
    # Signals of one kind that wait together are one.
    assert REPLACEMENTS <= len(churn.others) <= 2 * REPLACEMENTS


def test_a_replacement_leaks_no_descriptor_and_keeps_the_lock(keeper: Embedded) -> None:
    """The lock is held all the time; a worker of the new keeper has three descriptors."""
    counts = []
    for number in range(3):
        keeper.ask(("reexec", number, ""))
        keeper.wait("reexeced")
        counts.append(len(os.listdir(f"/proc/{keeper.pid}/fd")))
    assert 1 == len(set(counts)), counts
    with (keeper.state_dir / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    listing = keeper.state_dir / "listing"
    keeper.spawn(keeper.launch("sh", "-c", f"exec ls /proc/self/fd >{listing}"))
    keeper.wait("exited")
    assert {"0", "1", "2", "3"} == set(listing.read_text().split())


def test_exits_that_no_core_has_acknowledged_survive_a_replacement(keeper: Embedded) -> None:
    """The zombie is still ours, and is told to whoever asks for the list, with the time when its
    end was seen by the keeper before."""
    spawn_id = keeper.spawn(keeper.launch("sh", "-c", "exit 7"))
    exited = keeper.wait("exited")[0]
    failed = keeper.spawn(keeper.launch("no-such-program"))
    keeper.wait("failed")
    keeper.ask(("reexec", 9, ""))
    keeper.wait("reexeced")
    keeper.ask(("list", 1))
    seen = keeper.until(lambda seen: count_of(seen, "exited") > 0)
    assert exited == next(report for report in seen if report[0] == "exited")
    keeper.ask(("ack", [spawn_id, failed]))
    assert [("reaped", spawn_id, exited[3], ())] == keeper.wait("reaped")


def test_a_program_that_cannot_go_on_is_refused_before_the_exec(keeper: Embedded) -> None:
    """It is tried first: a program that fails, or is none, changes nothing."""
    keeper.ask(("reexec", 3, "/bin/false"))
    (refused,) = keeper.wait("reexec_refused")
    assert (3, "the new version was tried and ended with status 1") == refused[1:]
    keeper.ask(("reexec", 4, "/no/such/python"))
    (refused,) = keeper.wait("reexec_refused")
    assert 4 == refused[1]
    keeper.ask(("reexec", 5, sys.executable))
    assert [("reexeced", 5, VERSION)] == keeper.wait("reexeced")


def test_a_state_of_another_version_is_not_read() -> None:
    """What the old keeper knew is not guessed at."""
    assert {"version": STATE_VERSION, "env": "\udc80"} == read_state(write_state({"env": "\udc80"}))
    with pytest.raises(Unreadable, match="cannot go on with a state of version 99"):
        read_state(write_state({"version": 99}))
