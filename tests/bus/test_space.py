"""Room: tests -- room on the disk: what is reserved, what is taken away, and what never is.

Knows:     bus.space, bus.ledger; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import LOG_ID, NOW, FailingDisk, filled, kept, opened

from circus.bus.cursor_errors import Trimmed
from circus.bus.disk import RealDisk
from circus.bus.files import NEXT
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.snapshots import Snapshot, save, snapshot_name
from circus.bus.space import AGE_NS_KEPT_MAX, Kept, Surplus

BYTES_MAX: Final = 1024


def cut_often(directory: Path, disk: RealDisk | None = None, count: int = 100) -> Ledger:
    """A ledger of several small segments; its first look at the space is over."""
    ledger = opened(directory, disk, bytes_max=BYTES_MAX)
    assert not ledger.space.is_due()
    filled(ledger, count)
    return ledger


def firsts(directory: Path) -> list[int]:
    return sorted(int(one.stem) for one in directory.glob("*.evl"))


def snapshot(directory: Path, seq: int) -> None:
    save(RealDisk(), str(directory), Snapshot(LOG_ID, seq, b"c" * 16, 0, "1", b"state"))


def test_room_for_the_next_segment_is_reserved_when_the_newest_is_half_full(tmp_path: Path) -> None:
    """
    It is the very file that becomes the next segment; it has no bytes until then, so that no
    reader finds zeros. A clean stop gives all of it back.
    """
    ledger = opened(tmp_path, bytes_max=1 << 20)
    assert not ledger.space.is_due()
    ledger.append([(1, b"x" * (1 << 19))], NOW)
    assert ledger.space.is_due()
    assert (None, "") == ledger.space.look(NOW.wall)
    assert not ledger.space.is_due()
    reserved = (tmp_path / NEXT).stat()
    assert 0 == reserved.st_size
    assert reserved.st_blocks * 512 >= 1 << 20
    ledger.append([(1, b"y" * (1 << 19))], NOW)
    ledger.append([(1, b"z" * (1 << 19))], NOW)
    assert [1, 2, 3] == firsts(tmp_path)
    assert reserved.st_ino == (tmp_path / f"{2:020}.evl").stat().st_ino
    assert (tmp_path / f"{2:020}.evl").stat().st_blocks * 512 < 1 << 20
    ledger.space.look(NOW.wall)
    ledger.close()
    assert not (tmp_path / NEXT).exists()
    again = opened(tmp_path)
    assert 3 == len(kept(again))
    again.close()


def test_what_was_begun_and_never_became_a_segment_is_in_nobodys_way(tmp_path: Path) -> None:
    """
    A crash may leave `next` half written: it is made anew.
    """
    (tmp_path / NEXT).write_bytes(b"half a header")
    ledger = cut_often(tmp_path)
    assert 100 == len(kept(ledger))
    ledger.close()


def test_old_segments_go_by_age_but_never_beyond_the_snapshots(tmp_path: Path) -> None:
    """
    Seven days; the oldest snapshot that can be used is where a start may have to begin.
    """
    ledger = cut_often(tmp_path)
    assert ledger.space.is_due()
    later = NOW.wall + AGE_NS_KEPT_MAX + 1
    assert (None, "") == ledger.space.look(later)
    snapshot(tmp_path, 60)
    snapshot(tmp_path, 90)
    assert None is ledger.space.look(NOW.wall)[0]
    surplus, _ = ledger.space.look(later)
    assert surplus is not None
    limit = max(first for first in firsts(tmp_path) if first <= 61)
    assert limit == surplus.first_seq
    ledger.space.take_away(surplus)
    assert limit == ledger.first_retained == firsts(tmp_path)[0]
    assert 100 - limit + 1 == len(kept(ledger))
    with pytest.raises(Trimmed):
        ledger.read_raw(limit - 2, 1000)
    with pytest.raises(Trimmed):
        list(LedgerReader(str(tmp_path), 1).frames())
    assert (None, "") == ledger.space.look(later)
    ledger.close()
    again = opened(tmp_path)
    assert (limit, 100) == (again.first_retained, again.head)
    again.close()


def test_old_segments_go_by_size_and_no_more_than_that(tmp_path: Path) -> None:
    """
    Whole segments, until what is left fits.
    """
    ledger = cut_often(tmp_path)
    snapshot(tmp_path, 100)
    total = sum(one.stat().st_size for one in tmp_path.glob("*.evl"))
    oldest = (tmp_path / f"{1:020}.evl").stat().st_size
    ledger.space.kept = Kept(bytes=total)
    assert None is ledger.space.look(NOW.wall)[0]
    ledger.space.kept = Kept(bytes=total - 1)
    assert Surplus(firsts(tmp_path)[1], 1, oldest) == ledger.space.look(NOW.wall)[0]
    ledger.space.kept = Kept(bytes=0)
    surplus, _ = ledger.space.look(NOW.wall)
    assert surplus is not None
    assert firsts(tmp_path)[-1] == surplus.first_seq
    ledger.close()


def test_a_snapshot_that_is_damaged_replaces_no_history(tmp_path: Path) -> None:
    """
    Nor does one of records that this ledger does not have.
    """
    ledger = cut_often(tmp_path)
    (tmp_path / snapshot_name(90)).write_bytes(b"not a snapshot")
    snapshot(tmp_path, 101)
    ledger.space.kept = Kept(bytes=0)
    assert None is ledger.space.look(NOW.wall)[0]
    assert None is ledger.space.pressed()
    ledger.close()


class NearlyFull(FailingDisk):
    """It can be written to, but promises nothing for later."""

    def create(self, path: str, room: int = 0) -> int:
        if room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path)


def test_a_shortage_is_seen_half_a_segment_ahead(tmp_path: Path) -> None:
    """
    Then history gives way up to the newest snapshot, wanted or not.
    """
    ledger = cut_often(tmp_path, NearlyFull())
    while ledger.space.look(NOW.wall)[1] == "":
        filled(ledger, 1)
    snapshot(tmp_path, 30)
    snapshot(tmp_path, 80)
    surplus = ledger.space.pressed()
    assert surplus is not None
    assert max(first for first in firsts(tmp_path) if first <= 81) == surplus.first_seq
    assert "No space" in ledger.space.provide()
    ledger.close()


class Stubborn(FailingDisk):
    """It takes nothing away."""

    def unlink(self, path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")


def test_what_cannot_be_taken_away_stays_history(tmp_path: Path) -> None:
    """
    Nothing fails; it is tried again when the next segment is sealed.
    """
    ledger = cut_often(tmp_path, Stubborn())
    snapshot(tmp_path, 90)
    surplus = ledger.space.pressed()
    assert surplus is not None
    ledger.space.take_away(surplus)
    assert 1 == ledger.first_retained
    assert 100 == len(kept(ledger))
    assert not ledger.space.is_due() or ledger.space.look(NOW.wall)[1] == ""
    ledger.close()


def test_more_room_than_there_is_cannot_be_reserved(tmp_path: Path) -> None:
    """
    The kernel says why, and nothing stays open.
    """
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"File too large|No space|Invalid argument"):
        RealDisk().create(f"{tmp_path}/{NEXT}", 2**63 - 1)
    assert len(before) == len(os.listdir("/proc/self/fd"))
