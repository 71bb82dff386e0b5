"""Room: tests -- the index beside a sealed segment: quick, and of no authority.

Knows:     bus.index, bus.reader, bus.ledger; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import LOG_ID, NOW, filled, kept, opened

from circus.bus.codec import pack
from circus.bus.cursor_errors import Damaged, Diverged
from circus.bus.disk import RealDisk
from circus.bus.index import (
    STEP_BYTES,
    Entry,
    decode,
    encode,
    index_name,
    load,
    make_missing,
    seek,
)
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.segments import HEADER_BYTES, segment_name
from circus.bus.values import Cursor

DISK: Final = RealDisk()
RECORDS: Final = 2000
PAYLOAD: Final = "x" * 200
WALL: Final = 1_000_000


class Counting(RealDisk):
    """Counts what is read."""

    def __init__(self) -> None:
        self.bytes = 0

    def read(self, handle: int, offset: int, length: int) -> bytes:
        found = super().read(handle, offset, length)
        self.bytes += len(found)
        return found


def payload(seq: int) -> bytes:
    """The clock steps back once, in the middle."""
    wall = WALL + seq - (500 if seq > RECORDS // 2 else 0)
    return pack([{"seq": seq, "at": wall, "boot": seq, "data": PAYLOAD}])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two sealed segments with their indexes, and the newest."""
    ledger = opened(tmp_path)
    for _ in range(2):
        for seq in range(ledger.head + 1, ledger.head + RECORDS + 1):
            ledger.append([(1, payload(seq))], NOW)
        ledger.cut(NOW)
    filled(ledger, 3)
    ledger.close()
    assert 2 == make_missing(DISK, str(tmp_path))
    return tmp_path


def entries(directory: Path, first_seq: int = 1) -> tuple[Entry, ...]:
    return load(DISK, str(directory), LOG_ID, first_seq)


def test_every_entry_is_a_frame_and_its_time_never_goes_back(directory: Path) -> None:
    """
    One for each 64 KiB, the first frame among them.
    """
    found = entries(directory)
    assert (1, HEADER_BYTES) == (found[0].seq, found[0].offset)
    size = (directory / segment_name(1)).stat().st_size
    assert size // STEP_BYTES <= len(found) <= size // STEP_BYTES + 1
    walls = [entry.wall for entry in found]
    assert sorted(walls) == walls
    assert [entry.seq for entry in found] == [entry.boot for entry in found]
    for entry in found:
        assert entry == seek(DISK, str(directory), LOG_ID, (1, entry.seq))


def test_what_is_there_is_not_made_again(directory: Path) -> None:
    """
    Only what is missing, or belongs to another file of that name.
    """
    assert 0 == make_missing(DISK, str(directory))
    (directory / index_name(1)).unlink()
    right = (directory / index_name(RECORDS + 1)).read_bytes()
    lie = [entry._replace(offset=entry.offset + 8) for entry in entries(directory, RECORDS + 1)]
    (directory / index_name(RECORDS + 1)).write_bytes(encode(LOG_ID, lie))
    assert 2 == make_missing(DISK, str(directory))
    assert right == (directory / index_name(RECORDS + 1)).read_bytes()


def test_a_reader_far_inside_reads_little_of_what_was_before(directory: Path) -> None:
    """
    By a bare number and by a cursor, the same frames as without an index.
    """
    quick, slow = Counting(), Counting()
    for seq in (1, 2, RECORDS - 1, RECORDS, RECORDS + 1, 2 * RECORDS - 5):
        quick.bytes = slow.bytes = 0
        reader = LedgerReader(str(directory), seq, disk=quick)
        found = [frame.first_seq for frame in reader.frames()]
        assert list(range(seq + 1, 2 * RECORDS + 4)) == found
        chain8 = b""
        for frame in LedgerReader(str(directory), disk=slow).frames():
            if frame.last_seq == seq:
                chain8 = frame.chain[:8]
        with_chain = LedgerReader(str(directory), Cursor(LOG_ID, seq, chain8))
        assert found == [frame.first_seq for frame in with_chain.frames()]
        with pytest.raises(Diverged):
            list(LedgerReader(str(directory), Cursor(LOG_ID, seq, b"another!")).frames())
    assert quick.bytes < slow.bytes / 3


