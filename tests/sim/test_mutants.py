"""Room: tests -- the mutants: each has its place in the code, and the simulated world kills it.

Knows:     circus.replay.mutants; tools and docs/simulation.md by their paths.
Known by:  nobody.
Never:     changes a module of its own process: every hunt has one of its own.

A part of the mutants is hunted in each run, another one each day; `make mutants` hunts all.
`CIRCUS_MUTANT_SEED` chooses part and worlds, and is printed with a failure (it is in its name).
"""

from __future__ import annotations

import datetime as dt
import os
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from circus.replay.mutants import STEPS_MAX, Mutant, registry, run
from circus.replay.mutants.__main__ import row_of
from circus.replay.mutants.hunt import hunt

SEED: Final = int(os.environ.get("CIRCUS_MUTANT_SEED", dt.datetime.now(dt.UTC).date().toordinal()))
PART: Final = 8
PAGE: Final = Path(__file__).parents[2] / "docs" / "simulation.md"
MUTANTS_MIN: Final = 40


def test_there_are_enough_mutants_of_every_room() -> None:
    """At least forty, and no deciding or writing room without one."""
    rooms = {mutant.module.split(".")[1] for mutant in registry.values()}

    assert len(registry) >= MUTANTS_MIN
    assert {"bus", "process", "watcher", "arbiter"} <= rooms


@pytest.mark.parametrize("mutant", registry.values(), ids=list(registry))
def test_a_mutant_has_its_place_in_the_code(mutant: Mutant) -> None:
    """Its text stands once in the module, what it makes of it is Python, and is another text."""
    spec = find_spec(mutant.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")

    changed = mutant.applied(source)

    assert changed != source
    compile(changed, mutant.module, "exec")
    assert mutant.killers
    assert mutant.killers[0].startswith("I-")


def test_the_page_lists_every_mutant_and_its_killers() -> None:
    """`python -m circus.replay.mutants --list` is the table of docs/simulation.md."""
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition("\n## Mutants\n")[2].partition("\n## ")[0]

    assert [row_of(one) for one in registry.values()] == re.findall(
        r"^\| `.*$", section, re.MULTILINE
    )


def test_a_mutant_that_has_lost_its_place_is_refused() -> None:
    """Code moves on: a mutant that changes nothing, or two places, must not pass for one."""
    mutant = Mutant("lost", "circus.bus.chance", "nothing", "no such text", "", ("I-DET",))

    with pytest.raises(AssertionError, match=r"lost: circus\.bus\.chance has 0 times"):
        mutant.applied("x = 1\n")
    with pytest.raises(AssertionError, match=r"2 times, not once"):
        mutant._replace(old="x").applied("x = x\n")


def test_production_code_is_no_mutant() -> None:
    """The counter-check: what kills the mutants lets the real code pass, in as many worlds."""
    honest = Mutant("nobody", "circus.bus.chance", "nothing", "", "", ("I-DET",))

    assert (None, ()) == (ended := hunt(honest, SEED, 3000))[::2], ended.others


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", random.Random(SEED).sample(sorted(registry), PART))
@pytest.mark.parametrize("seed", [SEED])
def test_a_mutant_is_killed_by_its_invariant(name: str, seed: int) -> None:
    """Within 200,000 decisions, by a checker that it names and no accident."""
    killed = run(name, seed, STEPS_MAX)

    assert killed is not None, f"{name} survives: {registry[name].breaks}"
    assert killed.invariant in registry[name].killers
    assert killed.steps <= STEPS_MAX
    assert str(killed.seed) in killed.text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--list"], 0, "| `reap_before_record` | "),
        (["no_such_mutant"], 64, "cannot hunt 'no_such_mutant'"),
        (["reap_before_record", "--seed", "1", "--steps", "2000"], 0, "I-NOPEEK after"),
        (["reap_before_record", "--seed", "1", "--steps", "0"], 1, "survives 0 steps"),
    ],
)
def test_the_command_says_how_it_ended(words: list[str], code: int, said: str) -> None:
    """0 for a kill, 1 for a survivor, 64 for a name that is none."""
    done = subprocess.run(
        [sys.executable, "-m", "circus.replay.mutants", *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (code, True) == (done.returncode, said in done.stdout + done.stderr), done
