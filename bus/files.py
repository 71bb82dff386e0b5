"""Room: bus -- the segment files of one ledger: made, written, and read by sequence number.

Knows:     bus.disk, bus.segments, bus.places, bus.unsynced, bus.cursor_errors.
Known by:  writer, ledger.
Never:     decides what to do about an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.disk import Disk, append_whole, read_whole
from circus.bus.index import index_name, seek
from circus.bus.places import (
    INDEX_STEP_BYTES,
    Segment,
    contiguous,
    frame_with,
    last_whole,
    segment_of,
    surveyed,
)
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    Frame,
    Hole,
    Item,
    SegmentHeader,
    decode_header,
    encode_header,
    scan_again,
    scan_segment,
    segment_name,
)
from circus.bus.unsynced import Batch

CHAIN8_BYTES: Final = 8
NEXT: Final = "next"  # the segment that will be the newest, while it has no number


class RawFrames(NamedTuple):
    """Whole frames as they stand in the file. No data: `last_seq` is `first_seq` - 1."""

    data: bytes
    first_seq: int
    last_seq: int
    chain: bytes


class Files:
    """The files under one directory: the newest is open, all are listed."""

    __slots__ = ("directory", "disk", "handle", "lock", "opened_boot", "segments")

    def __init__(self, disk: Disk, directory: str, lock: int) -> None:
        self.disk = disk
        self.directory = directory
        self.lock = lock
        self.handle = -1
        self.opened_boot = 0
        self.segments: list[Segment] = []

    def path(self, segment: Segment) -> str:
        return f"{self.directory}/{segment.name}"

    def close(self) -> None:
        if self.handle >= 0:
            handle, self.handle = self.handle, -1
            self.disk.close(handle)

    def create(self, header: SegmentHeader, boot: int, batches: Sequence[Batch] = ()) -> None:
        """A new newest segment that begins with these batches; on failure nothing is listed.

        It gets its name when it is whole and safe: until then the old files count as they are.
        """
        path = f"{self.directory}/{segment_name(header.first_seq)}"
        handle = self._open_next()
        try:
            append_whole(self.disk, handle, encode_header(header))
            for batch in batches:
                append_whole(self.disk, handle, batch.data)
            self.disk.sync(handle)
            self.disk.rename(f"{self.directory}/{NEXT}", path)
            self.disk.sync_dir(self.directory)
        except OSError:
            self.disk.close(handle)
            raise
        self.close()
        self.handle, self.opened_boot = handle, boot
        self._list(header, batches)

    def _open_next(self) -> int:
        """The reserved file, if there is one that nobody has begun to write."""
        path, disk = f"{self.directory}/{NEXT}", self.disk
        try:
            handle = disk.open_to_append(path)
        except FileNotFoundError:
            return disk.create(path)
        if not disk.size(handle):
            return handle
        disk.close(handle)
        disk.unlink(path)  # Left by a failure to make it.
        return disk.create(path)

    def provide(self, size: int) -> None:
        """Reserve the next segment's room, so that a shortage is seen before it hurts."""
        path = f"{self.directory}/{NEXT}"
        if NEXT in self.disk.list_dir(self.directory):
            self.disk.unlink(path)
        self.disk.close(self.disk.create(path, size))

    def give_back(self) -> None:
        """At a clean end: nothing stays reserved."""
        try:
            if self.handle >= 0 and self.segments:
                self.disk.truncate(self.handle, self.segments[-1].end)
            self.disk.unlink(f"{self.directory}/{NEXT}")
        except OSError:
            return  # There is none yet, or the disk keeps a little more than it must.

    def size(self, segment: Segment) -> int:
        handle = self.disk.open_to_read(self.path(segment))
        try:
            return self.disk.size(handle)
        finally:
            self.disk.close(handle)

    def drop_oldest(self) -> None:
        """Take away the oldest segment, and then its index."""
        oldest = self.segments[0]
        self.disk.unlink(self.path(oldest))
        del self.segments[0]
        name = index_name(oldest.first_seq)
        if name in self.disk.list_dir(self.directory):
            self.disk.unlink(f"{self.directory}/{name}")

    def make_void(self, batches: Sequence[Batch]) -> None:
        """What these say does not count in the newest file any more."""
        start, chain = batches[0].first_seq, batches[0].chain_before
        newest = self.segments[-1] if self.segments else None
        if newest is None or newest.next_seq <= start:
            return
        void = sum(len(batch.data) for batch in batches if batch.next_seq <= newest.next_seq)
        newest.forget_from(start, newest.end - void, chain)

    def _list(self, header: SegmentHeader, batches: Sequence[Batch]) -> None:
        start, chain = header.first_seq, header.previous_chain
        if batches:
            self.make_void(batches)
        if self.segments and self.segments[-1].first_seq == start:
            self.segments.pop()  # The new file has its name.
        segment = Segment(start, chain, chain, start)
        for batch in batches:
            end = segment.end + len(batch.data)
            segment.extend(batch.first_seq, segment.end, end, batch.next_seq)
        self.segments.append(segment)

    def write(self, data: bytes) -> None:
        """One write, or its rest; if the disk takes only a part, back to the frame boundary."""
        try:
            append_whole(self.disk, self.handle, data)
        except OSError:
            # Needs no space. If it fails too, the successor makes these bytes void.
            self.disk.truncate(self.handle, self.segments[-1].end)
            raise

    def release(self) -> None:
        """Close everything and give up the lock."""
        self.close()
        self.disk.close(self.lock)

    def name_with(self, seq: int) -> str:
        """The file in which `seq` stands, or should."""
        segment = segment_of(self.segments, seq)
        return segment.name if segment is not None else ""

    def read(self, segment: Segment, offset: int, length: int) -> bytes:
        handle = self.disk.open_to_read(self.path(segment))
        try:
            return self.disk.read(handle, offset, length)
        finally:
            self.disk.close(handle)


