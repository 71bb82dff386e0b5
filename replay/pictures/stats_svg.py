"""Room: replay -- the figures of `stats` as one SVG: availability and deaths over time, ends.

Knows:     replay.pictures.stats and stats_shown.
Known by:  replay.pictures.verbs.
Never:     loads a font, a script or anything else; puts a name where it could become markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from xml.sax.saxutils import escape

from circus.bus.values import NS_PER_SECOND
from circus.bus.words.plain import plain
from circus.replay.pictures.lives import MEANINGS, Outcome
from circus.replay.pictures.stats import Stats, WatcherStats
from circus.replay.pictures.stats_shown import percent, spoken

WIDTH: Final = 960
LEFT: Final = 150
STRIP: Final = 480
ENDS: Final = 250
ROW: Final = 64
HIGH: Final = 22
HEAD: Final = 46
COLOURS: Final = {
    Outcome.ASKED: "#8c959f", Outcome.FORCED: "#e69f00", Outcome.CLEAN: "#009e73",
    Outcome.FAILED: "#d55e00", Outcome.KILLED: "#b5428c", Outcome.LOST: "#444c56",
    Outcome.UNBORN: "#f0b48a",
}  # fmt: skip
Place = tuple[float, float, float, float]  # x, y, width, height
STYLE: Final = """
  rect { shape-rendering: crispEdges }
  .back { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1b1f24 }
  .soft { fill: #57606a; font-size: 11px } .name { font-weight: 600 }
  .up { fill: #0072b2 } .down { fill: #d55e00 } .none { fill: #e4e8ec } .death { fill: #b5428c }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } text { fill: #e6edf3 } .soft { fill: #9da7b3 } .none { fill: #21262d }
    .up { fill: #56b4e9 } .death { fill: #e58ac4 }
  }
"""


def as_svg(figures: Stats) -> str:
    """A row for each watcher; dark where the reader's system is."""
    height = HEAD + ROW * max(1, len(figures.watchers)) + 30
    begin, end = _clock(figures.since), _clock(figures.until)
    title = f"{begin} to {end}, {spoken(figures.until - figures.since)}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        _text(12, 20, title),
        _text(LEFT, 38, "available, and below it ends that nobody asked for", "soft"),
        _text(LEFT + STRIP + 30, 38, "ends of processes", "soft"),
    ]
    most = max((sum(one.ends.values()) for one in figures.watchers), default=1) or 1
    for number, one in enumerate(figures.watchers):
        lines += _row(one, HEAD + number * ROW, most)
    lines += _legend(height - 14)
    return "\n".join([*lines, "</svg>", ""])


def _row(one: WatcherStats, y: int, most: int) -> Iterator[str]:
    yield _text(12, y + 16, plain(one.watcher), "name")
    yield _text(12, y + 32, percent(one.availability), "soft")
    yield _text(12, y + 46, f"{one.restarts:,} restarts", "soft")
    yield from _availability(one.slices, y + 4)
    yield from _deaths(one.deaths, y + 4 + HIGH + 2)
    x = float(LEFT + STRIP + 30)
    for outcome in COLOURS:
        count = one.ends.get(outcome.value, 0)
        share = count / most * ENDS
        if count:
            label = f"{outcome.value}: {count:,}"
            yield _box((x, y + 4, share, HIGH), f'fill="{COLOURS[outcome]}"', label)
        x += share
    yield _text(LEFT + STRIP + 30, y + 44, _ends(one), "soft")


def _availability(slices: Sequence[float | None], y: int) -> Iterator[str]:
    step, x = STRIP / max(1, len(slices)), float(LEFT)
    for share, alike in groupby(slices):
        width = step * len(list(alike))
        if share is None:
            yield _box((x, y + HIGH - 2, width, 2), 'class="none"')
        else:
            high = HIGH * share
            if share < 1:
                missing = (x, y, width, HIGH - high)
                yield _box(missing, 'class="down"', f"{percent(share)} available")
            yield _box((x, y + HIGH - high, width, high), 'class="up"')
        x += width


def _deaths(deaths: Sequence[int], y: int) -> Iterator[str]:
    most, step = max(deaths, default=0), STRIP / max(1, len(deaths))
    for number, count in enumerate(deaths):
        if count:
            high = max(1.5, count / most * (HIGH - 4))
            place = (LEFT + number * step, y, step, high)
            yield _box(place, 'class="death"', f"{count:,} ended")


def _legend(y: int) -> Iterator[str]:
    x = 12
    for outcome, colour in COLOURS.items():
        yield _box((x, y - 9, 10, 10), f'fill="{colour}"', MEANINGS[outcome])
        yield _text(x + 14, y, outcome.value, "soft")
        x += 78


def _ends(one: WatcherStats) -> str:
    ends = sorted(one.ends.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {name}" for name, count in ends[:4]) or "none"


def _box(place: Place, style: str, title: str = "") -> str:
    x, y, width, height = place
    tip = f"<title>{escape(title)}</title>" if title else ""
    size = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f"<rect {size} {style}>{tip}</rect>"


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{kind}>{escape(text)}</text>'


def _clock(at: int) -> str:
    moment = datetime.fromtimestamp(at // NS_PER_SECOND, UTC)
    return moment.isoformat(" ").removesuffix("+00:00") + " UTC"


__all__ = ["as_svg"]
