"""The mark of a worker: on both roads, its own, and found only where it says the truth."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from circus.process.launch import Launch
from circus.process.marks import VARIABLE, mark
from circus.process.orphans_core import TICK, Evidence, is_answer
from circus.process.spawn import Spawner
from circus.process.unheard import marked

LOG: Final = os.urandom(16).hex()
PATH: Final = "/usr/bin:/bin"


@pytest.fixture
def spawn(reaped: Callable[[int], int]) -> Iterator[Callable[..., int]]:
    """Start a program with a mark; it is ended with the test."""
    spawner = Spawner()

    def start(spawn_id: int, *argv: str, **rest: Any) -> int:
        launch = Launch(argv, {"PATH": PATH, VARIABLE: "another's"}, **rest)
        return reaped(spawner.spawn(launch, mark=mark(LOG, spawn_id)))

    yield start
    spawner.close()


@pytest.mark.parametrize("limits", [{}, {"core": (0, 0)}], ids=["fast", "full"])
def test_a_worker_carries_its_own_mark_on_both_roads(
    spawn: Callable[..., int], written: Callable[[Path], str], tmp_path: Path, limits: Any
) -> None:
    """Of a daemon that runs under a daemon the workers do not carry the outer one's."""
    out = tmp_path / "environment"
    spawn(7, "sh", "-c", f"env >{out}.new; mv {out}.new {out}", limits=limits)
    lines = [line for line in written(out).splitlines() if line.startswith(VARIABLE)]
    assert [f"{VARIABLE}={LOG}:7"] == lines


def test_a_marked_process_is_found_by_what_it_answers(spawn: Callable[..., int]) -> None:
    """Only these requests of this ledger; pid, user and identity come with it."""
    pids = {spawn_id: spawn(spawn_id, "sleep", "1000") for spawn_id in (5, 6, 60)}
    found = {one.spawn_id: one for one in marked(LOG, {5, 60, 8})}
    assert {5: pids[5], 60: pids[60]} == {spawn_id: one.pid for spawn_id, one in found.items()}
    assert {os.geteuid()} == {one.uid for one in found.values()}
    assert [] == marked("ff00" * 8, pids)
    assert [] == marked(LOG, ())


def test_what_a_worker_has_started_is_not_taken_for_it(
    spawn: Callable[..., int], grown: Any
) -> None:
    """Environments are passed on. A child leads no session; one that does was started later."""
    pid = spawn(5, "sh", "-c", "sleep 1000 & setsid -w sleep 1000 & wait")
    children = grown(pid, 2)
    try:
        assert [pid] == [one.pid for one in marked(LOG, {5})]
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_an_answer_comes_after_its_question() -> None:
    """A process that was there before the request is no answer to it; clocks tick coarsely."""
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert is_answer(boot, Evidence(boot - TICK + 1, 0))
    assert not is_answer(boot, Evidence(boot - TICK, 0))
