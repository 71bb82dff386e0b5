"""`orphans = "adopt"`: what a killed keeper leaves is held by the next one, and goes on."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from circus.bus.record import Record, fields_of

Launch = Callable[..., Any]

WORKERS: Final = 20
CONFIG: Final = f"""
[circus]
loglevel = "error"
orphans = "adopt"

[watcher.calm]
cmd = "sleep 1000"
numprocesses = {WORKERS}
graceful_timeout = 5
"""


def bereave(daemon: Any, *, core: bool = True) -> list[int]:
    """kill -9 of the keeper, and of the core with it or not; the pids that are left."""
    tale = daemon.tale()
    tale.next("watcher.started", "calm")
    pids, pid = list(daemon.pids("calm")), daemon.core_pid()
    if core:
        os.kill(daemon.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    daemon.hang_up()
    return pids


def adopted(daemon: Any, count: int = WORKERS) -> tuple[Any, list[Record]]:
    """Started again: a subscriber behind the adoptions, and these."""
    daemon.start()
    tale = daemon.tale()
    records = tale.some(count, "process.adopted", "calm")
    tale.next("core.ready")
    return tale, records


@pytest.mark.parametrize("with_core", ["with its core", "alone"])
def test_twenty_workers_of_a_killed_keeper_are_adopted(
    launch: Launch, grown: Any, with_core: str
) -> None:
    """
    The same processes, counted as before, none beside them; signals and stops reach them, and an
    end is replaced. Each has one outcome and one end on record.
    """
    daemon = launch(CONFIG).start()
    pids = bereave(daemon, core=with_core != "alone")
    tale, records = adopted(daemon)
    assert sorted(pids) == sorted(fields_of(record.body)["pid"] for record in records)
    assert sorted(pids) == sorted(daemon.pids("calm"))
    assert "active" == daemon.ask("status", name="calm")["status"]
    assert WORKERS == daemon.ask("numprocesses", name="calm")["numprocesses"]
    os.kill(pids[0], signal.SIGKILL)
    new = tale.next("process.spawned", "calm")
    assert fields_of(new.body)["pid"] in daemon.pids("calm")
    daemon.do("kill", name="calm", pid=pids[1])
    grown.ended(pids[1])
    tale.next("process.spawned", "calm")
    assert WORKERS == len(daemon.pids("calm"))
    assert not {pids[0], pids[1]} & set(daemon.pids("calm"))
    assert 0 == daemon.stop()
    for pid in pids:
        grown.ended(pid)
    told = daemon.judge()
    assert 1 == len([record for record in told if record.name == "keeper.lost"])
    ends = Counter(r.spawn_id for r in told if r.name in {"process.exited", "process.lost"})
    assert {1} == set(ends.values())
    assert WORKERS + 2 == len(ends)


def test_a_process_is_adopted_by_one_keeper_after_the_other(launch: Launch) -> None:
    """Each adoption is on record once, however often the core is replaced meanwhile."""
    daemon = launch(CONFIG).start()
    pids = bereave(daemon)
    tale, _ = adopted(daemon)
    os.kill(daemon.core_pid(), signal.SIGKILL)
    tale.next("core.ready")
    daemon.hang_up()
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    adopted(daemon, 2 * WORKERS)
    assert sorted(pids) == sorted(daemon.pids("calm"))
    assert 0 == daemon.stop()
    told = Counter(record.name for record in daemon.judge())
    assert (2, 2 * WORKERS) == (told["keeper.lost"], told["process.adopted"])


def test_the_keeper_is_replaced_with_those_that_it_has_adopted(launch: Launch, grown: Any) -> None:
    """It holds them by descriptors that nobody could open again: they are carried over."""
    daemon = launch(CONFIG).start()
    pids = bereave(daemon)
    tale, _ = adopted(daemon)
    daemon.ask("upgrade")
    tale.next("keeper.reexec")
    last = tale.next("core.ready")
    os.kill(pids[0], signal.SIGTERM)
    tale.next("process.spawned", "calm", where=lambda record: record.seq > last.seq)
    assert sorted(pids[1:]) == sorted(set(daemon.pids("calm")) & set(pids))
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_keeper_without_a_core_stops_those_that_it_has_adopted(
    launch: Launch, grown: Any
) -> None:
    """By the plans that came with the adoption; what it saw is on record with the next core."""
    daemon = launch(CONFIG).start()
    pids = bereave(daemon)
    adopted(daemon)
    core = daemon.core_pid()
    daemon.hang_up()
    os.kill(core, signal.SIGSTOP)
    daemon.signal(signal.SIGTERM)
    assert 0 == daemon.wait()
    for pid in pids:
        grown.ended(pid)
    daemon.start()
    later = daemon.tale()
    for _ in pids:
        later.next(
            "process.spawned", "calm", where=lambda one: fields_of(one.body)["pid"] not in pids
        )
    assert not set(pids) & set(daemon.pids("calm"))
    assert 0 == daemon.stop()
    ends = Counter(
        record.spawn_id
        for record in daemon.judge()
        if record.name in {"process.exited", "process.lost"}
    )
    assert {1} == set(ends.values())


def test_what_is_left_is_left_where_the_configuration_says_so(launch: Launch) -> None:
    """Each is on record as lost; nobody signals it, and others take the slots."""
    daemon = launch(CONFIG.replace('"adopt"', '"leave"').replace(f"= {WORKERS}", "= 2")).start()
    pids = bereave(daemon)
    daemon.start()
    tale = daemon.tale()
    lost = tale.some(2, "process.lost", "calm")
    tale.some(2, "process.spawned", "calm")
    assert sorted(pids) == sorted(fields_of(record.body)["pid"] for record in lost)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert 0 == daemon.stop()
