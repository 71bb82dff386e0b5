"""Room: bus -- the ledger: one frame per decision, written before anything is done.

Knows:     bus.segments, bus.files, bus.writer, bus.recovery, bus.disk, bus.space.
Known by:  switchboard (appends), gateway (reads raw), the composition root (opens, closes).
Never:     decodes a payload, stops supervision because a disk is full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from circus.bus.cursor_errors import Damaged
from circus.bus.disk import Disk
from circus.bus.files import (
    CHAIN8_BYTES,
    Files,
    RawFrames,
    chain8_at,
    drop_newest,
    items,
    read_raw,
)
from circus.bus.recovery import Recovered, recover, set_aside
from circus.bus.segments import CHAIN_BYTES, CHAIN_START, Frame, Item, SegmentHeader, encode_frame
from circus.bus.space import Space
from circus.bus.syncer import Syncing
from circus.bus.unsynced import Batch, Gap
from circus.bus.values import NS_PER_SECOND, Cursor, Moment
from circus.bus.writer import Writer

SEGMENT_BYTES_MAX: Final = 16 * 1024 * 1024
RETRY_NS: Final = 10 * NS_PER_SECOND
LOCK_NAME: Final = "lock"
DIED_DEGRADED: Final = "the core before died while the disk refused its records"


class StorageFailed(Exception):
    """The ledger cannot be opened: there is nowhere to write to."""


class Ledger:
    """The one writer of one ledger. Nothing here waits for a disk, except a cut of the segment."""

    def __init__(self, files: Files, log_id: bytes, recovered: Recovered, bytes_max: int) -> None:
        self.log_id = log_id
        self.recovered = recovered
        self.head = 0
        self.chain = CHAIN_START
        self._files = files
        self._writer = Writer(files, log_id, bytes_max)
        self.space = Space(files, bytes_max)

    @classmethod
    def open(
        cls, directory: str, disk: Disk, *, log_id: bytes, now: Moment,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> Ledger:  # fmt: skip
        """Lock, recover, and be ready to append. `log_id` names the ledger if it is a new one."""
        assert len(log_id) == CHAIN_BYTES, "a log_id has 16 bytes"
        try:
            disk.make_dir(directory)
            files = Files(disk, directory, disk.lock(f"{directory}/{LOCK_NAME}"))
        except OSError as error:
            raise StorageFailed(f"cannot open the ledger in {directory}: {error}") from error
        try:
            return _opened(files, log_id, now, segment_bytes_max)
        except OSError as error:
            files.release()
            raise StorageFailed(f"cannot open the ledger in {directory}: {error}") from error
        except BaseException:
            files.release()
            raise

    @property
    def first_retained(self) -> int:
        """The oldest seq that can be read; head + 1 if there is none."""
        return self._files.segments[0].first_seq if self._files.segments else self.head + 1

    @property
    def degraded(self) -> bool:
        """True while frames are kept in memory only; `trouble` says why."""
        return bool(self._writer.memory.reason)

    @property
    def full(self) -> bool:
        """It is degraded because there is no space, not because the disk is broken."""
        return self._writer.memory.full

    @property
    def trouble(self) -> str:
        """Why the ledger is degraded; "" while all is well."""
        return self._writer.memory.reason

    def adopt(self, frames: bytes, now: Moment) -> bool:
        """Make safe what an earlier process wrote; False if its newest file is out of use."""
        return self._writer.adopt(frames, now)

    def degrade(self, error: OSError) -> None:
        """Keep frames in memory from now on, until `retry` works."""
        self._writer.memory.reason = str(error)

    def skip(self, given: int, now: Moment) -> None:
        """No record gets a number up to `given`: the keeper has been given those (ADR-0095).

        Where the files end before it, a core had the rest in memory only, and died with it.
        """
        if given <= self.head:
            return
        lost_from, self.head = self.head + 1, given
        self.recovered = self.recovered._replace(gap=Gap(DIED_DEGRADED, 0, lost_from, given))
        if self.degraded:
            return
        try:
            self._files.create(
                SegmentHeader(self.log_id, given + 1, now.wall, self.chain), now.boot
            )
        except OSError as error:
            self.degrade(error)

    def cursor(self) -> Cursor:
        """The end of the ledger."""
        return Cursor(self.log_id, self.head, self.chain[:CHAIN8_BYTES])

    def attach(self, syncer: Syncing) -> None:
        """From now on `syncer` is told of every file and append, and decides when to sync."""
        self._writer.attach(syncer, self.head)

    def append(self, frames: Sequence[tuple[int, bytes]], now: Moment) -> list[bytes]:
        """Write decisions, each as (count of records, payload), with one write.

        The chain digest at the end of each frame, for those who publish it.

        It never raises for the disk's sake: see `degraded`.
        """
        assert frames, "an append says something"
        seq, chain, parts, chains = self.head + 1, self.chain, [], []
        for count, payload in frames:
            raw, chain = encode_frame(count, payload, seq=seq, chain=chain)
            parts.append(raw)
            chains.append(chain)
            seq += count
        batch = Batch(self.head + 1, seq, len(parts), b"".join(parts), self.chain)
        self.head, self.chain = seq - 1, chain
        self._writer.append(batch, now)
        return chains

    def cut(self, now: Moment) -> None:
        """Seal the newest segment, as before a snapshot."""
        if not self.degraded:
            self._writer.cut(self.head, self.chain, now)

    def sync(self, now: Moment) -> bool:
        """Wait until everything is on the platter; False if the ledger is degraded."""
        if not self.degraded:
            self._writer.sync(now)
        return not self.degraded

    def settle(self, now: Moment) -> int:
        """The syncer's descriptor is readable: the seq that is synced. Failures are handled."""
        writer = self._writer
        assert writer.syncer is not None, "settle is for a ledger with a syncer"
        error = writer.syncer.take()
        if error is not None and not self.degraded:
            writer.poisoned(error, now)
        return writer.syncer.synced

    def retry(self, now: Moment) -> Gap | None:
        """Try a new file, every RETRY_NS while degraded. The gap to tell once it works."""
        assert self.degraded, "retry is for a degraded ledger"
        return self._writer.retry(now)

    def items(self, after: int = 0) -> Iterator[Item]:
        """Every frame with a seq above `after`, verified, and every hole on the way as a value."""
        return items(self._files, self.log_id, after)

    def frames(self, after: int = 0) -> Iterator[Frame]:
        """Every frame with a seq above `after`; Damaged at a hole, go on after its `lost_to`."""
        for item in self.items(after):
            if isinstance(item, Frame):
                yield item
            elif item.lost_to > after:
                name = self._files.name_with(item.lost_from)
                raise Damaged(name, item.offset, item.lost_from, item.lost_to)

    def read_raw(self, after: int, bytes_max: int) -> RawFrames:
        """Whole frames as in the file, the first being the one that holds `after` + 1."""
        return read_raw(self._files, self.log_id, after, bytes_max)

    def chain8_at(self, seq: int) -> bytes | None:
        """The chain at the end of the frame that holds `seq`, as cursors have it."""
        if seq == self.head:
            return self.chain[:CHAIN8_BYTES]
        known = self._writer.memory.chain_at(seq) if self.degraded else None
        return known[:CHAIN8_BYTES] if known else chain8_at(self._files, self.log_id, seq)

    def close(self) -> None:
        """Sync what can be synced and give up the lock."""
        try:
            if not self.degraded:
                self._writer.flush()
                self._files.give_back()
        finally:
            self._files.release()


def _opened(files: Files, log_id: bytes, now: Moment, bytes_max: int) -> Ledger:
    found = recover(files.disk, files.directory)
    ledger = Ledger(files, found.log_id or log_id, found.recovered, bytes_max)
    files.segments = found.segments
    if found.segments:
        newest = found.segments[-1]
        ledger.head, ledger.chain = newest.next_seq - 1, newest.chain
        # The age of the segment is wall time here, once: boot time may be of another boot.
        files.opened_boot = now.boot - max(0, now.wall - found.created)
        if not found.usable and newest.next_seq == newest.first_seq:
            set_aside(files.disk, files.directory, newest.name)
            drop_newest(files, ledger.log_id)
        elif not ledger.adopt(found.frames, now) or found.usable:
            return ledger
    header = SegmentHeader(ledger.log_id, ledger.head + 1, now.wall, ledger.chain)
    try:
        files.create(header, now.boot)
    except OSError as error:
        # The directory and its lock are there: a full disk is no reason not to supervise.
        ledger.degrade(error)
    return ledger
