"""Room: tests -- the ledger's writer: what it leaves behind, whatever the disk does.

Knows:     bus.ledger, bus.disk, bus.syncer; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import (
    LOG_ID,
    NOW,
    filled,
    kept,
    opened,
    read_all,
    reread,
)

from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.disk import Locked, RealDisk
from circus.bus.ledger import Ledger, StorageFailed
from circus.bus.segments import HEADER_BYTES, Hole, frame_bytes, parse_frames, segment_name
from circus.bus.values import NS_PER_SECOND, Moment


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
