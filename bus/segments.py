"""Room: bus -- the bytes of the ledger, format version 1, as pure functions over bytes.

Knows:     nothing.
Known by:  ledger, recovery, places, reader, the SDK (for READ answers).
Never:     opens a file, decodes a payload, forgives a byte.

A segment is a header of 64 bytes and frames; a frame is one decision (docs/wire.md, RELIABILITY.md
2.3). What tells a torn tail from corruption is what comes after: a write that was cut off has
nothing valid behind it. So the search for the next valid frame is part of the format, and every
reader uses this one (`scan`).

A segment ends where its successor begins, by sequence number: bytes behind that are void. This is
what lets the ledger leave a poisoned file alone and say the unsynced frames again in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from circus.bus.blake import blake2b
from circus.bus.cursor_errors import Damaged
from circus.bus.shapes import mutable

FORMAT_VERSION: Final = 1
SEGMENT_MAGIC: Final = b"\x89EVL\r\n\x1a\n"
FRAME_MAGIC: Final = b"EFL1"
HEADER_BYTES: Final = 64
FRAME_HEADER_BYTES: Final = 40
PAYLOAD_BYTES_MAX: Final = 16 * 1024 * 1024
RECORDS_PER_FRAME_MAX: Final = 2**16 - 1
CHAIN_BYTES: Final = 16
CHAIN_START: Final = bytes(CHAIN_BYTES)
SUFFIX: Final = ".evl"
DIGITS: Final = 20

_HEADER: Final = Struct("<8sHHI16sQq16s")
_FRAME: Final = Struct("<4sIIHHQ16s")
_FRAME_START: Final = Struct("<4sII")
_SEALED: Final = Struct("<HHQ")
SEALED_AT: Final = _FRAME_START.size  # what the crc is of, up to the end of the payload
CHAIN_AT: Final = SEALED_AT + _SEALED.size
_PADDING: Final = tuple(bytes(n) for n in range(8))
assert _HEADER.size == HEADER_BYTES
assert _FRAME.size == FRAME_HEADER_BYTES


class UnknownFormat(Exception):
    """A segment of a format that this version does not know: newer, so nothing is touched."""


class SegmentHeader(NamedTuple):
    """The first 64 bytes of a segment."""

    log_id: bytes
    first_seq: int
    created: int  # wall ns
    previous_chain: bytes  # digest at the end of the segment before


# Not frozen: that would make reading a third slower. A tuple has a `count` of its own.
@mutable
class Frame:
    """One decision, verified. It stands from `offset` to `end` in the bytes that were scanned."""

    first_seq: int
    last_seq: int
    payload: bytes
    chain: bytes
    offset: int
    end: int

    @property
    def count(self) -> int:
        """How many records."""
        return self.last_seq - self.first_seq + 1


class Hole(NamedTuple):
    """Bytes from `offset` to `resume` that are no frames, though frames (or a segment) follow."""

    offset: int
    resume: int
    lost_from: int
    lost_to: int  # lost_from - 1 where no record is missing: a broken chain, a bad header


Item: TypeAlias = Frame | Hole


def segment_name(first_seq: int) -> str:
    """Names sort as numbers do."""
    return f"{first_seq:0{DIGITS}d}{SUFFIX}"


def segment_numbers(names: Iterable[str]) -> list[int]:
    """The first seqs of all segments in a directory, ascending; other files are not ours."""
    return sorted(
        int(name[:DIGITS])
        for name in names
        if len(name) == DIGITS + len(SUFFIX) and name.endswith(SUFFIX) and name[:DIGITS].isdecimal()
    )


def frame_bytes(payload_bytes: int) -> int:
    """What a frame takes in the file, padding included."""
    return FRAME_HEADER_BYTES + payload_bytes + (-payload_bytes & 7)


def encode_header(header: SegmentHeader) -> bytes:
    """64 bytes; the crc is of the header with the crc's own field zero."""
    blank = _header_bytes(header, 0)
    return _header_bytes(header, crc32(blank))


def _header_bytes(header: SegmentHeader, crc: int) -> bytes:
    return _HEADER.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, 0, crc,
        header.log_id, header.first_seq, header.created, header.previous_chain,
    )  # fmt: skip


def decode_header(raw: bytes) -> SegmentHeader | None:
    """None for bytes that are no header; an unknown version is refused, not taken for damage."""
    if len(raw) < HEADER_BYTES:
        return None
    magic, version, flags, crc, log_id, first_seq, created, chain = _HEADER.unpack_from(raw)
    blank = raw[:12] + bytes(4) + raw[16:HEADER_BYTES]
    if magic != SEGMENT_MAGIC or crc32(blank) != crc:
        return None
    if version != FORMAT_VERSION or flags != 0:
        raise UnknownFormat(
            f"cannot read the ledger: format {version} (flags {flags}), this is "
            f"{FORMAT_VERSION}; use the version that wrote it, or another state directory"
        )
    return SegmentHeader(log_id, first_seq, created, chain)


def encode_frame(count: int, payload: bytes, *, seq: int, chain: bytes) -> tuple[bytes, bytes]:
    """The frame's bytes and the chain digest at its end."""
    assert 0 < len(payload) <= PAYLOAD_BYTES_MAX, f"a payload of {len(payload)} bytes"
    assert 0 < count <= RECORDS_PER_FRAME_MAX, f"a frame of {count} records"
    middle = _SEALED.pack(0, count, seq)
    digest = blake2b(chain + middle + payload, digest_size=CHAIN_BYTES).digest()
    sealed = middle + digest
    start = _FRAME_START.pack(FRAME_MAGIC, len(payload), crc32(payload, crc32(sealed)))
    return start + sealed + payload + _PADDING[-len(payload) & 7], digest


