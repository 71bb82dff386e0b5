"""Room: replay -- one way to open a ledger: whatever of one there is, read only, frame by frame.

Knows:     bus.segments (what stands in a file), bus.codec, bus.disk.
Known by:  every verb of circus-replay; circus.replay gives `open_ledger` to programs.
Never:     writes, takes a lock, holds more than one segment, takes part of a frame for a frame.

A state directory, its `ledger/`, a copy of it with segments missing, one segment under any name, or
what a running daemon writes just now: all are read alike. What cannot be read is no exception but a
`Trouble`, told with the records that it costs, and reading goes on behind it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from circus.bus.codec import Unintelligible, records_of
from circus.bus.disk import Disk, RealDisk
from circus.bus.record import Record
from circus.bus.segments import (
    CHAIN_START,
    HEADER_BYTES,
    SUFFIX,
    Frame,
    Hole,
    Item,
    SegmentHeader,
    UnknownFormat,
    decode_header,
    next_frame,
    scan,
    scan_segment,
    segment_name,
    segment_numbers,
)
from circus.replay.skips import Skips

# A segment has at most 16 MiB, or one frame, which has no more either: twice over is no segment.
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
# What bytes that somebody else wrote may raise on their way to records.
FOREIGN: Final = (LookupError, TypeError, ValueError, AttributeError, Unintelligible)
GIVE: Final = "give a state directory, its ledger/, or one segment (*.evl)"


class CannotOpen(Exception):
    """There is no ledger to read; the text says why, and what to give instead."""


class Trouble(NamedTuple):
    """What cannot be read, and why. `lost_to` < `lost_from`: no record is missing for it."""

    segment: str
    offset: int
    lost_from: int
    lost_to: int
    what: str

    @property
    def costs(self) -> bool:
        """Whether records are missing for it."""
        return self.lost_to >= self.lost_from

    def __str__(self) -> str:
        place = f"{self.segment} at byte {self.offset}: {self.what}"
        if not self.costs:
            return place
        if self.lost_from == self.lost_to:
            return f"{place}; record {self.lost_from} is lost"
        return f"{place}; records {self.lost_from} to {self.lost_to} are lost"


class Opened:
    """One ledger, to be read any number of times; `troubles` grows with what was read.

    `done` and `size` count bytes: how far the present reading is, and how far it may go.
    """

    def __init__(self, disk: Disk, directory: str) -> None:
        self.disk = disk
        self.directory = directory
        self.troubles: list[Trouble] = []
        self.done = 0
        self.skips = Skips()
        self._newest = -1
        self._raw = b""
        self.numbers = segment_numbers(disk.list_dir(directory))
        self.log_id = self._first_log_id()

    @property
    def first_seq(self) -> int:
        """The oldest record that the files should have."""
        return self.numbers[0] if self.numbers else 1

    @property
    def size(self) -> int:
        """Bytes of all segments that there were when it was opened."""
        return sum(self._size(number) for number in self.numbers)

    def refresh(self) -> None:
        """Look again which segments there are: a daemon may have begun one."""
        self.numbers = segment_numbers(self.disk.list_dir(self.directory))

    def frames(self, after: int = 0, until: int | None = None) -> Iterator[Frame]:
        """Every verified frame that holds a record above `after` and none above `until` before it.

        Oldest first. The first and the last may hold records beyond what was asked for.
        """
        chain: bytes | None = None
        base = 0
        for number, successor in zip_longest(self.numbers, self.numbers[1:]):
            if until is not None and number > until:
                return
            if successor is None or successor > after + 1:
                reading = _Reading(self, number, successor, chain)
                yield from self._counted(reading.frames(after), base, until)
                chain = reading.chain
            base += self._size(number)
            self.done = base

    def _counted(self, frames: Iterable[Frame], base: int, until: int | None) -> Iterator[Frame]:
        """The frames of one segment, none behind the one that holds `until`."""
        for frame in frames:
            self.done = base + frame.end
            yield frame
            if until is not None and frame.last_seq >= until:
                return

    def records(self, after: int = 0, until: int | None = None) -> Iterator[Record]:
        """Every record with a number above `after`, up to `until`."""
        for frame in self.frames(after, until):
            for record in self.understood(frame):
                if record.seq > after and (until is None or record.seq <= until):
                    yield record

    def understood(self, frame: Frame) -> Sequence[Record]:
        """The records of one frame; none, and a trouble, if its payload is no records."""
        try:
            records = records_of(frame.payload)
            if all(map(_is_plausible, records, range(frame.first_seq, frame.last_seq + 1))):
                return records
            why = "its records are not those of its header"
        except FOREIGN as error:
            why = f"its payload is no records ({type(error).__name__}: {error})"
        name = self.segment_with(frame.first_seq)
        self.note(Trouble(name, frame.offset, frame.first_seq, frame.last_seq, why))
        return ()

    def segment_with(self, seq: int) -> str:
        """The name of the file in which a record stands, or should."""
        return segment_name(max((n for n in self.numbers if n <= seq), default=self.first_seq))

    def note(self, trouble: Trouble) -> None:
        """Something cannot be read; told once, however often it is met."""
        if trouble not in self.troubles:
            self.troubles.append(trouble)

    def header(self, number: int) -> SegmentHeader | None:
        """What the segment says of itself; None where that cannot be read."""
        try:
            return decode_header(self._bytes(number, HEADER_BYTES))
        except (OSError, UnknownFormat):
            return None

    def read(self, number: int) -> bytes:
        """The bytes of one segment; those of the last one that was read are at hand."""
        size = min(self._size(number), FILE_BYTES_MAX)
        if self._newest != number or len(self._raw) != size:
            self._newest, self._raw = number, self._bytes(number, size)
        return self._raw

    def _bytes(self, number: int, length: int) -> bytes:
        handle = self.disk.open_to_read(f"{self.directory}/{segment_name(number)}")
        try:
            return self.disk.read(handle, 0, length)
        finally:
            self.disk.close(handle)

    def _first_log_id(self) -> bytes:
        headers = map(self.header, self.numbers)
        return next((one.log_id for one in headers if one is not None), b"")

    def _size(self, number: int) -> int:
        try:
            handle = self.disk.open_to_read(f"{self.directory}/{segment_name(number)}")
        except OSError:
            return 0
        try:
            return self.disk.size(handle)
        finally:
            self.disk.close(handle)


class _Reading:
    """One way through one segment."""

    def __init__(
        self, opened: Opened, number: int, successor: int | None, chain: bytes | None
    ) -> None:
        self.chain: bytes | None = None  # at its end, if every frame up to there was read
        self._opened = opened
        self._number = number
        self._successor = successor
        self._before = chain
        self._raw = b""
        self._end = 0

    def frames(self, after: int) -> Iterator[Frame]:
        """Those that hold a record above `after`."""
        if not self._is_read():
            return
        for item in self._items(after):
            if isinstance(item, Hole):
                self._tell_hole(item)
                self.chain = None
            else:
                self._end, self.chain = item.end, item.chain
                if item.last_seq > after:
                    yield item
        if self._successor is None:
            self._tell_tail()

    def _is_read(self) -> bool:
        """Whether these are bytes of this ledger; if not, that is told."""
        opened = self._opened
        try:
            self._raw = opened.read(self._number)
            header = decode_header(self._raw)
        except OSError as error:
            return self._is_lost(f"cannot be read ({error.strerror})")
        except UnknownFormat as error:
            return self._is_lost(str(error))
        if header is not None and header.log_id != opened.log_id:
            return self._is_lost(f"of another ledger ({header.log_id.hex()})")
        return True

    def _is_lost(self, what: str) -> bool:
        last = self._number if self._successor is None else self._successor - 1
        trouble = Trouble(segment_name(self._number), 0, self._number, last, what)
        self._opened.note(trouble)
        return False

    def _items(self, after: int) -> Iterator[Item]:
        number, successor = self._number, self._successor
        offset, seq = self._opened.skips.begin(number, self._raw, after)
        self._end = min(offset, len(self._raw))
        if offset > HEADER_BYTES:
            return scan(self._raw, offset, seq=seq, chain=None, until=successor)
        expected = SegmentHeader(self._opened.log_id, number, 0, CHAIN_START)
        return scan_segment(self._raw, expected, chain=self._before, until=successor)

    def _tell_hole(self, hole: Hole) -> None:
        length = len(self._raw)
        if length < HEADER_BYTES and self._successor is None:
            return  # Just being made, or torn before it had a header: its tail tells.
        what = f"{max(0, min(hole.resume, length) - hole.offset)} bytes are no frame"
        if hole.offset == 0:
            what = "its header is not that of this segment"
        elif hole.offset >= length:
            what = "the file ends there"
        elif hole.lost_to < hole.lost_from:
            what = "the chain is broken"
        name = segment_name(self._number)
        self._opened.note(Trouble(name, hole.offset, hole.lost_from, hole.lost_to, what))

    def _tell_tail(self) -> None:
        rest = len(self._raw) - self._end
        if rest and self._raw[self._end :].strip(b"\0"):
            what = f"{rest} bytes are no whole frame: torn by a crash, or being written"
            name = segment_name(self._number)
            self._opened.note(Trouble(name, self._end, 1, 0, what))


class Renamed(RealDisk):
    """A directory as if its segments had the names that their first records give them."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def list_dir(self, path: str) -> list[str]:
        """The names that they should have."""
        return list(self._files)

    def open_to_read(self, path: str) -> int:
        """By the name that it should have."""
        return super().open_to_read(self._files.get(os.path.basename(path), path))


