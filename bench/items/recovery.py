"""kill -9 of the core: how long until the next is ready, and the speed of the fold behind it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import mill, ours
from bench.births import boot_ns
from bench.stage import START_SECONDS, Figures, Item, Run, Stage, Target, percentile
from circus.arbiter.recovery import make_snapshot, recall
from circus.bus.clock import SystemClock
from circus.bus.codec import records_of
from circus.bus.disk import RealDisk
from circus.bus.events import CoreReady, CoreStarted
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.record import Record
from circus.client import Client

SHORT: Final = 10_000
LONG: Final = 100_000
WATCHERS: Final = 10
PROCESSES: Final = 20
KILLS: Final = 9
POLL_SECONDS: Final = 0.001
NS_PER_MS: Final = 1e6


class _Daemon:
    """circusd over a ledger that is there already, and what it has said so far."""

    def __init__(self, stage: Stage, state: Path) -> None:
        config = stage.folder / "recovery.toml"
        watchers = "".join(
            f'[watcher.w{number}]\ncmd = "sleep 1000"\nnumprocesses = {stage.sized(PROCESSES, 1)}\n'
            for number in range(stage.sized(WATCHERS, 2))
        )
        config.write_text(f'[circus]\nloglevel = "error"\n{watchers}', encoding="utf-8")
        self.process = subprocess.Popen(
            [ours.program("circusd"), "--state-dir", str(state), str(config)]
        )
        self._state = state
        self._reader = LedgerReader(f"{state}/ledger")
        self._core = 0

    def ready(self) -> Record:
        """The next `core.ready`, waited for; remembers which core it is."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for record in self._news():
                if isinstance(record.body, CoreStarted):
                    self._core = record.body.pid
                elif isinstance(record.body, CoreReady):
                    return record
            time.sleep(POLL_SECONDS)
        raise AssertionError("cannot measure: no core was ready")

    def _news(self) -> Iterator[Record]:
        for frame in self._reader.frames():
            yield from records_of(frame.payload)

    def strike(self) -> float:
        """ms from SIGKILL to the core until the record says that the next one is ready."""
        begun = boot_ns()
        os.kill(self._core, signal.SIGKILL)
        return (self.ready().boot - begun) / NS_PER_MS

    def move(self, number: int) -> None:
        """Something happens: a core that dies where the one before died is put off."""
        with Client(str(self._state), timeout=START_SECONDS) as client:
            client.call("set", name="w0", options={"graceful_timeout": 30 + number}, waiting=True)

    def end(self) -> None:
        """In order, or by force."""
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        finally:
            self.process.kill()


def _struck(stage: Stage, records: int) -> list[float]:
    """So many records to read again, time after time: no snapshot is left in between."""
    state = stage.folder / f"state-{records}"
    state.mkdir(0o700)
    ledger = state / "ledger"
    mill.mill(str(ledger), records, watchers=stage.sized(WATCHERS, 2),
              processes=stage.sized(PROCESSES, 1))  # fmt: skip
    daemon = _Daemon(stage, state)
    try:
        daemon.ready()
        time.sleep(stage.lasting(2.0, 0.3))  # all that was lost is there again
        taken = []
        for number in range(stage.sized(KILLS, 2)):
            daemon.move(number)
            for snapshot in ledger.glob("snap-*"):
                snapshot.unlink()
            taken.append(daemon.strike())
        return taken
    finally:
        daemon.end()


def _folded(stage: Stage) -> dict[str, float]:
    """The fold alone, and the start from a snapshot of all of it."""
    directory = str(stage.folder / "folded")
    mill.mill(directory, stage.sized(LONG, 500))
    now, disk = SystemClock().now(), RealDisk()
    gc.disable()  # as the core does until it is ready
    opened = time.process_time()
    ledger = Ledger.open(directory, disk, log_id=bytes(16), now=now)
    begun = time.process_time()
    recall(ledger, disk, directory)
    ended = time.process_time()
    gc.enable()
    assert make_snapshot(disk, directory, now.wall) == ledger.head
    again = time.process_time()
    recall(ledger, disk, directory)
    snapshot = time.process_time() - again
    ledger.close()
    return {
        "fold, records/s of CPU": ledger.head / (ended - begun),
        "open and fold, records/s of CPU": ledger.head / (ended - opened),
        "snapshot only, ms": snapshot * 1e3,
    }


def _ours() -> Run:
    def run(stage: Stage) -> Figures:
        short = _struck(stage, stage.sized(SHORT, 300))
        long = _struck(stage, stage.sized(LONG, 600))
        return {
            "10 k records, ms p50": percentile(short, 0.5),
            "100 k records, ms p50": percentile(long, 0.5),
            "100 k records, ms max": max(long),
            **_folded(stage),
        }

    return run


ITEMS: Final = (
    Item(
        "recovery",
        "kill -9 of the core until the next one is ready, 200 workers",
        {"ours": _ours()},
        (
            Target("10 k records, ms p50", "value", "at most", 300),
            Target("100 k records, ms max", "value", "at most", 1000),
            Target("fold, records/s of CPU", "value", "at least", 200_000),
        ),
        ratios=False,
        about="circusd with ten watchers of twenty processes over a ledger of so many records and "
        "no snapshot: from SIGKILL to the core to the stamp of the next `core.ready`; the workers "
        "run on. *Fold* is `arbiter.recovery.recall` by itself over the records of a churn, all "
        "digests verified, with the opening of the ledger and without; *snapshot only* the same "
        "where a snapshot has everything.",
    ),
)
