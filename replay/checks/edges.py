"""Room: replay -- which moves of the life tables a run has made, counted from the record.

Knows:     process.core, watcher.state (the tables), bus.names, replay.sim.coverage.
Known by:  replay.sim.incarnation (it observes every record), replay.soak (no run may miss a move).
Never:     judges: that a move is allowed is what the cores and the checkers are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from circus.bus.commands import ProcessSpawn
from circus.bus.names import TAGS
from circus.bus.record import Body, Record
from circus.process.core import LIFE
from circus.process.core import Phase as ProcessPhase
from circus.replay.sim.coverage import Coverage
from circus.watcher.state import SLOT_LIFE, WATCHER_LIFE, Phase, SlotPhase

NAMES: Final = {body: tag.partition("/")[0] for tag, body in TAGS.items()}

Table = Mapping[Any, Mapping[type[Body], Any]]
Move = tuple[str, Enum]  # what it is counted as, where it leads


def moves(life: str, table: Table) -> dict[Enum, dict[type[Body], Move]]:
    """A life table with a name for every move: `slot: running, slot.stopping`."""
    return {
        phase: {
            body: (f"{life}: {phase.value}, {NAMES[body]}", after) for body, after in row.items()
        }
        for phase, row in table.items()
    }


PROCESS_MOVES: Final = moves("process", LIFE)
SLOT_MOVES: Final = moves("slot", SLOT_LIFE)
WATCHER_MOVES: Final = moves("watcher", WATCHER_LIFE)
EVERY_EDGE: Final = tuple(
    name
    for table in (PROCESS_MOVES, SLOT_MOVES, WATCHER_MOVES)
    for row in table.values()
    for name, _ in row.values()
)
# Moves that the tables allow and no run can make, each with its reason.
_NOBODY_LEFT: Final = "the service manager of these worlds kills what a keeper leaves"
UNREACHED: Final[Mapping[str, str]] = {
    "process: running, process.adopted": _NOBODY_LEFT,
    "process: adopted, process.signalled": _NOBODY_LEFT,
    "process: adopted, process.exited": _NOBODY_LEFT,
    "process: adopted, process.lost": _NOBODY_LEFT,
}
_OF_PROCESSES: Final = frozenset(body for row in LIFE.values() for body in row)
_OF_SLOTS: Final = frozenset(body for row in SLOT_LIFE.values() for body in row)
_OF_WATCHERS: Final = frozenset(body for row in WATCHER_LIFE.values() for body in row)
_WATCHED: Final = _OF_PROCESSES | _OF_SLOTS | _OF_WATCHERS | {ProcessSpawn}
_OVER: Final = frozenset(phase for phase, row in LIFE.items() if not row)


class Edges:
    """Follows all lives of one ledger. What is past is learnt, and not counted."""

    watches = _WATCHED

    def __init__(self, coverage: Coverage) -> None:
        self.counting = False
        self._counts = coverage.edges
        self._processes: dict[int, Enum] = {}
        self._slots: dict[tuple[str, int], Enum] = {}
        self._watchers: dict[str, Enum] = {}
        for name in EVERY_EDGE:
            self._counts.setdefault(name, 0)

    def observe(self, record: Record) -> None:
        """One record of the ledger."""
        kind = type(record.body)
        if kind is ProcessSpawn:
            self._processes[record.seq] = ProcessPhase.REQUESTED
            self._move_slot(record, kind)
        elif kind in _OF_PROCESSES and record.spawn_id:
            self._move_process(record.spawn_id, kind)
        elif kind in _OF_SLOTS:
            self._move_slot(record, kind)
        elif kind in _OF_WATCHERS:
            phase = self._watchers.get(record.actor, Phase.STOPPED)
            self._watchers[record.actor] = self._after(WATCHER_MOVES, phase, kind)

    def _move_process(self, spawn_id: int, kind: type[Body]) -> None:
        phase = self._processes.get(spawn_id)
        if phase is None:
            return
        after = self._after(PROCESS_MOVES, phase, kind)
        if after in _OVER:
            del self._processes[spawn_id]
        else:
            self._processes[spawn_id] = after

    def _move_slot(self, record: Record, kind: type[Body]) -> None:
        place = (record.actor, record.slot or 0)
        phase = self._slots.get(place, SlotPhase.VACANT)
        self._slots[place] = self._after(SLOT_MOVES, phase, kind)

    def _after(
        self, table: Mapping[Enum, Mapping[type[Body], Move]], phase: Enum, kind: type[Body]
    ) -> Enum:
        move = table[phase].get(kind)
        if move is None:
            return phase
        if self.counting:
            self._counts[move[0]] += 1
        return move[1]
