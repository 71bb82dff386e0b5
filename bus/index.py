"""Room: bus -- `.idx` files: where in a sealed segment a record stands, and when it was written.

Knows:     bus.disk, bus.segments, bus.codec (the time of a record).
Known by:  bus.files and bus.reader (seek by them), bus.space (takes them away), the maker of
           snapshots (makes them, off the sequencer's thread).
Never:     is believed: whoever seeks looks whether the frame is there.

Nobody misses an index: without one the whole segment is read. There is an entry for each 64 KiB;
its wall time is the greatest so far, for clocks step back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from circus.bus.codec import from_ledger
from circus.bus.disk import Disk, append_whole, read_whole
from circus.bus.segments import (
    CHAIN_START,
    DIGITS,
    FRAME_HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    SegmentHeader,
    decode_header,
    frame_bytes,
    hop,
    intact,
    scan_segment,
    segment_name,
    segment_numbers,
)
from circus.bus.segments import HEADER_BYTES as SEGMENT_HEADER_BYTES

STEP_BYTES: Final = 64 * 1024
MAGIC: Final = b"\x89EVI\r\n\x1a\n"
FORMAT_VERSION: Final = 1
SUFFIX: Final = ".idx"
UNNAMED: Final = "idx.new"  # one that is being made

_START: Final = Struct("<8sHH")
_CRC: Final = Struct("<I")
_ENTRY: Final = Struct("<QqqQ")
_LOG_ID_AT: Final = _START.size + _CRC.size
HEADER_BYTES: Final = 32


class Entry(NamedTuple):
    """A frame: its first seq, when that was said (ns), and where it begins in the segment."""

    seq: int
    wall: int
    boot: int
    offset: int


def index_name(first_seq: int) -> str:
    """Beside the segment, by its number."""
    return f"{first_seq:0{DIGITS}d}{SUFFIX}"


def encode(log_id: bytes, entries: Sequence[Entry]) -> bytes:
    """The whole file: a header of 32 bytes, then the entries, 32 bytes each."""
    start = _START.pack(MAGIC, FORMAT_VERSION, 0)
    rest = log_id + b"".join(_ENTRY.pack(*entry) for entry in entries)
    return b"".join((start, _CRC.pack(crc32(rest, crc32(start))), rest))


def decode(raw: bytes, log_id: bytes) -> tuple[Entry, ...]:
    """The entries; none where these bytes are not the index of a segment of this ledger."""
    if raw[: _START.size] != _START.pack(MAGIC, FORMAT_VERSION, 0) or len(raw) < HEADER_BYTES:
        return ()
    rest = raw[_LOG_ID_AT:]
    (crc,) = _CRC.unpack_from(raw, _START.size)
    if crc != crc32(rest, crc32(raw[: _START.size])) or not rest.startswith(log_id):
        return ()
    body = raw[HEADER_BYTES:]
    return tuple(map(Entry._make, _ENTRY.iter_unpack(body))) if len(body) % _ENTRY.size == 0 else ()


def seek(disk: Disk, directory: str, log_id: bytes, place: tuple[int, int]) -> Entry | None:
    """For (first seq of a segment, seq in it): the last frame that is indexed at or before `seq`.

    None: there is no index, or the frame is not where it says. Then it is of no use at all.
    """
    first_seq, seq = place
    try:
        entries = load(disk, directory, log_id, first_seq)
        at = bisect_right(entries, seq, key=_seq) - 1
        found = entries[at] if at >= 0 else None
        return found if found and _is_there(disk, directory, first_seq, found) else None
    except OSError:
        return None


def load(disk: Disk, directory: str, log_id: bytes, first_seq: int) -> tuple[Entry, ...]:
    """What its index says of a segment; nothing if there is none, or a wrong one. OSError too."""
    return decode(read_whole(disk, f"{directory}/{index_name(first_seq)}"), log_id)


def _is_there(disk: Disk, directory: str, first_seq: int, entry: Entry) -> bool:
    """Whether the frame stands where the entry says."""
    handle = disk.open_to_read(f"{directory}/{segment_name(first_seq)}")
    try:
        place = hop(disk.read(handle, entry.offset, FRAME_HEADER_BYTES), 0)
        size = 0 if place is None else min(place[2], frame_bytes(PAYLOAD_BYTES_MAX))
        frame = intact(disk.read(handle, entry.offset, size), 0)
    finally:
        disk.close(handle)
    return frame is not None and frame.first_seq == entry.seq


def _seq(entry: Entry) -> int:
    return entry.seq


def make_missing(disk: Disk, directory: str) -> int:
    """Make the index of every sealed segment that has none or a stale one; how many were made."""
    made = 0
    for first_seq, until in pairwise(segment_numbers(disk.list_dir(directory))):
        header = _header(disk, directory, first_seq)
        if header is not None and _is_stale(disk, directory, header):
            raw = read_whole(disk, f"{directory}/{segment_name(first_seq)}")
            entries = tuple(_entries(raw, header, until))
            _save(disk, directory, first_seq, encode(header.log_id, entries))
            made += 1
    return made


def _header(disk: Disk, directory: str, first_seq: int) -> SegmentHeader | None:
    handle = disk.open_to_read(f"{directory}/{segment_name(first_seq)}")
    try:
        return decode_header(disk.read(handle, 0, SEGMENT_HEADER_BYTES))
    finally:
        disk.close(handle)


def _is_stale(disk: Disk, directory: str, header: SegmentHeader) -> bool:
    """There is none, or its last entry is wrong: another file may have got the segment's name."""
    try:
        entries = load(disk, directory, header.log_id, header.first_seq)
    except FileNotFoundError:
        return True
    return not entries or not _is_there(disk, directory, header.first_seq, entries[-1])


def _entries(raw: bytes, header: SegmentHeader, until: int) -> Iterator[Entry]:
    wall, due = 0, 0
    expected = SegmentHeader(header.log_id, header.first_seq, 0, CHAIN_START)
    for item in scan_segment(raw, expected, chain=None, until=until):
        if isinstance(item, Frame) and item.offset >= due:
            first = from_ledger(item.payload)[0]
            wall = max(wall, first["at"])
            yield Entry(item.first_seq, wall, first["boot"], item.offset)
            due = item.offset + STEP_BYTES


def _save(disk: Disk, directory: str, first_seq: int, raw: bytes) -> None:
    """Not synced: what a power cut makes of it is no index, by its crc."""
    path = f"{directory}/{UNNAMED}"
    if UNNAMED in disk.list_dir(directory):
        disk.unlink(path)  # Left by a failure to make it.
    handle = disk.create(path)
    try:
        append_whole(disk, handle, raw)
    finally:
        disk.close(handle)
    disk.rename(path, f"{directory}/{index_name(first_seq)}")
