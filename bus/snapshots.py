"""Room: bus -- snapshot files: what a fold had come to at one record, to begin again from there.

Knows:     bus.disk, bus.segments (sizes).
Known by:  recovery of the core, retention, replay; what the body means is theirs.
Never:     looks into a body, believes a file that is not whole, fails because one is damaged.

`snap-<seq>` stands beside the segments (docs/ledger.md). It only makes a start quicker: whatever is
wrong with one, the one before it or the whole ledger says the same. It gets its name when it is
whole and safe, so a crash leaves the old ones as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from circus.bus.blake import blake2b
from circus.bus.disk import Disk, append_whole, read_whole
from circus.bus.segments import CHAIN_BYTES, DIGITS

KEPT: Final = 3  # the newest may be damaged, and the one before it torn by the same fault
PREFIX: Final = "snap-"
UNNAMED: Final = "snap.new"  # one that is being made
MAGIC: Final = b"\x89EVS\r\n\x1a\n"
FORMAT_VERSION: Final = 1
CODE_BYTES_MAX: Final = 255

_START: Final = Struct("<8sHH")
_CRC: Final = Struct("<I")
_REST: Final = Struct("<16sQq16s16sIQ")
_REST_AT: Final = _START.size + _CRC.size
HEADER_BYTES: Final = _REST_AT + _REST.size


class Snapshot(NamedTuple):
    """The fold of all records up to `seq`, as bytes that only its maker can read."""

    log_id: bytes
    seq: int
    chain: bytes  # digest of the ledger at the end of the frame that ends with `seq`
    created: int  # wall ns
    code: str  # the version that made the body, and must read it
    body: bytes

    @property
    def state_hash(self) -> bytes:
        """Of the body: two folds of the same records by the same code have the same."""
        return _digest(self.body)


class Skipped(NamedTuple):
    """A snapshot that was not taken, and why."""

    name: str
    reason: str


class Newest(NamedTuple):
    """The newest that can be used, if there is one, and what had to be passed over for it."""

    snapshot: Snapshot | None
    skipped: tuple[Skipped, ...]


def snapshot_name(seq: int) -> str:
    """Names sort as numbers do."""
    return f"{PREFIX}{seq:0{DIGITS}d}"


def snapshot_numbers(names: Iterable[str]) -> list[int]:
    """The seqs of all snapshots in a directory, ascending; other files are not ours."""
    return sorted(
        int(name[len(PREFIX) :])
        for name in names
        if name.startswith(PREFIX)
        and len(name) == len(PREFIX) + DIGITS
        and name[len(PREFIX) :].isdecimal()
    )


def save(disk: Disk, directory: str, snapshot: Snapshot) -> None:
    """Make the file, whole and safe, or raise OSError and leave what was there."""
    path = f"{directory}/{UNNAMED}"
    handle = _create(disk, path)
    try:
        append_whole(disk, handle, encode(snapshot))
        disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(path, f"{directory}/{snapshot_name(snapshot.seq)}")
    disk.sync_dir(directory)


def newest(disk: Disk, directory: str, refuse: Callable[[Snapshot], str] = lambda _: "") -> Newest:
    """The newest that is whole and that `refuse` has nothing against (it answers with a reason)."""
    skipped: list[Skipped] = []
    for seq in reversed(snapshot_numbers(disk.list_dir(directory))):
        found = read(disk, directory, seq)
        reason = found if isinstance(found, str) else refuse(found)
        if not reason:
            assert isinstance(found, Snapshot)
            return Newest(found, tuple(skipped))
        skipped.append(Skipped(snapshot_name(seq), reason))
    return Newest(None, tuple(skipped))


def prune(disk: Disk, directory: str, keep: int = KEPT) -> list[int]:
    """Take away all but the newest `keep`; the seqs of those that are left, ascending."""
    assert keep > 0, "the newest is never taken away"
    numbers = snapshot_numbers(disk.list_dir(directory))
    for seq in numbers[:-keep]:
        disk.unlink(f"{directory}/{snapshot_name(seq)}")
    return numbers[-keep:]


def encode(snapshot: Snapshot) -> bytes:
    """The whole file."""
    code = snapshot.code.encode()
    assert len(snapshot.log_id) == len(snapshot.chain) == CHAIN_BYTES, snapshot.seq
    assert len(code) <= CODE_BYTES_MAX, snapshot.code
    start = _START.pack(MAGIC, FORMAT_VERSION, 0)
    rest = _REST.pack(
        snapshot.log_id, snapshot.seq, snapshot.created, snapshot.chain,
        snapshot.state_hash, len(code), len(snapshot.body),
    )  # fmt: skip
    crc = crc32(snapshot.body, crc32(code, crc32(rest, crc32(start))))
    return b"".join((start, _CRC.pack(crc), rest, code, snapshot.body))


def decode(raw: bytes) -> Snapshot | str:
    """The snapshot, or why these bytes are none."""
    if len(raw) < HEADER_BYTES:
        return f"only {len(raw)} bytes"
    magic, version, flags = _START.unpack_from(raw)
    if magic != MAGIC:
        return "not a snapshot"
    view = memoryview(raw)
    (crc,) = _CRC.unpack_from(raw, _START.size)
    if crc32(view[_REST_AT:], crc32(view[: _START.size])) != crc:
        return "its checksum is wrong"
    if (version, flags) != (FORMAT_VERSION, 0):
        return f"format {version} (flags {flags}), this version reads {FORMAT_VERSION}"
    log_id, seq, created, chain, state_hash, code_bytes, body_bytes = _REST.unpack_from(
        raw, _REST_AT
    )
    body_at = HEADER_BYTES + code_bytes
    body = raw[body_at:]
    if len(body) != body_bytes or _digest(body) != state_hash:
        return "its state is not what was saved"
    return Snapshot(
        log_id, seq, chain, created, raw[HEADER_BYTES:body_at].decode(errors="replace"), body
    )


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=CHAIN_BYTES).digest()


def read(disk: Disk, directory: str, seq: int) -> Snapshot | str:
    """One snapshot, or why it cannot be used."""
    try:
        found = decode(read_whole(disk, f"{directory}/{snapshot_name(seq)}"))
    except OSError as error:
        return str(error)
    if isinstance(found, Snapshot) and found.seq != seq:
        return f"it is of record {found.seq}"
    return found


def _create(disk: Disk, path: str) -> int:
    try:
        return disk.create(path)
    except FileExistsError:
        disk.unlink(path)  # Left by a failure to make it.
        return disk.create(path)
