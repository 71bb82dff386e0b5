"""The ledger by itself: append, verified read, and the fold of a real daemon's record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.births import EXIT
from bench.contestants import Ours, running
from bench.stage import Figures, Item, Stage
from circus.arbiter.recovery import recall
from circus.bus.clock import SystemClock
from circus.bus.codec import Stamp, encode_records, records_of, stamped
from circus.bus.disk import RealDisk
from circus.bus.events import ProcessSpawned
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.record import Draft
from circus.bus.segments import CHAIN_START, encode_frame
from circus.bus.syncer import GroupSyncer

FRAMES: Final = 50_000
FRAMES_PER_WRITE: Final = 16
CHURN_SECONDS: Final = 5.0
MIB: Final = 1024 * 1024


def _payload() -> bytes:
    draft = Draft(ProcessSpawned(4711, 123456789012, 1234), None, "w", 3, 42, 17)
    stamp = Stamp(1_000_000, 17, "reaper", SystemClock().now(), 1)
    return encode_records([stamped(stamp, draft)])


def _bare(stage: Stage) -> Figures:
    """The same bytes in as many writes to a plain file, and one read of it."""
    raw, _ = encode_frame(1, _payload(), seq=1, chain=CHAIN_START)
    frames = stage.sized(FRAMES, 160)
    path = stage.folder / "plain"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(size: int) -> float:
        data = raw * size
        begun = time.perf_counter()
        for _ in range(frames // size):
            os.write(fd, data)
        return frames / (time.perf_counter() - begun)

    figures = {"append/s": write(1), "append by 16/s": write(FRAMES_PER_WRITE)}
    os.close(fd)
    read = _timed(path.read_bytes)
    return {**figures, "read MiB/s": path.stat().st_size / MIB / read}


def _ours(stage: Stage) -> Figures:
    frames = stage.sized(FRAMES, 160)
    directory = stage.folder / "ledger"
    clock = SystemClock()
    now = clock.now()
    ledger = Ledger.open(str(directory), RealDisk(), log_id=os.urandom(16), now=now)
    syncer = GroupSyncer()
    ledger.attach(syncer)
    frame = (1, _payload())

    def append(size: int) -> float:
        batch = [frame] * size
        begun = time.perf_counter()
        for _ in range(frames // size):
            ledger.append(batch, now)
        return frames / (time.perf_counter() - begun)

    figures = {"append/s": append(1), "append by 16/s": append(FRAMES_PER_WRITE)}
    ledger.close()
    syncer.close()
    return {**figures, **_read(directory), **_replayed(stage)}


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _read(directory: Path) -> dict[str, float]:
    """Every digest verified; then the same with every record decoded."""
    size = sum(path.stat().st_size for path in directory.glob("*") if path.is_file())
    count = 0

    def decode() -> None:
        nonlocal count
        for frame in LedgerReader(str(directory)).frames():
            count += len(records_of(frame.payload))

    verified = _timed(lambda: sum(1 for _ in LedgerReader(str(directory)).frames()))
    decoded = _timed(decode)
    return {"read MiB/s": size / MIB / verified, "decoded records/s": count / decoded}


def _replayed(stage: Stage) -> dict[str, float]:
    """What a start without a snapshot does: fold all actors, and the projection with them."""
    with running(Ours, stage, stage.sized(50, 2), EXIT):
        time.sleep(stage.lasting(CHURN_SECONDS, 0.5))
    now = SystemClock().now()
    path = f"{stage.folder}/state/ledger"
    ledger = Ledger.open(path, RealDisk(), log_id=os.urandom(16), now=now)
    whole = _timed(lambda: recall(ledger, RealDisk(), str(stage.folder)))
    head = ledger.head
    ledger.close()
    return {"replay records/s": head / whole}


ITEMS: Final = (
    Item(
        "ledger", "Ledger append, verified read, replay",
        {"bare": _bare, "ours": _ours},
        about="Frames of one record (`process.spawned`), one and sixteen per write; bare writes "
        "the same bytes to a plain file and reads them back unverified. Replay folds what a real "
        "daemon wrote under churn of 50, as a start without a snapshot does (`recall`).",
    ),
)  # fmt: skip
