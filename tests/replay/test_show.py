"""Room: tests -- `circus-replay show`: the records that are wanted, and none of the others.

Knows:     circus.replay.ask.show.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, segments, written

from circus.bus.record import Record
from circus.bus.values import NS_PER_SECOND, Moment
from circus.bus.words.lines import human_line
from circus.replay.ask.show import Wanted, follow, show
from circus.replay.moments import BadPoint, Point, begin_of, point_of, seq_at, wall_of
from circus.replay.opening import open_ledger

NOW = 1_700_000_000 * NS_PER_SECOND


class Standing:
    """A clock that stands."""

    def now(self) -> Moment:
        """Always the same."""
        return Moment(NOW, 5)


def seqs(place: Path, **wanted: Any) -> list[int]:
    return [record.seq for record in show(open_ledger(place), Wanted(**wanted))]


def the_pid(records: list[Record]) -> int:
    return int(getattr(next(r for r in records if r.name == "process.spawned").body, "pid", 0))


FILTERS: list[tuple[dict[str, Any], Callable[[Record], bool]]] = [
    ({"watcher": "DB"}, lambda r: "db" in f"{r.watcher} {r.actor} {r.to}"),
    ({"names": ("process.exited",)}, lambda r: r.name == "process.exited"),
    ({"names": ("process.*", "slot.filled")}, lambda r: r.name[:8] in {"process.", "slot.fil"}),
    ({"cause": 17}, lambda r: r.cause == 17),
    ({"after": 50, "until_seq": 60}, lambda r: 50 < r.seq <= 60),
    ({"watcher": "web", "names": ("slot.*",)}, lambda r: r.watcher == "web" and "slot." in r.name),
]


@pytest.mark.parametrize(("wanted", "fits"), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_a_filter_gives_what_a_look_at_every_record_gives(
    tmp_path: Path, wanted: dict[str, Any], fits: Callable[[Record], bool]
) -> None:
    """
    A frame that is passed over by its bytes has nothing that is wanted.
    """
    place = written(tmp_path)
    expected = [record.seq for record in records_in(place) if fits(record)]
    assert expected
    assert expected == seqs(place, **wanted)


def test_a_life_and_a_pid_are_told_from_the_start_on(tmp_path: Path) -> None:
    """
    The spawn's number finds the request, too; a pid finds what is said about the process by number.
    """
    place = written(tmp_path)
    records = records_in(place)
    first = next(r for r in records if r.name == "process.spawned")
    life = [r.seq for r in records if r.spawn_id == first.spawn_id]
    assert first.spawn_id == life[0]
    assert life == seqs(place, spawn_id=first.spawn_id)
    of_pid = seqs(place, pid=the_pid(records))
    assert set(life[1:]) <= set(of_pid)
    assert first.seq == of_pid[0]


def test_times_bound_what_is_shown(tmp_path: Path) -> None:
    """
    By each record's own time.
    """
    place = written(tmp_path)
    records = records_in(place)
    since, until = records[100].at, records[200].at
    expected = [r.seq for r in records if since <= r.at <= until]
    assert expected == seqs(place, since=since, until=until)
    opened = open_ledger(place)
    assert begin_of(opened, since) < expected[0]
    assert expected[0] - 1 == seq_at(opened, Point(wall=since - 1))
    assert records[-1].seq == seq_at(opened, Point(wall=records[-1].at + 1))
    assert 0 == seq_at(opened, Point(wall=0))
    assert 7 == seq_at(opened, Point(seq=7))


def test_a_line_is_that_of_events_and_json_has_every_field(tmp_path: Path) -> None:
    """
    One formatter for circusctl and circus-replay.
    """
    place = written(tmp_path)
    records = records_in(place)
    told = ask("show", place)
    assert [human_line(record) for record in records] == told.output.splitlines()
    assert 0 == told.exit_code
    lines = ask("show", place, "--json", "--seq", "5..7").output.splitlines()
    assert [5, 6, 7] == [json.loads(line)["seq"] for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"), [("7", [7]), ("5..7", [5, 6, 7]), ("..2", [1, 2]), ("336..", [336, 337])]
)
def test_a_range_is_written_with_two_dots(tmp_path: Path, text: str, expected: list[int]) -> None:
    """
    Either end may be missing.
    """
    told = ask("show", written(tmp_path), "--seq", text, "--json")
    assert expected == [json.loads(line)["seq"] for line in told.output.splitlines()]


@pytest.mark.parametrize("words", [("--seq", "x"), ("--seq", ".."), ("--since", "yesterday")])
def test_what_cannot_be_meant_is_refused(tmp_path: Path, words: tuple[str, str]) -> None:
    """
    With what to give.
    """
    told = ask("show", written(tmp_path), *words)
    assert (2, True) == (told.exit_code, "cannot read" in told.output)
    assert ": give " in told.output


def test_damage_is_told_beside_the_records_and_by_the_status(tmp_path: Path) -> None:
    """
    What can be read is shown.
    """
    place = written(tmp_path)
    whole = len(records_in(place))
    path = segments(place)[3]
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    told = ask("show", place)
    assert 1 == told.exit_code
    assert "cannot read all: " in told.stderr
    assert "lost" in told.stderr
    assert whole - 10 < len(told.stdout.splitlines()) < whole


def test_what_is_written_later_is_followed(tmp_path: Path) -> None:
    """
    Into the next segment, and past an end that was only half written.
    """
    place = written(tmp_path)
    whole, (*_, before, last) = len(records_in(place)), segments(place)
    rest, half = last.read_bytes(), before.read_bytes()
    last.unlink()
    before.write_bytes(half[:-10])
    steps = [lambda: before.write_bytes(half), lambda: last.write_bytes(rest)]

    def wait() -> None:
        steps.pop(0)()

    records = follow(open_ledger(place), Wanted(), wait)
    assert list(range(1, whole + 1)) == [next(records).seq for _ in range(whole)]


def test_times_are_said_as_people_say_them() -> None:
    """
    How long ago, a day, a moment with or without a zone; a number is a record.
    """
    clock = Standing()
    assert NOW - 600 * NS_PER_SECOND == wall_of("10m", clock)
    assert NOW - 5_400_500_000_000 == wall_of("1h30m500ms", clock)
    moment = datetime(2026, 11, 24, 4, 5, 6, 700_000, tzinfo=UTC)
    expected = int(moment.timestamp() * 10) * NS_PER_SECOND // 10
    assert expected == wall_of("2026-11-24T04:05:06.7Z")
    assert Point(seq=12) == point_of("12")
    assert Point(wall=expected) == point_of("2026-11-24T04:05:06.7+00:00")
    for text in ("", "10", "m", "10x", "2026-13-01", "0001-01-01"):
        with pytest.raises(BadPoint, match="cannot read"):
            wall_of(text)
