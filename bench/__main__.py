"""`make bench [ROUNDS=n] [ONLY=name,name] [PEERS=0|1]`: measure in turn, print, write the page.

Within one round every contestant of an item runs once, one after the other, and the next round
begins with the first again (A B C A B C): what the machine does meanwhile hits all of them alike,
and a ratio is taken only between figures of the same round. ONLY has names or their beginnings.
A run with ONLY, PEERS=0 or --toy prints and does not touch docs/performance.md; WRITE=1 overrules.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import traceback
import xmlrpc.client
from collections.abc import Mapping, Sequence
from typing import Any, Final

import zmq

from bench import contestants, items, ours, peers, report
from bench.readback import LedgerWrong
from bench.stage import Figures, Item, Run, keep_folder, opened

ROUNDS: Final = 3
FLAGS: Final = {"--help", "--names", "--toy"}
# What may go wrong with one contestant and must not end the others' measuring.
FAULTS: Final = (
    contestants.CannotMeasure, LedgerWrong, OSError, AssertionError, subprocess.SubprocessError,
    zmq.ZMQError, http.client.HTTPException, xmlrpc.client.Error,
)  # fmt: skip


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0 if every ledger added up and every run of ours was measured."""
    answered = _answered(arguments)
    if answered is not None:
        return answered
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))  # everything is ended then
    toy = "--toy" in arguments
    rounds = int(environ.get("ROUNDS", "1" if toy else str(ROUNDS)))
    only = [name for name in environ.get("ONLY", "").split(",") if name]
    chosen = [item for item in items.ALL if not only or any(_means(name, item) for name in only)]
    if not chosen:
        names = ", ".join(item.name for item in items.ALL)
        sys.stderr.write(f"cannot measure {only}: name some of {names}\n")
        return os.EX_USAGE
    keep_folder()
    if not toy:
        ours.install()
    asked = environ.get("PEERS", "0" if toy else "1") == "1"
    there = {peer for peer in contestants.PEERS if asked and peers.install(peer)}
    outcome: dict[str, tuple[Item, dict[str, list[Figures | None]]]] = {}
    notes: dict[str, list[str]] = {}
    wrong: list[str] = []
    for item in chosen:
        results = measured(item, rounds, runs_of(item, there), _Book(toy, notes, wrong))
        outcome[item.name] = (item, results)
        print("\n".join(["", *report.table(item, results)]), flush=True)
    print("\n".join(["", *report.verdicts(outcome)]), flush=True)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if environ.get("WRITE") == "1" or not (toy or only or not asked):
        head = report.surroundings(_command(environ), rounds)
        report.write_page(report.document(outcome, notes, head))
    return int(bool(wrong))


def _answered(arguments: Sequence[str]) -> int | None:
    """The exit code, if there is nothing to measure: a question, or an argument of another tool."""
    unknown = sorted(set(arguments) - FLAGS)
    if unknown:
        known = ", ".join(sorted(FLAGS))
        sys.stderr.write(f"cannot use {' '.join(unknown)}: say {known} or nothing\n")
        return os.EX_USAGE
    if "--help" in arguments:
        print(__doc__)
        return os.EX_OK
    if "--names" in arguments:
        print("\n".join(item.name for item in items.ALL))
        return os.EX_OK
    return None


def _means(name: str, item: Item) -> bool:
    """A whole name means that item; anything else all that begin with it."""
    whole = any(name == other.name for other in items.ALL)
    return name == item.name if whole else item.name.startswith(name)


class _Book:
    """What is noted beside the figures."""

    def __init__(self, toy: Any, notes: dict[str, list[str]], wrong: list[str]) -> None:
        self.toy = bool(toy)
        self.notes = notes
        self.wrong = wrong


def runs_of(item: Item, there: set[str]) -> dict[str, Run]:
    """The contestants without those peers that are not wanted or cannot be installed."""
    absent = contestants.PEERS.keys() - there
    return {label: run for label, run in item.runs.items() if label.partition(",")[0] not in absent}


def measured(
    item: Item, rounds: int, runs: Mapping[str, Run], book: _Book
) -> dict[str, list[Figures | None]]:
    """All rounds of one item."""
    results: dict[str, list[Figures | None]] = {label: [] for label in runs}
    for number in range(rounds * item.turns):
        for label, run in runs.items():
            if number % item.turns and label.partition(",")[0] in contestants.PEERS:
                results[label].append({})
                continue
            print(f"{item.name}: turn {number + 1}: {label}", file=sys.stderr, flush=True)
            results[label].append(once(item, label, run, book))
    return results


def once(item: Item, label: str, run: Run, book: _Book) -> Figures | None:
    """One run; what fails is said, and fails the whole command if it is ours."""
    try:
        with opened(toy=book.toy) as stage:
            figures = run(stage)
            book.notes.setdefault(item.name, []).extend(stage.notes)
            return figures
    except FAULTS as error:
        traceback.print_exc()
        if label.partition(",")[0] not in contestants.PEERS:
            book.wrong.append(f"{item.name}: {label}: {error}")
        return None


def _command(environ: Mapping[str, str]) -> str:
    given = [f"{key}={environ[key]}" for key in ("ROUNDS", "ONLY", "PEERS") if environ.get(key)]
    return " ".join(["make bench", *given])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
