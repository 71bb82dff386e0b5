"""Room: arbiter -- back to where the ledger ends: from the newest snapshot, then by frames.

Knows:     bus.snapshots (files), arbiter.memory and its bytes, the ledger's read sides.
Known by:  the composition roots and the simulator at every start; the maker of snapshots.
Never:     believes a snapshot that is not of this very history; needs one.

A snapshot only makes a start quicker. One that is damaged, of another ledger or of another version
is passed over, and the whole ledger says the same (I-FOLD compares). Only where the records before
it are gone, because they were kept long enough, a snapshot of another version is read by names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple, Protocol

from circus.arbiter.memory import Frame, Living, Memory
from circus.arbiter.memory_codec import CODE, decode, encode
from circus.bus import snapshots
from circus.bus.cursor_errors import Damaged, Diverged, Reset, Trimmed
from circus.bus.disk import Disk
from circus.bus.reader import CHAIN8_BYTES, LedgerReader
from circus.bus.segments import segment_numbers
from circus.bus.snapshots import Snapshot
from circus.bus.values import Cursor

# What foreign bytes may raise on their way to objects; whatever it is, the ledger knows better.
FOREIGN: Final = (LookupError, TypeError, ValueError, AttributeError, AssertionError)


class Storage(Protocol):
    """The ledger as a recovery needs it."""

    log_id: bytes
    head: int

    @property
    def first_retained(self) -> int: ...
    def chain8_at(self, seq: int, /) -> bytes | None: ...
    def frames(self, after: int = 0, /) -> Iterable[Frame]: ...


class Written(Protocol):
    """The ledger as it stands."""

    log_id: bytes
    head: int
    chain: bytes


class Recalled(NamedTuple):
    """What is known now, and the complaints of those who looked for it."""

    memory: Memory
    begun_at: int  # the seq of the snapshot that it began with; 0: the beginning
    complaints: tuple[str, ...]


class _Search:
    """Looks for the snapshot to begin with."""

    def __init__(self, storage: Storage, *, by_names: bool) -> None:
        self.memory: Memory | None = None
        self._storage = storage
        self._by_names = by_names

    def refuse(self, snapshot: Snapshot) -> str:
        """Why not this one; "" where it has become the memory."""
        storage = self._storage
        if snapshot.log_id != storage.log_id:
            return "it is of another ledger"
        if snapshot.seq > storage.head:
            return f"the ledger ends at {storage.head}"
        if snapshot.code != CODE and not self._by_names:
            return f"it was made by another version ({snapshot.code}, this is {CODE})"
        if storage.chain8_at(snapshot.seq) != snapshot.chain[:CHAIN8_BYTES]:
            return "the ledger has another history"
        found = _decoded(snapshot)
        if isinstance(found, str):
            return found
        self.memory = found
        return ""


def recall(storage: Storage, disk: Disk, directory: str) -> Recalled:
    """Everything that the ledger says, as a core needs it to go on.

    Behind a hole it begins anew: what went before cannot be believed then, for the state of an
    actor needs every record. The configuration and the keeper's list give back what is missing
    (RELIABILITY.md, 2.3).
    """
    trimmed = storage.first_retained > 1
    search = _Search(storage, by_names=False)
    found = snapshots.newest(disk, directory, search.refuse)
    if search.memory is None and trimmed:
        search = _Search(storage, by_names=True)
        found = snapshots.newest(disk, directory, search.refuse)
    complaints = [f"{one.name} is passed over: {one.reason}" for one in found.skipped]
    if search.memory is None and trimmed:
        complaints.append(f"what was before {storage.first_retained} is gone and in no snapshot")
    memory = search.memory or Memory(storage.first_retained - 1)
    begun_at = memory.seq if search.memory is not None else 0
    while True:
        try:
            for frame in storage.frames(memory.seq):
                memory.believe(frame)
            return Recalled(memory, begun_at, tuple(complaints))
        except Damaged as hole:
            memory, begun_at = Memory(hole.lost_to), 0


def make_snapshot(disk: Disk, directory: str, wall: int) -> int:
    """Fold the newest snapshot and the frames after it into the next one; its seq, 0 if there is
    nothing new. It reads as any reader does, beside the core that writes."""
    memory, log_id = _newest_memory(disk, directory)
    begun_at = memory.seq
    cursor = Cursor(log_id, memory.seq, memory.chain[:CHAIN8_BYTES]) if log_id else 0
    reader = LedgerReader(directory, cursor, disk=disk)
    while True:
        try:
            for frame in reader.frames():
                memory.believe(frame)
            break
        except (Diverged, Reset, Trimmed) as error:
            # The snapshot is not of this history, or there is none of the beginning any more.
            begun_at = error.first_seq - 1 if isinstance(error, Trimmed) else 0
            memory, reader = Memory(begun_at), LedgerReader(directory, begun_at, disk=disk)
        except Damaged as hole:
            memory = Memory(hole.lost_to)
    if memory.seq == begun_at:
        return 0
    body = encode(memory)
    made = Snapshot(reader.log_id, memory.seq, memory.chain, wall, CODE, body)
    snapshots.save(disk, directory, made)
    snapshots.prune(disk, directory)
    return memory.seq


def save_living(disk: Disk, directory: str, living: Living, ledger: Written, wall: int) -> None:
    """What a living core is, as a snapshot of its ledger's end; OSError if that cannot be."""
    assert living.seq == ledger.head, "all that is known is on record"
    body = encode(living)
    snapshots.save(
        disk, directory, Snapshot(ledger.log_id, ledger.head, ledger.chain, wall, CODE, body)
    )
    snapshots.prune(disk, directory)


def _newest_memory(disk: Disk, directory: str) -> tuple[Memory, bytes]:
    """The newest that can be read, and of which ledger; an empty one if there is none."""
    found: list[Memory] = []

    def refuse(snapshot: Snapshot, *, by_names: bool = False) -> str:
        if snapshot.code != CODE and not by_names:
            return "it was made by another version"
        memory = _decoded(snapshot)
        if isinstance(memory, str):
            return memory
        found.append(memory)
        return ""

    newest = snapshots.newest(disk, directory, refuse)
    if not found and min(segment_numbers(disk.list_dir(directory)), default=1) > 1:
        newest = snapshots.newest(disk, directory, partial(refuse, by_names=True))
    if newest.snapshot is None:
        return Memory(), b""
    return found[0], newest.snapshot.log_id


def _decoded(snapshot: Snapshot) -> Memory | str:
    try:
        return decode(snapshot.body, snapshot.chain)
    except FOREIGN as error:
        return f"its state is foreign: {type(error).__name__}: {error}"
