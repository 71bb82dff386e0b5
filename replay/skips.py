"""Room: replay -- where in a segment a record stands, learnt by hopping from frame to frame.

Knows:     bus.segments.
Known by:  replay.opening.
Never:     verifies: who reads from the place that it tells does.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from circus.bus.segments import HEADER_BYTES, hop

MARK_EVERY: Final = 256  # frames


class Skips:
    """Every now and then a place is remembered, so that the next way there is short."""

    def __init__(self) -> None:
        self._marks: dict[int, list[tuple[int, int]]] = {}  # by segment: (seq, offset), ascending

    def begin(self, number: int, raw: bytes, after: int) -> tuple[int, int]:
        """Where the frame that holds `after` + 1 seems to begin, and its first record.

        If in doubt, where the first frame of the segment does.
        """
        marks = self._marks.setdefault(number, [(number, HEADER_BYTES)])
        seq, offset = marks[max(0, bisect_right(marks, (after + 1, 0)) - 1)]
        count = 0
        while seq <= after:
            found = hop(raw, offset)
            if found is None or found[0] != seq or found[1] <= seq:
                self._marks.pop(number)
                return HEADER_BYTES, number
            if found[1] > after + 1:
                break
            _, seq, offset = found
            count += 1
            if count % MARK_EVERY == 0 and seq > marks[-1][0]:
                marks.append((seq, offset))
        return offset, seq
