"""From SIGKILL of a worker to its replacement's first instruction."""

from __future__ import annotations

import os
import signal
import time
from typing import Final, NamedTuple

from bench.births import Birth, boot_ns
from bench.contestants import (
    EVERYBODY,
    FLOOR_OF,
    PEERS,
    CannotMeasure,
    Contestant,
    running,
)
from bench.stage import START_SECONDS, Figures, Item, Run, Stage, Target, percentile

KILLS: Final = 200
PEER_KILLS: Final = 4
# Long enough that every wake-up after it is cold, as a death in production is.
PAUSE_SECONDS: Final = 0.015
NS_PER_MS: Final = 1e6


class Death(NamedTuple):
    """One worker killed at boot ns `at`, and who came in its place."""

    at: int
    heir: Birth

    @property
    def ms(self) -> float:
        """From the kill to the first instruction."""
        return (self.heir.at - self.at) / NS_PER_MS


def measure(kind: type[Contestant], stage: Stage, workers: int, kills: int) -> list[Death]:
    """One death after another, each once the last one is made good."""
    deaths: list[Death] = []
    births = stage.births
    with running(kind, stage, workers) as started:
        started.wait_born()
        time.sleep(stage.lasting(1.0, 0.1))  # What a start still has to do is not a reaction.
        births.drain()
        alive = [birth.pid for birth in births.heard]
        for number in range(kills):
            time.sleep(PAUSE_SECONDS)
            place = number % workers
            killed = boot_ns()
            os.kill(alive[place], signal.SIGKILL)
            born = births.next(START_SECONDS)
            if born is None:
                raise CannotMeasure(f"nobody replaced {alive[place]} in {START_SECONDS} s")
            alive[place] = born.pid
            deaths.append(Death(killed, born))
    return deaths


def _run(kind: type[Contestant], count: int) -> Run:
    def run(stage: Stage) -> Figures:
        kills = PEER_KILLS if kind in PEERS.values() else KILLS
        deaths = measure(kind, stage, stage.sized(count, 2), stage.sized(kills, 3))
        taken = [death.ms for death in deaths]
        return {
            "p50 ms": percentile(taken, 0.5), "p99 ms": percentile(taken, 0.99),
            "max ms": max(taken), "kills": len(taken),
        }  # fmt: skip

    return run


ITEMS: Final = tuple(
    Item(
        f"reaction_{count}",
        f"Reaction: SIGKILL to the replacement's first instruction, N={count}",
        {label: _run(kind, count) for label, kind in EVERYBODY.items()},
        (Target("p50 ms", "ratio", "at most", 1.6), Target("p99 ms", "ratio", "at most", 3.0)),
        against={"p99 ms": "p50 ms", "max ms": "p50 ms"},
        floors=FLOOR_OF,
        about="Bare waits in epoll for a pidfd, reaps, and makes the keeper's own spawn call. The "
        "ratios of p99 and max are to the *p50* of bare. Peers get 4 kills a round: they poll.",
    )
    for count in (10, 500)
)
