"""Room: tests -- `make sim`: what it runs, what it says, what it writes down, how it ends.

Knows:     circus.replay.program, circus.replay.crew, circus.replay.soak.
Known by:  nobody.
Never:     asserts a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from circus.replay.checks.edges import EVERY_EDGE
from circus.replay.crew import outcomes
from circus.replay.drive import drive
from circus.replay.program import main
from circus.replay.sim.coverage import Coverage
from circus.replay.soak import MILLION, Errand, Outcome, Sum, errands, failed_before, run

REPORT = {
    "seed", "steps", "wall_s", "cpu_s", "violations", "faults", "edges", "checkers", "trace",
}  # fmt: skip


def soaked(path: Path, seed: int, **environment: str) -> dict[str, Any]:
    """The report of a short soak in a process of its own."""
    result = subprocess.run(
        [
            sys.executable, "-m", "circus.replay", "soak", "--steps", "1", "--seed", str(seed),
            "--json", str(path),
        ],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert path.exists(), result.stderr  # what the seed finds is not our subject
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def outcome(steps: int, failure: str = "", **counts: int) -> Outcome:
    """A world that never was."""
    coverage = Coverage()
    coverage.faults.update(counts)
    return Outcome(Errand(9, 9, steps), steps, failure, failure[:5], coverage, {}, "")


def test_the_report_has_what_a_reader_needs(tmp_path: Path) -> None:
    """Every checker was asked, every edge is counted, and the keys are those of the issue."""
    report = soaked(tmp_path / "report.json", 5)

    assert REPORT <= set(report)
    assert report["steps"] > 0
    assert set(EVERY_EDGE) <= set(report["edges"])
    assert {"I-MAX", "I-FOLD", "I-DET", "I-WIRE"} <= {k for k, n in report["checkers"].items() if n}


def test_one_seed_has_one_trace_under_any_hash_seed(tmp_path: Path) -> None:
    """Byte for byte; another seed has another one."""
    first = soaked(tmp_path / "first.json", 5, PYTHONHASHSEED="1")
    second = soaked(tmp_path / "second.json", 5, PYTHONHASHSEED="4711")
    other = soaked(tmp_path / "other.json", 6)

    assert first["trace"] == second["trace"]
    assert first["trace"] != other["trace"]


def test_the_command_of_a_failure_repeats_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """SEED STEPS MODE: the same digest as the run had."""
    world = drive(5, 150)
    words = world.truth.repeat.split()[3:]

    assert 0 == main(words)
    assert world.digest() in capsys.readouterr().out


def test_a_violation_is_an_outcome_and_has_a_name() -> None:
    """It does not end the others."""
    total = Sum()
    total.add(outcome(100))
    total.add(outcome(50, "I-MAX: too many"))

    assert 150 == total.steps
    assert ["I-MAX"] == [failure.invariant for failure in total.failures]


def test_a_million_steps_without_a_fault_prove_nothing_about_it() -> None:
    """What happened fewer than a hundred times per million steps is named; a short run is not."""
    short, long = Sum(), Sum()
    short.add(outcome(MILLION - 1, rare=1))
    long.add(outcome(2 * MILLION, rare=199, common=200))

    assert [] == short.missed()
    assert ["rare (199)"] == long.missed()


def test_the_worlds_of_a_seed_are_its_own() -> None:
    """Derived from it, and never the same twice."""
    first = list(islice(errands(1), 50))

    assert first == list(islice(errands(1), 50))
    assert 50 == len({errand.seed for errand in first})
    assert first != list(islice(errands(2), 50))


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_worlds_that_count_are_the_same_on_any_number_of_cores(jobs: int) -> None:
    """They are told in their order, until there are enough; what was begun beyond is given up."""
    wanted = [Errand(number, number, 40) for number in range(12)]
    told: list[Outcome] = []
    for one in outcomes(iter(wanted), jobs, lambda ahead: len(told) + ahead // 40 >= 7):
        if len(told) == 7:
            break
        told.append(one)

    assert wanted[:7] == [one.errand for one in told]


def test_a_seed_that_has_found_a_bug_finds_it_no_more() -> None:
    """They are kept in failing_seeds.toml."""
    assert [] == [one.failure for one in map(run, failed_before()) if one.failure]


def test_an_unknown_mutant_cannot_be_hunted(capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal lists those that can."""
    assert 64 == main(["soak", "--mutant", "nobody"])
    assert "reap_before_record" in capsys.readouterr().err
