"""Room: tests -- the ledger on a disk that is full, fails or lies, and its syncer.

Knows:     bus.ledger, bus.disk, bus.syncer; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import (
    DEADLINE_SECONDS,
    NOW,
    FailingDisk,
    filled,
    kept,
    opened,
    payload,
    read_all,
    reread,
)

from circus.bus.cursor_errors import Damaged
from circus.bus.disk import RealDisk
from circus.bus.ledger import DIED_DEGRADED
from circus.bus.segments import HEADER_BYTES, Hole, frame_bytes, segment_name
from circus.bus.syncer import SYNC_BYTES, GroupSyncer
from circus.bus.unsynced import Gap


def test_a_disk_full_at_any_byte_leaves_a_prefix_and_loses_nothing_later(tmp_path: Path) -> None:
    """
    ENOSPC: degraded, everything waits in memory; when there is space again, all is written.
    """
    total = HEADER_BYTES + sum(frame_bytes(len(payload(n))) for n in range(1, 13))
    for budget in range(total - HEADER_BYTES):
        directory = tmp_path / "full"
        disk = FailingDisk()
        ledger = opened(directory, disk)
        disk.budget = budget
        payloads = filled(ledger, 12)
        assert ledger.degraded
        assert 12 == ledger.head
        on_disk = kept(ledger)
        assert payloads[: len(on_disk)] == on_disk
        assert None is ledger.retry(NOW)
        disk.budget = None
        gap = ledger.retry(NOW)
        assert gap is not None
        assert 0 == gap.frames
        assert not ledger.degraded
        payloads += filled(ledger, 2)
        ledger.close()
        ledger, after = reread(directory)
        assert payloads == after
        ledger.close()
        shutil.rmtree(directory)


def test_numbers_that_somebody_acted_on_are_not_given_again(tmp_path: Path) -> None:
    """
    ADR-0095: a core that died while its ledger was degraded has asked its keeper for things under
    numbers that no file knows. The next one goes on behind them and tells what is missing.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    payloads = filled(ledger, 3)
    disk.budget = 0
    filled(ledger, 4)  # 4 to 7: the keeper was given up to 6
    ledger.close()

    ledger = opened(tmp_path, given=6)
    assert Gap(DIED_DEGRADED, 0, 4, 6) == ledger.recovered.gap
    assert 6 == ledger.head
    last = filled(ledger, 2)
    with pytest.raises(Damaged) as caught:
        kept(ledger)
    assert (4, 6) == (caught.value.lost_from, caught.value.lost_to)
    assert last == kept(ledger, after=6)
    assert payloads[1:] == [f.payload for f in islice(ledger.frames(after=1), 2)]
    ledger.close()

    again = opened(tmp_path, given=8)
    assert None is again.recovered.gap
    assert last == kept(again, after=6)
    again.close()


def test_numbers_are_skipped_even_while_nothing_can_be_written(tmp_path: Path) -> None:
    """
    The disk is still full when the next core opens: the gap is told when there is a file.
    """
    ledger = opened(tmp_path)
    filled(ledger, 3)
    ledger.close()
    disk = FailingDisk()
    disk.failing["create"] = OSError(errno.ENOSPC, "No space left on device")
    ledger = opened(tmp_path, disk, given=6)
    assert ledger.degraded
    last = filled(ledger, 2)
    assert 8 == ledger.head
    gap = ledger.retry(NOW)
    assert gap is not None
    assert 0 == gap.frames
    assert last == kept(ledger, after=6)
    ledger.close()


