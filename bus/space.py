"""Room: bus -- room on the disk: the next segment is reserved, the oldest ones are taken away.

Knows:     bus.files, bus.snapshots, bus.disk.
Known by:  ledger (has one), the arbiter's upkeep (asks, records, then lets it act).
Never:     takes away what the newest snapshot needs; acts before that is on record, unless the disk
           takes no record any more.

Sealed segments are kept for seven days and up to 1 GiB, whichever is over first (RELIABILITY.md,
2.4), but never beyond the oldest snapshot that can be used; where there is no room for the next
segment the newest snapshot is the limit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from circus.bus.files import Files, opening_of
from circus.bus.places import Segment
from circus.bus.snapshots import read, snapshot_numbers
from circus.bus.values import NS_PER_SECOND

BYTES_KEPT_MAX: Final = 1024 * 1024 * 1024
AGE_NS_KEPT_MAX: Final = 7 * 24 * 3600 * NS_PER_SECOND


class Kept(NamedTuple):
    """How much of the past is wanted."""

    bytes: int = BYTES_KEPT_MAX
    age_ns: int = AGE_NS_KEPT_MAX


class Surplus(NamedTuple):
    """All records before `first_seq`: so many segments, so many bytes."""

    first_seq: int
    segments: int
    bytes: int


class Space:
    """Asked whether something is due after each wake-up, which costs two comparisons."""

    __slots__ = ("_bytes_max", "_files", "_looked", "_provided", "kept")

    def __init__(self, files: Files, bytes_max: int) -> None:
        self.kept = Kept()
        self._files = files
        self._bytes_max = bytes_max
        self._looked = 0  # how many segments there were at the last look
        self._provided: Segment | None = None  # the segment whose successor has been seen to

    def is_due(self) -> bool:
        """A segment was sealed, or the newest is half full and its successor has no room yet."""
        segments = self._files.segments
        if len(segments) != self._looked:
            if self._looked:
                return True
            self._looked = len(segments)  # A start has more urgent things to do.
        if not segments or segments[-1].end * 2 < self._bytes_max:
            return False
        return segments[-1] is not self._provided

    def look(self, wall: int) -> tuple[Surplus | None, str]:
        """See to what is due: what may be taken away, and why there is no room ("": there is)."""
        segments = self._files.segments
        self._looked = len(segments)
        trouble = ""
        if segments and segments[-1].end * 2 >= self._bytes_max:
            self._provided = segments[-1]
            trouble = self.provide()
        if trouble:
            return self.pressed(), trouble
        try:
            return self._surplus(wall), ""
        except OSError:
            return None, ""  # What cannot be looked at is kept until the next look.

    def provide(self) -> str:
        """Reserve room for the next segment; why that cannot be, or ""."""
        try:
            self._files.provide(self._bytes_max)
        except OSError as error:
            return str(error)
        return ""

    def pressed(self) -> Surplus | None:
        """What may go at most: all that the newest snapshot makes unnecessary."""
        try:
            needed = max(self._snapshots(), default=0)
            return self._before(needed, len(self._files.segments))
        except OSError:
            return None  # As above.

    def take_away(self, surplus: Surplus) -> None:
        """Oldest first. What cannot be taken away is tried again after the next seal."""
        files = self._files
        try:
            while len(files.segments) > 1 and files.segments[1].first_seq <= surplus.first_seq:
                files.drop_oldest()
            files.disk.sync_dir(files.directory)
        except OSError:
            self._looked = len(files.segments)  # A name that stays is history that is kept longer.
        else:
            self._looked = len(files.segments)

    def _surplus(self, wall: int) -> Surplus | None:
        """What is neither wanted nor needed."""
        needed = min(self._snapshots(), default=0)
        return self._before(needed, self._unwanted(wall)) if needed else None

    def _unwanted(self, wall: int) -> int:
        """How many of the oldest segments are beyond what is kept."""
        segments, count = self._files.segments, 0
        total = sum(self._files.size(segment) for segment in segments)
        for segment, successor in pairwise(segments):
            sealed = opening_of(self._files, successor)
            old = sealed is not None and wall - sealed > self.kept.age_ns
            if not old and total <= self.kept.bytes:
                break
            total -= self._files.size(segment)
            count += 1
        return count

    def _before(self, needed: int, most: int) -> Surplus | None:
        """The oldest segments, `most` at most, whose records are all at or before `needed`."""
        segments = self._files.segments
        count = 0
        while count < min(most, len(segments) - 1) and segments[count + 1].first_seq - 1 <= needed:
            count += 1
        if not count:
            return None
        size = sum(self._files.size(segment) for segment in segments[:count])
        return Surplus(segments[count].first_seq, count, size)

    def _snapshots(self) -> list[int]:
        """The seqs of those that can be used: one that cannot be read replaces no history."""
        files = self._files
        if not files.segments:
            return []
        names = files.disk.list_dir(files.directory)
        head = files.segments[-1].next_seq - 1
        found = (read(files.disk, files.directory, seq) for seq in snapshot_numbers(names))
        return [one.seq for one in found if not isinstance(one, str) and one.seq <= head]
