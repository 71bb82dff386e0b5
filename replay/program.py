"""Room: replay -- `make sim` and the command that a failure prints.

Knows:     replay.crew, replay.soak, replay.drive, replay.mutants.
Known by:  `python -m circus.replay`, the Makefile.
Never:     does anything that the failing run did not do.

    python -m circus.replay SEED [STEPS [MODE]]         the same run again
    python -m circus.replay soak [--seconds N] [--steps N] [--seed S] [--jobs J] [--json PATH]
    python -m circus.replay soak --mutant NAME [--seed S]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from circus.replay.crew import cores, outcomes
from circus.replay.drive import MODES, STEPS, drive
from circus.replay.soak import Outcome, Sum, errands, failed_before

SEED_BYTES: Final = 4
SECONDS: Final = 60.0
FAILURES_TOLD: Final = 3
RAREST_TOLD: Final = 5
PROGRESS_SECONDS: Final = 1.0
USAGE: Final = 64


def main(argv: Sequence[str]) -> int:
    """0: all held; 1: something did not, or a mutant lives, or the run has missed something."""
    if argv and argv[0].isdigit():
        return again(*argv)
    asked = _parser().parse_args(argv)
    seed = asked.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(SEED_BYTES), "big")
    sys.stdout.write(f"seed {seed}\n")
    if asked.mutant:
        return hunt(asked.mutant, seed, asked.json)
    return Program(asked, seed).run()


def again(seed: str, steps: str = str(STEPS), mode: str | None = None) -> int:
    """The run of one seed; a violation comes out as it is."""
    world = drive(int(seed), int(steps), mode=mode)
    sys.stdout.write(f"{world.digest()} {world.steps} steps\n")
    return 0


def hunt(name: str, seed: int, path: Path | None) -> int:
    """Look for the invariant that kills a mutant."""
    from circus.replay.mutants import registry
    from circus.replay.mutants import run as chase

    if name not in registry:
        sys.stderr.write(f"cannot hunt {name}: no such mutant; they are {', '.join(registry)}\n")
        return USAGE
    began, cpu = time.perf_counter(), time.process_time()
    killed = chase(name, seed)
    report: dict[str, Any] = {
        "seed": seed, "mutant": name, "steps": 0, "violations": 0, "faults": {}, "edges": {},
        "checkers": {}, "trace": "", **_spent(began, cpu),
    }  # fmt: skip
    if killed is not None:
        report |= {"steps": killed.steps, "violations": 1, "invariant": killed.invariant}
        sys.stdout.write(f"{killed.text}\n{name} is killed by {killed.invariant}\n")
    else:
        sys.stdout.write(f"{name} lives: {registry[name].breaks}\n")
    _write(path, report)
    return 0 if killed is not None else 1


class Program:
    """One soak, told while it goes on."""

    def __init__(self, asked: argparse.Namespace, seed: int) -> None:
        self._asked = asked
        self._seed = seed
        self._sum = Sum()
        self._began = time.perf_counter()
        self._cpu = time.process_time()
        self._told = 0.0

    def run(self) -> int:
        """Until the time or the steps are over; failed seeds first."""
        wanted = chain(failed_before(), errands(self._seed))
        for outcome in outcomes(wanted, self._asked.jobs, self._is_over):
            if self._sum.traced and self._has_steps():
                break  # What was begun beyond is not counted: one core would not have begun it.
            self._sum.add(outcome)
            if outcome.failure:
                self._tell_failure(outcome)
            self._tell_progress()
        missed = self._sum.missed()
        self._tell_end(missed)
        _write(self._asked.json, self._report())
        return 1 if self._sum.failures or missed else 0

    def _has_steps(self, ahead: int = 0) -> bool:
        asked = self._asked.steps
        return bool(asked and self._sum.steps + ahead >= asked)

    def _is_over(self, ahead: int) -> bool:
        seconds = self._asked.seconds or (float("inf") if self._asked.steps else SECONDS)
        return self._has_steps(ahead) or time.perf_counter() - self._began >= seconds

    # --- what is said -----------------------------------------------------------------------------

    def _tell_failure(self, outcome: Outcome) -> None:
        text = outcome.failure if len(self._sum.failures) <= FAILURES_TOLD else outcome.invariant
        sys.stderr.write(f"\n{text}\n")

    def _tell_progress(self) -> None:
        now = time.perf_counter()
        if now - self._told >= PROGRESS_SECONDS and sys.stdout.isatty():
            self._told = now
            sys.stdout.write(f"\r{self._line()}")
            sys.stdout.flush()

    def _line(self) -> str:
        total, wall = self._sum, time.perf_counter() - self._began
        faults, edges = total.coverage.faults, total.coverage.edges
        return (
            f"{wall:6.0f} s {total.steps:11,} steps {total.steps / wall:7,.0f}/s "
            f"{total.worlds:6,} worlds  faults {_had(faults)}  edges {_had(edges)}  "
            f"violations {len(total.failures)}"
        )

    def _tell_end(self, missed: Iterable[str]) -> None:
        back = "\r" if sys.stdout.isatty() else ""
        sys.stdout.write(f"{back}{self._line()}\n")
        rarest = [f"{name} {count}" for name, count in self._sum.rarest()[:RAREST_TOLD]]
        sys.stdout.write(f"rarest: {', '.join(rarest)}\n")
        for failure in self._sum.failures:
            seed, steps = failure.errand.seed, failure.errand.steps
            sys.stdout.write(f"{failure.invariant}: python -m circus.replay {seed} {steps}\n")
        for name in missed:
            sys.stdout.write(f"too rare to prove anything: {name}\n")

    def _report(self) -> dict[str, Any]:
        total = self._sum
        return {
            "seed": self._seed, "steps": total.steps, "worlds": total.worlds,
            "violations": len(total.failures), **_spent(self._began, self._cpu),
            "failed": [
                {"invariant": one.invariant, **one.errand._asdict()} for one in total.failures
            ],
            "faults": dict(sorted(total.coverage.faults.items())),
            "edges": dict(sorted(total.coverage.edges.items())),
            "checkers": dict(sorted(total.checkers.items())),
            "trace": total.trace(),
        }  # fmt: skip


def _had(counts: Any) -> str:
    return f"{sum(count > 0 for count in counts.values())}/{len(counts)}"


def _spent(began: float, cpu: float) -> dict[str, float]:
    children = os.times()
    used = time.process_time() - cpu + children.children_user + children.children_system
    return {"wall_s": round(time.perf_counter() - began, 3), "cpu_s": round(used, 3)}


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m circus.replay", usage=f"SEED [STEPS [{'|'.join(MODES)}]] | soak [options]"
    )
    parser.add_argument("what", choices=["soak"])
    parser.add_argument("--seconds", type=float, default=0.0, help="for how long at most")
    parser.add_argument("--steps", type=int, default=0, help="how many decisions, if there is time")
    parser.add_argument("--seed", type=int, default=None, help="of all worlds; fresh by default")
    parser.add_argument("--jobs", type=int, default=cores(), help="worlds at a time; all cores")
    parser.add_argument("--mutant", default="", help="a bug of the registry to be found")
    parser.add_argument("--json", type=Path, default=None, help="where to write the report")
    return parser