def test_the_daemon_reads_on_in_a_segment_that_it_has_never_read(directory: Path) -> None:
    """
    After a restart: READ of old records costs no survey of the segment (RELIABILITY.md, 2.4).
    """
    disk = Counting()
    ledger = Ledger.open(str(directory), disk, log_id=LOG_ID, now=NOW)
    before = disk.bytes
    raw = ledger.read_raw(RECORDS - 10, 1 << 20)
    assert (RECORDS - 9, RECORDS) == (raw.first_seq, raw.last_seq)
    assert disk.bytes - before < 4 * STEP_BYTES
    assert raw.chain[:8] == ledger.chain8_at(RECORDS)
    ledger.close()


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "foreign", "shifted", "gone"])
def test_a_wrong_index_is_the_same_as_none(directory: Path, harm: str) -> None:
    """
    It is never believed: whatever it says, what is read is what was written.
    """
    path = directory / index_name(1)
    raw, found = path.read_bytes(), entries(directory)
    shifted = [entry._replace(seq=entry.seq + 1) for entry in found]
    path.write_bytes(
        {
            "flip": raw[:50] + bytes([raw[50] ^ 1]) + raw[51:],
            "cut": raw[:-7],
            "foreign": encode(b"another ledger..", found),
            "shifted": encode(LOG_ID, shifted),
        }.get(harm, b"")
    )
    if harm == "gone":
        path.unlink()
    assert None is seek(DISK, str(directory), LOG_ID, (1, RECORDS - 3))
    reader = LedgerReader(str(directory), RECORDS - 3)
    assert RECORDS - 2 == next(reader.frames()).first_seq
    ledger = opened(directory)
    assert RECORDS - 2 == ledger.read_raw(RECORDS - 3, 1000).first_seq
    assert 2 * RECORDS + 3 == len(kept(ledger))
    ledger.close()


def test_every_flipped_bit_of_an_index_is_noticed(directory: Path) -> None:
    """
    And every length but the right one.
    """
    raw = (directory / index_name(1)).read_bytes()
    assert entries(directory) == decode(raw, LOG_ID)
    for bit in range(len(raw) * 8):
        harmed = bytearray(raw)
        harmed[bit // 8] ^= 1 << bit % 8
        assert () == decode(bytes(harmed), LOG_ID), bit
    for length in range(len(raw)):
        assert () == decode(raw[:length], LOG_ID), length


def test_damage_behind_an_entry_is_told_with_and_without_the_index(directory: Path) -> None:
    """
    The index leads into the segment, not around its holes.
    """
    path = directory / segment_name(1)
    raw = bytearray(path.read_bytes())
    place = entries(directory)[3]
    raw[place.offset + 100] ^= 1
    path.write_bytes(raw)
    ledger = opened(directory)
    with pytest.raises(Damaged) as caught:
        ledger.read_raw(place.seq - 1, 1000)
    assert place.seq == caught.value.lost_from == caught.value.lost_to
    assert ledger.read_raw(place.seq, 1000).first_seq == place.seq + 1
    ledger.close()
    with pytest.raises(Damaged):
        list(LedgerReader(str(directory), place.seq - 1).frames())


def test_an_index_goes_with_its_segment(directory: Path) -> None:
    """
    Retention leaves nothing behind.
    """
    ledger = opened(directory)
    ledger._files.drop_oldest()
    assert not (directory / segment_name(1)).exists()
    assert not (directory / index_name(1)).exists()
    assert (directory / index_name(RECORDS + 1)).exists()
    ledger.close()
