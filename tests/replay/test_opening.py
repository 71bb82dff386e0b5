"""Room: tests -- whatever there is of a ledger is opened in one way, and what is missing is told.

Knows:     circus.replay.opening.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, segments, written

from circus.bus.segments import SegmentHeader, encode_frame, encode_header, segment_name
from circus.replay.opening import CannotOpen, Trouble, open_ledger

VERBS = ("verify", "anchor")


def numbers(place: Path) -> list[int]:
    return [record.seq for record in records_in(place)]


def test_a_state_directory_and_its_ledger_and_a_copy_say_the_same(tmp_path: Path) -> None:
    """
    All records, in order, without a trouble; each verb takes any of them.
    """
    state = written(tmp_path / "state")
    whole = numbers(state)
    assert whole == list(range(1, len(whole) + 1))
    assert whole == numbers(state / "ledger")
    for place in (state, state / "ledger"):
        assert [0, 0] == [ask(verb, place).exit_code for verb in VERBS]


def test_one_segment_is_read_under_any_name(tmp_path: Path) -> None:
    """
    Its header says which records it has.
    """
    state = written(tmp_path / "state")
    middle, after = segments(state)[3:5]
    mailed = tmp_path / "attachment (1).bin"
    mailed.write_bytes(middle.read_bytes())
    assert list(range(int(middle.stem), int(after.stem))) == numbers(mailed)
    assert [0, 0] == [ask(verb, mailed).exit_code for verb in VERBS]


def test_a_copy_with_other_names_is_put_in_order(tmp_path: Path) -> None:
    """
    By what their headers say.
    """
    state = written(tmp_path / "state")
    whole, copy = numbers(state), tmp_path / "copy"
    copy.mkdir()
    for at, segment in enumerate(reversed(segments(state))):
        (copy / f"part{at}.evl").write_bytes(segment.read_bytes())
    assert whole == numbers(copy)


@pytest.mark.parametrize("after", [0, 1, 13, 14, 100, 336, 337, 400])
def test_reading_begins_and_ends_where_it_is_told(tmp_path: Path, after: int) -> None:
    """
    Frames outside are not given; records within a frame neither.
    """
    state = written(tmp_path)
    opened = open_ledger(state)
    whole = numbers(state)
    assert [n for n in whole if n > after] == [r.seq for r in opened.records(after)]
    until = after + 20
    wanted = [n for n in whole if after < n <= until]
    assert wanted == [r.seq for r in opened.records(after, until)]
    assert [] == opened.troubles


def test_a_missing_segment_is_told_with_its_records(tmp_path: Path) -> None:
    """
    What is before and behind it is read.
    """
    state = written(tmp_path)
    whole = numbers(state)
    gone, following = segments(state)[4:6]
    lost = range(int(gone.stem), int(following.stem))
    gone.unlink()
    opened = open_ledger(state)
    assert [n for n in whole if n not in lost] == [r.seq for r in opened.records()]
    told = [(one.lost_from, one.lost_to) for one in opened.troubles]
    assert [(lost[0], lost[-1])] == told
    assert f"records {lost[0]} to {lost[-1]} are lost" in str(opened.troubles[0])


def test_a_damaged_frame_costs_its_own_records_only(tmp_path: Path) -> None:
    """
    Wherever the byte is; what is lost is what is told, told once.
    """
    state = written(tmp_path)
    whole, path = numbers(state), segments(state)[2]
    raw = path.read_bytes()
    for at in range(0, len(raw), 29):
        flipped = bytearray(raw)
        flipped[at] ^= 0x10
        path.write_bytes(flipped)
        opened = open_ledger(state)
        read = [r.seq for r in opened.records()]
        lost = [n for one in opened.troubles for n in range(one.lost_from, one.lost_to + 1)]
        assert whole == sorted({*read, *lost}), at
        assert len(read) == len(set(read))
        assert opened.troubles
        before = list(opened.troubles)
        assert read[100:] == [r.seq for r in opened.records(read[99])]
        assert before == opened.troubles
        assert 1 == ask("verify", state).exit_code


def test_a_torn_end_is_told_and_costs_nothing(tmp_path: Path) -> None:
    """
    A daemon may be writing it just now.
    """
    state = written(tmp_path)
    whole, last = numbers(state), segments(state)[-1]
    last.write_bytes(last.read_bytes()[:-5])
    opened = open_ledger(state)
    read = [r.seq for r in opened.records()]
    assert read == whole[: len(read)]
    assert read[-1] >= whole[-1] - 5
    assert [False] == [one.costs for one in opened.troubles]
    assert "torn by a crash, or being written" in str(opened.troubles[0])


def test_a_segment_of_another_ledger_is_left_out(tmp_path: Path) -> None:
    """
    Its records are missing, and whose they are is told.
    """
    state = written(tmp_path)
    foreign, following = segments(state)[5:7]
    header = SegmentHeader(b"somebody else's.", int(foreign.stem), 0, bytes(16))
    foreign.write_bytes(encode_header(header) + foreign.read_bytes()[64:])
    opened = open_ledger(state)
    lost = range(int(foreign.stem), int(following.stem))
    assert not set(lost) & {r.seq for r in opened.records()}
    assert "of another ledger" in opened.troubles[0].what
    assert (lost[0], lost[-1]) == opened.troubles[0][2:4]


def test_a_payload_that_is_no_record_is_told(tmp_path: Path) -> None:
    """
    Whole frames of a program that means something else by them.
    """
    path = tmp_path / segment_name(1)
    raw, _ = encode_frame(1, b"\x91\x80", seq=1, chain=bytes(16))
    path.write_bytes(encode_header(SegmentHeader(b"somebody else's.", 1, 0, bytes(16))) + raw)
    opened = open_ledger(tmp_path)
    assert [] == list(opened.records())
    assert [(1, 1)] == [(one.lost_from, one.lost_to) for one in opened.troubles]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_ledger_is_refused_with_what_to_give(tmp_path: Path, verb: str) -> None:
    """
    Nothing there, an empty directory, a foreign file, a pipe: exit status 2, no traceback.
    """
    (tmp_path / "foreign").write_bytes(os.urandom(5000))
    (tmp_path / "short").write_bytes(b"\x89EVL")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("nothing", "empty", "foreign", "short", "pipe"):
        told = ask(verb, tmp_path / name)
        assert (2, True) == (told.exit_code, "cannot read" in told.output), told.output
        assert "give a state directory" in told.output
        with pytest.raises(CannotOpen):
            open_ledger(tmp_path / name)


def test_a_newer_format_is_refused_not_taken_for_damage(tmp_path: Path) -> None:
    """
    Use the version that wrote it.
    """
    raw = bytearray(encode_header(SegmentHeader(bytes(16), 1, 0, bytes(16))))
    raw[8] = 9
    from zlib import crc32

    raw[12:16] = crc32(bytes(raw[:12] + bytes(4) + raw[16:])).to_bytes(4, "little")
    (tmp_path / "one").write_bytes(raw)
    with pytest.raises(CannotOpen, match="format 9"):
        open_ledger(tmp_path / "one")
    (tmp_path / segment_name(1)).write_bytes(raw)
    opened = open_ledger(tmp_path)
    assert [] == list(opened.records())
    assert "format 9" in opened.troubles[0].what


def test_a_trouble_says_what_it_costs() -> None:
    """
    One record, several, or none.
    """
    place = "x.evl at byte 64: torn"
    assert place == str(Trouble("x.evl", 64, 1, 0, "torn"))
    assert f"{place}; record 7 is lost" == str(Trouble("x.evl", 64, 7, 7, "torn"))
