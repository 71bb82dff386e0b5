"""Room: tests -- the bytes of the ledger: any change of any bit is seen.

Knows:     bus.segments.
Known by:  pytest.
Never:     touches a disk, except to read the golden files.
"""

from __future__ import annotations

import json
from pathlib import Path
from struct import pack_into
from typing import Final
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.bus.cursor_errors import Damaged
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    Frame,
    Hole,
    Item,
    SegmentHeader,
    UnknownFormat,
    decode_header,
    encode_frame,
    encode_header,
    frame_bytes,
    parse_frames,
    scan,
    scan_segment,
    segment_name,
    segment_numbers,
)

LOG_ID: Final = bytes(range(16))
HEADER: Final = SegmentHeader(LOG_ID, 1, 1_700_000_000_000_000_000, CHAIN_START)
VECTORS: Final = Path(__file__).parent.parent / "vectors" / "ledger"


def frames_of(payloads: list[bytes], seq: int = 1, chain: bytes = CHAIN_START) -> list[bytes]:
    raws = []
    for payload in payloads:
        raw, chain = encode_frame(1, payload, seq=seq, chain=chain)
        raws.append(raw)
        seq += 1
    return raws


def whole(raw: bytes, until: int | None = None) -> list[Item]:
    return list(scan_segment(raw, HEADER, chain=None, until=until))


def payloads_of(items: list[Item]) -> list[bytes]:
    return [item.payload for item in items if isinstance(item, Frame)]


def payload(number: int) -> bytes:
    return b"p%d" % number * (1 + number % 13)


def test_a_segment_cut_at_any_byte_is_the_exact_prefix_of_its_frames() -> None:
    """
    A torn write shows whole decisions only, and is not taken for corruption.
    """
    payloads = [payload(n) for n in range(200)]
    raws = frames_of(payloads)
    raw = encode_header(HEADER) + b"".join(raws)
    ends = [HEADER_BYTES + sum(map(len, raws[: n + 1])) for n in range(len(raws))]

    for length in range(HEADER_BYTES, len(raw) + 1):
        complete = sum(end <= length for end in ends)
        items = list(scan(raw[:length], HEADER_BYTES, seq=1, chain=CHAIN_START))
        assert payloads[:complete] == payloads_of(items)
        assert complete == len(items)


def test_every_flipped_bit_is_noticed() -> None:
    """
    In a sealed segment a flip shows as a hole; nothing altered is ever given out.
    """
    payloads = [payload(n) * 3 for n in range(40)]
    raw = encode_header(HEADER) + b"".join(frames_of(payloads))
    assert len(raw) >= 4096
    until = len(payloads) + 1
    assert payloads == payloads_of(whole(raw, until))

    for at in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        if at // 8 in range(16, 32) or at // 8 in range(32, 48) or at // 8 < 16:
            assert decode_header(bytes(flipped)) is None
        items = whole(bytes(flipped), until)
        assert any(isinstance(item, Hole) for item in items)
        for item in items:
            if isinstance(item, Frame):
                assert payloads[item.first_seq - 1] == item.payload


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 333, b"EFL1" * 100, b"EFL1\xff\xff\xff"])
def test_a_tail_of_zeros_or_garbage_is_no_frame(tail: bytes) -> None:
    """
    What file systems leave behind a crash does not extend the ledger.
    """
    raw = encode_header(HEADER) + b"".join(frames_of([b"a", b"b"]))

    assert [b"a", b"b"] == payloads_of(whole(raw + tail))
    assert len(whole(raw + tail)) == 2


def test_a_stale_frame_behind_the_end_is_ignored() -> None:
    """
    A block of a deleted file may hold a valid frame, but of an older number.
    """
    raws = frames_of([b"a", b"b", b"c"])

    items = whole(encode_header(HEADER) + b"".join(raws) + raws[1])

    assert [b"a", b"b", b"c"] == payloads_of(items)
    assert len(items) == 3


@pytest.mark.parametrize(
    ("order", "given_out", "lost"),
    [
        ((0, 2, 3), (0, 2, 3), [(2, 2)]),  # dropped
        ((0, 0, 1, 2, 3), (0, 1, 2, 3), [(2, 1)]),  # duplicated
        ((0, 2, 1, 3), (0, 2, 3), [(2, 2), (4, 3)]),  # swapped
    ],
)
def test_dropped_doubled_and_swapped_frames_are_holes(
    order: tuple[int, ...], given_out: tuple[int, ...], lost: list[tuple[int, int]]
) -> None:
    """
    Each frame knows its number and its predecessor.
    """
    payloads = [b"a", b"b", b"c", b"d"]
    raws = frames_of(payloads)

    items = whole(encode_header(HEADER) + b"".join(raws[n] for n in order))

    assert [payloads[n] for n in given_out] == payloads_of(items)
    assert lost == [(i.lost_from, i.lost_to) for i in items if isinstance(i, Hole)]


