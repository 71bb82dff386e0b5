"""Room: tests -- the simulated disk keeps the contract of the real one, and loses what it may lose.

Knows:     bus.disk, bus.ledger, circus.replay.
Known by:  nobody.
Never:     trusts one of the two without the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from circus.bus.disk import Disk, Locked, RealDisk
from circus.bus.ledger import Ledger
from circus.bus.values import Moment
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.disk import SimDisk

NOW: Final = Moment(1, 1)
LOG_ID: Final = b"sixteen bytes..."
MakeDisk = Callable[[], Disk]


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


def test_what_was_appended_is_read_back_in_order(disk: Disk, place: str) -> None:
    """Bytes stand where they were appended; a read past the end is short."""
    handle = disk.create(f"{place}/a")
    assert 3 == disk.append(handle, b"one")
    assert 3 == disk.append(handle, memoryview(b"two"))
    assert 6 == disk.size(handle)
    assert b"etwo" == disk.read(handle, 2, 100)
    disk.truncate(handle, 4)
    disk.sync(handle)
    disk.close(handle)

    again = disk.open_to_append(f"{place}/a")
    disk.append(again, b"!")
    disk.close(again)
    reader = disk.open_to_read(f"{place}/a")
    assert b"onet!" == disk.read(reader, 0, 100)
    disk.close(reader)


def test_names_are_refused_as_the_kernel_refuses_them(disk: Disk, place: str) -> None:
    """No file is made twice, none is opened that is not there."""
    disk.close(disk.create(f"{place}/a"))
    with pytest.raises(FileExistsError):
        disk.create(f"{place}/a")
    with pytest.raises(FileNotFoundError):
        disk.open_to_read(f"{place}/b")
    with pytest.raises(FileNotFoundError):
        disk.unlink(f"{place}/b")
    with pytest.raises(FileNotFoundError):
        disk.list_dir(f"{place}/nowhere")

    disk.rename(f"{place}/a", f"{place}/b")
    disk.sync_dir(place)
    assert ["b"] == disk.list_dir(place)
    disk.unlink(f"{place}/b")
    assert [] == disk.list_dir(place)


def test_a_lock_is_held_until_it_is_closed(disk: Disk, place: str) -> None:
    """One writer at a time."""
    lock = disk.lock(f"{place}/lock")
    with pytest.raises(Locked, match=r"^cannot open the ledger"):
        disk.lock(f"{place}/lock")
    disk.close(lock)
    disk.close(disk.lock(f"{place}/lock"))


def written(disk: SimDisk, frames: int, *, synced: int) -> None:
    """A ledger of so many frames, of which so many are on the platter; then the process is gone."""
    ledger = Ledger.open("ledger", disk, log_id=LOG_ID, now=NOW)
    for number in range(frames):
        ledger.append([(1, bytes([number]) * 50)], NOW)
        if number == synced - 1:
            ledger.sync(NOW)
    disk.lose_process()


def payloads(disk: SimDisk) -> list[bytes]:
    """What a new process finds."""
    ledger = Ledger.open("ledger", disk, log_id=LOG_ID, now=NOW)
    return [bytes(frame.payload[:1]) for frame in ledger.frames()]


def test_a_process_crash_loses_nothing_that_was_written() -> None:
    """The page cache is the kernel's, not the process's."""
    disk = SimDisk(Agenda(1))
    written(disk, 20, synced=5)

    assert [bytes([n]) for n in range(20)] == payloads(disk)


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_keeps_what_was_synced_and_a_prefix_of_the_rest(seed: int) -> None:
    """I-PREFIX: cut at a frame boundary, never with a hole."""
    disk = SimDisk(Agenda(1))
    written(disk, 20, synced=5)
    disk.lose_power(random.Random(seed))

    found = payloads(disk)
    assert [bytes([n]) for n in range(len(found))] == found
    assert len(found) >= 5


def test_a_power_cut_is_sometimes_in_the_middle_of_a_frame() -> None:
    """Otherwise the test above would prove little."""
    cuts = set()
    for seed in range(30):
        disk = SimDisk(Agenda(1))
        written(disk, 20, synced=5)
        disk.lose_power(random.Random(seed))
        ledger = Ledger.open("ledger", disk, log_id=LOG_ID, now=NOW)
        cuts.add(ledger.recovered.tail_cut is not None)
    assert {True, False} == cuts
