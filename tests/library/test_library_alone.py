"""A Watcher without an arbiter: a private keeper and ledger, for as long as it is used."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

from circus.watcher import Watcher

WAIT = 20


def test_nothing_runs_before_the_first_start() -> None:
    """
    A watcher that is only described costs nothing.
    """
    watcher = Watcher("alone", "sleep 1000", numprocesses=2)
    assert ("stopped", 0, {}) == (watcher.status(), len(watcher), watcher.processes)
    assert watcher.spawn_process() is True
    assert watcher.stop().result(WAIT) is None


def test_start_and_stop_have_circus_s_results(reaped: object, until: Callable[[int], None]) -> None:
    """
    `stop` ends keeper and ledger too; the watcher may be started again.
    """
    watcher = Watcher("alone", "sleep 1000", numprocesses=2)
    for _ in range(2):
        told = watcher.start().result(WAIT)
        assert (told["started"], []) == (sorted(watcher.pids), told["kept"])
        assert 3 == watcher.incr().result(WAIT)
        pids = watcher.pids
        assert watcher.stop().result(WAIT) is None
        for pid in pids:
            until(pid)
        watcher.set_numprocesses(2).result(WAIT)


def test_the_last_reference_is_the_end_of_its_processes(
    reaped: Callable[[int], int], until: Callable[[int], None]
) -> None:
    """
    Nobody can ask for them any more.
    """
    watcher = Watcher("alone", "sleep 1000")
    watcher.start().result(WAIT)
    pid = watcher.pids[0]
    keeper = next(iter(children()))
    del watcher
    gc.collect()
    until(pid)
    reaped(keeper)
    until(keeper)


def test_an_override_works_without_an_arbiter(reaped: object) -> None:
    """
    The core of one watcher asks by record too.
    """
    calls: list[str] = []

    class Counting(Watcher):
        def spawn_process(self, recovery_wid: int | None = None) -> bool | float:
            calls.append("spawn")
            return super().spawn_process(recovery_wid)

    watcher = Counting("alone", "sleep 1000", numprocesses=3)
    watcher.start().result(WAIT)
    watcher.stop().result(WAIT)
    assert ["spawn"] * 3 == calls


def children() -> list[int]:
    """The pids of this program's children."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found
