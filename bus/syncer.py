"""Room: bus -- group sync: a thread that keeps the platter at most 100 ms or 256 KiB behind.

Knows:     nothing.
Known by:  ledger (tells it of files and appends), the composition root, the simulator's twin.
Never:     syncs a file again whose sync failed; wakes up while there is nothing to sync.

The thread waits on a condition without a timeout while all is synced, so an idle ledger costs
nothing. It is started by the first append. It works on its own duplicate of the descriptor, so
that the ledger may close a file while a sync of it is running.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

SYNC_DELAY_SECONDS: Final = 0.1
SYNC_BYTES: Final = 256 * 1024


class Syncing(Protocol):
    """When appended frames reach the platter; owned by the ledger's owner."""

    @property
    def synced(self) -> int: ...
    def follow(self, handle: int, synced: int) -> None: ...
    def note(self, seq: int, size: int) -> None: ...
    def nudge(self) -> None: ...
    def want(self, seq: int) -> None: ...
    def flush(self) -> OSError | None: ...
    def fileno(self) -> int: ...
    def take(self) -> OSError | None: ...
    def close(self) -> None: ...


class GroupSyncer:
    """The real one. All its fields belong to the condition's lock, except `synced` for reading."""

    def __init__(
        self, sync: Callable[[int], None] = os.fdatasync, delay: float = SYNC_DELAY_SECONDS
    ) -> None:
        self.synced = 0
        self._sync = sync
        self._delay = delay
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._file = -1
        self._backlog = _Backlog()
        self._error: OSError | None = None

    def fileno(self) -> int:
        """Readable when a wanted seq is synced, or when a sync failed: then `take`."""
        return self._ready

    def follow(self, handle: int, synced: int) -> None:
        """From now on sync this file; everything up to `synced` is on the platter already."""
        duplicate = os.dup(handle)
        with self._changed:
            old, self._file = self._file, duplicate
            self._backlog.start(synced)
            self._error = None
            self._advance(synced)
            self._changed.notify_all()
        if old >= 0:
            os.close(old)

    def note(self, seq: int, size: int) -> None:
        """`size` bytes, up to record `seq`, have been appended to the file.

        It wakes nobody: a thread that wakes up now would take the interpreter from a reaction that
        is half way to a worker. `nudge` does, when the owner has done what was urgent.
        """
        backlog = self._backlog
        with self._lock:
            if backlog.bytes == 0:
                backlog.since = time.monotonic()
                backlog.nudged = False
            backlog.seq = seq
            backlog.bytes += size

    def nudge(self) -> None:
        """Have what was noted synced in time; cheap when nothing was."""
        backlog = self._backlog
        if backlog.bytes == 0 or (backlog.nudged and backlog.bytes < SYNC_BYTES):
            return
        backlog.nudged = True
        self._wake()

    def want(self, seq: int) -> None:
        """Somebody waits for `seq`: sync at once, then make the descriptor readable."""
        with self._changed:
            if seq <= self.synced:
                self._backlog.ring(self._ready)
                return
            self._backlog.wanted = max(self._backlog.wanted, seq)
        self._wake()

    def flush(self) -> OSError | None:
        """Wait until everything noted is synced; the error if that cannot be."""
        with self._changed:
            self._backlog.wanted = max(self._backlog.wanted, self._backlog.seq)
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._backlog.seq <= self.synced)
            return self._error

    def take(self) -> OSError | None:
        """Clear the descriptor. An error is given until `follow` names a new file."""
        with self._lock:
            if self._backlog.rung:  # The owner may ask at any time, and does at every wake-up.
                self._backlog.rung = False
                os.eventfd_read(self._ready)
            return self._error

    def close(self) -> None:
        """End the thread; what it was syncing is synced."""
        with self._changed:
            self._backlog.closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._file >= 0:
            os.close(self._file)
        os.close(self._ready)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="syncer", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait_due():
            with self._changed:
                backlog = self._backlog
                seq, size, generation = backlog.seq, backlog.bytes, backlog.generation
                file = self._duplicate()
            error: OSError | None = None
            try:
                self._sync(file)
            except OSError as failure:
                error = failure
            if file >= 0:
                os.close(file)
            self._finish(generation, seq, size, error)

    def _duplicate(self) -> int:
        """`follow` may close the file meanwhile. -1 (no descriptors left) fails as a sync does."""
        try:
            return os.dup(self._file)
        except OSError:
            return -1

    def _wait_due(self) -> bool:
        """Wait for something to sync; False at the end."""
        with self._changed:
            while not self._backlog.closing:
                left = self._backlog.seconds_left(self._delay, self.synced)
                if left is not None and left <= 0 and self._error is None:
                    return True
                self._changed.wait(left if self._error is None else None)
            return False

    def _finish(self, generation: int, seq: int, size: int, error: OSError | None) -> None:
        with self._changed:
            if generation != self._backlog.generation:
                return  # The ledger has said these frames again elsewhere, and synced them there.
            if error is not None:
                self._error = error
                self._backlog.ring(self._ready)
            else:
                self._backlog.bytes -= size
                self._backlog.since = time.monotonic()
                self._advance(seq)
            self._changed.notify_all()

    def _advance(self, seq: int) -> None:
        wanted = self._backlog.wanted
        if self.synced < wanted:
            if seq >= wanted:
                self._backlog.wanted = 0
            self._backlog.ring(self._ready)
        self.synced = seq


class _Backlog:
    """What is appended and not yet synced."""

    __slots__ = ("bytes", "closing", "generation", "nudged", "rung", "seq", "since", "wanted")

    def __init__(self) -> None:
        self.seq = 0
        self.bytes = 0
        self.since = 0.0
        self.wanted = 0
        self.generation = 0
        self.closing = False
        self.nudged = False  # the thread knows that there is something
        self.rung = False  # the owner's descriptor is readable

    def start(self, seq: int) -> None:
        self.seq, self.bytes = seq, 0
        self.generation += 1

    def ring(self, descriptor: int) -> None:
        """Let the owner look."""
        self.rung = True
        os.eventfd_write(descriptor, 1)

    def seconds_left(self, delay: float, synced: int) -> float | None:
        """Until the next sync is due; None while there is nothing to sync."""
        if self.bytes == 0:
            return None
        if self.bytes >= SYNC_BYTES or self.wanted > synced:
            return 0.0
        return self.since + delay - time.monotonic()