def test_a_history_in_memory_is_compared_like_one_in_a_file(tmp_path: Path) -> None:
    """
    Who has seen another one must be told, though nothing can be read while the disk refuses.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    filled(ledger, 3)
    chains = {3: ledger.chain}
    disk.budget = 0
    for seq in range(4, 9):
        filled(ledger, 1)
        chains[seq] = ledger.chain
    assert ledger.degraded
    assert {seq: chain[:8] for seq, chain in chains.items()} == {
        seq: ledger.chain8_at(seq) for seq in chains
    }
    assert None is ledger.chain8_at(9)
    ledger.close()


def test_what_the_ring_cannot_keep_is_told_as_a_gap(tmp_path: Path) -> None:
    """
    10,000 frames are kept while degraded; older ones are lost, and the ledger says which.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    filled(ledger, 5)
    disk.budget = 0
    filled(ledger, 10_007)
    disk.budget = None
    gap = ledger.retry(NOW)
    assert gap is not None
    assert (7, 6, 12) == (gap.frames, gap.lost_from, gap.lost_to)
    with pytest.raises(Damaged) as caught:
        ledger.read_raw(8, 1000)
    assert (6, 12) == (caught.value.lost_from, caught.value.lost_to)
    with pytest.raises(Damaged):
        kept(ledger)
    assert 10_000 == len(kept(ledger, after=12))
    ledger.close()


@pytest.mark.parametrize("number", range(5))
def test_a_failed_write_is_said_again_in_a_new_segment(tmp_path: Path, number: int) -> None:
    """
    EIO poisons the file; the frames that may be missing are written elsewhere, the chain holds.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    payloads = filled(ledger, 3)
    ledger.sync(NOW)
    payloads += filled(ledger, number)
    disk.failing["append"] = OSError(errno.EIO, "Input/output error")
    payloads += filled(ledger, 4)
    assert not ledger.degraded
    assert (tmp_path / segment_name(4)).exists()
    assert payloads == kept(ledger)
    assert payloads == read_all(ledger, 0)
    ledger.close()
    ledger, after = reread(tmp_path)
    assert payloads == after
    ledger.close()


def test_a_failed_sync_of_a_segment_never_synced_replaces_it(tmp_path: Path) -> None:
    """
    All of it is in memory, so a new file gets its name once it is whole and safe.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    payloads = filled(ledger, 3)
    poisoned = (tmp_path / segment_name(1)).stat().st_ino
    disk.failing["sync"] = OSError(errno.EIO, "Input/output error")
    assert ledger.sync(NOW)
    payloads += filled(ledger, 2)
    assert payloads == kept(ledger)
    assert [segment_name(1)] == [one.name for one in tmp_path.glob("*.evl")]
    assert poisoned != (tmp_path / segment_name(1)).stat().st_ino
    ledger.close()


