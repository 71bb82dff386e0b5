"""Room: tests -- a second reader of the ledger, written from the text of the format alone.

Knows:     the standard library and msgpack; nothing of circus.
Known by:  tests of the ledger, which let both readers read the same files.
Never:     shares a line with the first: two readers that agree by accident prove nothing.
"""

from __future__ import annotations

import hashlib
import pathlib
import sys
import zlib
from typing import Any

import msgpack


class Bad(Exception):
    """This is not what a ledger looks like."""


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def read_header(data: bytes, name: str) -> tuple[bytes, int, bytes]:
    """The id, the first seq and the chain before; Bad if any of the 64 bytes is wrong."""
    if len(data) < 64 or data[:8] != bytes.fromhex("8945564c0d0a1a0a"):
        raise Bad(f"{name}: no header")
    if number(data, 8, 2) != 1 or number(data, 10, 2) != 0:
        raise Bad(f"{name}: another version")
    if zlib.crc32(data[:12] + b"\0\0\0\0" + data[16:64]) != number(data, 12, 4):
        raise Bad(f"{name}: header crc")
    if number(data, 32, 8) != int(name.partition(".")[0]):
        raise Bad(f"{name}: misnamed")
    return data[16:32], number(data, 32, 8), data[48:64]


def read_frames(
    data: bytes, seq: int, chain: bytes, until: int
) -> tuple[list[tuple[int, Any]], int, bytes]:
    """(first seq, records) of each frame before `until`; the seq and the chain behind them."""
    found: list[tuple[int, Any]] = []
    at = 64
    while seq < until and data[at : at + 4] == b"EFL1" and at + 40 <= len(data):
        length, crc = number(data, at + 4, 4), number(data, at + 8, 4)
        flags, count, first = (
            number(data, at + 12, 2),
            number(data, at + 14, 2),
            number(data, at + 16, 8),
        )
        end = at + 40 + length
        padded = (end + 7) // 8 * 8
        payload = data[at + 40 : end]
        digest = hashlib.blake2b(chain + data[at + 12 : at + 24] + payload, digest_size=16).digest()
        good = (
            1 <= length <= 16 * 2**20
            and padded <= len(data)
            and flags == 0
            and first == seq
            and zlib.crc32(data[at + 12 : end]) == crc
            and digest == data[at + 24 : at + 40]
            and not any(data[end:padded])
        )
        if not good:
            break
        records = msgpack.unpackb(payload, strict_map_key=False)
        if len(records) != count:
            raise Bad(f"frame {first}: {len(records)} records, {count} announced")
        found.append((first, records))
        seq, chain, at = seq + count, digest, padded
    return found, seq, chain


def read_ledger(directory: pathlib.Path) -> list[tuple[int, Any]]:
    """All frames of an undamaged ledger; a torn end of the newest segment is left out."""
    names = sorted(path.name for path in directory.glob("*.evl"))
    found: list[tuple[int, Any]] = []
    log_id, seq, chain = b"", 0, b""
    for at, name in enumerate(names):
        data = (directory / name).read_bytes()
        its_id, first, before = read_header(data, name)
        if at and (its_id, first) != (log_id, seq):
            raise Bad(f"{name}: does not follow")
        if at and before != chain:
            raise Bad(f"{name}: broken chain")
        log_id = its_id
        until = int(names[at + 1].partition(".")[0]) if at + 1 < len(names) else 2**64
        frames, seq, chain = read_frames(data, first, before, until)
        found += frames
    return found


if __name__ == "__main__":
    for first_seq, records in read_ledger(pathlib.Path(sys.argv[1])):
        sys.stdout.write(f"{first_seq} {records}\n")