def hop(raw: bytes, offset: int) -> tuple[int, int, int] | None:
    """Of the frame that seems to stand at `offset`: its first seq, the next frame's, its end."""
    if offset + FRAME_HEADER_BYTES > len(raw):
        return None
    magic, length, _crc, _flags, count, first_seq, _chain = _FRAME.unpack_from(raw, offset)
    if magic != FRAME_MAGIC:
        return None
    return first_seq, first_seq + count, offset + frame_bytes(length)


def hop_to(raw: bytes, offset: int, *, first_seq: int, seq: int) -> tuple[int, int]:
    """From the frame at `offset`, which begins with `first_seq`, by headers alone to the one that
    holds `seq`: where it stands and what it begins with. Where the way there is broken, the start.
    """
    at, expected = offset, first_seq
    while (found := hop(raw, at)) is not None and found[0] == expected:
        if found[1] > seq:
            return at, expected
        _, expected, at = found
    return offset, first_seq


def intact(raw: bytes, offset: int) -> Frame | None:
    """The frame at `offset` if all of it is there and its crc holds; its place is not judged."""
    body = offset + FRAME_HEADER_BYTES
    if body > len(raw):
        return None
    magic, length, crc, flags, count, first_seq, chain = _FRAME.unpack_from(raw, offset)
    end = body + length
    if magic != FRAME_MAGIC or not 0 < length <= PAYLOAD_BYTES_MAX or flags or not count:
        return None
    sealed = raw[offset + SEALED_AT : end]
    padding = -length & 7
    if crc32(sealed) != crc or raw[end : end + padding] != _PADDING[padding]:
        return None
    payload = sealed[FRAME_HEADER_BYTES - SEALED_AT :]
    return Frame(first_seq, first_seq + count - 1, payload, chain, offset, end + padding)


def frame_at(raw: bytes, offset: int, seq: int, chain: bytes | None) -> Frame | None:
    """The intact frame at `offset`, if it begins with `seq` and continues `chain` (None: any)."""
    frame = intact(raw, offset)
    if frame is None or frame.first_seq != seq:
        return None
    if chain is not None:
        sealed = chain + raw[offset + SEALED_AT : offset + CHAIN_AT] + frame.payload
        if blake2b(sealed, digest_size=CHAIN_BYTES).digest() != frame.chain:
            return None
    return frame


def next_frame(raw: bytes, offset: int, seq: int) -> Frame | None:
    """The first intact frame at or after `offset` that begins with `seq` or later.

    Stale frames (blocks of a deleted file) have lower numbers and do not count.
    """
    at = raw.find(FRAME_MAGIC, offset)
    while at >= 0:
        frame = intact(raw, at)
        if frame is not None and frame.first_seq >= seq:
            return frame
        at = raw.find(FRAME_MAGIC, at + 1)
    return None


def scan(
    raw: bytes, offset: int, *, seq: int, chain: bytes | None, until: int | None = None
) -> Iterator[Item]:
    """Every frame from `offset` on, and every hole that has frames behind it, in order.

    Ends where nothing valid follows (a torn tail, or "not yet"). `until` is the successor's first
    seq: there the segment ends, and what is missing up to there is a hole too.
    """
    while until is None or seq < until:
        frame = frame_at(raw, offset, seq, chain)
        if frame is None:
            found = next_frame(raw, offset, seq)
            if found is None or (until is not None and found.first_seq >= until):
                break
            yield Hole(offset, found.offset, seq, found.first_seq - 1)
            offset, seq, chain = found.offset, found.first_seq, None
            continue
        yield frame
        seq, chain, offset = frame.last_seq + 1, frame.chain, frame.end
    if until is not None and seq < until:
        yield Hole(offset, len(raw), seq, until - 1)


def scan_again(raw: bytes, *, seq: int, until: int) -> Iterator[Item]:
    """As `scan`, of bytes whose chain this process has verified: the crc says that they are the
    same still."""
    offset = 0
    while seq < until:
        frame = intact(raw, offset)
        if frame is None or frame.first_seq != seq:
            yield from scan(raw, offset, seq=seq, chain=None, until=until)
            return
        yield frame
        seq, offset = frame.last_seq + 1, frame.end


def scan_segment(
    raw: bytes, header: SegmentHeader, *, chain: bytes | None, until: int | None
) -> Iterator[Item]:
    """A whole segment. `header` says what its header should say; `chain`, if known, its chain."""
    found = decode_header(raw)
    first_seq = header.first_seq
    mine = found is not None and found[:2] == header[:2]
    if len(raw) < HEADER_BYTES:
        yield Hole(0, len(raw), first_seq, (first_seq if until is None else until) - 1)
        return
    if found is None or not mine or (chain is not None and found.previous_chain != chain):
        yield Hole(0, HEADER_BYTES, first_seq, first_seq - 1)
    if found is not None and mine:
        chain = found.previous_chain
    yield from scan(raw, HEADER_BYTES, seq=first_seq, chain=chain, until=until)


def parse_frames(raw: bytes, *, previous_chain: bytes | None, expected_seq: int) -> Iterator[Frame]:
    """The frames of a READ answer, all of them or Damaged: crc, order and chain are verified."""
    offset, seq, chain = 0, expected_seq, previous_chain
    while offset < len(raw):
        frame = frame_at(raw, offset, seq, chain)
        if frame is None:
            raise Damaged("answer", offset, seq, seq)
        yield frame
        offset, seq, chain = frame.end, frame.last_seq + 1, frame.chain
