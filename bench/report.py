"""Figures into tables: medians over the rounds, and ratios taken within each round."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.stage import ROOT, Figures, Item, Target

PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- figures: begin (written by `make bench`) -->"
END: Final = "<!-- figures: end -->"

COUNTS: Final = frozenset({"kills", "lost", "holes"})

# One entry per turn: {} where it was not asked to, None where it could not be measured.
Rounds = Sequence[Figures | None]
Results = Mapping[str, Rounds]


def middle(rounds: Rounds, figure: str) -> float | None:
    """The median of one figure."""
    values = [figures[figure] for figures in rounds if figures and figure in figures]
    return median(values) if values else None


def ratio(item: Item, results: Results, label: str, figure: str) -> float | None:
    """The median of the ratios to bare, each of one round."""
    if label not in results:
        return None
    reference = item.against.get(figure, figure)
    return _ratio(results[label], figure, results.get(item.bare, ()), reference)


def over_floor(item: Item, results: Results, label: str, figure: str) -> float | None:
    """The same to the contestant that makes the same system calls and no more."""
    floor = item.floors.get(label, "")
    return _ratio(results[label], figure, results.get(floor, ()), figure)


def _ratio(rounds: Rounds, figure: str, others: Rounds, reference: str) -> float | None:
    ratios = [
        mine[figure] / other[reference]
        for mine, other in zip(rounds, others, strict=False)
        if mine and other and figure in mine and other.get(reference)
    ]
    return median(ratios) if ratios else None


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f}"


def figures_of(results: Results) -> list[str]:
    """Every figure's name, in the order of first use."""
    found: dict[str, None] = {}
    for rounds in results.values():
        for figures in rounds:
            found.update(dict.fromkeys(figures or ()))
    return list(found)


def table(item: Item, results: Results) -> Iterator[str]:
    """One Markdown table; ratios to bare in brackets."""
    names = figures_of(results)
    yield f"| {item.title} | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for label, rounds in results.items():
        cells = [_cell(item, results, label, name) for name in names]
        failed = sum(figures is None for figures in rounds)
        missed = f" ({failed} of {len(rounds)} runs failed)" if failed else ""
        yield f"| {label}{missed} | {' | '.join(cells)} |"


def _cell(item: Item, results: Results, label: str, figure: str) -> str:
    value = number(middle(results[label], figure))
    if label == item.bare or figure in COUNTS or value == "–":
        return value
    found = ratio(item, results, label, figure) if item.ratios else None
    above = over_floor(item, results, label, figure)
    told = [] if found is None else [f"{found:.2f} ×"]
    told += [] if above is None else [f"{above:.2f} × floor"]
    return f"{value} ({'; '.join(told)})" if told else value


def verdict(item: Item, results: Results, target: Target) -> str:
    """One row of "what it must reach"."""
    label = item.ours if item.ours in results else next(iter(results))
    actual = _judged(item, results, label, target)
    floor = _judged(item, results, item.floors.get(label, ""), target)
    unit = " × bare" if target.kind == "ratio" else ""
    met = "–" if actual is None else "yes" if target.is_met(actual) else "**no**"
    cells = (
        item.title, target.figure, f"{target.bound} {target.limit:,g}{unit}",
        f"{number(actual)}{unit}", "–" if floor is None else f"{number(floor)}{unit}", met,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _judged(item: Item, results: Results, label: str, target: Target) -> float | None:
    """What a target looks at."""
    if target.kind == "ratio":
        return ratio(item, results, label, target.figure)
    return middle(results.get(label, ()), target.figure)


def verdicts(outcome: Mapping[str, tuple[Item, Results]]) -> Iterator[str]:
    """The whole table of targets."""
    yield "| what | figure | target | here | floor | met |"
    yield "|---|---|---|---|---|---|"
    for item, results in outcome.values():
        for target in item.targets:
            yield verdict(item, results, target)


def surroundings(command: str, rounds: int) -> Iterator[str]:
    """Machine, kernel, Python, date and command."""
    today = dt.datetime.now(tz=dt.UTC).date()
    yield f"* Written on {today} by `{command}`: {rounds} interleaved round(s), medians of rounds."
    yield f"* {os.cpu_count()} × {_processor()}, {_memory()}; Linux {platform.release()}."
    yield f"* {platform.python_implementation()} {platform.python_version()}; state under /tmp."
    load = os.getloadavg()
    yield f"* Load average at the end: {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f}."


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"^MemTotal:\s*(\d+) kB", text)
    return f"{int(found[1]) / 1024 / 1024:.0f} GiB" if found else "memory unknown"


def document(
    outcome: Mapping[str, tuple[Item, Results]], notes: Mapping[str, list[str]], head: Iterator[str]
) -> str:
    """The generated section."""
    lines = [*head, "", "### What must be reached", "", *verdicts(outcome), ""]
    for item, results in outcome.values():
        lines += [f"### {item.title}", "", item.about, "", *table(item, results), ""]
        read_back = notes.get(item.name, [])
        if read_back:
            text = f"{len(read_back)} ledgers read back; the last: {read_back[-1]}."
            lines += [text, ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def write_page(section: str) -> None:
    """Replace what is between the markers."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, f"cannot write {PAGE}: it has no {BEGIN}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{section}\n{END}{after}", encoding="utf-8")