def open_ledger(place: str | os.PathLike[str]) -> Opened:
    """Open a state directory, a ledger's directory or one segment to be read; CannotOpen says why
    not. Nothing is written or locked: a daemon that uses it does not notice."""
    path = os.path.realpath(place)
    try:
        if os.path.isdir(path):
            return _of_directory(place, path)
        if os.path.isfile(path):
            return _of_file(place, path)
    except OSError as error:
        raise CannotOpen(f"cannot read {os.fspath(place)}: {error.strerror}") from error
    what = "it is no file or directory" if os.path.exists(path) else "nothing is there"
    raise CannotOpen(f"cannot read {os.fspath(place)}: {what}; {GIVE}")


def _of_directory(place: str | os.PathLike[str], path: str) -> Opened:
    inner = os.path.join(path, "ledger")
    for directory in (inner, path):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        segments = [name for name in names if name.endswith(SUFFIX)]
        if len(segment_numbers(segments)) == len(segments) > 0:
            return Opened(RealDisk(), directory)
        if segments:
            return Opened(Renamed(_by_header(directory, segments)), directory)
    raise CannotOpen(f"cannot read {os.fspath(place)}: no segment is there; {GIVE}")


def _by_header(directory: str, names: Iterable[str]) -> dict[str, str]:
    """The files by the names that their headers give them; a name that is right comes first."""
    files: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (not segment_numbers([name]), name)):
        path = os.path.join(directory, name)
        number = next(iter(segment_numbers([name])), None)
        number = _number_of(path) if number is None else number
        if number is not None:
            files.setdefault(segment_name(number), path)
    return files


