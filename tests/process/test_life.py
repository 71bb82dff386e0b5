"""Room: tests -- the table of a process's life.

Knows:     process.core.
Known by:  nobody.
Never:     starts a process.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.bus.events import (
    ProcessExited,
    ProcessLost,
    ProcessNeverRun,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
)  # fmt: skip
from circus.bus.record import Body
from circus.process.core import LIFE, OVER, Life, Phase, decide, evolve

FACTS: tuple[Body, ...] = (
    ProcessSpawned(5, 1), ProcessSpawnFailed("exec", 2, "no"), ProcessNeverRun("no"),
    ProcessExited(5, 0, None, False, {}, 1, 1), ProcessReaped(5), ProcessLost(5, "no"),
    ProcessSignalled(1, 15, (5,)),
)  # fmt: skip


def test_every_phase_has_its_row_and_the_ends_have_no_moves() -> None:
    """Illegal is absent."""
    assert set(Phase) == set(LIFE)
    assert {phase for phase, moves in LIFE.items() if not moves} == OVER


@given(st.lists(st.sampled_from(FACTS)))
def test_no_life_has_two_births_or_two_ends(facts: list[Body]) -> None:
    """Whatever is reported in whatever order, what is said is one life."""
    life, said = Life(), []
    for fact in facts:
        for news in decide(life, fact):
            said.append(type(news))
            life = evolve(life, news)
    ends = (ProcessReaped, ProcessLost, ProcessSpawnFailed, ProcessNeverRun)
    assert said.count(ProcessSpawned) <= 1
    assert said.count(ProcessExited) <= 1
    assert sum(kind in ends for kind in said) <= 1
    if ProcessExited in said:
        assert said.index(ProcessSpawned) < said.index(ProcessExited)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_each_cell_of_a_processs_life_moves_as_it_says(phase: Phase, fact: Body) -> None:
    """News moves the life as the table says; what has no move is not said, and moves nothing."""
    life = Life(phase, 5)
    expected = LIFE[phase].get(type(fact))
    assert (() if expected is None else (fact,)) == decide(life, fact)
    assert Life(expected or phase, 5) == evolve(life, fact)
