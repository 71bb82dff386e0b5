"""Room: replay -- the figures of `stats`: a picture in the terminal, a table, an SVG, JSON.

Knows:     replay.pictures.stats, bus.words.
Known by:  replay.pictures.verbs.
Never:     says by colour alone what it says: each colour has a character of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.bus.words.plain import plain
from circus.replay.pictures.lives import Outcome
from circus.replay.pictures.stats import Spread, Stats, WatcherStats

CAUSES_SHOWN: Final = 8
NAME_WIDTH: Final = 16
BAR_WIDTH: Final = 30
# From which share of the time on: the character, and the colour of `click.style`.
LEVELS: Final = ((1.0, "#", "green"), (0.9, "+", "yellow"), (1e-9, "-", "yellow"), (0, ".", "red"))
UNWANTED: Final = " "
SECONDS: Final = ("least", "median", "p95", "most")
COLUMNS: Final = (
    "watcher", "wanted", "running", "started", "restarts", "availability", "down_seconds",
    *(f"ended_{outcome.value}" for outcome in Outcome if outcome is not Outcome.RUNNING),
    *(f"uptime_{name}_seconds" for name in SECONDS),
    *(f"ready_{name}_seconds" for name in SECONDS),
)  # fmt: skip


class Piece(NamedTuple):
    """A text and the colour that it may have."""

    text: str
    colour: str | None = None


def terminal(figures: Stats, width: int) -> Iterator[list[Piece]]:
    """Lines of pieces: each watcher with its availability over time, its ends and its times."""
    span = figures.until - figures.since
    yield [Piece(f"{figures.records:,} records over {spoken(span)}")]
    for one in figures.watchers:
        yield []
        yield from _watcher(one, max(20, width - NAME_WIDTH - 3))
    yield []
    yield [Piece("# all ran  + nine tenths and more  - some  . none  blank: not wanted")]


def as_csv(figures: Stats) -> str:
    """A line for each watcher; seconds, and shares between 0 and 1."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in figures.watchers:
        table.writerow(_row(one))
    return text.getvalue()


def as_json(figures: Stats) -> dict[str, Any]:
    """Everything, durations in nanoseconds."""
    return {
        "since": figures.since, "until": figures.until, "slice": figures.width,
        "records": figures.records, "watchers": [_watcher_json(one) for one in figures.watchers],
    }  # fmt: skip


def percent(share: float | None) -> str:
    """Never rounded up to all: 99.9996 % is not 100 %."""
    if share is None:
        return "unknown"
    if share >= 1:
        return "100 %"
    return f"{int(share * 1e5) / 1e3:.3f} %"


def resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most so many, each the least of those that it stands for."""
    count = min(width, len(values))
    parts = (
        values[n * len(values) // count : (n + 1) * len(values) // count] for n in range(count)
    )
    return [min((v for v in part if v is not None), default=None) for part in parts]


def spoken(span: int) -> str:
    """`250 ms`, `1.5 s`, `2 m 05 s`, `3 h 12 m`, `4 d 05 h`."""
    seconds = span / NS_PER_SECOND
    if seconds < 1:
        return f"{span / NS_PER_MS:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    for high, low, name, lesser in ((86400, 3600, "d", "h"), (3600, 60, "h", "m")):
        if whole >= high:
            return f"{whole // high} {name} {whole % high // low:02d} {lesser}"
    return f"{whole // 60} m {whole % 60:02d} s"


def _watcher(one: WatcherStats, width: int) -> Iterator[list[Piece]]:
    name = plain(one.watcher)
    missing = f", {spoken(one.down)} missing" if one.down else ""
    running = f"{one.running} of {one.wanted} run at the end"
    yield [
        Piece(f"{name:<{NAME_WIDTH}} ", "cyan"),
        Piece(f"{running}, available {percent(one.availability)}{missing}"),
    ]
    yield _labelled("availability", [_level(share) for share in resampled(one.slices, width)])
    counts = f"{one.started} started, {one.restarts} of them restarts"
    yield _labelled("processes", [Piece(counts)])
    if one.uptime.lives:
        yield _labelled("uptime", [Piece(_spread(one.uptime))])
    if one.ready.lives:
        yield _labelled("time to ready", [Piece(_spread(one.ready))])
    yield from _causes(one)


def _labelled(label: str, pieces: list[Piece]) -> list[Piece]:
    return [Piece(f"  {label:<{NAME_WIDTH - 2}} "), *pieces]


def _level(share: float | None) -> Piece:
    if share is None:
        return Piece(UNWANTED)
    return next(Piece(sign, colour) for least, sign, colour in LEVELS if share >= least)


def _causes(one: WatcherStats) -> Iterator[list[Piece]]:
    most = max(one.causes.values(), default=1)
    label = "ended"
    for cause, number in list(one.causes.items())[:CAUSES_SHOWN]:
        bar = "#" * max(1, round(number / most * BAR_WIDTH))
        wanted = cause.startswith(Outcome.ASKED.value)
        piece = Piece(f"{bar:<{BAR_WIDTH}} ", None if wanted else "red")
        yield _labelled(label, [Piece(f"{number:>7,} "), piece, Piece(plain(cause))])
        label = ""
    rest = sum(list(one.causes.values())[CAUSES_SHOWN:])
    if rest:
        yield _labelled(label, [Piece(f"{rest:>7,} of other causes; see --json")])


def _spread(spread: Spread) -> str:
    return (
        f"median {spoken(spread.median)}, from {spoken(spread.least)} to "
        f"{spoken(spread.most)}, 95 % within {spoken(spread.p95)}"
    )


def _row(one: WatcherStats) -> list[object]:
    ended = [one.ends.get(each.value, 0) for each in Outcome if each is not Outcome.RUNNING]
    availability = "" if one.availability is None else f"{one.availability:.9f}"
    return [
        one.watcher, one.wanted, one.running, one.started, one.restarts, availability,
        one.down / NS_PER_SECOND, *ended, *_seconds(one.uptime), *_seconds(one.ready),
    ]  # fmt: skip


def _seconds(spread: Spread) -> list[object]:
    if not spread.lives:
        return [""] * len(SECONDS)
    return [value / NS_PER_SECOND for value in spread[1:]]


def _watcher_json(one: WatcherStats) -> dict[str, Any]:
    return {
        "watcher": one.watcher, "wanted": one.wanted, "running": one.running,
        "started": one.started, "restarts": one.restarts, "ends": dict(one.ends),
        "causes": dict(one.causes), "uptime": one.uptime._asdict(), "ready": one.ready._asdict(),
        "availability": one.availability, "down": one.down, "slices": list(one.slices),
        "deaths": list(one.deaths),
    }  # fmt: skip


__all__ = [
    "COLUMNS", "Piece", "as_csv", "as_json", "percent", "resampled", "spoken",
    "terminal",
]  # fmt: skip
