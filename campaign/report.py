"""The table at the end, and its place in docs/reliability.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from campaign.stage import Outcome, Row

PAGE: Final = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN: Final = "<!-- campaign: begin (written by `make campaign WRITE=1`) -->"
END: Final = "<!-- campaign: end -->"


def surroundings(place: str, *, night: bool) -> list[str]:
    """When, where, and with which numbers."""
    numbers = "the numbers of a night" if night else "the numbers of CI"
    return [
        f"Run on {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, {numbers}, in {place}: Linux "
        f"{platform.release()}, CPython {platform.python_version()}, {os.cpu_count()} processors."
    ]


def table(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> list[str]:
    """One line per row."""
    lines = [
        "| row | fault | reached | held | seconds | what was seen |",
        "|---|---|---|---|---|---|",
    ]
    for row, outcome in zip(rows, outcomes, strict=True):
        held = {"ok": "yes", "failed": "**no**"}.get(outcome.status, f"*{outcome.status}*")
        seen = "; ".join(f"{what}: {figure}" for what, figure in outcome.figures.items())
        reached = f"{outcome.done:,} of {outcome.wanted:,} {row.unit}"
        cells = (row.id, row.fault, reached, held, f"{outcome.seconds:.0f}", seen or "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_page(lines: Sequence[str]) -> None:
    """Replace what stands between the two marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"cannot write {PAGE}: it has no place between {BEGIN!r} and {END!r}")
    whole = "\n".join([BEGIN, "", *lines, "", END])
    PAGE.write_text(f"{before}{whole}{after}", encoding="utf-8")
