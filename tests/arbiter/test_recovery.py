"""Room: tests -- a core that comes back: by a snapshot and what follows, or by the whole ledger.

Knows:     arbiter.recovery, arbiter.memory_codec, bench.mill (a ledger of any length).
Known by:  pytest.
Never:     starts a process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from circus.arbiter.memory_codec import CODE, decode, encode
from circus.arbiter.recovery import Recalled, make_snapshot, recall
from circus.bus import snapshots
from circus.bus.clock import SystemClock
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.snapshots import Snapshot, snapshot_name, snapshot_numbers

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
from bench.mill import mill

# A mill that goes on where another has ended does not know what that one had decided.
pytestmark = pytest.mark.invented

RECORDS = 600
DISK = RealDisk()


class Kept:
    """A ledger on a real disk, and its snapshots."""

    def __init__(self, folder: Path) -> None:
        self.directory = str(folder / "ledger")
        self.head = 0

    def grow(self, records: int = RECORDS) -> int:
        """More of it, by another core."""
        self.head = mill(self.directory, self.head + records, watchers=3, processes=4)
        return self.head

    def recall(self) -> Recalled:
        """As a core does it that starts now."""
        now = SystemClock().now()
        ledger = Ledger.open(self.directory, DISK, log_id=bytes(16), now=now)
        try:
            return recall(ledger, DISK, self.directory)
        finally:
            ledger.close()

    def whole(self) -> bytes:
        """What the ledger says by itself."""
        names = [n for n in DISK.list_dir(self.directory) if n.startswith("snap-")]
        for name in names:
            DISK.rename(f"{self.directory}/{name}", f"{self.directory}/away-{name}")
        found = self.recall()
        for name in names:
            DISK.rename(f"{self.directory}/away-{name}", f"{self.directory}/{name}")
        assert found.begun_at == 0
        return encode(found.memory)

    def newest(self) -> Snapshot:
        """The newest snapshot as it is."""
        found = snapshots.newest(DISK, self.directory).snapshot
        assert found is not None
        return found

    def path(self, seq: int) -> Path:
        """Where the snapshot of this seq is."""
        return Path(self.directory) / snapshot_name(seq)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    one = Kept(tmp_path)
    one.grow()
    return one


def test_a_memory_comes_back_from_its_bytes(kept: Kept) -> None:
    """
    And the bytes are the same for the same memory: their hash says whether two folds agree.
    """
    memory = kept.recall().memory
    again = decode(encode(memory), memory.chain)
    assert encode(memory) == encode(again)
    assert list(memory.past.actors) == list(again.past.actors)
    states = {address: actor.state for address, actor in again.past.actors.items()}
    assert {address: actor.state for address, actor in memory.past.actors.items()} == states
    assert memory.past.last == again.past.last


def test_a_snapshot_and_what_follows_say_what_the_whole_ledger_says(kept: Kept) -> None:
    """I-FOLD, three times over: each snapshot is folded from the one before."""
    for _ in range(3):
        taken = make_snapshot(DISK, kept.directory, 1)
        assert kept.head == taken
        kept.grow()
        found = kept.recall()
        assert (taken, ()) == (found.begun_at, found.complaints)
        assert kept.whole() == encode(found.memory)
        assert kept.head == found.memory.seq


def test_nothing_new_makes_no_snapshot(kept: Kept) -> None:
    """And at most three are kept."""
    taken = [make_snapshot(DISK, kept.directory, 1)]
    assert 0 == make_snapshot(DISK, kept.directory, 2)
    for _ in range(4):
        kept.grow(50)
        taken.append(make_snapshot(DISK, kept.directory, 3))
    assert taken[-3:] == snapshot_numbers(DISK.list_dir(kept.directory))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_snapshot_is_passed_over_for_the_one_before(kept: Kept, harm: str) -> None:
    """It is told, and changes nothing."""
    first = make_snapshot(DISK, kept.directory, 1)
    second_head = kept.grow(100)
    second = make_snapshot(DISK, kept.directory, 2)
    assert second_head == second
    raw = kept.path(second).read_bytes()
    half = len(raw) // 2
    harmed = {"flip": raw[:half] + bytes([raw[half] ^ 1]) + raw[half + 1 :], "cut": raw[:half]}
    kept.path(second).write_bytes(harmed.get(harm, b""))
    found = kept.recall()
    assert first == found.begun_at
    assert [snapshot_name(second)] == [text.partition(" ")[0] for text in found.complaints]
    assert kept.whole() == encode(found.memory)


def test_a_snapshot_of_another_version_is_passed_over(kept: Kept) -> None:
    """The whole ledger is there: what an older version made of it does not matter."""
    taken = make_snapshot(DISK, kept.directory, 1)
    snapshots.save(DISK, kept.directory, kept.newest()._replace(code="0-older"))
    found = kept.recall()
    assert 0 == found.begun_at
    assert "another version (0-older" in found.complaints[0]
    assert kept.whole() == encode(found.memory)
    assert taken == make_snapshot(DISK, kept.directory, 2)
    assert CODE == kept.newest().code


def test_a_snapshot_of_what_a_power_cut_took_is_passed_over(kept: Kept) -> None:
    """
    The frames were not on the platter, and their numbers have been given again: the chain tells.
    """
    make_snapshot(DISK, kept.directory, 1)
    newest = kept.newest()
    future = newest._replace(seq=kept.head + 1)
    snapshots.save(DISK, kept.directory, future)
    past = newest._replace(chain=bytes(16))
    snapshots.save(DISK, kept.directory, past)
    kept.grow(100)
    found = kept.recall()
    assert 0 == found.begun_at
    assert 2 == len(found.complaints)
    assert kept.whole() == encode(found.memory)


def test_a_snapshot_of_another_ledger_is_passed_over(kept: Kept) -> None:
    """Somebody has copied files."""
    make_snapshot(DISK, kept.directory, 1)
    snapshots.save(DISK, kept.directory, kept.newest()._replace(log_id=b"another ledger.."))
    found = kept.recall()
    assert (0, 1) == (found.begun_at, len(found.complaints))
    assert kept.head == make_snapshot(DISK, kept.directory, 2)


def test_where_the_beginning_is_gone_a_snapshot_of_another_version_is_read_by_names(
    kept: Kept, tmp_path: Path
) -> None:
    """Retention has taken the first segment: nobody but that snapshot knows what was in it."""
    make_snapshot(DISK, kept.directory, 1)
    expected = kept.whole()
    now = SystemClock().now()
    ledger = Ledger.open(kept.directory, DISK, log_id=bytes(16), now=now)
    ledger.cut(now)
    ledger.close()
    oldest = min(name for name in DISK.list_dir(kept.directory) if name.endswith(".evl"))
    DISK.unlink(f"{kept.directory}/{oldest}")
    snapshots.save(DISK, kept.directory, kept.newest()._replace(code="0-older"))
    found = kept.recall()
    assert kept.head == found.begun_at
    assert expected == encode(found.memory)
    head = kept.head
    assert 0 == make_snapshot(DISK, kept.directory, 2)
    kept.path(head).unlink()
    blind = kept.recall()
    assert kept.head == blind.memory.seq == blind.memory.past.after
    assert "in no snapshot" in blind.complaints[-1]
