"""Room: bus -- what to do with the files that a crash left behind (RELIABILITY.md 2.3).

Knows:     bus.disk, bus.segments, bus.places, bus.unsynced (a gap).
Known by:  ledger.
Never:     cuts where a valid frame follows; throws bytes away (a tail goes to quarantine first).

Only the newest segment can be torn: the one before it was synced before its successor was made.
A torn tail is cut. Corruption is left as it is and the ledger goes on in a new segment, so that
the supervisor starts in any case.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from circus.bus.disk import Disk, append_whole, read_whole
from circus.bus.places import Segment, surveyed
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    SegmentHeader,
    decode_header,
    scan_segment,
    segment_name,
    segment_numbers,
)
from circus.bus.unsynced import Gap

QUARANTINE: Final = "quarantine"


class TailCut(NamedTuple):
    """A torn tail was moved to quarantine; `log.tail_cut` says it in the ledger."""

    segment: str
    offset: int
    bytes: int


class Damage(NamedTuple):
    """Corruption that was found when opening; `log.damaged` says it in the ledger."""

    segment: str
    offset: int
    lost_from: int
    lost_to: int


class Recovered(NamedTuple):
    """What the first records of the new incarnation must tell."""

    tail_cut: TailCut | None = None
    damaged: tuple[Damage, ...] = ()
    gap: Gap | None = None


class Found(NamedTuple):
    """The files as they are after recovery. `usable`: the newest may be appended to.

    `frames` are the bytes of the newest, if it has no hole: they may be in the page cache only.
    """

    log_id: bytes | None
    segments: list[Segment]
    created: int
    usable: bool
    recovered: Recovered
    frames: bytes = b""


class _Newest(NamedTuple):
    segment: Segment
    raw: bytes
    created: int


def recover(disk: Disk, directory: str) -> Found:
    """Look at every header and all of the newest segment; cut what is torn."""
    numbers = segment_numbers(disk.list_dir(directory))
    headers = {n: _header(disk, f"{directory}/{segment_name(n)}") for n in numbers}
    log_id = next((header.log_id for header in headers.values() if header is not None), None)
    newest, cut = _newest(disk, directory, numbers, log_id or b"")
    if newest is None:
        return Found(None, [], 0, usable=False, recovered=Recovered(cut))
    earlier = [_not_surveyed(n, headers[n]) for n in numbers[:-1]]
    segment = newest.segment
    damaged = _damage(segment)
    if earlier and segment.end == HEADER_BYTES:
        # The daemon may have died between opening this segment and telling why in it.
        damaged += _damage(_survey_sealed(disk, directory, earlier[-1], log_id or b"", segment))
    usable = not segment.holes
    if usable and segment.end < len(newest.raw):
        cut = TailCut(segment.name, segment.end, len(newest.raw) - segment.end)
        usable = _cut(disk, directory, cut, newest.raw[segment.end :])
    frames = newest.raw[HEADER_BYTES : segment.end] if not segment.holes else b""
    return Found(
        log_id, [*earlier, segment], newest.created, usable, Recovered(cut, damaged), frames
    )


def _newest(
    disk: Disk, directory: str, numbers: list[int], log_id: bytes
) -> tuple[_Newest | None, TailCut | None]:
    """The newest segment that holds anything; those with a torn header are taken away."""
    cut: TailCut | None = None
    while numbers:
        name = segment_name(numbers[-1])
        raw = read_whole(disk, f"{directory}/{name}")
        header = decode_header(raw)
        expected = SegmentHeader(log_id, numbers[-1], 0, CHAIN_START)
        chain = header.previous_chain if header is not None else CHAIN_START
        segment = surveyed(numbers[-1], chain, scan_segment(raw, expected, chain=None, until=None))
        if not segment.holes or segment.end > HEADER_BYTES:
            return _Newest(segment, raw, header.created if header is not None else 0), cut
        if raw:
            cut = TailCut(name, 0, len(raw))
        set_aside(disk, directory, name)
        numbers.pop()
    return None, cut


def _header(disk: Disk, path: str) -> SegmentHeader | None:
    handle = disk.open_to_read(path)
    try:
        return decode_header(disk.read(handle, 0, HEADER_BYTES))
    finally:
        disk.close(handle)


def _not_surveyed(first_seq: int, header: SegmentHeader | None) -> Segment:
    chain = header.previous_chain if header is not None else CHAIN_START
    return Segment(first_seq, chain, chain, first_seq, surveyed=False)


def _survey_sealed(
    disk: Disk, directory: str, segment: Segment, log_id: bytes, successor: Segment
) -> Segment:
    raw = read_whole(disk, f"{directory}/{segment.name}")
    expected = SegmentHeader(log_id, segment.first_seq, 0, CHAIN_START)
    items = scan_segment(raw, expected, chain=None, until=successor.first_seq)
    return surveyed(segment.first_seq, segment.previous_chain, items)


def _damage(segment: Segment) -> tuple[Damage, ...]:
    return tuple(
        Damage(segment.name, hole.offset, hole.lost_from, hole.lost_to) for hole in segment.holes
    )


def _cut(disk: Disk, directory: str, cut: TailCut, tail: bytes) -> bool:
    """Copy the tail away, then truncate. False: neither was possible, leave this file alone.

    The ledger syncs the file before it goes on; a sync that fails is never tried a second time.
    """
    quarantine = f"{directory}/{QUARANTINE}"
    try:
        disk.make_dir(quarantine)
        handle = disk.create(f"{quarantine}/{_free(disk, quarantine, cut.segment, cut.offset)}")
        try:
            append_whole(disk, handle, tail)
            disk.sync(handle)
        finally:
            disk.close(handle)
        disk.sync_dir(quarantine)
        handle = disk.open_to_append(f"{directory}/{cut.segment}")
        try:
            disk.truncate(handle, cut.offset)
        finally:
            disk.close(handle)
    except OSError:
        # A full disk is no reason not to supervise: a new segment makes these bytes void.
        return False
    return True


def set_aside(disk: Disk, directory: str, name: str) -> None:
    """Move a segment that holds nothing of its own out of the readers' sight."""
    quarantine = f"{directory}/{QUARANTINE}"
    disk.make_dir(quarantine)
    disk.rename(f"{directory}/{name}", f"{quarantine}/{_free(disk, quarantine, name, 0)}")
    disk.sync_dir(quarantine)
    disk.sync_dir(directory)


def _free(disk: Disk, quarantine: str, name: str, offset: int) -> str:
    """A name that no earlier tail of this segment has."""
    taken = set(disk.list_dir(quarantine))
    number = 0
    while f"{name}.{offset}.{number}" in taken:
        number += 1
    return f"{name}.{offset}.{number}"
