"""Room: replay -- what has been read of a world's ledger: no frame is decoded, or folded, twice.

Knows:     arbiter.memory, bus.codec.
Known by:  replay.machine (keeps it); cores, subscribers and replay.checks.laws (read).
Never:     takes for known what has not the same bytes, or not the same history before it.

Each core that starts shows its ledger to those who check, and what it has found is compared with
the plain fold of all frames; subscribers read them too. Production decodes and folds them, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from circus.arbiter.memory import Memory
from circus.bus.codec import records_of
from circus.bus.record import Record
from circus.bus.segments import Frame

FRAMES_KEPT: Final = 50_000  # at least so many

Read = Callable[[bytes], Sequence[Record]]  # how a payload becomes records


class Readings:
    """The latest frames by their bytes, and the fold of them all."""

    def __init__(self) -> None:
        self._decoded: dict[bytes, tuple[Record, ...]] = {}
        self._whole = Memory()

    def records(self, payload: bytes) -> tuple[Record, ...]:
        """The records of a frame with this payload."""
        records = self._decoded.get(payload)
        if records is None:
            records = self._decoded[payload] = records_of(payload)
            if len(self._decoded) > 2 * FRAMES_KEPT:
                for old in list(self._decoded)[:FRAMES_KEPT]:
                    del self._decoded[old]
        return records

    def folded(self, frames: Sequence[Frame], after: int) -> Memory:
        """The fold of these frames, which are all that the ledger has behind `after`."""
        whole = self._whole
        goes_on = any(
            frame.last_seq == whole.seq and frame.chain == whole.chain for frame in frames
        )
        if not goes_on or whole.past.after != after:
            whole = self._whole = Memory(after)  # There was another history.
        for frame in frames:
            if frame.first_seq > whole.seq:
                whole.take(frame, self.records(frame.payload))
        return whole
