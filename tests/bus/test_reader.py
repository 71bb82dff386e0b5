"""Room: tests -- reading a ledger that somebody else writes.

Knows:     bus.reader, bus.ledger; the second reader of this folder.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgpack
import pytest

from circus.bus.cursor_errors import Damaged, Diverged, Reset, Trimmed
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.segments import HEADER_BYTES, segment_name
from circus.bus.values import NS_PER_SECOND, Cursor, Moment

LOG_ID: Final = bytes(range(16))
NOW: Final = Moment(1_700_000_000 * NS_PER_SECOND, 5 * NS_PER_SECOND)
VECTORS: Final = Path(__file__).parent.parent / "vectors" / "ledger"


def _second_reader() -> ModuleType:
    path = Path(__file__).parent / "second_reader.py"
    spec = importlib.util.spec_from_file_location("second_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


second_reader: Final = _second_reader()


def opened(directory: Path, log_id: bytes = LOG_ID) -> Ledger:
    return Ledger.open(str(directory), RealDisk(), log_id=log_id, now=NOW, segment_bytes_max=600)


def filled(ledger: Ledger, count: int) -> list[int]:
    """Frames of two records each; the first seqs of them."""
    firsts: list[int] = []
    for _ in range(count):
        firsts.append(ledger.head + 1)
        records = [{"seq": ledger.head + 1}, {"seq": ledger.head + 2, "data": "x" * 20}]
        ledger.append([(2, bytes(msgpack.packb(records)))], NOW)
    return firsts


def firsts_of(reader: LedgerReader) -> list[int]:
    return [frame.first_seq for frame in reader.frames()]


def by_the_first(directory: Path) -> list[tuple[int, Any]]:
    return [
        (frame.first_seq, msgpack.unpackb(frame.payload))
        for frame in LedgerReader(str(directory)).frames()
    ]


def test_a_reader_follows_the_tail_across_segments(tmp_path: Path) -> None:
    """
    Each look gives what is new, in order, without a gap or a double, whatever was cut meanwhile.
    """
    ledger = opened(tmp_path)
    reader = LedgerReader(str(tmp_path))
    assert [] == firsts_of(reader)
    for count in (1, 3, 20, 1, 40):
        assert filled(ledger, count) == firsts_of(reader)
        assert ledger.cursor() == reader.cursor()
    assert [] == firsts_of(reader)
    assert len(list(tmp_path.glob("*.evl"))) > 3
    ledger.close()


def test_reading_goes_on_from_any_cursor(tmp_path: Path) -> None:
    """
    Also from the middle of a frame: that frame is given again, whole.
    """
    ledger = opened(tmp_path)
    firsts = filled(ledger, 30)
    for seq in range(61):
        chain8 = ledger.chain8_at(seq)
        assert chain8 is not None
        wanted = [first for first in firsts if first + 1 > seq]
        assert wanted == firsts_of(LedgerReader(str(tmp_path), Cursor(LOG_ID, seq, chain8)))
        assert wanted == firsts_of(LedgerReader(str(tmp_path), seq))
    ledger.close()


def test_an_incomplete_last_frame_is_not_yet_there(tmp_path: Path) -> None:
    """
    Byte by byte the last frame arrives; the reader gives it once it is whole.
    """
    ledger = opened(tmp_path / "whole")
    firsts = filled(ledger, 3)
    ledger.close()
    raw = (tmp_path / "whole" / segment_name(1)).read_bytes()
    path = tmp_path / "slow" / segment_name(1)
    path.parent.mkdir()
    reader = LedgerReader(str(path.parent))
    seen: list[int] = []
    with path.open("wb", buffering=0) as file:
        for at in range(len(raw)):
            assert seen == firsts[: len(seen)]
            file.write(raw[at : at + 1])
            seen += firsts_of(reader)
            assert len(seen) == max(0, at + 1 - HEADER_BYTES) // ((len(raw) - HEADER_BYTES) // 3)
    assert firsts == seen


def test_a_cursor_of_another_ledger_is_reset(tmp_path: Path) -> None:
    """
    The reader is told the new ledger's name, also if it was replaced under its eyes.
    """
    ledger = opened(tmp_path)
    filled(ledger, 2)
    reader = LedgerReader(str(tmp_path))
    firsts_of(reader)
    with pytest.raises(Reset) as caught:
        firsts_of(LedgerReader(str(tmp_path), Cursor(b"z" * 16, 2, bytes(8))))
    assert LOG_ID == caught.value.log_id
    ledger.close()
    shutil.rmtree(tmp_path)
    ledger = opened(tmp_path, b"n" * 16)
    filled(ledger, 3)
    with pytest.raises(Reset):
        firsts_of(reader)
    ledger.close()


@pytest.mark.parametrize("seq", [1, 2, 4, 60, 62, 1000])
def test_a_cursor_with_another_history_has_diverged(tmp_path: Path, seq: int) -> None:
    """
    Another chain at that seq, or a seq beyond the head.
    """
    ledger = opened(tmp_path)
    filled(ledger, 30)
    with pytest.raises(Diverged) as caught:
        firsts_of(LedgerReader(str(tmp_path), Cursor(LOG_ID, seq, b"\1" * 8)))
    assert seq == caught.value.seq
    ledger.close()


def test_a_tail_that_was_read_and_then_lost_has_diverged(tmp_path: Path) -> None:
    """
    A power cut took what this reader had seen.
    """
    ledger = opened(tmp_path)
    filled(ledger, 3)
    ledger.close()
    reader = LedgerReader(str(tmp_path))
    firsts_of(reader)
    path = tmp_path / segment_name(1)
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(Diverged):
        firsts_of(reader)


def test_what_was_trimmed_is_refused(tmp_path: Path) -> None:
    """
    The reader is told where the ledger begins.
    """
    ledger = opened(tmp_path)
    filled(ledger, 30)
    first, second = sorted(tmp_path.glob("*.evl"))[:2]
    first.unlink()
    with pytest.raises(Trimmed) as caught:
        firsts_of(LedgerReader(str(tmp_path)))
    assert int(second.name[:20]) == caught.value.first_seq
    ledger.close()


@pytest.mark.parametrize("sealed", [True, False])
def test_damage_is_told_once_and_then_read_over(tmp_path: Path, *, sealed: bool) -> None:
    """
    Damaged names what is lost; the same reader, or a new one, goes on behind it.
    """
    ledger = opened(tmp_path)
    firsts = filled(ledger, 30 if sealed else 4)
    path = tmp_path / segment_name(1)
    raw = bytearray(path.read_bytes())
    raw[HEADER_BYTES + 45] ^= 1
    path.write_bytes(raw)

    reader = LedgerReader(str(tmp_path))
    with pytest.raises(Damaged) as caught:
        firsts_of(reader)
    assert (1, 2) == (caught.value.lost_from, caught.value.lost_to)
    assert firsts[1:] == firsts_of(reader)
    assert firsts[1:] == firsts_of(LedgerReader(str(tmp_path), caught.value.lost_to))
    ledger.close()


@pytest.mark.parametrize("size", [0, 30, 63, 64, 100])
def test_a_sealed_segment_that_lost_its_end_is_damage(tmp_path: Path, size: int) -> None:
    """
    Even if nothing is left of it.
    """
    ledger = opened(tmp_path)
    firsts = filled(ledger, 30)
    second, third = sorted(tmp_path.glob("*.evl"))[1:3]
    os.truncate(second, size)
    reader = LedgerReader(str(tmp_path))
    with pytest.raises(Damaged) as caught:
        firsts_of(reader)
    following = int(third.name[:20])
    assert (int(second.name[:20]), following - 1) == (caught.value.lost_from, caught.value.lost_to)
    assert [first for first in firsts if first >= following] == firsts_of(reader)
    ledger.close()


def test_both_readers_agree(tmp_path: Path) -> None:
    """
    The second was written from the text of the format: it reads the same frames, torn or not.
    """
    ledger = opened(tmp_path)
    filled(ledger, 40)
    ledger.close()
    newest = max(tmp_path.glob("*.evl"))
    for size in range(newest.stat().st_size, HEADER_BYTES - 1, -1):
        os.truncate(newest, size)
        assert second_reader.read_ledger(tmp_path) == by_the_first(tmp_path)


def test_both_readers_agree_on_the_golden_segment() -> None:
    """
    Format 1 is frozen.
    """
    assert second_reader.read_ledger(VECTORS) == by_the_first(VECTORS)
    assert 3 == len(by_the_first(VECTORS))


def test_the_second_reader_knows_nothing_of_circus() -> None:
    """
    At most a hundred lines, the standard library and msgpack.
    """
    text = (Path(__file__).parent / "second_reader.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    imported = {
        line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported - {"__future__", "msgpack"} <= sys.stdlib_module_names | {"typing"}


def test_what_lies_before_the_cursor_is_passed_by(tmp_path: Path) -> None:
    """Its bytes may be rotten: whoever has had those records asks for the ones behind them."""
    ledger = Ledger.open(str(tmp_path), RealDisk(), log_id=LOG_ID, now=NOW)
    firsts = filled(ledger, 6)
    ledger.close()
    path = tmp_path / segment_name(1)
    raw = bytearray(path.read_bytes())
    raw[HEADER_BYTES + 60] ^= 1  # in the payload of the first frame
    path.write_bytes(bytes(raw))

    assert firsts[3:] == firsts_of(LedgerReader(str(tmp_path), firsts[3] - 1))
    raw[HEADER_BYTES] ^= 1  # and now no header leads from it to the next frame
    path.write_bytes(bytes(raw))
    assert firsts[3:] == firsts_of(LedgerReader(str(tmp_path), firsts[3] - 1))
