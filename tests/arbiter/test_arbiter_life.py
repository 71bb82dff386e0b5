"""Room: tests -- every cell of the arbiter's life table, the absent ones too.

Knows:     arbiter.state, arbiter.fold.
Known by:  nobody.
Never:     decides: the fold alone is asked.
"""

from __future__ import annotations

import copy

import pytest

from circus.arbiter.fold import evolve, initial
from circus.arbiter.state import LIFE, Phase
from circus.bus import events as e
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.values import Moment

NEWS: tuple[Body, ...] = (
    e.ArbiterConfigured((), (), {}, "d"), e.ArbiterStopping("quit"), e.ArbiterStopped(),
)  # fmt: skip


def record(body: Body) -> Record:
    return stamped(Stamp(9, 8, "arbiter", Moment(9, 9), 1), Draft(body))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("body", NEWS, ids=lambda body: type(body).__name__)
def test_each_cell_of_the_arbiters_life_moves_as_it_says(phase: Phase, body: Body) -> None:
    """The fold follows the table; where it has no move nothing at all changes."""
    state = initial()
    state.phase = phase
    before = copy.deepcopy(state)
    after = evolve(state, record(body))
    assert LIFE[phase].get(type(body), phase) is after.phase
    if type(body) not in LIFE[phase]:
        assert before == after


def test_the_table_has_a_row_for_each_phase() -> None:
    """Illegal is an absent key of a row, never an absent row."""
    assert set(Phase) == set(LIFE)
    assert {type(body) for body in NEWS} == {kind for row in LIFE.values() for kind in row}