def test_a_forged_frame_breaks_the_chain_behind_it() -> None:
    """
    A frame with another payload and a right crc is caught by its successor.
    """
    raws = frames_of([b"a", b"b", b"c"])
    raws[1] = frames_of([b"B"], seq=2, chain=whole_chain(raws[:1]))[0]

    items = whole(encode_header(HEADER) + b"".join(raws))

    assert [(3, 2)] == [(i.lost_from, i.lost_to) for i in items if isinstance(i, Hole)]


def whole_chain(raws: list[bytes]) -> bytes:
    raw = b"".join(raws)
    return list(parse_frames(raw, previous_chain=CHAIN_START, expected_seq=1))[-1].chain


def test_frames_behind_the_successors_first_are_void() -> None:
    """
    A segment ends where the next begins, whatever follows in the file.
    """
    raw = encode_header(HEADER) + b"".join(frames_of([b"a", b"b", b"c"])) + b"garbage"

    assert [b"a", b"b"] == payloads_of(whole(raw, until=3))
    assert len(whole(raw, until=3)) == 2


def test_what_is_missing_before_the_successor_is_a_hole() -> None:
    """
    A sealed segment that ends early lost something.
    """
    raw = encode_header(HEADER) + b"".join(frames_of([b"a", b"b"]))

    assert Hole(len(raw), len(raw), 3, 6) == whole(raw, until=7)[-1]


def test_another_format_is_refused_and_not_taken_for_damage() -> None:
    """
    An old program must not quarantine what a newer one wrote.
    """
    raw = bytearray(encode_header(HEADER))
    pack_into("<HHI", raw, 8, 2, 0, 0)
    pack_into("<I", raw, 12, crc32(raw))

    with pytest.raises(UnknownFormat, match="cannot read the ledger: format 2"):
        decode_header(bytes(raw))


def test_a_read_answer_must_be_perfect() -> None:
    """
    parse_frames gives all frames, or Damaged at the first byte that does not fit.
    """
    raws = frames_of([b"a", b"b", b"c"])

    answer = b"".join(raws[1:])
    chain = whole_chain(raws[:1])
    frames = list(parse_frames(answer, previous_chain=chain, expected_seq=2))
    assert [b"b", b"c"] == [frame.payload for frame in frames]
    for broken, seq, before in (
        (answer[:-1], 2, chain),
        (answer, 3, chain),
        (answer, 2, b"x" * 16),
    ):
        with pytest.raises(Damaged):
            list(parse_frames(broken, previous_chain=before, expected_seq=seq))


@given(st.lists(st.tuples(st.integers(1, 65535), st.binary(min_size=1, max_size=300)), max_size=30))
def test_what_was_encoded_is_scanned_again(decisions: list[tuple[int, bytes]]) -> None:
    """
    Any payload, any count: the same frames, numbered without holes.
    """
    raw, seq, chain = encode_header(HEADER), 1, CHAIN_START
    for count, content in decisions:
        frame, chain = encode_frame(count, content, seq=seq, chain=chain)
        assert frame_bytes(len(content)) == len(frame)
        raw += frame
        seq += count

    items = whole(raw, until=seq)

    assert decisions == [(i.count, i.payload) for i in items if isinstance(i, Frame)]
    assert len(items) == len(decisions)


def test_only_twenty_digits_make_a_segments_name() -> None:
    """
    Other files in the directory are not ours.
    """
    names = [segment_name(20), "lock", segment_name(3), "3.evl", "quarantine", "x" * 24]

    assert [3, 20] == segment_numbers(names)


def test_the_golden_segment_reads_as_it_always_did() -> None:
    """
    Format 1 is frozen: these bytes were written once and are never edited.
    """
    raw = (VECTORS / segment_name(1)).read_bytes()
    expected = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))

    header = decode_header(raw)
    assert header is not None
    assert expected["log_id"] == header.log_id.hex()
    assert expected["created"] == header.created
    assert expected["frames"] == [
        {
            "offset": frame.offset, "first_seq": frame.first_seq, "count": frame.count,
            "payload": frame.payload.hex(), "chain": frame.chain.hex(),
        }
        for frame in scan(raw, HEADER_BYTES, seq=1, chain=header.previous_chain)
        if isinstance(frame, Frame)
    ]  # fmt: skip
