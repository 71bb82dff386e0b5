"""Room: replay -- is every byte of a ledger what was written? The verdict, with its evidence.

Knows:     bus.segments, bus.disk, bus.cursor_errors.
Known by:  replay.command (circus-replay verify).
Never:     writes, takes a lock, takes a running writer's half frame for damage, skips a byte.

Stricter than a reader, who only asks whether the records are right: here a byte that is neither
header, frame nor the rest that a successor has made void is told, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from circus.bus.disk import Disk, read_whole
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    Hole,
    SegmentHeader,
    decode_header,
    intact,
    scan_segment,
    segment_name,
    segment_numbers,
)

LAST_WORDS: Final = b"core.stopped"


class Anchor(NamedTuple):
    """What a witness keeps elsewhere: the digest of a history at one record."""

    log_id: bytes
    seq: int
    chain: bytes

    def __str__(self) -> str:
        return f"{self.log_id.hex()}:{self.seq}:{self.chain.hex()}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Raises ValueError for anything that `str` does not make."""
        log_id, seq, chain = text.strip().split(":")
        anchor = cls(bytes.fromhex(log_id), int(seq), bytes.fromhex(chain))
        if len(anchor.log_id) != len(CHAIN_START) or len(anchor.chain) != len(CHAIN_START):
            raise ValueError(text)
        return anchor


class Finding(NamedTuple):
    """Bytes that are not what was written. `lost_to` < `lost_from`: no record is missing."""

    segment: str
    offset: int
    bytes: int
    lost_from: int
    lost_to: int
    what: str


class Verdict(NamedTuple):
    """All that was found. `torn`: the end of the newest segment, which a crash may have left."""

    head: Anchor
    first_seq: int
    segments: int
    frames: int
    bytes: int
    damage: tuple[Finding, ...]
    torn: Finding | None
    closed: bool
    anchored: bool | None  # None: no anchor was asked about


def verify(
    disk: Disk, directory: str, anchor: Anchor | None = None, *,
    told: Callable[[int], object] = lambda _done: None,
) -> Verdict:  # fmt: skip
    """Read everything. OSError: it cannot be read; UnknownFormat: by this version.

    `told` hears how many bytes are read, segment by segment.
    """
    walk = _Walk(disk, directory, anchor)
    for one in walk.findings(told):
        walk.damage.append(one)
    return walk.verdict()


class _Walk:
    """Through all segments, from the oldest to the newest."""

    def __init__(self, disk: Disk, directory: str, anchor: Anchor | None) -> None:
        self.damage: list[Finding] = []
        self._disk = disk
        self._directory = directory
        self._anchor = anchor
        self._met: bytes | None = None  # the chain at the anchor's record
        self._numbers = segment_numbers(disk.list_dir(directory))
        self._head = Anchor(bytes(16), 0, CHAIN_START)
        self._torn: Finding | None = None
        self._unbroken = True  # the chain is known up to the head
        self._sums = _Sums()

    def findings(self, told: Callable[[int], object]) -> Iterator[Finding]:
        """Every damage, in order; the sums and the head grow meanwhile."""
        chain: bytes | None = None
        for first_seq, until in zip_longest(self._numbers, self._numbers[1:]):
            raw = read_whole(self._disk, f"{self._directory}/{segment_name(first_seq)}")
            found = decode_header(raw)
            self._head = Anchor(self._log_id(found), first_seq - 1, chain or CHAIN_START)
            if found is not None and chain is None:
                self._meet(first_seq - 1, found.previous_chain)
            yield from self._segment(raw, first_seq, chain, until)
            chain = self._head.chain if self._unbroken else None
            told(self._sums.bytes)

    def _segment(
        self, raw: bytes, first_seq: int, chain: bytes | None, until: int | None
    ) -> Iterator[Finding]:
        name, sums, log_id = segment_name(first_seq), self._sums, self._head.log_id
        expected = SegmentHeader(log_id, first_seq, 0, CHAIN_START)
        sums.begin(raw)
        self._unbroken = len(raw) >= HEADER_BYTES
        for item in scan_segment(raw, expected, chain=chain, until=until):
            if isinstance(item, Hole):
                self._unbroken = False
                sums.end = max(sums.end, min(item.resume, len(raw)))
                if len(raw) < HEADER_BYTES and until is None:
                    continue  # Torn before it had a header: its tail tells.
                yield _hole(name, item, len(raw))
                continue
            sums.frame(item.end, item.payload)
            self._head = Anchor(log_id, item.last_seq, item.chain)
            self._meet(item.last_seq, item.chain)
            self._unbroken = True
        yield from self._tail(name, raw) if until is None else self._void(name, raw)

    def verdict(self) -> Verdict:
        sums = self._sums
        first = self._numbers[0] if self._numbers else 1
        anchored = None if self._anchor is None else self._is_anchored(self._anchor)
        return Verdict(
            self._head, first, len(self._numbers), sums.frames, sums.bytes, tuple(self.damage),
            self._torn, sums.closed, anchored,
        )  # fmt: skip

    def _log_id(self, header: SegmentHeader | None) -> bytes:
        """The first segment's is the ledger's; where it cannot be read, the next one's."""
        if any(self._head.log_id):
            return self._head.log_id
        return header.log_id if header is not None else bytes(16)

    def _meet(self, seq: int, chain: bytes) -> None:
        if self._anchor is not None and seq == self._anchor.seq:
            self._met = chain

    def _is_anchored(self, anchor: Anchor) -> bool:
        return (self._head.log_id, self._met) == (anchor.log_id, anchor.chain)

    def _tail(self, name: str, raw: bytes) -> Iterator[Finding]:
        """What follows the last frame: of a crash, unless the ledger was closed before."""
        end, head = self._sums.end, self._head.seq
        if len(raw) < HEADER_BYTES:
            self._torn = Finding(name, 0, len(raw), head + 1, head, "torn")
            return
        if end >= len(raw):
            return
        text = "behind the last frame of a ledger that was closed" if self._sums.closed else "torn"
        tail = Finding(name, end, len(raw) - end, head + 1, head, text)
        if self._sums.closed:
            yield tail
        elif any(raw[end:]):
            self._torn = tail

    def _void(self, name: str, raw: bytes) -> Iterator[Finding]:
        """Behind the last frame of a sealed segment: whole frames that its successor says again
        are void (ADR-0011); anything else was never meant to stand there."""
        end = self._sums.end
        while (frame := intact(raw, end)) is not None:
            end = frame.end
        if any(raw[end:]):
            seq = self._head.seq
            yield Finding(name, end, len(raw) - end, seq + 1, seq, "no frame")


class _Sums:
    """What was counted so far."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.end = 0  # behind the last frame of this segment
        self.closed = False

    def begin(self, raw: bytes) -> None:
        self.bytes += len(raw)
        self.end = min(len(raw), HEADER_BYTES)

    def frame(self, end: int, payload: bytes) -> None:
        self.frames += 1
        self.end = end
        self.closed = LAST_WORDS in payload


def _hole(name: str, hole: Hole, length: int) -> Finding:
    size = min(hole.resume, length) - hole.offset
    what = "no header" if hole.offset == 0 else "no frame"
    if hole.lost_to < hole.lost_from and hole.offset:
        what = "the chain is broken"
    return Finding(name, hole.offset, max(0, size), hole.lost_from, hole.lost_to, what)