def opening_of(files: Files, segment: Segment) -> int | None:
    """When it was made, wall ns, which is when the one before it was sealed; None: unknown."""
    header = decode_header(files.read(segment, 0, HEADER_BYTES))
    return header.created if header is not None else None


def read_raw(files: Files, log_id: bytes, after: int, bytes_max: int) -> RawFrames:
    """Whole frames from the one that holds `after` + 1 on, at most `bytes_max` (or one frame).

    Never more than one segment's; an answer without data means that `after` is the end.
    """
    found = _locate(files, log_id, after + 1, bytes_max)
    if found is None:
        return RawFrames(b"", after + 1, after, b"")
    segment, start, chunk, first = found
    high = first.offset + max(bytes_max, first.end - first.offset)
    mark = segment.last_mark_within(start + first.offset, start + high) - start
    last = last_whole(chunk, mark, high) or last_whole(chunk, first.offset, high)
    assert last is not None, "the first frame fits"
    return RawFrames(chunk[first.offset : last.end], first.first_seq, last.last_seq, last.chain)


def chain8_at(files: Files, log_id: bytes, seq: int) -> bytes | None:
    """The first bytes of the digest at the end of the frame that holds `seq`; None: not here."""
    if not files.segments or seq < files.segments[0].first_seq - 1:
        return None
    if seq == files.segments[0].first_seq - 1:
        return files.segments[0].previous_chain[:CHAIN8_BYTES]
    try:
        found = _locate(files, log_id, seq, 0)
    except Damaged:
        return None
    return found[3].chain[:CHAIN8_BYTES] if found is not None else None


def items(files: Files, log_id: bytes, after: int) -> Iterator[Item]:
    """Every frame that holds a seq above `after`, verified, and every hole on the way."""
    chain: bytes | None = None
    segments = list(files.segments)
    for at, segment in enumerate(segments):
        until = segments[at + 1].first_seq if at + 1 < len(segments) else segment.next_seq
        if until <= after + 1 and at + 1 < len(segments):
            continue
        if segment.surveyed and not segment.holes:
            found = _again(files, segment, chain, (after, until))
        else:
            found = _at_first(files, SegmentHeader(log_id, segment.first_seq, 0, CHAIN_START),
                              segment, (chain, until))  # fmt: skip
        for item in found:
            chain = None if isinstance(item, Hole) else item.chain
            if isinstance(item, Hole) or item.last_seq > after:
                yield item


def _at_first(
    files: Files, expected: SegmentHeader, segment: Segment, known: tuple[bytes | None, int]
) -> Iterator[Item]:
    """All of a segment; what it is, is known from then on."""
    chain, until = known
    raw = read_whole(files.disk, files.path(segment))
    again = Segment(segment.first_seq, segment.previous_chain, CHAIN_START, segment.first_seq)
    for item in scan_segment(raw, expected, chain=chain, until=until):
        again.note(item)
        yield item
    if not segment.surveyed:
        _learn(segment, again)


