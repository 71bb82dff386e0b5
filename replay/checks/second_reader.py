"""Room: replay -- a second reader of the ledger's files, written from docs/wire.md alone.

Knows:     nothing: not the code that writes them.
Known by:  I-CHAIN (replay.checks.ledger).
Never:     repairs, forgives, or believes a segment's name.

What was verified once is verified again by one checksum: each look costs little more than the
bytes that are new, and still finds a byte that was altered long ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

HEADER: Final = Struct("<8sHHI16sQq16s")
FRAME: Final = Struct("<4sIIHHQ16s")
MAGIC: Final = b"\x89EVL\r\n\x1a\n"
FRAME_MAGIC: Final = b"EFL1"
SEALED: Final = slice(12, 24)
START: Final = bytes(16)


class Mark(NamedTuple):
    """How far one segment is verified: bytes, their checksum, the next seq, the chain there."""

    end: int
    check: int
    seq: int
    chain: bytes


class SecondReader:
    """Reads all segments in order; `read` may be called again and again."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def read(self, files: Mapping[str, bytes]) -> tuple[int, str]:
        """The last seq, and what is wrong: "" if nothing is."""
        names = sorted(name for name in files if name.endswith(".evl") and name.count("/") == 1)
        seq, chain = 0, START
        for index, name in enumerate(names):
            until = _first_seq(names[index + 1]) if index + 1 < len(names) else None
            raw = files[name]
            mark = self._verified(name, raw)
            if mark is None:
                mark = _opened(raw)
                if mark is None or mark.seq != _first_seq(name):
                    return seq, f"{name}: no header"
                if index and mark.chain != chain:
                    return seq, f"{name}: its chain is not that of the segment before"
            mark = _walked(raw, mark, until)
            self._marks[name] = mark
            if until is not None and mark.seq != until:
                return mark.seq - 1, f"{name}: ends at {mark.end}, before {until}"
            seq, chain = mark.seq - 1, mark.chain
        return seq, ""

    def _verified(self, name: str, raw: bytes) -> Mark | None:
        mark = self._marks.get(name)
        same = mark is not None and crc32(raw[: mark.end]) == mark.check
        return mark if same else None


def _first_seq(name: str) -> int:
    return int(name.rpartition("/")[2].removesuffix(".evl"))


def _opened(raw: bytes) -> Mark | None:
    """The mark behind the header."""
    if len(raw) < HEADER.size:
        return None
    magic, version, flags, check, _, first_seq, _, chain = HEADER.unpack_from(raw)
    blank = raw[:12] + bytes(4) + raw[16 : HEADER.size]
    if magic != MAGIC or (version, flags) != (1, 0) or crc32(blank) != check:
        return None
    return Mark(HEADER.size, crc32(raw[: HEADER.size]), first_seq, chain)


def _walked(raw: bytes, mark: Mark, until: int | None) -> Mark:
    """As far as frames follow, or the next segment begins."""
    end, _, seq, chain = mark
    while until is None or seq < until:
        if end + FRAME.size > len(raw):
            break
        magic, length, check, _, count, first_seq, digest = FRAME.unpack_from(raw, end)
        body = raw[end + FRAME.size : end + FRAME.size + length]
        sealed = raw[end : end + FRAME.size][SEALED]
        if magic != FRAME_MAGIC or len(body) != length or first_seq != seq:
            break
        if crc32(body, crc32(raw[end + 12 : end + FRAME.size])) != check:
            break
        if blake2b(chain + sealed + body, digest_size=16).digest() != digest:
            break
        end += FRAME.size + length + (-length & 7)
        seq, chain = seq + count, digest
    return Mark(end, crc32(raw[:end]), seq, chain)
