"""`make campaign [N=1] [ONLY=F1,F8] [SECONDS=…] [SEED=…] [JSON=…] [WRITE=1]`: the fault campaign.

Every row of RELIABILITY 6 that needs a real system, one after the other, each as often as the table
says for CI, or with N=1 as it says for a night; SECONDS bounds all of them together (420 without
N=1), and what a row has not used goes to those behind it. A progress line shows where it is. The
last thing is the table. It fails if a row failed, or was not run. WRITE=1 puts the table into
docs/reliability.md. SEED repeats what a row has drawn; it is printed with a failure.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from campaign import harness, report, rows
from campaign.stage import Outcome, Row

SECONDS: Final = 420.0
LINE_SECONDS: Final = 5.0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0 if every row was run and is good."""
    if arguments[:1] == ["--row"]:
        _, name, wanted, seconds = arguments
        row = rows.find(name)
        assert row is not None, "the harness names a row that there is"
        return harness.play(row, int(wanted), float(seconds))
    if arguments:
        print(__doc__)
        return os.EX_OK if arguments == ["--help"] else os.EX_USAGE
    try:
        chosen = _chosen(environ.get("ONLY", ""))
    except KeyError as unknown:
        names = ", ".join(row.id for row in rows.ALL)
        print(f"cannot run {unknown}: name some of {names}", file=sys.stderr)
        return os.EX_USAGE
    code = harness.namespaced(arguments)
    return _campaign(chosen, environ) if code is None else code


def _chosen(only: str) -> list[Row]:
    names = [name for name in only.replace(",", " ").split() if name]
    found = [rows.find(name) for name in names]
    if None in found:
        raise KeyError(names[found.index(None)])
    return [row for row in rows.ALL if not names or row in found]


def _campaign(chosen: Sequence[Row], environ: Mapping[str, str]) -> int:
    night = environ.get("N", "0") not in {"", "0"}
    seconds = float(environ.get("SECONDS") or (harness.NEVER if night else SECONDS))
    place = harness.become_reaper()
    outcomes = [*_outcomes(chosen, seconds, night=night)]
    head = report.surroundings(place, night=night)
    print("\n".join(["", *head, "", *report.table(chosen, outcomes)]), flush=True)
    for outcome in outcomes:
        for wrong in outcome.wrongs:
            print(f"{outcome.id}: {wrong}", flush=True)
    if environ.get("JSON"):
        whole = {"head": head, "rows": [outcome._asdict() for outcome in outcomes]}
        Path(environ["JSON"]).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if environ.get("WRITE", "0") not in {"", "0"}:
        report.write_page([*head, "", *report.table(chosen, outcomes)])
    bad = [outcome.id for outcome in outcomes if not outcome.is_good]
    print(f"campaign: {len(outcomes) - len(bad)} of {len(outcomes)} rows good", flush=True)
    return int(bool(bad))


def _outcomes(chosen: Sequence[Row], seconds: float, *, night: bool) -> Iterator[Outcome]:
    end = time.monotonic() + seconds
    weights = sum(row.weight for row in chosen)
    for row in chosen:
        left = max(0.0, end - time.monotonic())
        wanted = row.night if night else row.ci
        share = left * row.weight / weights
        weights -= row.weight
        line = _Line(row, wanted)
        outcome = harness.run_apart(row, wanted, share, line.tell)
        line.end(outcome)
        yield outcome


class _Line:
    """The progress line: rewritten on a terminal, now and then a new one elsewhere."""

    def __init__(self, row: Row, wanted: int) -> None:
        self._row, self._wanted = row, wanted
        self._begun = self._shown = time.monotonic()
        self.tell(0)

    def tell(self, done: int) -> None:
        now = time.monotonic()
        is_terminal = sys.stdout.isatty()
        if not is_terminal and done and now - self._shown < LINE_SECONDS:
            return
        self._shown = now
        self._print(f"{done:,}/{self._wanted:,} {self._row.unit}", last=not is_terminal)

    def end(self, outcome: Outcome) -> None:
        self._print(f"{outcome.done:,}/{outcome.wanted:,} {self._row.unit}: {outcome.status}")

    def _print(self, text: str, *, last: bool = True) -> None:
        passed = time.monotonic() - self._begun
        whole = f"{self._row.id}: {self._row.fault}: {text}, {passed:.0f} s"
        start, end = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")
        print(f"{start}{whole}", end="\n" if last else end, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
