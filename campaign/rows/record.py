"""F5, F6: the ledger's files, cut and flipped; a disk that is full or fails at the Nth call."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack

from campaign.judge import second_reader
from campaign.stage import NotHere, Stage, Wrong
from circus.bus.cursor_errors import CursorError, Damaged
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.values import NS_PER_SECOND, Moment

LOG_ID: Final = bytes(range(16))
NOW: Final = Moment(1_700_000_000 * NS_PER_SECOND, 5 * NS_PER_SECOND)
WHOLE_BYTES: Final = 1 << 20
SEGMENT_BYTES: Final = 8192
BUDGET_BYTES: Final = 256 * 1024
TMPFS_SHARE: Final = 0.1  # of the runs of F6 are on a real file system of its own
BITS: Final = 8
STRIDE: Final = 1_000_003  # a prime: all cases come once before any comes again
LOSSES: Final = ("swapped", "doubled", "dropped")


class Sick(RealDisk):
    """A real disk that has room for so many bytes, or fails at the Nth write or sync."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.failing: tuple[str, int] = ("", 0)

    def append(self, handle: int, data: bytes | memoryview) -> int:
        self._fail("append")
        if self.room is None:
            return super().append(handle, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(data)[: self.room]
        self.room -= len(part)
        return super().append(handle, part)

    def sync(self, handle: int) -> None:
        self._fail("sync")

    def sync_dir(self, path: str) -> None:
        """Nothing is cut off here: no power is."""

    def _fail(self, what: str) -> None:
        name, left = self.failing
        if what == name and left:
            self.failing = (name, left - 1)
            if left == 1:
                raise OSError(errno.EIO, "Input/output error")


def _opened(folder: Path, disk: RealDisk, bytes_max: int = SEGMENT_BYTES) -> Ledger:
    return Ledger.open(str(folder), disk, log_id=LOG_ID, now=NOW, segment_bytes_max=bytes_max)


def _payload(seq: int) -> bytes:
    return bytes(msgpack.packb([{"seq": seq, "data": "x" * (seq * 37 % 211)}]))


def _fill(ledger: Ledger, bytes_min: int) -> list[bytes]:
    """Frames until so much is written; their payloads."""
    payloads: list[bytes] = []
    written = 0
    while written < bytes_min:
        payloads.append(_payload(ledger.head + 1))
        ledger.append([(1, payloads[-1])], NOW)
        written += len(payloads[-1]) + 44
    return payloads


# --- F5 -------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two neighbouring segments: the first is sealed by the second's header."""

    names: tuple[str, str]
    contents: tuple[bytes, bytes]
    payloads: tuple[list[bytes], list[bytes]]


class Cases(NamedTuple):
    """One kind of harm to one pair, and in how many places it can be done."""

    how: Callable[[Stage, Pair, Path, int], None]
    pair: Pair
    places: int


def f5(stage: Stage) -> None:
    """Any cut, any bit, any tail: an exact prefix, or a report. The second reader agrees.

    All cases are numbered; neighbours in time are far apart in place.
    """
    whole = stage.folder / "whole"
    ledger = _opened(whole, Sick())
    _fill(ledger, WHOLE_BYTES)
    ledger.close()
    cases = [case for pair in _pairs(whole) for case in _cases_of(pair)]
    ends = [*accumulate(case.places for case in cases)]
    hurt = stage.folder / "hurt"
    while stage.going():
        at = stage.number * STRIDE % ends[-1]
        case = cases[bisect_right(ends, at)]
        hurt.mkdir()
        case.how(stage, case.pair, hurt, at % case.places)
        shutil.rmtree(hurt)
        stage.counts[case.how.__name__.replace("_", " ")] += 1
        stage.did()
    stage.figures["of all cases"] = f"{ends[-1]:,}"


def _cases_of(pair: Pair) -> Iterator[Cases]:
    first, second = map(len, pair.contents)
    yield Cases(cut, pair, second)
    yield Cases(bit_of_the_newest, pair, second * BITS)
    yield Cases(bit_of_a_sealed, pair, first * BITS)
    yield Cases(segment_lost, pair, len(LOSSES))


def _pairs(folder: Path) -> list[Pair]:
    names = sorted(path.name for path in folder.glob("*.evl"))
    payloads: dict[str, list[bytes]] = {name: [] for name in names}
    starts = [int(name.partition(".")[0]) for name in names]
    for frame in LedgerReader(str(folder)).frames():
        at = max(start for start in starts if start <= frame.first_seq)
        payloads[names[starts.index(at)]].append(frame.payload)
    return [
        Pair(
            (one, two), ((folder / one).read_bytes(), (folder / two).read_bytes()),
            (payloads[one], payloads[two]),
        )
        for one, two in pairwise(names)
    ]  # fmt: skip


def _write(folder: Path, pair: Pair, first: bytes, second: bytes | None) -> None:
    (folder / pair.names[0]).write_bytes(first)
    if second is not None:
        (folder / pair.names[1]).write_bytes(second)


def cut(stage: Stage, pair: Pair, folder: Path, length: int) -> None:
    """The newest segment ends anywhere, perhaps in zeros, garbage or an old frame."""
    first, second = pair.contents
    tail = stage.dice.choice([
        b"", b"", bytes(stage.dice.randrange(1, 600)),
        stage.dice.randbytes(stage.dice.randrange(1, 600)), first[64 : 64 + 400],
    ])  # fmt: skip
    hurt = second[:length] + tail
    # Padding is zeros, too: a tail of zeros may complete a frame.
    both = min(len(hurt), len(second))
    same = next((at for at in range(both) if hurt[at] != second[at]), both)
    wanted = [*pair.payloads[0], *_prefix(pair.payloads[1], same)]
    _write(folder, pair, first, hurt)
    ledger = _opened(folder, Sick())
    found = [frame.payload for frame in ledger.frames(ledger.first_retained - 1)]
    ledger.close()
    stage.expect(found == wanted, f"cut at {length} with {len(tail)} B behind: {len(found)} frames")
    _agree(stage, folder, f"cut at {length}")


def _prefix(payloads: Sequence[bytes], length: int) -> Iterator[bytes]:
    end = 64
    for payload in payloads:
        end += (40 + len(payload) + 7) // 8 * 8
        if end > length:
            return
        yield payload


def bit_of_the_newest(stage: Stage, pair: Pair, folder: Path, at: int) -> None:
    """One bit is another one where the writer goes on."""
    first, second = pair.contents
    _write(folder, pair, first, _flipped(second, at))
    ledger = _opened(folder, Sick())
    told = ledger.recovered.tail_cut is not None or ledger.recovered.damaged
    ledger.close()
    stage.expect(told, f"bit {at} of the newest segment flipped, and nothing is said")
    _only_true(stage, pair, folder, f"bit {at} of the newest")


def bit_of_a_sealed(stage: Stage, pair: Pair, folder: Path, at: int) -> None:
    """One bit is another one where nobody writes any more: who reads it is told."""
    first, second = pair.contents
    _write(folder, pair, _flipped(first, at), second)
    stage.expect(_only_true(stage, pair, folder, f"bit {at}"), f"bit {at} of a sealed one: silence")


def segment_lost(stage: Stage, pair: Pair, folder: Path, at: int) -> None:
    """Swapped with its neighbour, twice the same, or not there."""
    first, second = pair.contents
    how = LOSSES[at]
    if how == "swapped":
        _write(folder, pair, second, first)
    elif how == "doubled":
        _write(folder, pair, first, first)
    else:
        _write(folder, pair, first, second)
        os.rename(folder / pair.names[1], folder / f"{int(pair.names[1][:20]) + 7:020}.evl")
    stage.expect(_only_true(stage, pair, folder, how), f"a segment {how}, and nothing is said")


def _flipped(data: bytes, bit: int) -> bytes:
    hurt = bytearray(data)
    hurt[bit // BITS] ^= 1 << bit % BITS
    return bytes(hurt)


def _only_true(stage: Stage, pair: Pair, folder: Path, how: str) -> bool:
    """A reader gets nothing but what was written, in order; whether it was told of a loss."""
    written = [*pair.payloads[0], *pair.payloads[1]]
    reader = LedgerReader(str(folder), int(pair.names[0][:20]) - 1)
    found: list[bytes] = []
    told = False
    for _ in range(3):  # it goes on behind a damage that it has told
        try:
            found += [frame.payload for frame in reader.frames()]
        except Damaged:
            told = True
        except (CursorError, OSError) as error:  # whatever it says is a report, too
            told = bool(str(error))
            break
    rest = iter(written)
    stage.expect(all(one in rest for one in found), f"{how}: a reader was given what is not true")
    return told or len(found) < len(written)


def _agree(stage: Stage, folder: Path, how: str) -> None:
    """Both readers read the same frames."""
    ours = [frame.payload for frame in LedgerReader(str(folder), _before(folder)).frames()]
    theirs = [records for _, records in second_reader().read_ledger(folder)]
    same = [msgpack.unpackb(one, strict_map_key=False) for one in ours] == theirs
    stage.expect(same, f"{how}: the second reader reads something else")


def _before(folder: Path) -> int:
    return min(int(path.name.partition(".")[0]) for path in folder.glob("*.evl")) - 1


# --- F6 -------------------------------------------------------------------------------------------


CALLS_MAX: Final = 2_000


def f6(stage: Stage) -> None:
    """Full at any byte, failing at any call: nothing is lost, and it is said."""
    place = stage.folder / "ledger"
    total = BUDGET_BYTES + 2 * CALLS_MAX
    while stage.going():
        at = stage.number * STRIDE % total
        if at < BUDGET_BYTES:
            kind = "full at a byte"
            _full(stage, place, at)
        else:
            what = ("append", "sync")[at % 2]
            kind = f"EIO at {what}"
            _eio(stage, place, what, 1 + (at - BUDGET_BYTES) // 2)
        shutil.rmtree(place)
        stage.counts[kind] += 1
        stage.did()
    stage.figures["of all cases"] = f"{total:,}"
    stage.counts["real file systems filled"] = _real(stage)


def _full(stage: Stage, place: Path, room: int) -> None:
    disk = Sick()
    ledger = _opened(place, disk, BUDGET_BYTES // 4)
    disk.room = room
    payloads = _fill(ledger, room + 2 * 1024)
    if not ledger.degraded:
        raise Wrong(f"full at byte {room}, and not degraded")
    kept = [frame.payload for frame in LedgerReader(str(place)).frames()]
    stage.expect(payloads[: len(kept)] == kept, f"full at byte {room}: no prefix")
    disk.room = None
    gap = ledger.retry(NOW)
    lost = gap.frames if gap is not None else -1
    stage.expect(lost >= 0, f"full at byte {room}: it does not come back")
    _reread(stage, ledger, place, payloads if lost == 0 else [], f"full at byte {room}")


def _eio(stage: Stage, place: Path, what: str, number: int) -> None:
    disk = Sick()
    ledger = _opened(place, disk, BUDGET_BYTES // 4)
    disk.failing = (what, number)
    payloads: list[bytes] = []
    for _ in range(number + 3):
        payloads += _fill(ledger, 1)
        if what == "sync":
            ledger.sync(NOW)
    stage.expect(not disk.failing[1], f"EIO at {what} {number}: it never came to that")
    if ledger.degraded:
        ledger.retry(NOW)
    _reread(stage, ledger, place, payloads, f"EIO at {what} {number}")


def _reread(stage: Stage, ledger: Ledger, place: Path, payloads: list[bytes], how: str) -> None:
    payloads = [*payloads, *_fill(ledger, 300)] if payloads else payloads
    ledger.close()
    again = _opened(place, Sick())
    again.close()
    if payloads:
        found = [frame.payload for frame in LedgerReader(str(place)).frames()]
        stage.expect(found == payloads, f"{how}: {len(found)} of {len(payloads)} frames afterwards")


def _real(stage: Stage) -> int:
    """A tmpfs of its own, filled by somebody else at any moment, and emptied again."""
    place = stage.folder / "tmpfs"
    place.mkdir()
    count = 0
    for _ in range(max(1, round(stage.done * TMPFS_SHARE))):
        if stage.wrongs or (stage.left() < 0 and count >= 3):
            break
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise NotHere("a file system of its own cannot be mounted here: needs root")
        try:
            _filled(stage, place)
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
        count += 1
    return count


def _filled(stage: Stage, place: Path) -> None:
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        ledger = _opened(place / "ledger", RealDisk(), BUDGET_BYTES // 4)
        payloads = _fill(ledger, stage.dice.randrange(1, BUDGET_BYTES // 2))
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    payloads += _fill(ledger, 20_000)
    stage.expect(ledger.degraded, "a full file system, and not degraded")
    ballast.unlink()
    gap: Any = ledger.retry(NOW)
    stage.expect(gap is not None, "there is room again, and it does not come back")
    _reread(stage, ledger, place / "ledger", payloads, "a full file system")
