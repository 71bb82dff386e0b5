"""What most rows disturb: a circusd whose workers come and go, and write the truth.

`churn` are workers that live for a moment; `calm` are some that nobody may touch. At the end the
calm ones are the same as at the beginning, circusd ends with 0, its ledger obeys the laws, each
core that we have killed is lost in it, once, and what it says about `churn` is what those have
written. `mark` is a watcher whose end is the last thing that subscribers listen for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from campaign.judge import judge_cores, judge_lives, judged
from campaign.listener import MARK
from campaign.listening import Listener
from campaign.stage import Stage
from campaign.supervised import Supervised, running
from campaign.truth import worker
from circus.bus.record import Record

CHURN: Final = "churn"
CALM: Final = "calm"
HEAD: Final = '[circus]\nloglevel = "error"\n'
TEXT: Final = """
[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) {seconds}"
numprocesses = {workers}
max_retry = -1
backoff = 0
backoff_max = 1
give_up = 0
min_uptime = 0

[watcher.calm]
cmd = "sleep 100000"
numprocesses = {calm}

[watcher.mark]
cmd = "sleep 100000"
"""


class Lives(NamedTuple):
    """How many workers there are, how long they live, and what else is in the configuration."""

    workers: int
    seconds: str  # as the shell's sleep takes it; $(circus.wid) differs from slot to slot
    calm: int = 2
    settings: str = ""  # of [circus]
    more: str = ""


class Churn:
    """One circusd with such workers."""

    def __init__(self, stage: Stage, daemon: Supervised, lives: Lives) -> None:
        self.daemon = daemon
        self.killed: set[int] = set()  # by us: nobody else knows why they died
        self.truth = stage.folder / f"truth-{daemon.state.name}"
        self.calm: list[int] = []
        self._stage = stage
        self._lives = lives

    def begin(self) -> None:
        """Until everything runs that should."""
        self.daemon.ear.wait_for("watcher.started", CALM)
        self.calm = sorted(self.daemon.pids(CALM))
        self._stage.expect(len(self.calm) == self._lives.calm, "not all of the calm ones run")

    def is_calm(self) -> bool:
        """Whether those that nobody may touch are the same."""
        return self.calm == sorted(self.daemon.pids(CALM))

    def wait_exits(self, count: int = 1) -> None:
        """Until so many more have ended and are on record: it goes on."""
        self.daemon.ear.wait_more("process.exited", count)

    def mark(self, listeners: Iterable[Listener]) -> None:
        """Say what they all listen for, and wait for them: of a circusd that has ended nobody hears
        the rest."""
        self.daemon.call("stop", name=MARK, waiting=True)
        for listener in listeners:
            listener.wait()

    def stop(self) -> list[Record]:
        """Stop it in order; all that it has recorded, which obeys the laws."""
        self._stage.expect(self.daemon.stop() == 0, "circusd did not end with 0")
        return judged(self._stage, self.daemon.state)

    def end(self) -> list[Record]:
        """Stop it; what it has recorded is also what the workers have written."""
        self._stage.expect(self.is_calm(), "workers that were left alone are others now")
        records = self.stop()
        judge_cores(self._stage, records, self.daemon.struck)
        judge_lives(self._stage, records, self.truth, killed=self.killed)
        return records


@contextmanager
def churning(stage: Stage, lives: Lives, name: str = "state", **more: Any) -> Generator[Churn]:
    """Started, with all workers; ended whatever happens. `more` is Supervised's."""
    text = TEXT.format(
        worker=worker(stage.folder), truth=stage.folder / f"truth-{name}",
        seconds=lives.seconds, workers=lives.workers, calm=lives.calm,
    )  # fmt: skip
    config = f"{HEAD}{lives.settings}\n{text}{lives.more}"
    with running(stage, config, name=name, **more) as daemon:
        churn = Churn(stage, daemon, lives)
        churn.begin()
        yield churn
