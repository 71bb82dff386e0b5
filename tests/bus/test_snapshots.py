"""Room: tests -- snapshot files: whole or not there, and what is damaged is passed over.

Knows:     bus.snapshots, bus.disk, the simulated disk.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest

from circus.bus.disk import Disk, RealDisk, append_whole
from circus.bus.segments import (
    CHAIN_START,
    SegmentHeader,
    encode_header,
    segment_name,
    segment_numbers,
)
from circus.bus.snapshots import (
    HEADER_BYTES,
    UNNAMED,
    Newest,
    Skipped,
    Snapshot,
    decode,
    encode,
    newest,
    prune,
    save,
    snapshot_name,
    snapshot_numbers,
)
from circus.replay.sim.agenda import Agenda, Crash
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.disk_weather import DiskWeather

SNAPSHOT: Final = Snapshot(bytes(range(16)), 42, b"c" * 16, 1_700_000_000, "1.0.0", b"state" * 9)


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest) -> Disk:
    """Either."""
    return RealDisk() if request.param == "real" else SimDisk(Agenda(1))


@pytest.fixture
def place(tmp_path: Path, disk: Disk) -> str:
    """A directory on that disk."""
    path = f"{tmp_path}/d"
    disk.make_dir(path)
    return path


def of(seq: int) -> Snapshot:
    return SNAPSHOT._replace(seq=seq)


def write(disk: Disk, path: str, data: bytes) -> None:
    handle = disk.create(path)
    append_whole(disk, handle, data)
    disk.close(handle)


def test_what_was_saved_is_the_newest(disk: Disk, place: str) -> None:
    """
    Every field comes back; an older one is not looked at.
    """
    assert Newest(None, ()) == newest(disk, place)
    save(disk, place, of(7))
    save(disk, place, SNAPSHOT)
    assert Newest(SNAPSHOT, ()) == newest(disk, place)
    assert [7, 42] == snapshot_numbers(disk.list_dir(place))


def test_an_empty_state_is_a_state(disk: Disk, place: str) -> None:
    """
    What the body holds is its maker's business.
    """
    empty = SNAPSHOT._replace(body=b"", code="", seq=2**64 - 1)
    save(disk, place, empty)
    assert empty == newest(disk, place).snapshot


def test_saving_again_replaces_and_forgets_a_failed_try(disk: Disk, place: str) -> None:
    """
    A file that was being made when somebody died is in nobody's way.
    """
    write(disk, f"{place}/{UNNAMED}", b"half of")
    save(disk, place, SNAPSHOT)
    again = SNAPSHOT._replace(body=b"other")
    save(disk, place, again)
    assert again == newest(disk, place).snapshot
    assert [snapshot_name(42)] == disk.list_dir(place)


def test_a_snapshot_cut_at_any_byte_is_passed_over_with_a_reason(disk: Disk, place: str) -> None:
    """
    The one before it is taken; nobody fails.
    """
    save(disk, place, of(7))
    raw = encode(SNAPSHOT)
    path = f"{place}/{snapshot_name(42)}"
    for length in range(len(raw)):
        write(disk, path, raw[:length])
        found = newest(disk, place)
        assert of(7) == found.snapshot
        assert [snapshot_name(42)] == [one.name for one in found.skipped]
        assert all(one.reason for one in found.skipped)
        disk.unlink(path)


def test_every_flipped_bit_and_every_byte_too_many_is_noticed() -> None:
    """
    Nothing altered is ever given out.
    """
    raw = encode(SNAPSHOT)
    assert SNAPSHOT == decode(raw)
    assert "its checksum is wrong" == decode(raw + b"\0")
    for at in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        assert isinstance(decode(bytes(flipped)), str)
    assert HEADER_BYTES + len("1.0.0") + len(SNAPSHOT.body) == len(raw)


def test_a_forged_checksum_does_not_make_a_state_true() -> None:
    """
    The state has a digest of its own; a format from the future is named, not called damage.
    """
    raw = encode(SNAPSHOT)
    assert "its state is not what was saved" == decode(with_crc(raw[:-1] + b"!"))
    assert "its state is not what was saved" == decode(with_crc(raw[:-1]))
    newer = decode(with_crc(raw[:8] + b"\x02\0" + raw[10:]))
    assert "format 2 (flags 0), this version reads 1" == newer


def with_crc(raw: bytes) -> bytes:
    crc = crc32(raw[16:], crc32(raw[:12]))
    return raw[:12] + crc.to_bytes(4, "little") + raw[16:]


def test_a_snapshot_under_the_wrong_name_is_not_believed(disk: Disk, place: str) -> None:
    """
    A copy that somebody renamed says where it belongs.
    """
    write(disk, f"{place}/{snapshot_name(50)}", encode(SNAPSHOT))
    assert ((snapshot_name(50), "it is of record 42"),) == newest(disk, place).skipped


def test_whoever_asks_may_refuse_one_with_a_reason(disk: Disk, place: str) -> None:
    """
    A snapshot of a history that a power cut took is whole, and still of no use.
    """
    save(disk, place, of(7))
    save(disk, place, SNAPSHOT)
    found = newest(disk, place, lambda one: "another history" if one.seq == 42 else "")
    assert Newest(of(7), (Skipped(snapshot_name(42), "another history"),)) == found


def test_a_snapshot_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """
    A bad sector, no permission, a link in its place: the one before it serves.
    """
    disk = RealDisk()
    save(disk, str(tmp_path), of(7))
    (tmp_path / snapshot_name(42)).symlink_to(tmp_path / snapshot_name(7))
    found = newest(disk, str(tmp_path))
    assert of(7) == found.snapshot
    assert "Too many levels" in found.skipped[0].reason


def test_the_newest_three_are_kept_and_segments_are_left_alone(disk: Disk, place: str) -> None:
    """
    Other files in the directory are not ours.
    """
    segment = segment_name(1)
    header = SegmentHeader(SNAPSHOT.log_id, 1, 0, CHAIN_START)
    write(disk, f"{place}/{segment}", encode_header(header))
    write(disk, f"{place}/snap-1", b"somebody's")
    for seq in (5, 6, 7, 8, 9):
        save(disk, place, of(seq))
    assert [7, 8, 9] == prune(disk, place)
    assert [9] == prune(disk, place, keep=1)
    assert [9] == snapshot_numbers(disk.list_dir(place))
    assert [1] == segment_numbers(disk.list_dir(place))
    assert ["snap-1"] == [name for name in disk.list_dir(place) if name == "snap-1"]


class FullDisk(RealDisk):
    """It takes so many bytes, and then none."""

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def append(self, handle: int, data: bytes | memoryview) -> int:
        if not self.budget:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(data)[: self.budget]
        self.budget -= len(part)
        return super().append(handle, part)


def test_a_disk_full_at_any_byte_leaves_the_old_snapshots(tmp_path: Path) -> None:
    """
    Saving fails as the disk does; the next try succeeds.
    """
    save(RealDisk(), str(tmp_path), of(7))
    for budget in range(len(encode(SNAPSHOT))):
        with pytest.raises(OSError, match="No space"):
            save(FullDisk(budget), str(tmp_path), SNAPSHOT)
        assert Newest(of(7), ()) == newest(RealDisk(), str(tmp_path))
    save(RealDisk(), str(tmp_path), SNAPSHOT)
    assert SNAPSHOT == newest(RealDisk(), str(tmp_path)).snapshot


@pytest.mark.parametrize("end", ["process crash", "power cut"])
def test_whoever_dies_at_any_call_while_saving_leaves_one_that_is_whole(end: str) -> None:
    """
    Either the old newest or the new one, never half of it; and a power cut afterwards changes
    nothing any more.
    """
    for seed in range(20):
        for call in range(1, 12):
            agenda = Agenda(seed)
            disk = SimDisk(agenda, DiskWeather(torn=0.7))
            disk.make_dir("/l")
            save(disk, "/l", of(7))
            agenda.crash_at = agenda.touched + call
            done = saved(disk)
            disk.lose_process()
            if end == "power cut":
                disk.lose_power(agenda.chance)
            agenda.crash_at = None
            assert newest(disk, "/l").snapshot in ((SNAPSHOT,) if done else (SNAPSHOT, of(7)))


def saved(disk: SimDisk) -> bool:
    """False if the process died in it."""
    try:
        save(disk, "/l", SNAPSHOT)
    except Crash:
        return False
    return True
