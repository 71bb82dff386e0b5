"""kill -9 of anybody, at any moment: each spawn on record has one outcome, each life one end."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from circus.bus.record import fields_of

Launch = Callable[..., Any]

STRIKES: Final = int(os.environ.get("CIRCUS_TEST_STRIKES", "12"))
CONFIG: Final = """
[circus]
loglevel = "error"
orphans = "%(orphans)s"

[watcher.churn]
cmd = '''sh -c 'echo $$ >> %(dir)s/truth; sleep 0.0$1; exit $(($$ %% 200))' it $(circus.wid)'''
numprocesses = 4
backoff = 0
give_up = 0

[watcher.calm]
cmd = "sleep 1000"
numprocesses = 4
"""
OF_CORES: Final = ("core", "worker")
OF_ALL: Final = (*OF_CORES, "keeper", "both")


class Struck:
    """A daemon whose actors are killed one after the other; it is ready again after each."""

    def __init__(self, daemon: Any, dice: random.Random) -> None:
        self._daemon = daemon
        self._dice = dice
        self._tale = daemon.tale()
        self._tale.next("core.ready")
        self._tale.next("watcher.started", "calm")

    def strike(self, whom: str) -> None:
        """At another moment each time: behind some record of the churn."""
        name = self._dice.choice(["process.spawn", "process.spawned", "process.exited"])
        self._tale.some(self._dice.randrange(1, 8), name, "churn")
        daemon = self._daemon
        core = fields_of(self._tale.of("core.started")[-1].body)["pid"]
        if whom == "worker":
            for pid in daemon.pids("calm")[:1]:
                os.kill(pid, signal.SIGKILL)
            return
        if whom == "both":
            os.kill(daemon.pid, signal.SIGSTOP)
        if whom in ("core", "both"):
            os.kill(core, signal.SIGKILL)
        if whom != "core":
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.wait()
            daemon.start()
        daemon.hang_up()
        again = self._tale.next("core.started")
        self._tale.next("core.ready", where=lambda one: one.incarnation == again.incarnation)


@pytest.mark.parametrize(
    ("orphans", "actors"), [("stop", OF_CORES), ("stop", OF_ALL), ("adopt", OF_ALL)]
)
def test_each_spawn_has_one_outcome_whoever_is_killed(
    launch: Launch, tmp_path: Path, orphans: str, actors: tuple[str, ...]
) -> None:
    """
    The laws of the ledger say it, and the workers: as many lived without a record as the record
    says never ran, and nobody at all as long as the keeper lives.
    """
    seed = int.from_bytes(os.urandom(4), "little")
    dice = random.Random(seed)
    daemon = launch(CONFIG % {"dir": tmp_path, "orphans": orphans}).start()
    struck = Struck(daemon, dice)
    for _ in range(STRIKES):
        struck.strike(dice.choice(actors))
    assert 0 == daemon.stop(), f"seed {seed}"
    records = daemon.judge()
    births = Counter(
        fields_of(record.body)["pid"] for record in records if record.name == "process.spawned"
    )
    truth = Counter(int(line) for line in (tmp_path / "truth").read_text().splitlines())
    never = [record for record in records if record.name == "process.never_run"]
    unseen = (truth - births).total()
    assert unseen <= (len(never) if "keeper" in actors else 0), f"seed {seed}"
    lost = [r for r in records if r.name == "process.lost"]
    assert "keeper" in actors or not lost, f"seed {seed}"
