"""Room: replay -- one time for pictures: wall time that never runs backwards within a boot.

Knows:     bus.events, bus.record.
Known by:  replay.pictures.timeline, perfetto and stats.
Never:     measures a duration by the wall clock, which may be set while a process runs.
"""

from __future__ import annotations

from circus.bus.events import CoreStarted
from circus.bus.record import Record


class Axis:
    """Where a record stands: its boot time, moved to where the wall clock was as the boot began
    to be recorded. Distances within a boot are true; between two boots the wall clock is asked.
    """

    def __init__(self) -> None:
        self.boots = 0  # so far
        self._boot_id = ""
        self._shift: int | None = None
        self._boot = 0  # of the newest record
        self._newest = 0

    def at(self, record: Record) -> int:
        """Nanoseconds since 1970. Records are to come in their order."""
        body = record.body
        if isinstance(body, CoreStarted):
            if self._boot_id not in {"", body.boot_id}:
                self._shift = None
            self._boot_id = body.boot_id
        if self._shift is None or record.boot < self._boot:
            self.boots += 1
            self._shift = max(record.at, self._newest) - record.boot
        self._boot = record.boot
        self._newest = record.boot + self._shift
        return self._newest


__all__ = ["Axis"]
