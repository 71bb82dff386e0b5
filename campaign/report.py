"""The tables at the end, and their places in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from campaign.stage import Outcome, Row, percentile
from campaign.tally import Surroundings

PAGE: Final = Path(__file__).parent.parent / "docs" / "reliability.md"


class Marks(NamedTuple):
    """Between which lines of the page a table stands."""

    begin: str
    end: str


ONCE: Final = Marks(
    "<!-- campaign: begin (written by `make campaign WRITE=1`) -->", "<!-- campaign: end -->"
)
SUMMED: Final = Marks(
    "<!-- parts: begin (written by `make campaign N=1 WRITE=1`) -->", "<!-- parts: end -->"
)


def head(wheres: Sequence[Surroundings], numbers: str) -> list[str]:
    """When, where, and with which numbers. Of many parts: the first and the last day, each kind."""
    if not wheres:
        return []
    days = _each(where.date for where in wheres)
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    places, kernels, pythons, machines = (
        " and ".join(_each(where[at] for where in wheres)) for at in (1, 2, 3, 4)
    )
    return [
        f"Run on {when}, {numbers}, in {places}: {machines}; Linux {kernels}, CPython {pythons}."
    ]


def _each(words: Iterable[str]) -> list[str]:
    return sorted(set(words))


def table(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> list[str]:
    """One line per row."""
    lines = [
        "| row | fault | reached | held | seconds | what was seen |",
        "|---|---|---|---|---|---|",
    ]
    for row, outcome in zip(rows, outcomes, strict=True):
        held = {"ok": "yes", "failed": "**no**"}.get(outcome.status, f"*{outcome.status}*")
        reached = f"{outcome.done:,} of {outcome.wanted:,} {row.unit}"
        if outcome.parts > 1:
            reached += f", in {outcome.parts} parts"
        cells = (row.id, row.fault, reached, held, f"{outcome.seconds:,.0f}", _seen(outcome))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _seen(outcome: Outcome) -> str:
    """Counts, times and whatever else it has to say."""
    words = [f"{name}: {count:,}" for name, count in outcome.counts.items()]
    for name, values in outcome.times.items():
        half, most = percentile(values, 0.5), percentile(values, 0.99)
        words.append(f"{name} p50/p99: {half:,.0f}/{most:,.0f} ms")
    words += [f"{name}: {figure}" for name, figure in outcome.figures.items()]
    return "; ".join(words) or "–"


def write_page(marks: Marks, lines: Sequence[str], page: Path = PAGE) -> None:
    """Replace what stands between the two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(marks.begin)
    _, found, after = rest.partition(marks.end)
    if not found:
        raise LookupError(f"cannot write {page}: it has no place between {' and '.join(marks)}")
    whole = "\n".join([marks.begin, "", *lines, "", marks.end])
    page.write_text(f"{before}{whole}{after}", encoding="utf-8")