def test_a_second_failure_degrades_until_a_new_file_works(tmp_path: Path) -> None:
    """
    Write, then create: the disk is broken, not full.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    payloads = filled(ledger, 3)
    disk.failing = {n: OSError(errno.EIO, "Input/output error") for n in ("append", "create")}
    payloads += filled(ledger, 2)
    assert ledger.degraded
    assert not ledger.sync(NOW)
    payloads += filled(ledger, 2)
    assert ledger.retry(NOW) is not None
    assert payloads == kept(ledger)
    ledger.close()


def test_a_full_disk_does_not_prevent_the_start(tmp_path: Path) -> None:
    """
    With no room for a header the ledger opens degraded, and is written once there is room.
    """
    disk = FailingDisk()
    disk.budget = 10
    ledger = opened(tmp_path, disk)
    assert "No space left" in ledger.trouble
    syncer = GroupSyncer(delay=3600)
    ledger.attach(syncer)
    assert None is ledger.retry(NOW)
    payloads = filled(ledger, 3)
    assert b"" == ledger.read_raw(0, 1000).data
    disk.budget = None
    assert ledger.retry(NOW) is not None
    assert payloads == kept(ledger)
    ledger.close()
    syncer.close()


def wait_readable(syncer: GroupSyncer) -> None:
    poll = select.poll()
    poll.register(syncer.fileno(), select.POLLIN)
    assert poll.poll(DEADLINE_SECONDS * 1000), "the syncer never reported"


def test_a_wanted_sync_makes_the_descriptor_readable(tmp_path: Path) -> None:
    """
    The sequencer parks a reply, polls, and finds the seq synced.
    """
    ledger, syncer = opened(tmp_path, RealDisk()), GroupSyncer(delay=3600)
    ledger.attach(syncer)
    filled(ledger, 3)
    syncer.want(3)
    wait_readable(syncer)
    assert 3 == ledger.settle(NOW)
    syncer.want(2)  # Synced already: readable at once.
    wait_readable(syncer)
    assert 3 == ledger.settle(NOW)
    filled(ledger, 1)
    ledger.cut(NOW)
    assert 4 == syncer.synced
    ledger.close()
    syncer.close()


@pytest.mark.parametrize(("delay", "count"), [(0.0, 1), (3600.0, SYNC_BYTES // 40 + 1)])
def test_the_syncer_works_after_a_while_or_after_enough_bytes(
    tmp_path: Path, delay: float, count: int
) -> None:
    """
    Nobody has to want anything; the owner says when it has time for a thread to wake up.
    """
    done = threading.Event()

    def sync(handle: int) -> None:
        os.fdatasync(handle)
        done.set()

    ledger, syncer = opened(tmp_path, RealDisk()), GroupSyncer(sync, delay=delay)
    ledger.attach(syncer)
    ledger.append([(1, b"x")] * count, NOW)
    syncer.nudge()
    assert done.wait(DEADLINE_SECONDS)
    ledger.close()
    syncer.close()


def test_a_failed_group_sync_is_said_again_elsewhere(tmp_path: Path) -> None:
    """
    The file is never synced again; the ledger goes on in another.
    """
    synced: list[int] = []

    def sync(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")

    ledger, syncer = opened(tmp_path, RealDisk()), GroupSyncer(sync, delay=3600)
    ledger.attach(syncer)
    payloads = filled(ledger, 3)
    syncer.want(2)
    wait_readable(syncer)
    assert 3 == ledger.settle(NOW)
    payloads += filled(ledger, 2)
    assert ledger.sync(NOW)
    assert 2 == len(set(synced)) == len(synced)
    assert payloads == kept(ledger)
    ledger.close()
    syncer.close()


Damage = Callable[[list[Path]], None]


@pytest.mark.parametrize(
    "harm",
    [
        lambda files: files[2].unlink(),
        lambda files: files[2].write_bytes(files[1].read_bytes()),
        lambda files: (
            files[1].rename(files[1].with_suffix(".x")),
            files[2].rename(files[1]),
            files[1].with_suffix(".x").rename(files[2]),
        ),
        lambda files: files[2].write_bytes(b""),
        lambda files: os.truncate(files[2], 200),
    ],
    ids=["dropped", "doubled", "swapped", "emptied", "cut"],
)
def test_harm_to_sealed_segments_is_reported(tmp_path: Path, harm: Damage) -> None:
    """
    No altered, missing or misplaced frame goes unnoticed.
    """
    ledger = opened(tmp_path, bytes_max=600)
    payloads = filled(ledger, 60)
    ledger.close()
    harm(sorted(tmp_path.glob("*.evl")))
    ledger = opened(tmp_path)
    found = list(ledger.items())
    assert any(isinstance(item, Hole) for item in found)
    for item in found:
        assert isinstance(item, Hole) or payloads[item.first_seq - 1] == item.payload
    with pytest.raises(Damaged):
        kept(ledger)
    ledger.close()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=25), st.integers(0, 400))
def test_any_batches_in_any_segments_come_back(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], torn: int
) -> None:
    """
    Whatever is cut off the newest file, the rest is a prefix in whole decisions.
    """
    directory = tmp_path_factory.mktemp("any")
    ledger = opened(directory, bytes_max=700)
    payloads: list[bytes] = []
    for size in batches:
        batch = [payload(len(payloads) + n) for n in range(size)]
        ledger.append([(1, each) for each in batch], NOW)
        payloads += batch
    ledger.close()
    newest = max(directory.glob("*.evl"))
    os.truncate(newest, max(0, newest.stat().st_size - torn))

    ledger, after = reread(directory)

    assert payloads[: len(after)] == after
    assert len(after) == ledger.head
    ledger.close()


def test_a_look_clears_the_descriptor_and_the_next_news_rings_again() -> None:
    """The owner looks at every wake-up: without news that is one comparison and no system call."""
    syncer = GroupSyncer()
    try:
        for _ in range(2):
            assert not select.select([syncer], [], [], 0)[0]
            assert syncer.take() is None
            syncer.want(0)
            assert [syncer] == select.select([syncer], [], [], 0)[0]
            assert syncer.take() is None
    finally:
        syncer.close()
