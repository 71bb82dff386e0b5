"""Room: bus -- what the platter may not have: kept in memory, to be said again if the disk fails.

Knows:     bus.segments (how frames follow one another).
Known by:  writer, ledger.
Never:     touches a file.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from circus.bus.segments import hop, intact

UNSYNCED_BYTES_MAX: Final = 1024 * 1024  # four times as far as the syncer may fall behind
RING_FRAMES_MAX: Final = 10_000
RING_BYTES_MAX: Final = 16 * 1024 * 1024


class Gap(NamedTuple):
    """Records lost_from..lost_to, made by `frames` decisions (0: nobody knows), are nowhere.

    Nothing is lost where `lost_to` is 0.
    """

    reason: str
    frames: int
    lost_from: int
    lost_to: int


class Batch(NamedTuple):
    """One append, kept until it is known to be on the platter."""

    first_seq: int
    next_seq: int
    frames: int
    data: bytes
    chain_before: bytes


class Memory:
    """The batches that a platter may not have, oldest first, and what had to be dropped."""

    __slots__ = ("batches", "bytes", "distrusted", "dropped", "frames", "full", "lost", "reason")

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque()
        self.bytes = 0
        self.frames = 0
        self.reason = ""  # why the ledger is degraded; "" if it is not
        self.full = False  # the disk refuses because it is full
        self.distrusted = 0  # from this record on the newest file is poisoned; 0: it is not
        self.dropped = 0  # frames that a degraded ledger lost
        self.lost = (0, 0)

    def keep(self, batch: Batch) -> None:
        """While all is well 1 MiB is enough; a degraded ledger keeps its whole ring."""
        self.batches.append(batch)
        self.bytes += len(batch.data)
        self.frames += batch.frames
        bytes_max = RING_BYTES_MAX if self.reason else UNSYNCED_BYTES_MAX
        while len(self.batches) > 1 and (self.bytes > bytes_max or self.frames > RING_FRAMES_MAX):
            self._drop()

    def _drop(self) -> None:
        batch = self._pop()
        if self.reason:
            self.dropped += batch.frames
            self.lost = (self.lost[0] or batch.first_seq, batch.next_seq - 1)

    def synced(self, seq: int) -> None:
        """Forget what is on the platter."""
        while self.batches and self.batches[0].next_seq <= seq + 1:
            self._pop()

    def chain_at(self, seq: int) -> bytes | None:
        """The digest at the end of the frame that holds `seq`; None: it is not here."""
        among = reversed(self.batches)  # who asks is near the end, mostly
        batch = next((one for one in among if one.first_seq <= seq < one.next_seq), None)
        if batch is None:
            return None
        offset = 0
        while (found := hop(batch.data, offset)) is not None and found[1] <= seq:
            offset = found[2]
        frame = intact(batch.data, offset)
        return None if frame is None else frame.chain

    def _pop(self) -> Batch:
        batch = self.batches.popleft()
        self.bytes -= len(batch.data)
        self.frames -= batch.frames
        return batch

    def gap(self, lost_from: int) -> Gap:
        """What to tell when the disk works again; afterwards all is well.

        The files go up to `lost_from`: what stands there is not lost, even if it was dropped here,
        but for what stands in a poisoned file.
        """
        lost_from = min(lost_from, self.distrusted or lost_from)
        lost = (max(lost_from, self.lost[0]), self.lost[1]) if self.dropped else (0, 0)
        gap = Gap(self.reason, self.dropped, *lost)
        self.reason, self.distrusted, self.dropped, self.lost = "", 0, 0, (0, 0)
        self.full = False
        return gap
