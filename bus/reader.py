"""Room: bus -- reads a ledger that another process writes: no lock, no wait, no write.

Knows:     bus.segments, bus.disk, bus.cursor_errors, bus.values.
Known by:  the SDK (when it can open the directory), replay.
Never:     blocks the writer; takes an incomplete last frame for the end of the story.

Files are opened anew by name at each look: a poisoned segment may have been replaced by a file of
the same name. An invalid end of the newest segment means "not yet", unless valid frames follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self

from circus.bus.cursor_errors import Damaged, Diverged, Reset, Trimmed
from circus.bus.disk import Disk, RealDisk
from circus.bus.index import seek
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    Frame,
    Hole,
    Item,
    SegmentHeader,
    decode_header,
    hop_to,
    scan,
    scan_segment,
    segment_name,
    segment_numbers,
)
from circus.bus.values import Cursor

CHAIN8_BYTES: Final = 8
_NOWHERE: Final = -1


class LedgerReader:
    """Follows one ledger from a cursor (or a bare seq: then nothing is compared)."""

    def __init__(
        self, directory: str, after: Cursor | int = 0, *, disk: Disk | None = None
    ) -> None:
        self._directory = directory
        self._disk: Disk = RealDisk() if disk is None else disk
        self._start(after)

    def _start(self, after: Cursor | int) -> None:
        bare = isinstance(after, int)
        self.log_id = b"" if isinstance(after, int) else after.log_id
        self._seq = after if isinstance(after, int) else after.seq  # the last one given out
        self._chain = b"" if isinstance(after, int) else after.chain8  # there; as far as known
        self._proven = bare and after == 0
        self._segment = _NOWHERE
        self._offset = 0  # in the segment: where the next look begins
        self._next = 0  # the seq that stands there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between two looks."""

    def cursor(self) -> Cursor:
        """Where this reader is: after the last frame that it gave."""
        return Cursor(self.log_id, self._seq, self._chain[:CHAIN8_BYTES])

    def frames(self, after: Cursor | int | None = None) -> Iterator[Frame]:
        """All frames up to the present end; call again to go on (`after`: from elsewhere).

        The first frame is the one that holds the cursor's seq + 1. After Damaged, call again to
        read on behind the damage; after the others, say from where.
        """
        if after is not None:
            self._start(after)
        while True:
            numbers = segment_numbers(self._disk.list_dir(self._directory))
            current = max((n for n in numbers if n <= self._seq + 1), default=None)
            if current is None:
                if numbers:
                    raise Trimmed(numbers[0])
                return
            successor = min((n for n in numbers if n > current), default=None)
            yield from self._look(current, successor)
            if successor is None or self._seq + 1 < successor:
                self._check_reached()
                return

    def _look(self, current: int, successor: int | None) -> Iterator[Frame]:
        """What is new in one segment."""
        if current != self._segment:
            self._enter(current, sealed=successor is not None)
        header, raw = self._read(segment_name(current))
        self._check_identity(header)
        follows = self._next == self._seq + 1 and len(self._chain) > CHAIN8_BYTES
        known = self._chain if follows else None
        if self._offset == 0:
            if header is None and successor is None and len(raw) < HEADER_BYTES:
                return  # Just being made.
            self._check_start(header, current)
            items = self._from_start(raw, current, successor, known)
        else:
            items = scan(raw, 0, seq=self._next, chain=known, until=successor)
        base = self._offset
        for item in items:
            if isinstance(item, Hole):
                self._skip(item, base)
            elif self._passes(item, base):
                yield item

    def _enter(self, current: int, *, sealed: bool) -> None:
        """Begin with its header; far behind that by its index, if there is one that is right."""
        self._segment, self._offset, self._next = current, 0, current
        if sealed and self._seq > current:
            entry = seek(self._disk, self._directory, self.log_id, (current, self._seq))
            if entry is not None:
                self._offset, self._next = entry.offset, entry.seq

    def _from_start(
        self, raw: bytes, current: int, successor: int | None, known: bytes | None
    ) -> Iterator[Item]:
        """The first look at a segment. What lies before the cursor is passed by, not verified."""
        offset, seq = hop_to(raw, HEADER_BYTES, first_seq=current, seq=self._seq)
        if seq > current:
            return scan(raw, offset, seq=seq, chain=None, until=successor)
        expected = SegmentHeader(self.log_id, current, 0, CHAIN_START)
        return scan_segment(raw, expected, chain=known, until=successor)

    def _read(self, name: str) -> tuple[SegmentHeader | None, bytes]:
        handle = self._disk.open_to_read(f"{self._directory}/{name}")
        try:
            header = decode_header(self._disk.read(handle, 0, HEADER_BYTES))
            size = self._disk.size(handle)
            if size < self._offset:
                raise Diverged(self._seq, self._next - 1)
            return header, self._disk.read(handle, self._offset, size - self._offset)
        finally:
            self._disk.close(handle)

    def _check_identity(self, header: SegmentHeader | None) -> None:
        if header is None:
            return
        if not self.log_id:
            self.log_id = header.log_id
        elif header.log_id != self.log_id:
            oldest = segment_numbers(self._disk.list_dir(self._directory))[0]
            # A foreign oldest segment is another ledger; a foreign one among ours is damage.
            if self._segment == oldest:
                raise Reset(header.log_id)

    def _check_start(self, header: SegmentHeader | None, current: int) -> None:
        """A cursor at the end of the segment before is compared with this one's header."""
        if header is None or self._proven or self._seq != current - 1:
            return
        if self._chain and not header.previous_chain.startswith(self._chain):
            raise Diverged(self._seq, current - 1)
        self._proven = True

    def _skip(self, hole: Hole, base: int) -> None:
        """Stand behind the hole; say so, unless it lies before what is wanted."""
        self._offset, self._next = base + hole.resume, hole.lost_to + 1
        if hole.lost_to < self._seq or hole.lost_from <= hole.lost_to == self._seq:
            return
        self._seq, self._chain, self._proven = hole.lost_to, b"", True
        raise Damaged(segment_name(self._segment), base + hole.offset, hole.lost_from, hole.lost_to)

    def _passes(self, frame: Frame, base: int) -> bool:
        """Stand behind this frame. Compare where it holds the cursor; True if it is to be given."""
        self._offset, self._next = base + frame.end, frame.last_seq + 1
        if frame.first_seq <= self._seq <= frame.last_seq:
            if not frame.chain.startswith(self._chain):
                raise Diverged(self._seq, frame.last_seq)
            self._proven = True
            if frame.last_seq == self._seq:
                self._chain = frame.chain
        if frame.last_seq <= self._seq:
            return False
        self._seq, self._chain = frame.last_seq, frame.chain
        return True

    def _check_reached(self) -> None:
        """A cursor beyond the head saw what is not there any more."""
        if not self._proven and self._next <= self._seq:
            raise Diverged(self._seq, self._next - 1)
