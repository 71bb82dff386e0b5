"""F1: kill -9 of a random actor under churn. What the workers wrote is what the ledger says."""

from __future__ import annotations

from typing import Final

from campaign.judge import judge_lives, judged
from campaign.stage import NS, Stage, boot_ns, percentile
from campaign.supervised import Supervised, kill, running, until
from campaign.truth import worker

WORKERS: Final = 50
CALM: Final = 3
CORES: Final = 0.80
UPGRADES: Final = 0.05  # the keeper replaces itself in place, and then the core is replaced
IMPATIENT: Final = 0.05  # of the cores are struck before they are ready

CONFIG: Final = """
[circus]
loglevel = "error"

[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) 0.$(circus.wid)"
numprocesses = {workers}
backoff = 0
give_up = 0
min_uptime = 0

[watcher.calm]
cmd = "sleep 100000"
numprocesses = {calm}
"""


def f1(stage: Stage) -> None:
    """Cores and workers die at random moments; nothing else may be different."""
    truth = stage.folder / "truth"
    config = CONFIG.format(worker=worker(stage.folder), truth=truth, workers=WORKERS, calm=CALM)
    killed: set[int] = set()
    late: list[float] = []
    cores = upgrades = 0
    with running(stage, config) as daemon:
        until(lambda: len(daemon.pids("calm")) == CALM, "the calm workers did not start")
        calm = sorted(daemon.pids("calm"))
        patient = True
        while stage.going():
            stage.pause(0, 0.03)
            how = stage.dice.random()
            if how < UPGRADES:
                at = boot_ns()
                daemon.call("upgrade")
                daemon.ear.wait_ready(at)
                upgrades, patient = upgrades + 1, True
            elif how < UPGRADES + CORES:
                cores += 1
                patient = _strike(stage, daemon, late if patient else [])
            else:
                _kill_one(stage, daemon, killed)
            stage.did()
        stage.expect(
            calm == sorted(daemon.pids("calm")), "workers that were left alone are others now"
        )
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    records = judged(stage, daemon.state)
    judge_lives(stage, records, truth, killed=killed)
    stage.figures |= {"cores killed": str(cores), "upgrades": str(upgrades)}
    stage.figures["ready p50/p99"] = f"{percentile(late, 0.5):.0f}/{percentile(late, 0.99):.0f} ms"


def _strike(stage: Stage, daemon: Supervised, struck: list[float]) -> bool:
    """Some are struck again before they are ready: the keeper then waits with the next."""
    at = daemon.strike_core()
    if stage.dice.random() < IMPATIENT:
        stage.pause(0, 0.2)
        return False
    struck.append((daemon.ear.wait_ready(at) - at) * 1000 / NS)
    return True


def _kill_one(stage: Stage, daemon: Supervised, killed: set[int]) -> None:
    """One worker, as somebody else would: the core hears of it from the keeper alone."""
    pids = daemon.pids("churn")
    if pids:
        pid = stage.dice.choice(pids)
        if kill(pid, wait=False):
            killed.add(pid)
