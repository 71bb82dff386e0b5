"""Room: tests -- a ledger as production code writes it, in a simulated world, as files.

Knows:     circus.replay.world.
Known by:  tests/replay.
Never:     needs a daemon: the same seed writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from click.testing import CliRunner, Result

from circus.bus.codec import encode_records
from circus.bus.record import Record
from circus.bus.segments import SegmentHeader, encode_frame, encode_header, segment_name
from circus.replay.command import program
from circus.replay.opening import open_ledger
from circus.replay.world import World

SEED = 1  # small segments, and three snapshots


@cache
def _contents(seed: int) -> dict[str, bytes]:
    world = World(seed)
    web = {"name": "web", "cmd": "moody", "numprocesses": 3}
    failing = {"name": "db", "cmd": "exits 1 0.3", "numprocesses": 1, "max_retry": 3}
    world.configure([web, failing])
    world.run(300)
    world.command("incr", name="web", nb=2)
    world.run(100)
    world.command("stop", name="web")
    world.settle()
    return world.disk.contents()


def written(directory: Path, seed: int = SEED) -> Path:
    """Two watchers, one of which gives up; what an operator asks for in between."""
    for path, data in _contents(seed).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory


def segments(directory: Path) -> list[Path]:
    """In order."""
    return sorted((directory / "ledger").glob("*.evl"))


def records_in(place: Path) -> list[Record]:
    """All that can be read."""
    return list(open_ledger(place).records())


def ask(*words: object) -> Result:
    """circus-replay, in this process."""
    return CliRunner().invoke(program, [str(word) for word in words])


def rewritten(place: Path, to: Path, change: Callable[[Record], Record]) -> Path:
    """The same ledger with some records changed, every digest as if it had been written so."""
    opened = open_ledger(place)
    chain, parts = bytes(16), [encode_header(SegmentHeader(opened.log_id, 1, 0, bytes(16)))]
    for frame in opened.frames():
        payload = encode_records(change(record) for record in opened.understood(frame))
        raw, chain = encode_frame(frame.count, payload, seq=frame.first_seq, chain=chain)
        parts.append(raw)
    to.mkdir(exist_ok=True)
    (to / segment_name(1)).write_bytes(b"".join(parts))
    return to
