"""F1: kill -9 of a random actor under churn. What the workers wrote is what the ledger says."""

from __future__ import annotations

from typing import Final

from campaign.churn import CHURN, Churn, Lives, churning
from campaign.stage import Stage, boot_ns
from campaign.yardstick import NS_PER_MS, expect_within, measure

LIVES: Final = Lives(50, "0.$(circus.wid)", calm=3)
CORES: Final = 0.80
UPGRADES: Final = 0.05  # the keeper replaces itself in place, and then the core is replaced
IMPATIENT: Final = 0.03  # of the cores are struck again before they are ready
READY: Final = "ready"
READY_MS: Final = 300.0
READY_MS_MAX: Final = 1000.0


def f1(stage: Stage) -> None:
    """Cores and workers die at random moments; nothing else may be different."""
    with churning(stage, LIVES) as churn:
        was_ready = True
        while stage.going():
            measure(stage)
            stage.pause(0, 0.03)
            how = stage.dice.random()
            if how < UPGRADES:
                was_ready = _upgrade(stage, churn)
            elif how < UPGRADES + CORES:
                was_ready = _strike_core(stage, churn, was_ready=was_ready)
            else:
                _strike_worker(stage, churn)
            stage.did()
        churn.wait_exits(LIVES.workers)
        churn.end()
    expect_within(stage, READY, 0.5, READY_MS)
    expect_within(stage, READY, 0.99, READY_MS_MAX)


def _upgrade(stage: Stage, churn: Churn) -> bool:
    at = boot_ns()
    churn.daemon.call("upgrade")
    churn.daemon.ear.wait_ready(at)
    stage.counts["upgrades"] += 1
    return True


def _strike_core(stage: Stage, churn: Churn, *, was_ready: bool) -> bool:
    """Whether the next one is ready. Some are not waited for: the keeper then waits longer."""
    at = churn.daemon.strike_core()
    stage.counts["cores killed"] += 1
    if stage.dice.random() < IMPATIENT:
        stage.pause(0, 0.2)
        return False
    ready = churn.daemon.ear.wait_ready(at)
    if was_ready:
        stage.times[READY].append((ready - at) / NS_PER_MS)
    return True


def _strike_worker(stage: Stage, churn: Churn) -> None:
    """As somebody else would: the core hears of it from the keeper alone."""
    ear = churn.daemon.ear
    while True:
        pids = ear.pids(CHURN)
        pid = stage.dice.choice(pids) if pids else 0
        if pid and churn.daemon.strike_worker(pid):
            break
        ear.wait_more("process.spawned")  # that one has ended by itself meanwhile
    churn.killed.add(pid)
    stage.counts["workers killed"] += 1
