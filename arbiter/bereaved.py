"""Room: arbiter -- without its keeper: what a core does about workers that are nobody's children.

Knows:     process.orphans (who is proven ours), the projection (whose plans they have).
Known by:  the engine (its keeper is gone), arbiter.wiring (the one of the daemon before is).
Never:     starts anything; stops what is not proven to be what is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circus.arbiter.projection import Projection
from circus.arbiter.runtime import Runtime
from circus.bus import events
from circus.bus.past import Spawns
from circus.bus.record import Draft, Record
from circus.process.launch import Plan, plan_of
from circus.process.orphans import Survivor, is_there, stop
from circus.process.orphans_core import Evidence


def survivors(spawns: Spawns, projection: Projection) -> list[Survivor]:
    """The processes that run as far as the record goes, and in truth."""
    found = (
        _survivor(spawn_id, record, projection)
        for spawn_id, record in spawns.alive.items()
        if spawn_id not in spawns.exited
    )
    return [one for one in found if is_there(one)]


def stop_recorded(
    runtime: Runtime, found: Sequence[Survivor], keeper_pid: int, settle: Callable[[], object]
) -> None:
    """`keeper.lost` is on record before the first signal, and then all that is seen of the ends.

    `settle` brings what has been said into the ledger.
    """

    def tell(reports: Sequence[Sequence[object]]) -> None:
        runtime.reaper.hear(reports)
        settle()

    pids = tuple(one.pid for one in found)
    runtime.say((Draft(events.KeeperLost(keeper_pid, pids)),))
    settle()
    stop(found, tell)


def _survivor(spawn_id: int, record: Record, projection: Projection) -> Survivor:
    body = record.body
    assert isinstance(body, events.ProcessSpawned), record
    view = projection.watchers.get((record.watcher or "").lower())
    plan = plan_of(view.spec) if view is not None else Plan()
    return Survivor(spawn_id, record.to or "", body.pid, Evidence(body.started, body.inode), plan)
