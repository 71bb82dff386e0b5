"""Room: tests -- every cell of a watcher's and a slot's life table, the absent ones too.

Knows:     watcher.state, watcher.fold.
Known by:  nobody.
Never:     decides: the fold alone is asked.
"""

from __future__ import annotations

from typing import Any

import pytest

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.codec import Stamp, stamped
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import Moment
from circus.watcher.fold import born, evolve
from circus.watcher.state import SLOT_LIFE, WATCHER_LIFE, Phase, SlotPhase, State

SPEC = WatcherSpec(name="web", cmd="sleep 9")
SPAWN_ID = 5
BODIES: tuple[Body, ...] = (
    c.ProcessSpawn("d", 1, None), e.SlotFilled(77), e.SlotStopping("stop"), e.SlotVacated(),
    e.SlotWaiting(1, 9),
)  # fmt: skip
NEWS: tuple[Body, ...] = (
    e.WatcherStarting(), e.WatcherStarted(), e.WatcherStopping(), e.WatcherStopped(),
    e.WatcherFailed("it fell"), e.WatcherRemoved("watcher:web#1"),
)  # fmt: skip
# How a slot comes to where it is: the records of its watcher, and nothing else.
ROADS: dict[SlotPhase, tuple[Body, ...]] = {
    SlotPhase.VACANT: (),
    SlotPhase.SPAWNING: BODIES[:1],
    SlotPhase.RUNNING: BODIES[:2],
    SlotPhase.STOPPING: BODIES[:3],
    SlotPhase.WAITING: BODIES[4:],
}


def record(seq: int, body: Body, **about: Any) -> Record:
    stamp = Stamp(seq, 0, "watcher:web#1", Moment(seq, seq), 1)
    return stamped(stamp, Draft(body, watcher="web", **about))


def newborn() -> State:
    return born(record(1, e.WatcherAdded(to_data(SPEC), spec_digest(SPEC))))


def told(state: State, seq: int, body: Body) -> State:
    """A record about slot 1 and its process; its grace timer is armed first, as always."""
    if isinstance(body, e.SlotStopping):
        state = evolve(state, record(seq - 1, c.TimerArm(f"grace:{seq}", 9, "process")))
    spawn_id = None if isinstance(body, c.ProcessSpawn) else SPAWN_ID
    return evolve(state, record(seq, body, slot=1, spawn_id=spawn_id))


def slot_in(phase: SlotPhase) -> State:
    state = newborn()
    for body in ROADS[phase]:
        state = told(state, SPAWN_ID, body)
    return state


def phase_of(state: State) -> SlotPhase:
    return state.slots[1].phase if 1 in state.slots else SlotPhase.VACANT


def count_of(state: State) -> tuple[int, int, int]:
    """What the state counts must be what its slots show."""
    phases = [slot.phase for slot in state.slots.values()]
    waits = sum(s.phase is SlotPhase.WAITING and s.attempt > 0 for s in state.slots.values())
    spawning = phases.count(SlotPhase.SPAWNING) + waits
    return spawning, phases.count(SlotPhase.STOPPING), len(phases) - phases.count(SlotPhase.WAITING)


@pytest.mark.parametrize("phase", SlotPhase)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_each_cell_of_a_slots_life_moves_as_it_says(phase: SlotPhase, body: Body) -> None:
    """The fold follows the table; where it has no move the slot stays, and the counts are right."""
    state = slot_in(phase)
    assert phase is phase_of(state)
    after = told(state, 9, body)
    assert SLOT_LIFE[phase].get(type(body), phase) is phase_of(after)
    assert count_of(after) == (after.unsettled, after.stopping, len(after.spawns))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("body", NEWS, ids=lambda body: type(body).__name__)
def test_each_cell_of_a_watchers_life_moves_as_it_says(phase: Phase, body: Body) -> None:
    """The fold follows the table; where it has no move the watcher stays what it is."""
    state = newborn()
    state.phase = phase
    assert WATCHER_LIFE[phase].get(type(body), phase) is evolve(state, record(9, body)).phase


@pytest.mark.parametrize("phase", Phase)
def test_a_watcher_can_be_removed_wherever_it_is(phase: Phase) -> None:
    """Every phase but the last leads to REMOVED in one step, and nothing leads out of it."""
    expected = Phase.REMOVED if phase is not Phase.REMOVED else None
    assert expected is WATCHER_LIFE[phase].get(e.WatcherRemoved)
    assert {} == WATCHER_LIFE[Phase.REMOVED]


def test_the_tables_have_a_row_for_each_phase() -> None:
    """Illegal is an absent key of a row, never an absent row."""
    assert set(SlotPhase) == set(SLOT_LIFE)
    assert set(Phase) == set(WATCHER_LIFE)
    assert {type(body) for body in BODIES} == {kind for row in SLOT_LIFE.values() for kind in row}
    assert {type(body) for body in NEWS} == {kind for row in WATCHER_LIFE.values() for kind in row}
