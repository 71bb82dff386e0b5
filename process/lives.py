"""Room: process -- whose processes these are, and how far the life of each is on record.

Knows:     process.core (what is news), bus.events.
Known by:  process.reaper.
Never:     talks to the keeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from circus.bus.commands import ProcessSpawn
from circus.bus.events import (
    ProcessAdopted,
    ProcessLost,
    ProcessNeverRun,
    ProcessReaped,
    ProcessSpawned,
    ReaperReconciled,
)
from circus.bus.past import Spawns
from circus.bus.record import Body, Draft, Record
from circus.bus.values import watcher_of
from circus.process.core import OVER, Life, Phase, decide, evolve
from circus.process.launch import Launch

NEVER_RUN: Final = "the core ended between the request and the keeper"
LOST: Final = "the keeper that held it is gone"
RUNS: Final = frozenset({"alive", "adopted"})  # of the keeper's states
HOST_RESTART: Final = "the host was restarted"


class Known:
    """One process that is not over: whose it is and how far its life is on record."""

    __slots__ = ("launch", "life", "owner", "slot", "watcher")

    def __init__(self, owner: str, watcher: str | None, slot: int | None, life: Life) -> None:
        self.owner = owner
        self.watcher = watcher
        self.slot = slot
        self.life = life
        self.launch: Launch | None = None


class Settling:
    """A reconciliation under way: what the ledger says, and the keeper's rows so far."""

    __slots__ = ("barrier", "lost", "rows", "spawns")

    def __init__(self, spawns: Spawns, barrier: int, lost: str) -> None:
        self.spawns = spawns
        self.lost = lost
        self.barrier = barrier
        self.rows: dict[int, Sequence[Any]] = {}


class Lives:
    """Every process that is not over, by spawn_id."""

    __slots__ = ("known", "lost_until", "reconciled", "settling")

    def __init__(self) -> None:
        self.known: dict[int, Known] = {}
        self.settling: Settling | None = None
        self.reconciled = False
        self.lost_until = 0  # boot ns: cores that ended up to then are on record as lost

    def forget_over(self, spawn_id: int) -> None:
        """Its last fact is in the ledger."""
        known = self.known.get(spawn_id)
        if known is not None and known.life.phase in OVER:
            del self.known[spawn_id]

    def begin(self, settling: Settling) -> None:
        """What the ledger says, until the keeper has listed what it holds."""
        self.settling = settling
        spawns = settling.spawns
        self.lost_until = spawns.lost_until
        for spawn_id, record in spawns.undecided.items():
            self.know(spawn_id, record, Life())
        for spawn_id, record in spawns.alive.items():
            assert isinstance(record.body, ProcessSpawned), record
            self.know(spawn_id, record, Life(_phase(spawn_id, spawns), record.body.pid))

    def know(self, spawn_id: int, record: Record, life: Life) -> Known:
        """The owner is who asked for the spawn: the actor of the command, the `to` of the fact."""
        owner = record.actor if isinstance(record.body, ProcessSpawn) else record.to
        known = Known(owner or "", record.watcher, record.slot, life)
        self.known[spawn_id] = known
        return known

    def news(self, drafts: list[Draft], spawn_id: int, body: Body, cause: int) -> None:
        """Say it if it is news. The life moves at once: one batch may tell a whole life."""
        known = self.known.get(spawn_id)
        if known is not None:
            drafts += [
                draft_about(spawn_id, known, fact, cause) for fact in decide(known.life, body)
            ]
            known.life = evolve(known.life, body)

    def settle(self, settling: Settling) -> list[Draft]:
        """The ledger against the keeper's rows, which are the truth."""
        drafts: list[Draft] = []
        adopted = self._settle_adopted(settling, drafts)
        gone = {s: k.life for s, k in self.known.items() if s not in settling.rows}
        never_run = [s for s, life in gone.items() if life.phase is Phase.REQUESTED]
        lost = [s for s, life in gone.items() if life.phase in (Phase.RUNNING, Phase.ADOPTED)]
        reaped = [s for s, life in gone.items() if life.phase is Phase.EXITED]
        for spawn_id in never_run:
            self.news(drafts, spawn_id, ProcessNeverRun(NEVER_RUN), spawn_id)
        for spawn_id in lost:
            self.news(drafts, spawn_id, ProcessLost(gone[spawn_id].pid, settling.lost), spawn_id)
        for spawn_id in reaped:
            # Acknowledged and let go, but the report of that met the end of a core.
            self.news(drafts, spawn_id, ProcessReaped(gone[spawn_id].pid), spawn_id)
        drafts.append(
            Draft(
                ReaperReconciled(settling.barrier, tuple(adopted), tuple(lost), tuple(never_run)),
                cause=0,
            )
        )
        return drafts

    def _settle_adopted(self, settling: Settling, drafts: list[Draft]) -> list[int]:
        adopted: list[int] = []
        for spawn_id, row in settling.rows.items():
            _, owner, state, pid, started, inode, _, _ = row
            if spawn_id not in self.known and (state in RUNS or spawn_id > settling.barrier):
                # The keeper holds what a damaged ledger has forgotten: it is ours all the same.
                self.known[spawn_id] = Known(owner, watcher_of(owner) or None, None, Life())
            known = self.known.get(spawn_id)
            if known is None or state == "failed":
                continue
            if known.life.phase is Phase.REQUESTED:
                adopted.append(spawn_id)
                spawned = ProcessSpawned(pid, started, inode, adopted=True)
                self.news(drafts, spawn_id, spawned, spawn_id)
            if state == "adopted":
                self.news(drafts, spawn_id, ProcessAdopted(pid), spawn_id)
        return adopted


def _phase(spawn_id: int, spawns: Spawns) -> Phase:
    """Of a process that is not reaped, as far as the ledger goes."""
    if spawn_id in spawns.exited:
        return Phase.EXITED
    return Phase.ADOPTED if spawn_id in spawns.adopted else Phase.RUNNING


def draft_about(spawn_id: int, known: Known, body: Body, cause: int) -> Draft:
    return Draft(
        body, to=known.owner, watcher=known.watcher, slot=known.slot, spawn_id=spawn_id,
        cause=cause,
    )  # fmt: skip
