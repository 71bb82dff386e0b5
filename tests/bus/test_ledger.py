"""Room: tests -- the ledger's writer: what it leaves behind, whatever the disk does.

Knows:     bus.ledger, bus.disk, bus.syncer; a disk that fails on command.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.disk import Locked, RealDisk
from circus.bus.ledger import Ledger, StorageFailed
from circus.bus.segments import HEADER_BYTES, Hole, frame_bytes, parse_frames, segment_name
from circus.bus.syncer import SYNC_BYTES, GroupSyncer
from circus.bus.values import NS_PER_SECOND, Moment

LOG_ID: Final = bytes(range(16))
NOW: Final = Moment(1_700_000_000 * NS_PER_SECOND, 5 * NS_PER_SECOND)
DEADLINE_SECONDS: Final = 30


class FailingDisk(RealDisk):
    """A real disk with a budget of bytes, and operations that fail when told to."""

    def __init__(self) -> None:
        self.budget: int | None = None
        self.failing: dict[str, OSError] = {}

    def append(self, handle: int, data: bytes | memoryview) -> int:
        self._fail("append")
        if self.budget is None:
            return super().append(handle, data)
        if self.budget == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(data)[: self.budget]
        self.budget -= len(part)
        return super().append(handle, part)

    def create(self, path: str) -> int:
        self._fail("create")
        return super().create(path)

    def sync(self, handle: int) -> None:
        self._fail("sync")

    def sync_dir(self, path: str) -> None:
        self._fail("sync_dir")

    def _fail(self, what: str) -> None:
        error = self.failing.pop(what, None)
        if error is not None:
            raise error


def opened(directory: Path, disk: RealDisk | None = None, bytes_max: int = 1 << 24) -> Ledger:
    return Ledger.open(
        str(directory), disk or FailingDisk(), log_id=LOG_ID, now=NOW, segment_bytes_max=bytes_max
    )


def payload(number: int) -> bytes:
    return bytes(msgpack.packb([{"seq": number, "data": "x" * (number % 17)}]))


def filled(ledger: Ledger, count: int) -> list[bytes]:
    payloads = [payload(ledger.head + 1 + n) for n in range(count)]
    for each in payloads:
        ledger.append([(1, each)], NOW)
    return payloads


def kept(ledger: Ledger, after: int = 0) -> list[bytes]:
    return [frame.payload for frame in ledger.frames(after)]


def reread(directory: Path) -> tuple[Ledger, list[bytes]]:
    ledger = opened(directory)
    return ledger, kept(ledger)


def test_what_was_appended_is_there_when_opened_again(tmp_path: Path) -> None:
    """
    Records, head, chain and the ledger's name survive; the chain goes on.
    """
    ledger = opened(tmp_path / "ledger")
    payloads = filled(ledger, 20)
    ledger.append([(2, b"\x92\x01\x02"), (1, b"\x91\x03")], NOW)
    cursor = ledger.cursor()
    ledger.close()

    ledger = Ledger.open(str(tmp_path / "ledger"), RealDisk(), log_id=b"y" * 16, now=NOW)
    assert cursor == ledger.cursor()
    assert (LOG_ID, 23, 1) == (ledger.log_id, ledger.head, ledger.first_retained)
    assert [*payloads, b"\x92\x01\x02", b"\x91\x03"] == kept(ledger)
    payloads = filled(ledger, 1)
    assert payloads == kept(ledger, after=23)
    assert 24 == len(list(ledger.items())) + 1
    ledger.close()


def test_files_are_private(tmp_path: Path) -> None:
    """
    0700 and 0600, whatever the umask of who started it.
    """
    opened(tmp_path / "ledger").close()

    assert 0o700 == (tmp_path / "ledger").stat().st_mode & 0o777
    assert 0o600 == (tmp_path / "ledger" / segment_name(1)).stat().st_mode & 0o777


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """
    One writer per ledger; the second touches nothing.
    """
    ledger = opened(tmp_path)
    with pytest.raises(Locked, match="cannot open the ledger: another process holds"):
        opened(tmp_path)
    ledger.close()
    opened(tmp_path).close()


def test_a_ledger_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """
    A file in the place of the directory.
    """
    (tmp_path / "ledger").write_text("")
    with pytest.raises(StorageFailed, match="cannot open the ledger"):
        opened(tmp_path / "ledger")


def test_a_log_cut_at_any_byte_opens_with_its_exact_prefix(tmp_path: Path) -> None:
    """
    Recovery cuts a torn tail at the frame boundary, keeps a copy, and goes on appending.
    """
    ledger = opened(tmp_path / "whole")
    payloads = filled(ledger, 60)
    ledger.close()
    raw = (tmp_path / "whole" / segment_name(1)).read_bytes()
    ends = [HEADER_BYTES]
    for each in payloads:
        ends.append(ends[-1] + frame_bytes(len(each)))
    torn = tmp_path / "torn"

    for length in range(len(raw)):
        torn.mkdir()
        (torn / segment_name(1)).write_bytes(raw[:length])
        complete = max(0, sum(end <= length for end in ends) - 1)
        ledger = opened(torn)
        cut = ledger.recovered.tail_cut
        assert (length - ends[complete] if length >= HEADER_BYTES else length) == (
            cut.bytes if cut is not None else 0
        )
        assert () == ledger.recovered.damaged
        assert payloads[:complete] == kept(ledger)
        more = filled(ledger, 1)
        ledger.close()
        ledger, after = reread(torn)
        assert payloads[:complete] + more == after
        assert None is ledger.recovered.tail_cut
        ledger.close()
        if cut is not None:
            copy = next((torn / "quarantine").iterdir())
            assert raw[length - cut.bytes : length] == copy.read_bytes()
        shutil.rmtree(torn)


def test_corruption_in_the_middle_is_never_cut(tmp_path: Path) -> None:
    """
    Frames behind the damage stay readable; the ledger goes on in a new segment and says so once.
    """
    ledger = opened(tmp_path)
    payloads = filled(ledger, 10)
    ledger.close()
    path = tmp_path / segment_name(1)
    raw = bytearray(path.read_bytes())
    at = HEADER_BYTES + sum(frame_bytes(len(each)) for each in payloads[:3])
    raw[at + 45] ^= 1
    path.write_bytes(raw)

    ledger = opened(tmp_path)
    assert [(segment_name(1), at, 4, 4)] == [tuple(d) for d in ledger.recovered.damaged]
    assert 10 == ledger.head
    assert bytes(raw) == path.read_bytes()
    assert (tmp_path / segment_name(11)).exists()
    with pytest.raises(Damaged) as caught:
        kept(ledger)
    assert (4, 4) == (caught.value.lost_from, caught.value.lost_to)
    assert payloads[4:] == kept(ledger, after=4)
    ledger.close()

    ledger = opened(tmp_path)  # It died before it could write log.damaged: told again.
    assert 1 == len(ledger.recovered.damaged)
    more = filled(ledger, 1)
    with pytest.raises(Damaged):
        ledger.read_raw(3, 1000)
    assert 3 == ledger.read_raw(0, 100_000).last_seq
    assert 10 == ledger.read_raw(4, 100_000).last_seq
    ledger.close()

    ledger = opened(tmp_path)
    assert () == ledger.recovered.damaged
    assert payloads[4:] + more == kept(ledger, after=4)
    ledger.close()


def test_a_flip_of_any_byte_loses_nothing_in_silence(tmp_path: Path) -> None:
    """
    Whatever byte changes, opening tells of a cut or of damage, and gives out no altered frame.
    """
    ledger = opened(tmp_path / "whole")
    payloads = filled(ledger, 8)
    ledger.close()
    raw = (tmp_path / "whole" / segment_name(1)).read_bytes()
    for at in range(len(raw)):
        directory = tmp_path / "flipped"
        directory.mkdir()
        flipped = bytearray(raw)
        flipped[at] ^= 1 << at % 8
        (directory / segment_name(1)).write_bytes(flipped)
        ledger = opened(directory)
        assert ledger.recovered.tail_cut or ledger.recovered.damaged
        for item in ledger.items():
            assert isinstance(item, Hole) or payloads[item.first_seq - 1] == item.payload
        ledger.close()
        shutil.rmtree(directory)


def test_segments_are_cut_by_size_and_by_age(tmp_path: Path) -> None:
    """
    The chain links them, and READ finds every seq in them.
    """
    ledger = opened(tmp_path, bytes_max=600)
    payloads = filled(ledger, 50)
    later = Moment(NOW.wall, NOW.boot + 24 * 3600 * NS_PER_SECOND)
    ledger.append([(1, b"\x91\x01")], later)
    ledger.append([(1, b"\x91\x01")], later)
    assert (tmp_path / segment_name(51)).exists()
    assert not (tmp_path / segment_name(52)).exists()
    assert len(list(tmp_path.glob("*.evl"))) > 5
    payloads += [b"\x91\x01"] * 2
    for _ in range(2):
        assert payloads == kept(ledger)
        for seq in range(52):
            assert read_all(ledger, seq) == payloads[seq:]
        ledger.close()
        ledger = opened(tmp_path, bytes_max=600)
        assert ledger.read_raw(25, 1).first_seq == 26  # Indexed at the first use.
    ledger.close()


def read_all(ledger: Ledger, after: int) -> list[bytes]:
    found: list[bytes] = []
    while (raw := ledger.read_raw(after, 200)).data:
        frames = list(parse_frames(raw.data, previous_chain=None, expected_seq=after + 1))
        assert raw.chain == frames[-1].chain
        assert raw.chain[:8] == ledger.chain8_at(raw.last_seq)
        found += [frame.payload for frame in frames]
        after = raw.last_seq
    return found


def test_a_long_log_is_read_raw_in_pieces_of_whole_frames(tmp_path: Path) -> None:
    """
    The sparse index finds any seq; a frame larger than asked for comes alone.
    """
    ledger = opened(tmp_path)
    for n in range(300):
        ledger.append([(3, b"x" * 900), (1, b"y" * (200_000 if n == 150 else 100))], NOW)
    for after in (0, 1, 2, 3, 500, 601, 602, 603, 604, 1100, 1199):
        raw = ledger.read_raw(after, 100_000)
        frames = list(parse_frames(raw.data, previous_chain=None, expected_seq=raw.first_seq))
        assert frames[0].first_seq <= after + 1 <= frames[0].last_seq
        assert raw.last_seq == frames[-1].last_seq
        assert len(raw.data) <= 100_000 or len(frames) == 1
    assert b"" == ledger.read_raw(1200, 1000).data
    assert None is ledger.chain8_at(1201)
    assert bytes(8) == ledger.chain8_at(0)
    ledger.close()


def test_trimmed_records_are_refused(tmp_path: Path) -> None:
    """
    Whoever comes too late is told where the ledger begins.
    """
    ledger = opened(tmp_path, bytes_max=600)
    filled(ledger, 30)
    ledger.close()
    first, second = sorted(tmp_path.glob("*.evl"))[:2]
    first.unlink()
    ledger = opened(tmp_path)
    assert int(second.name[:20]) == ledger.first_retained
    with pytest.raises(Trimmed) as caught:
        ledger.read_raw(0, 1000)
    assert ledger.first_retained == caught.value.first_seq
    assert None is ledger.chain8_at(1)
    assert ledger.chain8_at(ledger.first_retained - 1) is not None
    ledger.close()


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
    All of it is in memory, so the file goes to quarantine and a new one gets its name.
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    payloads = filled(ledger, 3)
    disk.failing["sync"] = OSError(errno.EIO, "Input/output error")
    assert ledger.sync(NOW)
    payloads += filled(ledger, 2)
    assert payloads == kept(ledger)
    assert 1 == len(list((tmp_path / "quarantine").iterdir()))
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
