"""Room: replay -- group sync without a thread: what is noted is safe a while later, or never.

Knows:     bus.syncer (the Protocol and its delay), replay.sim.disk, replay.sim.agenda.
Known by:  replay.sim.incarnation.
Never:     syncs a file again whose sync failed; outlives its core.

The real one's thread is a happening here: a sync begins, takes its time, and ends; then the core
is woken if it waited for that, or if the sync failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from circus.bus.syncer import SYNC_BYTES
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.disk import SimDisk, finish_sync
from circus.replay.sim.platter import File

SYNC_DELAY_NS: Final = 100_000_000
SYNC_NS_MAX: Final = 4_000_000  # RELIABILITY.md, 2.2: p99


class SimSyncer:
    """Implements bus.syncer.Syncing; `wake` is called where the real one's descriptor would."""

    def __init__(
        self, agenda: Agenda, disk: SimDisk, wake: Callable[[], None] | None = None
    ) -> None:
        self.synced = 0
        self._agenda = agenda
        self._disk = disk
        self._wake = wake
        self._handle = -1
        self._noted = 0
        self._bytes = 0
        self._wanted = 0
        self._error: OSError | None = None
        self._run: _Run | None = None  # the sync that is due or under way

    def follow(self, handle: int, synced: int) -> None:
        """From now on sync this file; what is still under way is of no interest."""
        self._run = None
        self._handle, self._error = handle, None
        self._noted, self._bytes = synced, 0
        self._advance(synced)

    def note(self, seq: int, size: int) -> None:
        self._noted = seq
        self._bytes += size

    def nudge(self) -> None:
        if not self._bytes:
            return
        run = self._run
        if run is None:
            self._begin_in(0 if self._bytes >= SYNC_BYTES else SYNC_DELAY_NS)
        elif self._bytes >= SYNC_BYTES and run.is_late(self._agenda.boot):
            self._begin_in(0)

    def want(self, seq: int) -> None:
        if seq <= self.synced:
            self._tell()
            return
        self._wanted = max(self._wanted, seq)
        if self._run is None or self._run.is_late(self._agenda.boot):
            self._begin_in(0)

    def flush(self) -> OSError | None:
        """The core waits for the thread: time passes, and it may be its last wait."""
        self._agenda.touch("disk.flush")
        while self._bytes and self._error is None:
            run = self._run
            if run is None or run.file is None:
                run = self._started()
            self._agenda.pause(run.left(self._agenda.boot))
            self._finish(run)
        return self._error

    def fileno(self) -> int:
        return -1

    def take(self) -> OSError | None:
        return self._error

    def close(self) -> None:
        """The thread ends; what it was syncing is synced."""
        run = self._run
        if run is not None and run.file is not None:
            self._finish(run)
        self._run = None

    def _begin_in(self, delay: int) -> None:
        run = self._run = _Run()
        run.due = self._agenda.boot + delay
        self._agenda.later(delay, lambda: self._begin(run))

    def _begin(self, run: _Run) -> None:
        if run is self._run and self._error is None and self._disk.file(self._handle) is not None:
            started = self._started()
            self._agenda.later(started.left(self._agenda.boot), lambda: self._end(started))

    def _started(self) -> _Run:
        run = self._run = _Run()
        file, trouble, agenda = self._disk.file(self._handle), self._disk.trouble, self._agenda
        assert file is not None, "the ledger closes a file only after the syncer has left it"
        run.file, run.upto = file, file.touched
        run.seq, run.bytes = self._noted, self._bytes
        run.due = agenda.boot + agenda.chance.randrange(SYNC_NS_MAX)
        if trouble is not None:
            run.error = trouble.sync_error()
            run.due += trouble.sync_time()
        return run

    def _end(self, run: _Run) -> None:
        if run is self._run:
            self._finish(run)
            if self._bytes and self._error is None:
                self._begin_in(0 if self._wanted else SYNC_DELAY_NS)

    def _finish(self, run: _Run) -> None:
        assert run.file is not None, "it has begun"
        self._run = None
        finish_sync(run.file, run.upto, run.error)
        if run.error is not None:
            self._error = run.error
            self._tell()
            return
        self._bytes -= run.bytes
        self._advance(run.seq)

    def _advance(self, seq: int) -> None:
        waited = self.synced < self._wanted
        self.synced = seq
        if seq >= self._wanted:
            self._wanted = 0
        if waited:
            self._tell()

    def _tell(self) -> None:
        if self._wake is not None:
            self._agenda.later(0, self._wake)


class _Run:
    """One sync: due (`file` is None yet) or under way."""

    __slots__ = ("bytes", "due", "error", "file", "seq", "upto")

    def __init__(self) -> None:
        self.file: File | None = None
        self.upto = 0
        self.seq = 0
        self.bytes = 0
        self.due = 0
        self.error: OSError | None = None

    def is_late(self, boot: int) -> bool:
        """It is to begin later than now."""
        return self.file is None and self.due > boot

    def left(self, boot: int) -> int:
        """How long it will still take."""
        return max(0, self.due - boot)
