"""Room: replay -- a point of a record, as a person says it: a number, a time, or how long ago.

Knows:     bus.clock (what `ago` is counted from), bus.segments.
Known by:  the verbs of circus-replay.
Never:     decodes a payload to know its time.

Wall clocks are set back now and then, so that times do not rise with the numbers: the point at a
time is the last record before the clock first showed a later one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, NamedTuple

from circus.bus.clock import Clock, SystemClock
from circus.bus.segments import Frame
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.replay.opening import Opened

UNITS: Final = {
    "ms": NS_PER_MS, "s": NS_PER_SECOND, "m": 60 * NS_PER_SECOND, "h": 3600 * NS_PER_SECOND,
    "d": 86400 * NS_PER_SECOND, "w": 7 * 86400 * NS_PER_SECOND,
}  # fmt: skip
PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
AGO: Final = re.compile(rf"(?:{PART.pattern})+")
NS_PER_MICROSECOND: Final = 1000
# `at` in the first record's map, as eight bytes. No text can look like it: behind 0xcf in UTF-8
# there is a byte above 0x7f, and no time has that for its first byte.
AT: Final = b"\xa2at\xcf"
HIGH_BIT: Final = 0x80


class BadPoint(ValueError):
    """Not a number, a time, or a duration; the text says what to give."""


class Point(NamedTuple):
    """One of the two."""

    seq: int | None = None
    wall: int | None = None


def wall_of(text: str, clock: Clock | None = None) -> int:
    """Wall ns of `10m` (ago), `2026-11-24`, `2026-11-24T04:05:06.7Z`; local time without a zone."""
    ago = AGO.fullmatch(text)
    if ago:
        spent = sum(round(float(number) * UNITS[unit]) for number, unit in PART.findall(text))
        return (SystemClock() if clock is None else clock).now().wall - spent
    try:
        moment = datetime.fromisoformat(text).astimezone()
        whole = int(moment.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError) as error:
        raise BadPoint(
            f"cannot read {text!r} as a time: give 10m (ago), 2026-11-24 or 2026-11-24T04:05:06"
        ) from error
    return whole * NS_PER_SECOND + moment.microsecond * NS_PER_MICROSECOND


def point_of(text: str, clock: Clock | None = None) -> Point:
    """A record's number, or a time."""
    if text.isascii() and text.isdigit():
        return Point(seq=int(text))
    return Point(wall=wall_of(text, clock))


def at_of(frame: Frame) -> int | None:
    """When it was decided, wall ns, read off the bytes; None: its records must be asked."""
    payload = frame.payload
    at = payload.find(AT) + len(AT)
    if at < len(AT) or at + 8 > len(payload) or payload[at] >= HIGH_BIT:
        return None
    return int.from_bytes(payload[at : at + 8], "big")


def time_of(opened: Opened, frame: Frame) -> int | None:
    """When it was decided, wall ns; None where that cannot be understood."""
    at = at_of(frame)
    if at is None:
        records = opened.understood(frame)
        return records[0].at if records else None
    return at


def begin_of(opened: Opened, wall: int) -> int:
    """A number after which every record of `wall` or later stands, by the segments' headers."""
    begin = opened.first_seq - 1
    for number in opened.numbers[1:]:
        header = opened.header(number)
        if header is None or header.created >= wall:
            break
        begin = number - 1
    return begin


def seq_at(opened: Opened, point: Point) -> int:
    """The last record that was there at this point; 0 if none was."""
    if point.seq is not None:
        return point.seq
    assert point.wall is not None, point
    last = begin_of(opened, point.wall)
    for frame in opened.frames(last):
        at = time_of(opened, frame)
        if at is not None and at > point.wall:
            break
        last = frame.last_seq
    return last


__all__ = ["BadPoint", "Point", "at_of", "begin_of", "point_of", "seq_at", "time_of", "wall_of"]