def _again(
    files: Files, segment: Segment, chain: bytes | None, wanted: tuple[int, int]
) -> Iterator[Item]:
    """The same of a segment whose chain has been verified: from the mark before `after` on."""
    after, until = wanted
    if chain is not None and chain != segment.previous_chain:
        yield Hole(0, HEADER_BYTES, segment.first_seq, segment.first_seq - 1)
    seq, start = segment.before(after + 1)
    raw = files.read(segment, start, segment.end - start)
    for item in scan_again(raw, seq=seq, until=until):
        if isinstance(item, Hole):
            yield item._replace(offset=start + item.offset, resume=start + item.resume)
        else:
            yield item


def _locate(
    files: Files, log_id: bytes, seq: int, bytes_wanted: int
) -> tuple[Segment, int, bytes, Frame] | None:
    """The segment, an offset, the bytes from there on, and in them the frame that holds `seq`."""
    segments = files.segments
    if segments and seq < segments[0].first_seq:
        raise Trimmed(segments[0].first_seq)
    segment = segment_of(segments, seq)
    if segment is None:
        return None
    if not segment.surveyed:
        found = _by_index(files, log_id, segment, (seq, bytes_wanted))
        if found is not None:
            return found
        _survey(files, log_id, segment)
    if _is_behind(segments, segment, seq):
        return None
    _, start = segment.before(seq)
    rest = segment.limit(start) - start
    chunk = files.read(segment, start, min(rest, bytes_wanted + 2 * INDEX_STEP_BYTES))
    frame = frame_with(chunk, seq)
    if frame is None and len(chunk) < rest:
        chunk = files.read(segment, start, rest)
        frame = frame_with(chunk, seq)
    if frame is None:
        raise Damaged(segment.name, start, seq, seq)
    return segment, start, chunk, frame


def _is_behind(segments: list[Segment], segment: Segment, seq: int) -> bool:
    """Whether the ledger ends before `seq`; Damaged if it is lost."""
    hole = segment.hole_with(seq)
    if hole is not None:
        raise Damaged(segment.name, hole.offset, hole.lost_from, hole.lost_to)
    if seq < segment.next_seq:
        return False
    if segment is segments[-1]:
        return True
    following = segments[segments.index(segment) + 1]
    raise Damaged(segment.name, segment.end, segment.next_seq, following.first_seq - 1)


def _by_index(
    files: Files, log_id: bytes, segment: Segment, wanted: tuple[int, int]
) -> tuple[Segment, int, bytes, Frame] | None:
    """The same of a sealed segment that was not read yet, by the index beside it. None: it has
    none, or not all of this is as it should be, and the whole segment tells what is wrong."""
    seq, size = wanted
    entry = seek(files.disk, files.directory, log_id, (segment.first_seq, seq))
    if entry is None:
        return None
    raw = files.read(segment, entry.offset, size + 2 * INDEX_STEP_BYTES)
    chunk = raw[: contiguous(raw, entry.seq, _successor(files, segment))]
    frame = frame_with(chunk, seq)
    return None if frame is None else (segment, entry.offset, chunk, frame)


def _successor(files: Files, segment: Segment) -> int:
    """Where a sealed segment ends."""
    return files.segments[files.segments.index(segment) + 1].first_seq


def _survey(files: Files, log_id: bytes, segment: Segment) -> None:
    """Read a sealed segment that recovery did not have to read, and no index tells of."""
    _read_through(files, log_id, segment, _successor(files, segment))


def drop_newest(files: Files, log_id: bytes) -> None:
    """The newest segment is gone. The one before it, which was sealed, is the newest again."""
    gone = files.segments.pop()
    if files.segments and not files.segments[-1].surveyed:
        _read_through(files, log_id, files.segments[-1], gone.first_seq)


def _read_through(files: Files, log_id: bytes, segment: Segment, until: int) -> None:
    raw = read_whole(files.disk, files.path(segment))
    expected = SegmentHeader(log_id, segment.first_seq, 0, CHAIN_START)
    scanned = scan_segment(raw, expected, chain=None, until=until)
    _learn(segment, surveyed(segment.first_seq, segment.previous_chain, scanned))


def _learn(segment: Segment, again: Segment) -> None:
    for name in ("chain", "next_seq", "end", "seqs", "offsets", "holes", "surveyed"):
        setattr(segment, name, getattr(again, name))
