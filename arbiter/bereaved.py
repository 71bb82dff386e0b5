"""Room: arbiter -- without its keeper: what a core does about workers that are nobody's children.

Knows:     process.orphans, process.unheard (who is ours), the projection (whose plans they have).
Known by:  the engine (its keeper is gone), arbiter.wiring (the one of the daemon before is).
Never:     starts anything; stops what is not proven to be what is on record.

A process of which nobody has told is not on record but for the request: it is found by its mark,
and told of before anything is done about it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from circus.arbiter.projection import Projection
from circus.arbiter.runtime import Runtime
from circus.bus import events
from circus.bus.past import Spawns
from circus.bus.record import Draft, Record
from circus.process.fast_road import SpawnFailed
from circus.process.identity import find
from circus.process.launch import Plan, plan_of
from circus.process.orphans import Survivor, is_there, stop
from circus.process.orphans_core import Evidence, is_answer
from circus.process.unheard import Marked, marked


def survivors(spawns: Spawns, projection: Projection, log: str) -> list[Survivor]:
    """The processes that run as far as the record goes, and in truth; those of the ledger `log`."""
    recorded = [
        _survivor(spawn_id, record, projection)
        for spawn_id, record in spawns.alive.items()
        if spawn_id not in spawns.exited
    ]
    unheard = [
        Survivor(one.spawn_id, spawn.actor, one.pid, one.evidence, _plan(spawn, projection))
        for one in marked(log, spawns.undecided)
        if _is_meant(spawn := spawns.undecided[one.spawn_id], one, projection)
    ]
    return [one for one in recorded if is_there(one)] + unheard


def loss(runtime: Runtime, found: Sequence[Survivor], keeper_pid: int = 0) -> list[Draft]:
    """Who has been left behind, unless that is on record since the last keeper was there."""
    if runtime.spawns.bereft:
        return []
    return [Draft(events.KeeperLost(keeper_pid, tuple(one.pid for one in found)))]


def to_adopt(one: Survivor) -> Sequence[object]:
    """For the next keeper."""
    return (one.spawn_id, one.owner, one.plan, one.pid, *one.evidence)


def record_loss(
    runtime: Runtime, found: Sequence[Survivor], settle: Callable[[], object], keeper_pid: int = 0
) -> None:
    """That they are left behind; births that nobody has told of first. `settle` brings what has
    been said into the ledger."""
    unheard = [one for one in found if one.spawn_id in runtime.spawns.undecided]
    runtime.reaper.hear(
        [
            ("spawned", one.spawn_id, one.owner, one.pid, *one.evidence, True)
            for one in unheard
        ]
    )  # fmt: skip
    drafts = loss(runtime, found, keeper_pid)
    if drafts:
        runtime.say(drafts)
    settle()


def stop_recorded(
    runtime: Runtime, found: Sequence[Survivor], settle: Callable[[], object]
) -> None:
    """By their plans; all that is seen of their ends is on record."""

    def tell(reports: Sequence[Sequence[object]]) -> None:
        runtime.reaper.hear(reports)
        settle()

    stop(found, tell)


def _survivor(spawn_id: int, record: Record, projection: Projection) -> Survivor:
    body = record.body
    assert isinstance(body, events.ProcessSpawned), record
    evidence = Evidence(body.started, body.inode)
    return Survivor(spawn_id, record.to or "", body.pid, evidence, _plan(record, projection))


def _plan(record: Record, projection: Projection) -> Plan:
    view = projection.watchers.get((record.watcher or "").lower())
    return plan_of(view.spec) if view is not None else Plan()


def _is_meant(spawn: Record, one: Marked, projection: Projection) -> bool:
    """It runs as whom the request names, and has been started after it was made."""
    return is_answer(spawn.boot, one.evidence) and one.uid == _uid(spawn, projection)


def _uid(spawn: Record, projection: Projection) -> int | None:
    try:
        spec = projection.spec_of(spawn)
        identity = find(spec.uid, spec.gid)
    except (LookupError, SpawnFailed):
        return None  # There is no such watcher any more, or no such user.
    return identity.uid if identity is not None else os.geteuid()
