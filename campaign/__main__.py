"""`make campaign [ONLY=F1,F8] [SECONDS=…] [SEED=… COUNT=…] [N=1] [TABLE=1] [JSON=path] [WRITE=1]`.

The fault campaign: every row of RELIABILITY 6 that needs a real system, one after the other, each
as often as it is done in CI. SECONDS bounds all of them together; what a row has not used goes to
those behind it. A progress line shows where it is, the last thing is the table. It fails if a row
failed, or was not run. SEED and COUNT do again what a row has done; WRITE=1 puts the table into
docs/reliability.md.

N=1 works towards the numbers of a night, part by part, until SECONDS are over: each part is
written down under `.campaign/`, the next N=1 goes on behind it, and the table is the sum of all
parts. TABLE=1 does nothing but print that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from campaign import harness, report, rows, tally
from campaign.stage import Outcome, Row, Task

SECONDS: Final = 210.0
LINE_SECONDS: Final = 5.0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0 if every row was run and is good."""
    if arguments[:1] == ["--row"]:
        row = rows.find(arguments[1])
        assert row is not None, "the harness names a row that there is"
        wanted, seconds, seed, before = arguments[2:]
        return harness.play(row, Task(int(wanted), float(seconds), int(seed), int(before)))
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
    if code is not None:
        return code
    return _night(chosen, environ) if _is_set(environ, "N") else _campaign(chosen, environ)


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "0") not in {"", "0"}


def _chosen(only: str) -> list[Row]:
    names = [name for name in only.replace(",", " ").split() if name]
    found = [rows.find(name) for name in names]
    if None in found:
        raise KeyError(names[found.index(None)])
    return [row for row in rows.ALL if not names or row in found]


# --- once -----------------------------------------------------------------------------------------


def _campaign(chosen: Sequence[Row], environ: Mapping[str, str]) -> int:
    where = tally.surroundings(harness.become_reaper())
    seconds = float(environ.get("SECONDS") or SECONDS)
    outcomes = []
    for row, share in _shares(chosen, seconds):
        wanted = int(environ.get("COUNT") or row.ci)
        seed, before = (int(environ.get(name) or _drawn()) for name in ("SEED", "BEFORE"))
        outcomes.append(_run(row, Task(wanted, share, seed, before)))
    head = report.head([where], "the numbers of CI")
    return _tell(environ, report.ONCE, head, list(zip(chosen, outcomes, strict=True)))


def _drawn() -> int:
    return int.from_bytes(os.urandom(4), "little")


def _shares(chosen: Sequence[Row], seconds: float) -> Iterator[tuple[Row, float]]:
    """Each row with its part of the time that is left."""
    end = time.monotonic() + seconds
    weights = sum(row.weight for row in chosen)
    for row in chosen:
        left = max(0.0, end - time.monotonic())
        share = left * row.weight / weights
        weights -= row.weight
        yield row, share


def _run(row: Row, task: Task) -> Outcome:
    line = _Line(row, task.wanted)
    outcome = harness.run_apart(row, task, line.tell)
    line.end(outcome)
    return outcome


# --- part by part ---------------------------------------------------------------------------------


def _night(chosen: Sequence[Row], environ: Mapping[str, str]) -> int:
    if not _is_set(environ, "TABLE"):
        where = tally.surroundings(harness.become_reaper())
        seconds = float(environ.get("SECONDS") or harness.NEVER)
        for row, share in _shares(chosen, seconds):
            for outcome in _parts(row, time.monotonic() + share):
                tally.keep(outcome, where)
    parts = tally.kept()
    known = [outcome for outcome, _ in parts]
    sums = [(row, tally.summed(row, known)) for row in chosen]
    ids = {row.id for row in chosen}
    head = report.head(
        [where for outcome, where in parts if outcome.id in ids],
        "towards the numbers of a night",
    )
    return _tell(environ, report.SUMMED, head, sums)


def _parts(row: Row, end: float) -> Iterator[Outcome]:
    """What is still to do of a row, a part at a time; a bad one is the last."""
    done = tally.summed(row, [outcome for outcome, _ in tally.kept()]).done
    while done < row.night and time.monotonic() < end:
        task = Task(min(row.part, row.night - done), end - time.monotonic(), _drawn(), done)
        outcome = _run(row, task)
        yield outcome
        if not outcome.is_good:
            return
        done += outcome.done


# --- the end --------------------------------------------------------------------------------------


def _tell(
    environ: Mapping[str, str], marks: report.Marks, head: list[str],
    found: Sequence[tuple[Row, Outcome]],
) -> int:  # fmt: skip
    """The table and what is wrong, wherever it is wanted; the exit code."""
    outcomes = [outcome for _, outcome in found]
    lines = [*head, "", *report.table([row for row, _ in found], outcomes)]
    print("\n".join(["", *lines]), flush=True)
    for outcome in outcomes:
        for wrong in outcome.wrongs:
            print(f"{outcome.id}: {wrong}", flush=True)
    if environ.get("JSON"):
        whole = {"head": head, "rows": [outcome._asdict() for outcome in outcomes]}
        Path(environ["JSON"]).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if _is_set(environ, "WRITE"):
        report.write_page(marks, lines)
    bad = [outcome.id for outcome in outcomes if not outcome.is_good]
    print(f"campaign: {len(outcomes) - len(bad)} of {len(outcomes)} rows good", flush=True)
    return int(bool(bad))


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