def _of_file(place: str | os.PathLike[str], path: str) -> Opened:
    number = _number_of(path)
    if number is None:
        raise CannotOpen(f"cannot read {os.fspath(place)}: it is no segment of a ledger; {GIVE}")
    return Opened(Renamed({segment_name(number): path}), os.path.dirname(path))


def _number_of(path: str) -> int | None:
    """The first record's number: as its header says, its name, or its first frame."""
    disk = RealDisk()
    handle = disk.open_to_read(path)
    try:
        raw = disk.read(handle, 0, HEADER_BYTES)
        header = decode_header(raw)
        if header is not None:
            return header.first_seq
        raw = disk.read(handle, 0, FILE_BYTES_MAX)
    except UnknownFormat as error:
        raise CannotOpen(str(error)) from error
    finally:
        disk.close(handle)
    named = segment_numbers([os.path.basename(path)])
    found = next_frame(raw, 0, 0)
    if named and (found is not None or len(raw) < HEADER_BYTES):
        return named[0]
    return None if found is None else found.first_seq


def _is_plausible(record: Any, seq: int) -> bool:
    """Whether the envelope is what its types say: everybody else relies on them."""
    return (
        record.seq == seq
        and type(record.cause) is type(record.at) is type(record.boot) is int
        and type(record.incarnation) is int
        and type(record.actor) is type(record.name) is str
        and isinstance(record.watcher, str | None)
        and isinstance(record.to, str | None)
        and isinstance(record.slot, int | None)
        and isinstance(record.spawn_id, int | None)
        and isinstance(record.peer, dict | None)
    )


__all__ = ["CannotOpen", "Opened", "Trouble", "open_ledger"]
