"""Room: replay -- what every actor knew at any record: forward by folding, back by checkpoints.

Knows:     replay.opening, arbiter.memory (the fold) and its bytes, bus.snapshots.
Known by:  state, diff, why not; circus.replay gives `History` to programs.
Never:     decides anything again: a fold believes what an older version wrote, too.

It begins with the newest snapshot that is of this very history and can be read, else with the
oldest record that there is. What it passes on the way it keeps now and then, as bytes: a step back
is a fold from there. Behind a hole it begins anew, as a core does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from circus.arbiter.memory import Memory
from circus.arbiter.memory_codec import CODE, decode, encode
from circus.bus import snapshots
from circus.bus.past import Unfoldable
from circus.bus.segments import Frame
from circus.replay.opening import FOREIGN, Opened, Trouble
from circus.replay.progress import Progress

KEEP_EVERY: Final = 5_000  # records: a step back folds no more than that
KEPT_BYTES_MAX: Final = 64 * 1024 * 1024

Over = Callable[[Iterable[Frame], Opened], Iterable[Frame]]


class CannotFold(Exception):
    """A record cannot be believed by this version, or none of it is there; the text says which."""


class _Kept(NamedTuple):
    seq: int
    chain: bytes
    body: bytes


class _Part(NamedTuple):
    """The beginning of a frame."""

    last_seq: int
    chain: bytes
    payload: bytes


class History:
    """The folds of one ledger. `at` is cheap where it has been before, or near a snapshot."""

    def __init__(self, opened: Opened, *, keep_every: int = KEEP_EVERY) -> None:
        self.opened = opened
        self._keep_every = keep_every
        self._kept: list[_Kept] = []  # by seq, ascending
        self._passed_over: set[int] = set()  # snapshots that cannot be used

    def at(self, seq: int) -> Memory:
        """The memory of everything up to `seq`, all yours; of the head, if `seq` is beyond it."""
        memory = self._nearest(seq)
        due = memory.seq + self._keep_every
        frames = self.opened.frames(memory.seq, seq)
        for frame in Progress("fold").over(frames, self.opened):
            if frame.first_seq > memory.seq + 1 and frame.last_seq > memory.seq:
                memory = Memory(frame.first_seq - 1)  # A hole: what was before is not believed.
            self._believe(memory, frame, seq)
            if memory.seq >= due:
                due = self._keep(memory)
        return memory

    def _believe(self, memory: Memory, frame: Frame, until: int) -> None:
        try:
            if frame.last_seq <= until:
                memory.believe(frame)
                return
            records = [one for one in self.opened.understood(frame) if one.seq <= until]
            memory.take(_Part(until, frame.chain, b""), records)
        except Unfoldable as error:
            raise CannotFold(str(error)) from error
        except FOREIGN as error:
            name = self.opened.segment_with(frame.first_seq)
            what = f"its payload is no records ({type(error).__name__}: {error})"
            self.opened.note(Trouble(name, frame.offset, frame.first_seq, frame.last_seq, what))
            raise CannotFold(f"cannot go on at record {frame.first_seq}: {what}") from error

    # --- where it begins --------------------------------------------------------------------------

    def _nearest(self, seq: int) -> Memory:
        at = bisect_right(self._kept, seq, key=lambda one: one.seq)
        kept = self._kept[at - 1] if at else None
        floor = kept.seq if kept is not None else 0
        found = self._snapshot(seq, floor)
        if found is not None:
            return found
        if kept is not None:
            return decode(kept.body, kept.chain)
        return Memory(self.opened.first_seq - 1)

    def _snapshot(self, seq: int, floor: int) -> Memory | None:
        """The newest one at or below `seq` and above `floor` that can be used."""
        opened = self.opened
        numbers = snapshots.snapshot_numbers(opened.disk.list_dir(opened.directory))
        for number in reversed(numbers):
            if floor < number <= seq and number not in self._passed_over:
                memory = self.restored(number)
                if memory is not None:
                    return memory
                self._passed_over.add(number)
        return None

    def restored(self, number: int) -> Memory | None:
        opened = self.opened
        snapshot = snapshots.read(opened.disk, opened.directory, number)
        if isinstance(snapshot, str) or snapshot.log_id != opened.log_id:
            return None
        trimmed = opened.first_seq > 1
        if snapshot.code != CODE and not trimmed:
            return None  # By names only where the records before it are gone, as a core does.
        if number >= opened.first_seq and snapshot.chain != _chain_at(opened, number):
            return None
        try:
            return decode(snapshot.body, snapshot.chain)
        except (*FOREIGN, AssertionError):
            return None

    # --- what it keeps ----------------------------------------------------------------------------

    def _keep(self, memory: Memory) -> int:
        """Remember this place, unless there is one near by; when the next one is due."""
        at = bisect_right(self._kept, memory.seq, key=lambda one: one.seq)
        neighbours = self._kept[max(0, at - 1) : at + 1]
        if all(abs(one.seq - memory.seq) >= self._keep_every for one in neighbours):
            self._kept.insert(at, _Kept(memory.seq, memory.chain, encode(memory)))
        if sum(len(one.body) for one in self._kept) > KEPT_BYTES_MAX:
            del self._kept[::2]
            self._keep_every *= 2
        return memory.seq + self._keep_every


def _chain_at(opened: Opened, seq: int) -> bytes | None:
    last = next(iter(opened.frames(seq - 1, seq)), None)
    return last.chain if last is not None and last.last_seq == seq else None


__all__ = ["CannotFold", "History"]
