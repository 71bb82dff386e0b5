"""Who listens while the campaign strikes: a subscriber as any user has one, in a thread of its own.

It checks on the way that no number is missing and none comes twice, over every death of a core, and
is what the campaign waits for: no row asks again and again what it can be told.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import circus
from campaign.stage import Wrong
from circus.bus import events
from circus.bus.record import Record

DEADLINE_SECONDS: Final = 60.0


class Ear(threading.Thread):
    """Hears everything, in order; keeps what the campaign waits for."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(daemon=True)
        self.ready_at = 0  # boot ns at which the newest core was ready
        self.last_seq = 0
        self.counts: Counter[str] = Counter()  # by name, and by name and watcher
        self.alive: dict[int, tuple[str, int]] = {}  # by spawn_id: watcher and pid
        self._fault: str | None = None
        self._changed = threading.Condition()
        self._records = circus.subscribe(state_dir, after=0)

    def run(self) -> None:
        try:
            for record in self._records:
                with self._changed:
                    self._note(record)
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._fault = f"the subscriber ended with {error!r}"
                self._changed.notify_all()
            raise

    def _note(self, record: Record) -> None:
        if record.seq != self.last_seq + 1:
            self._fault = f"a subscriber heard {record.seq} after {self.last_seq}"
        self.last_seq = record.seq
        self.counts[record.name] += 1
        self.counts[f"{record.name} {record.watcher}"] += 1
        body = record.body
        if isinstance(body, events.CoreReady):
            self.ready_at = record.boot
        elif isinstance(body, events.ProcessSpawned):
            self.alive[record.spawn_id or 0] = (record.watcher or "", body.pid)
        elif isinstance(body, events.ProcessExited | events.ProcessLost):
            self.alive.pop(record.spawn_id or 0, None)

    def pids(self, watcher: str) -> list[int]:
        """Those that run, as far as has been heard."""
        with self._changed:
            return [pid for name, pid in self.alive.values() if name == watcher]

    def wait(
        self, true: Callable[[], object], text: str, seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Until something that is heard makes it true."""
        with self._changed:
            is_true = self._changed.wait_for(lambda: self._fault or true(), timeout=seconds)
        if self._fault:
            raise Wrong(self._fault)
        if not is_true:
            raise Wrong(f"{text} for {seconds:g} s")

    def wait_ready(self, after: int = 0, seconds: float = DEADLINE_SECONDS) -> int:
        """Until a core was ready later than this (boot ns); when it was."""
        self.wait(lambda: self.ready_at > after, "no core was ready", seconds)
        return self.ready_at

    def wait_for(self, name: str, watcher: str) -> None:
        """Until there was such a record."""
        self.wait(lambda: self.counts[f"{name} {watcher}"], f"no {name} of {watcher} was on record")

    def wait_more(self, name: str, count: int = 1, than: int | None = None) -> None:
        """Until there are so many more of them than there were (`than`), or are now."""
        wanted = count + (self.counts[name] if than is None else than)
        self.wait(lambda: self.counts[name] >= wanted, f"no {count} more {name} on record")
