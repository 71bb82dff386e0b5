"""Room: bus -- where in which segment a sequence number stands: what a writer knows of its files.

Knows:     bus.segments.
Known by:  ledger, recovery.
Never:     opens a file; is written to disk (bus.index is what other processes seek by).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from circus.bus.segments import HEADER_BYTES, Frame, Hole, Item, hop, intact, segment_name
from circus.bus.shapes import entity, field

INDEX_STEP_BYTES: Final = 64 * 1024


@entity
class Segment:
    """What is known of one file. `end` and `next_seq`: behind the last valid frame."""

    first_seq: int
    previous_chain: bytes
    chain: bytes
    next_seq: int
    end: int = HEADER_BYTES
    seqs: list[int] = field(factory=list)
    offsets: list[int] = field(factory=list)
    holes: list[Hole] = field(factory=list)
    surveyed: bool = True

    @property
    def name(self) -> str:
        return segment_name(self.first_seq)

    def note(self, item: Item) -> None:
        """Learn one item of a scan."""
        if isinstance(item, Hole):
            self.holes.append(item)
            self.end, self.next_seq = max(item.resume, HEADER_BYTES), item.lost_to + 1
            self._mark(item.lost_to + 1, self.end)
        else:
            offset = item.offset
            if not self.offsets or offset - self.offsets[-1] >= INDEX_STEP_BYTES:
                self._mark(item.first_seq, offset)
            self.end, self.next_seq, self.chain = item.end, item.last_seq + 1, item.chain

    def extend(self, seq: int, offset: int, end: int, next_seq: int) -> None:
        """Frames from `seq` on stand from `offset` to `end`."""
        assert offset == self.end, "frames stand one behind another"
        if not self.offsets or offset - self.offsets[-1] >= INDEX_STEP_BYTES:
            self._mark(seq, offset)
        self.end, self.next_seq = end, next_seq

    def _mark(self, seq: int, offset: int) -> None:
        self.seqs.append(seq)
        self.offsets.append(offset)

    def before(self, seq: int) -> tuple[int, int]:
        """A frame at or before the one that holds `seq`: its first seq, and where it begins."""
        at = bisect_right(self.seqs, seq) - 1
        return (self.seqs[at], self.offsets[at]) if at >= 0 else (self.first_seq, HEADER_BYTES)

    def last_mark_within(self, low: int, high: int) -> int:
        """The last indexed frame start in low..high, or `low`."""
        at = bisect_right(self.offsets, high) - 1
        return max(low, self.offsets[at]) if at >= 0 else low

    def hole_with(self, seq: int) -> Hole | None:
        """The hole in which `seq` was lost."""
        return next((hole for hole in self.holes if hole.lost_from <= seq <= hole.lost_to), None)

    def limit(self, offset: int) -> int:
        """How far bytes from `offset` on are frames without a hole."""
        return next((hole.offset for hole in self.holes if hole.offset > offset), self.end)

    def forget_from(self, seq: int, end: int, chain: bytes) -> None:
        """The frames from `seq` on are void here: a later segment says them again."""
        keep = bisect_right(self.seqs, seq - 1)
        del self.seqs[keep:], self.offsets[keep:]
        self.end, self.next_seq, self.chain = end, seq, chain


def surveyed(first_seq: int, previous_chain: bytes, items: Iterator[Item]) -> Segment:
    """A segment from a scan of all its bytes."""
    segment = Segment(first_seq, previous_chain, previous_chain, first_seq)
    for item in items:
        segment.note(item)
    return segment


def segment_of(segments: list[Segment], seq: int) -> Segment | None:
    """The segment that holds `seq`: the newest that begins at or before it."""
    at = bisect_right(segments, seq, key=_first_seq) - 1
    return segments[at] if at >= 0 else None


def _first_seq(segment: Segment) -> int:
    return segment.first_seq


def frame_with(raw: bytes, seq: int) -> Frame | None:
    """The frame that holds `seq`, by hopping from frame to frame from the start of `raw`.

    Only the one that is wanted is verified: whoever asks for it does not ask for those before it.
    """
    offset = 0
    while (found := hop(raw, offset)) is not None:
        first_seq, next_seq, end = found
        if next_seq > seq:
            return intact(raw, offset) if first_seq <= seq else None
        offset = end
    return None


def contiguous(raw: bytes, seq: int, until: int) -> int:
    """How far the frames from the start of `raw` follow one another from `seq` on, by hopping;
    those from `until` on are a later segment's."""
    offset = 0
    while (found := hop(raw, offset)) is not None:
        first_seq, next_seq, end = found
        if first_seq != seq or next_seq > until or end > len(raw):
            break
        seq, offset = next_seq, end
    return offset


def last_whole(raw: bytes, offset: int, bytes_max: int) -> Frame | None:
    """The last frame from `offset` on that ends within `bytes_max`."""
    last: Frame | None = None
    while (frame := intact(raw, offset)) is not None and frame.end <= bytes_max:
        last, offset = frame, frame.end
    return last
