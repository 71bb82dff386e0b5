"""Room: tests -- `circus-replay verify`: every byte is accounted for, or told.

Knows:     replay.verify, replay.command; tests/bus/ledgers.py.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import NOW, FailingDisk, filled, opened
from second_reader import read_ledger

from circus.bus.disk import RealDisk
from circus.bus.segments import HEADER_BYTES, segment_name
from circus.replay.ask.commandline import EXIT_DAMAGED, EXIT_USAGE
from circus.replay.command import EXIT_TORN, program
from circus.replay.verify import Anchor, Verdict, verify

LAST_WORDS: Final = bytes(msgpack.packb([{"name": "core.stopped"}]))


def made(directory: Path, count: int = 40, *, closed: bool = True, bytes_max: int = 1000) -> None:
    ledger = opened(directory, bytes_max=bytes_max)
    filled(ledger, count)
    if closed:
        ledger.append([(1, LAST_WORDS)], NOW)
    ledger.close()


def verdict_of(directory: Path, anchor: Anchor | None = None) -> Verdict:
    return verify(RealDisk(), str(directory), anchor)


def ask(*words: object) -> Result:
    return CliRunner().invoke(program, [str(word) for word in words])


def test_a_ledger_that_is_well_is_said_to_be_closed_or_open(tmp_path: Path) -> None:
    """
    Every byte is header or frame; both readers agree about what stands there.
    """
    made(tmp_path, closed=False)
    verdict = verdict_of(tmp_path)
    assert ((), None, False) == (verdict.damage, verdict.torn, verdict.closed)
    assert (40, 40, 1) == (verdict.frames, verdict.head.seq, verdict.first_seq)
    made(tmp_path, 3)
    assert verdict_of(tmp_path).closed
    frames = read_ledger(tmp_path)
    assert verdict_of(tmp_path).frames == len(frames)
    assert verdict_of(tmp_path).bytes == sum(one.stat().st_size for one in tmp_path.glob("*.evl"))
    assert 0 == ask("verify", tmp_path).exit_code


def test_every_flipped_bit_of_a_closed_ledger_is_told(tmp_path: Path) -> None:
    """
    Sealed segments and the last one: there is no byte that nobody looks at.
    """
    made(tmp_path, 12, bytes_max=600)
    assert len(list(tmp_path.glob("*.evl"))) >= 2
    for path in tmp_path.glob("*.evl"):
        raw = path.read_bytes()
        for at in range(len(raw) * 8):
            flipped = bytearray(raw)
            flipped[at // 8] ^= 1 << at % 8
            path.write_bytes(flipped)
            verdict = verdict_of(tmp_path)
            assert verdict.damage or verdict.torn, (path.name, at)
        path.write_bytes(raw)
    assert ((), None) == verdict_of(tmp_path)[5:7]


def test_a_ledger_cut_at_any_byte_is_torn_or_damaged_but_never_well(tmp_path: Path) -> None:
    """
    Between two frames of the newest segment nobody can tell: it is the ledger of an earlier moment.
    """
    made(tmp_path, 12, closed=False, bytes_max=1 << 20)
    path = tmp_path / segment_name(1)
    raw = path.read_bytes()
    whole = 0
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        verdict = verdict_of(tmp_path)
        assert () == verdict.damage
        if verdict.torn is None:
            whole += 1
            assert verdict.head.seq < 12
        elif length % 97 == 0:
            assert EXIT_TORN == ask("verify", tmp_path).exit_code
    assert 12 == whole


def test_zeros_behind_the_end_are_padding_unless_the_ledger_was_closed(tmp_path: Path) -> None:
    """
    Reserved space may be seen as zeros after a power cut; behind the last words there is nothing.
    """
    made(tmp_path, closed=False, bytes_max=1 << 20)
    path = tmp_path / segment_name(1)
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert ((), None) == verdict_of(tmp_path)[5:7]
    made(tmp_path, 2, bytes_max=1 << 20)
    assert ((), None) == verdict_of(tmp_path)[5:7]
    with path.open("ab") as file:
        file.write(bytes(8))
    (found,) = verdict_of(tmp_path).damage
    assert (segment_name(1), 8) == (found.segment, found.bytes)
    assert EXIT_DAMAGED == ask("verify", tmp_path).exit_code


def test_a_missing_and_a_swapped_segment_are_named_with_their_records(tmp_path: Path) -> None:
    """
    Segment, offset and sequence numbers: enough to look for a copy.
    """
    made(tmp_path, 60, bytes_max=600)
    names = sorted(one.name for one in tmp_path.glob("*.evl"))
    gone, later = names[2], names[3]
    kept = (tmp_path / gone).read_bytes()
    (tmp_path / gone).unlink()
    (found,) = [one for one in verdict_of(tmp_path).damage if one.lost_to >= one.lost_from]
    assert (int(gone[:20]), int(later[:20]) - 1) == (found.lost_from, found.lost_to)
    assert names[1] == found.segment
    (tmp_path / gone).write_bytes((tmp_path / later).read_bytes())
    assert any(gone == one.segment for one in verdict_of(tmp_path).damage)
    (tmp_path / gone).write_bytes(kept + b"more")
    (found,) = verdict_of(tmp_path).damage
    assert (gone, len(kept), 4) == (found.segment, found.offset, found.bytes)


def test_what_a_successor_says_again_is_void_and_no_damage(tmp_path: Path) -> None:
    """
    A poisoned file keeps its frames; they count where they are said again (ADR-0011).
    """
    disk = FailingDisk()
    ledger = opened(tmp_path, disk)
    filled(ledger, 3)
    ledger.sync(NOW)
    filled(ledger, 2)
    disk.failing["append"] = OSError(errno.EIO, "Input/output error")
    filled(ledger, 4)
    ledger.close()
    assert 2 == len(list(tmp_path.glob("*.evl")))
    assert ((), None, 9) == (*verdict_of(tmp_path)[5:7], verdict_of(tmp_path).frames)
    assert [*range(1, 10)] == [first for first, _ in read_ledger(tmp_path)]


def test_an_anchor_holds_as_long_as_the_history_is_the_same(tmp_path: Path) -> None:
    """
    Somebody who makes another history with a right chain is found out by a witness.
    """
    made(tmp_path, 20, closed=False)
    anchor = ask("anchor", tmp_path).output.strip()
    made(tmp_path, 20)
    assert Anchor.parse(anchor) == Anchor.parse(str(Anchor.parse(anchor)))
    answer = ask("verify", tmp_path, "--anchor", anchor)
    assert (0, True) == (answer.exit_code, "the anchor holds" in answer.output)
    other = tmp_path / "other"
    ledger = opened(other)
    for number in range(30):
        ledger.append([(1, b"\x91\x80" + bytes([number]))], NOW)
    ledger.close()
    answer = ask("verify", other, "--anchor", anchor, "--json")
    told: dict[str, Any] = json.loads(answer.output)
    assert (EXIT_DAMAGED, False, []) == (answer.exit_code, told["anchored"], told["damage"])


@pytest.mark.parametrize("words", [["verify", "/nowhere"], ["verify", "."], ["anchor", "."]])
def test_where_there_is_no_ledger_the_line_is_wrong(words: list[str], tmp_path: Path) -> None:
    """
    It says what to give; a text that is no anchor is refused too.
    """
    assert EXIT_USAGE == ask(*[word.replace(".", str(tmp_path)) for word in words]).exit_code
    made(tmp_path, 2)
    answer = ask("verify", tmp_path, "--anchor", "head")
    assert (EXIT_USAGE, True) == (answer.exit_code, "an anchor is" in answer.output)


def test_a_damaged_ledger_is_not_vouched_for(tmp_path: Path) -> None:
    """
    An anchor says that all before it was well.
    """
    made(tmp_path, 20, bytes_max=1 << 20)
    path = tmp_path / segment_name(1)
    raw = bytearray(path.read_bytes())
    raw[HEADER_BYTES + 60] ^= 1
    path.write_bytes(raw)
    assert EXIT_DAMAGED == ask("anchor", tmp_path).exit_code
    assert "damage: " in ask("verify", tmp_path).output
