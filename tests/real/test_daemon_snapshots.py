"""Snapshots of a real daemon: made beside it, begun with after a kill, never missed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from circus.bus.record import fields_of

Launch = Callable[..., Any]

CHURN: Final = """
[circus]
loglevel = "warning"

[watcher.churn]
cmd = "/bin/true"
numprocesses = 20
backoff = 0
give_up = 0

[watcher.calm]
cmd = "sleep 1000"
numprocesses = 3
"""


def snapshots(daemon: Any) -> list[Path]:
    """The files, oldest first."""
    return sorted((daemon.state_dir / "ledger").glob("snap-*"))


def wait_for_snapshot(daemon: Any, tale: Any) -> Path:
    """While the daemon works on, the first one appears."""
    while not snapshots(daemon):
        tale.some(500, "process.spawned", "churn")
    return snapshots(daemon)[-1]


def kill_core(tale: Any) -> None:
    """SIGKILL to the core that runs now; until the next one is ready."""
    os.kill(fields_of(tale.of("core.started")[-1].body)["pid"], signal.SIGKILL)
    tale.next("core.started")
    tale.next("core.ready")


def test_a_core_that_comes_back_begins_with_a_snapshot(launch: Launch) -> None:
    """
    It was made by a process of its own while the daemon was busy. A damaged one is told and
    passed over, and either way everything goes on: the calm ones keep their pids.
    """
    daemon = launch(CHURN).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "calm")
    calm = daemon.pids("calm")
    newest = wait_for_snapshot(daemon, tale)
    kill_core(tale)
    tale.some(50, "process.exited", "churn")
    assert calm == daemon.pids("calm")
    daemon.do("stop", name="churn")
    for path in snapshots(daemon):
        path.write_bytes(path.read_bytes()[:-1])
    kill_core(tale)
    assert calm == daemon.pids("calm")
    assert {"calm": "active", "churn": "stopped"} == daemon.ask("status")["statuses"]
    daemon.logged(f"{newest.name} is passed over")
    assert 0 == daemon.stop()
    daemon.judge()
