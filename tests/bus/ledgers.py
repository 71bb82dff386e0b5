"""Room: tests -- ledgers for tests, on a disk that fails on command.

Knows:     bus.ledger, bus.disk.
Known by:  tests/bus/test_ledger*.py.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

import msgpack

from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.segments import parse_frames
from circus.bus.values import NS_PER_SECOND, Moment

LOG_ID: Final = bytes(range(16))
NOW: Final = Moment(1_700_000_000 * NS_PER_SECOND, 5 * NS_PER_SECOND)
DEADLINE_SECONDS: Final = 30


class FailingDisk(RealDisk):
    """A real disk with a budget of bytes, and operations that fail when told to."""

    def __init__(self) -> None:
        self.budget: int | None = None
        self.failing: dict[str, OSError] = {}

    def append(self, handle: int, data: bytes | memoryview) -> int:
        self._fail("append")
        if self.budget is None:
            return super().append(handle, data)
        if self.budget == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(data)[: self.budget]
        self.budget -= len(part)
        return super().append(handle, part)

    def create(self, path: str, room: int = 0) -> int:
        self._fail("create")
        return super().create(path, room)

    def sync(self, handle: int) -> None:
        self._fail("sync")

    def sync_dir(self, path: str) -> None:
        self._fail("sync_dir")

    def _fail(self, what: str) -> None:
        error = self.failing.pop(what, None)
        if error is not None:
            raise error


def opened(
    directory: Path, disk: RealDisk | None = None, bytes_max: int = 1 << 24, given: int = 0
) -> Ledger:
    ledger = Ledger.open(
        str(directory), disk or FailingDisk(), log_id=LOG_ID, now=NOW, segment_bytes_max=bytes_max
    )
    ledger.skip(given, NOW)
    return ledger


def payload(number: int) -> bytes:
    return bytes(msgpack.packb([{"seq": number, "data": "x" * (number % 17)}]))


def filled(ledger: Ledger, count: int) -> list[bytes]:
    payloads = [payload(ledger.head + 1 + n) for n in range(count)]
    for each in payloads:
        ledger.append([(1, each)], NOW)
    return payloads


def kept(ledger: Ledger, after: int = 0) -> list[bytes]:
    return [frame.payload for frame in ledger.frames(after)]


def reread(directory: Path) -> tuple[Ledger, list[bytes]]:
    ledger = opened(directory)
    return ledger, kept(ledger)


def read_all(ledger: Ledger, after: int) -> list[bytes]:
    found: list[bytes] = []
    while (raw := ledger.read_raw(after, 200)).data:
        frames = list(parse_frames(raw.data, previous_chain=None, expected_seq=after + 1))
        assert raw.chain == frames[-1].chain
        assert raw.chain[:8] == ledger.chain8_at(raw.last_seq)
        found += [frame.payload for frame in frames]
        after = raw.last_seq
    return found
