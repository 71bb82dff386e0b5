"""Room: tests -- whole runs of the simulated world, each from one number.

Knows:     circus.replay.
Known by:  nobody.
Never:     sleeps, forks a worker, reads a clock.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from circus.replay.drive import drive
from circus.replay.world import World

# A night's run sets these; what runs each time stays below a minute.
SEEDS: Final = int(os.environ.get("CIRCUS_SIM_SEEDS", "60"))
FIRST_SEED: Final = int(os.environ.get("CIRCUS_SIM_FIRST_SEED", "0"))
STEPS: Final = int(os.environ.get("CIRCUS_SIM_STEPS", "400"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_every_invariant_and_every_law_holds_in_a_run(seed: int) -> None:
    """Whatever operators, workers, power and crashes do: I-MAX to I-LOG-SIG, and replay's laws."""
    world = drive(seed, STEPS)

    assert world.steps or world.ended is not None  # a disk that is sick at once ends the first core


def test_one_seed_makes_one_ledger() -> None:
    """Same seed, same bytes on the disk; another seed, other bytes."""
    digest = drive(3).digest()

    assert drive(3).digest() == digest
    assert drive(4).digest() != digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_hash_seed_of_python_decides_nothing(hash_seed: str) -> None:
    """No set, no `hash()` is on the way to a record: another PYTHONHASHSEED, the same bytes."""
    result = subprocess.run(
        [sys.executable, "-m", "circus.replay", "5", "150"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (0, "") == (result.returncode, result.stderr)
    assert drive(5, 150).digest() == result.stdout.split()[0]


def test_runs_are_not_empty() -> None:
    """Sometimes-assertions: what must be survived does happen."""
    names: set[str] = set()
    incarnations = boots = 0
    for seed in range(40):
        world = drive(seed, 200)
        names |= {record.name for record in world.truth.records}
        incarnations = max([incarnations, *(one.incarnation for one in world.truth.records[-1:])])
        boots = max(boots, world.boots)

    wanted = {
        "process.spawned", "process.spawn_failed", "process.exited", "process.reaped",
        "process.signal", "process.signalled", "process.lost", "process.never_run",
        "orphan.reaped", "core.lost", "slot.waiting", "watcher.reloaded", "watcher.resized",
        "watcher.failed", "timer.woke", "log.tail_cut", "command.refused",
    }  # fmt: skip
    assert set() == wanted - names
    assert incarnations > 2
    assert boots > 1


def test_a_quiet_machine_with_steady_workers_stays_quiet() -> None:
    """Nothing to do: nothing is said, nothing is done (no busy loop)."""
    world = World(1)
    world.configure([{"name": "web", "cmd": "steady", "numprocesses": 3}])
    world.settle()
    before = len(world.truth.records)

    world.run_for(3600 * 10**9)

    assert before == len(world.truth.records)
