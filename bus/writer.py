"""Room: bus -- the ladder of failures under the ledger (RELIABILITY.md 2.4, ADR-0011).

Knows:     bus.files, bus.unsynced, bus.syncer (its protocol).
Known by:  ledger.
Never:     syncs a file again whose sync failed, reads back from it, loses a frame in silence.

A failed write or sync poisons the file: what is not known to be on the platter is said again, from
memory, in a new segment, which makes the old file's rest void. If that fails too, or the disk is
full, the ledger is degraded: frames stay in a ring in memory until `retry` can write them.
"""

from __future__ import annotations

import errno
from typing import Final

from circus.bus.files import Files
from circus.bus.segments import SegmentHeader
from circus.bus.syncer import Syncing
from circus.bus.unsynced import Batch, Gap, Memory
from circus.bus.values import NS_PER_SECOND, Moment

SEGMENT_AGE_NS_MAX: Final = 24 * 3600 * NS_PER_SECOND
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Writer:
    """Puts batches into files, or keeps them."""

    def __init__(self, files: Files, log_id: bytes, bytes_max: int) -> None:
        self.files = files
        self.memory = Memory()
        self.syncer: Syncing | None = None
        self._log_id = log_id
        self._bytes_max = bytes_max

    def adopt(self, frames: bytes, now: Moment) -> bool:
        """Make safe what an earlier process wrote into the newest file, and the file's name.

        False: that file is out of use; the ledger goes on in another one, or in memory.
        """
        files = self.files
        newest = files.segments[-1]
        if frames:
            chain = newest.previous_chain
            self.memory.keep(Batch(newest.first_seq, newest.next_seq, 1, frames, chain))
        try:
            files.handle = files.disk.open_to_append(files.path(newest))
            files.disk.sync_dir(files.directory)
            files.disk.sync(files.handle)
        except OSError as error:
            self.poisoned(error, now)
            return False
        self.memory.synced(newest.next_seq - 1)
        return True

    def attach(self, syncer: Syncing, head: int) -> None:
        """What is written is synced here, once; the rest is the syncer's."""
        if self.memory.reason:
            self.syncer = syncer  # It gets a file when `retry` has one.
            return
        if self.memory.batches:
            self.flush()
        self.syncer = syncer
        syncer.follow(self.files.handle, head)

    def append(self, batch: Batch, now: Moment) -> None:
        """One write. After a failure the batch is in a new file or in the ring."""
        memory, files = self.memory, self.files
        if self.syncer is not None:
            memory.synced(self.syncer.synced)
        memory.keep(batch)
        if memory.reason:
            return
        try:
            if self._is_due(len(batch.data), now):
                self._cut(batch.first_seq, batch.chain_before, now)
            segment = files.segments[-1]
            files.write(batch.data)
        except OSError as error:
            self._fail(error, now)
            return
        end = segment.end
        segment.extend(batch.first_seq, end, end + len(batch.data), batch.next_seq)
        if self.syncer is not None:
            self.syncer.note(batch.next_seq - 1, len(batch.data))

    def cut(self, head: int, chain: bytes, now: Moment) -> None:
        """Seal the newest segment if anything stands in it."""
        newest = self.files.segments[-1]
        if newest.next_seq == newest.first_seq:
            return
        try:
            self._cut(head + 1, chain, now)
        except OSError as error:
            # The new segment may have its name already: what came behind it would not count.
            self.poisoned(error, now)

    def sync(self, now: Moment) -> None:
        """Wait until all is on the platter; a failure goes down the ladder."""
        if not self.memory.batches:
            return
        try:
            self.flush()
        except OSError as error:
            self.poisoned(error, now)

    def flush(self) -> None:
        """Wait until all is on the platter, or raise: the file is poisoned then."""
        if self.syncer is None:
            self.files.disk.sync(self.files.handle)
        elif (error := self.syncer.flush()) is not None:
            raise error
        if self.files.segments:
            self.memory.synced(self.files.segments[-1].next_seq - 1)

    def poisoned(self, error: OSError, now: Moment) -> None:
        """Say what the platter may lack again in a new file; if that fails, keep it."""
        memory = self.memory
        if not memory.batches:
            memory.reason = str(error)
            return
        try:
            self._say_again(now)
        except OSError as second:
            memory.distrusted = memory.batches[0].first_seq
            memory.reason = f"{error}, then {second}"

    def retry(self, now: Moment) -> Gap | None:
        """Degraded: try a new file. The gap to tell, once it works."""
        memory = self.memory
        if not memory.batches:
            return None
        lost_from = self.files.segments[-1].next_seq if self.files.segments else 1
        try:
            self._say_again(now)
        except OSError as error:
            memory.reason = str(error)
            return None
        return memory.gap(lost_from)

    def _is_due(self, size: int, now: Moment) -> bool:
        segment = self.files.segments[-1]
        return segment.next_seq > segment.first_seq and (
            segment.end + size > self._bytes_max
            or now.boot - self.files.opened_boot >= SEGMENT_AGE_NS_MAX
        )

    def _cut(self, seq: int, chain: bytes, now: Moment) -> None:
        """Sealed means synced: only the newest segment can be torn."""
        self.flush()
        self.files.disk.truncate(self.files.handle, self.files.segments[-1].end)
        self.files.create(SegmentHeader(self._log_id, seq, now.wall, chain), now.boot)
        if self.syncer is not None:
            self.syncer.follow(self.files.handle, seq - 1)

    def _fail(self, error: OSError, now: Moment) -> None:
        """A full disk is not a broken one: what is written stays, the rest waits in the ring."""
        if error.errno not in _FULL:
            self.poisoned(error, now)
            return
        try:
            self.flush()
        except OSError as second:
            self.poisoned(second, now)
        else:
            self.memory.reason, self.memory.full = str(error), True

    def _say_again(self, now: Moment) -> None:
        """A new segment from the oldest batch in memory on; the old file's rest is void."""
        first = self.memory.batches[0]
        header = SegmentHeader(self._log_id, first.first_seq, now.wall, first.chain_before)
        self.files.create(header, now.boot, self.memory.batches)
        synced = self.files.segments[-1].next_seq - 1
        self.memory.synced(synced)
        if self.syncer is not None:
            self.syncer.follow(self.files.handle, synced)
