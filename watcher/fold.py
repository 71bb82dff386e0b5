"""Room: watcher -- the fold: what each of a watcher's own records makes of its state.

Knows:     bus.commands, bus.events, bus.spec, watcher.state.
Known by:  watcher.core.
Never:     decides; copies a big dict; raises for a record that it does not know.

Every record costs O(1), whatever the number of slots, but the one note that begins an operation:
it remembers which processes were there. A watcher's own copy of a command (the *note*, ADR-0030)
is how the queue of waiting operations gets into the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from signal import SIGHUP, SIGKILL
from typing import Any, Final

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Body, Record
from circus.bus.shapes import altered
from circus.bus.spec import from_data
from circus.bus.values import watcher_address
from circus.watcher.state import (
    SLOT_LIFE,
    WATCHER_LIFE,
    Batch,
    Mode,
    Operation,
    Slot,
    SlotPhase,
    State,
    mode_of,
    targets_of,
    untouched_of,
)

WARMUP: Final = "warmup"
OVERTAKES: Final = (c.WatcherStop, c.WatcherRemove)
ASIDES: Final = (c.WatcherSignal, c.WatcherKill)


def born(record: Record) -> State:
    """The state that `watcher.added` begins."""
    assert isinstance(record.body, e.WatcherAdded), record
    spec = from_data(record.body.spec)
    return State(watcher_address(spec.name, record.seq), spec, record.body.digest)


def evolve(state: State, record: Record) -> State:
    """Fold one own record, in place; a record without a meaning for the state leaves it alone."""
    fold = BELIEVED.get(type(record.body))
    if fold is not None:
        fold(state, record, record.body)
    return state


def place_of_stop(state: State) -> int:
    """Where a stop goes in the queue: behind the stops before it, before everything else."""
    index = 0
    for operation in state.queue:
        if not isinstance(operation.body, OVERTAKES):
            break
        index += 1
    return index


# --- operations -----------------------------------------------------------------------------------


def _accepted(state: State, record: Record, body: Any) -> None:
    state.queue.append(Operation(body.command, record.to or "", record.id))


def _noted(state: State, record: Record, body: Any) -> None:
    queue = state.queue
    if not queue:
        return
    if queue[-1].body is not None:
        queue[0].body = body
        _begun(state, queue[0])
        return
    operation = queue.pop()
    operation.body = body
    if isinstance(body, ASIDES):
        targets = targets_of(state, body)
        is_kill = isinstance(body, c.WatcherKill)
        operation.olds = targets
        operation.pending = untouched_of(state, targets) if is_kill else dict(targets)
        state.asides[operation.command] = operation
        return
    queue.insert(place_of_stop(state) if isinstance(body, OVERTAKES) else len(queue), operation)
    if queue[0] is operation:
        _begun(state, operation)


def _begun(state: State, operation: Operation) -> None:
    assert operation.body is not None, operation
    operation.begun = True
    operation.mode = mode_of(state.spec, operation.body)
    operation.olds = dict.fromkeys(state.spawns)
    operation.pending = untouched_of(state, operation.olds)
    operation.owed = state.spec.numprocesses if operation.mode is not Mode.PLAIN else 0


def _finished(state: State, record: Record, body: Any) -> None:
    if state.asides.pop(body.command, None) is not None:
        return
    for operation in state.queue:
        if operation.command == body.command:
            state.queue.remove(operation)
            return


# --- the watcher ----------------------------------------------------------------------------------


def _moved(state: State, record: Record, body: Any) -> None:
    state.phase = WATCHER_LIFE[state.phase].get(type(body), state.phase)


def _starting(state: State, record: Record, body: Any) -> None:
    _moved(state, record, body)
    state.failures.clear()
    if state.queue:
        state.queue[0].owed = max(0, state.spec.numprocesses - len(state.slots))


def _updated(state: State, record: Record, body: Any) -> None:
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in body.options.items()
    }
    state.spec = altered(state.spec, **values)
    state.digest = body.digest


def _resized(state: State, record: Record, body: Any) -> None:
    state.spec = altered(state.spec, numprocesses=body.numprocesses)


# --- slots ----------------------------------------------------------------------------------------


def _spawned(state: State, record: Record, body: Any) -> None:
    wid, spawn_id = record.slot or 0, record.spawn_id or record.seq
    old = state.slots.get(wid)
    if old is None:
        if state.queue:
            state.queue[0].owed -= 1
    else:
        assert c.ProcessSpawn in SLOT_LIFE[old.phase], (record, old)
        _left(state, old)
        if old.phase is SlotPhase.RUNNING or old.phase is SlotPhase.STOPPING:
            state.failures.pop(wid, None)
    state.slots[wid] = Slot(SlotPhase.SPAWNING, spawn_id, 0, record.boot, body.attempt)
    state.spawns[spawn_id] = wid
    state.unsettled += 1


def _filled(state: State, record: Record, body: Any) -> None:
    slot = state.slots.get(record.slot or 0)
    if slot is None or slot.spawn_id != record.spawn_id:
        return
    slot.pid = body.pid
    slot.attempt = 0
    if slot.phase is SlotPhase.SPAWNING:
        slot.phase = SlotPhase.RUNNING
        state.unsettled -= 1
        if state.queue and slot.spawn_id not in state.queue[0].olds:
            state.queue[0].started.append(body.pid)


def _vacated(state: State, record: Record, body: Any) -> None:
    wid = record.slot or 0
    slot = state.slots.pop(wid, None)
    if slot is not None:
        _left(state, slot)
    if body.short:
        state.failures[wid] = state.failures.get(wid, 0) + 1
    elif slot is not None and slot.phase is not SlotPhase.WAITING:
        state.failures.pop(wid, None)


def _waiting(state: State, record: Record, body: Any) -> None:
    wid = record.slot or 0
    slot = state.slots.get(wid)
    attempt = 0
    if slot is not None:
        if e.SlotWaiting not in SLOT_LIFE[slot.phase]:
            return
        attempt = slot.attempt
        _left(state, slot)
    state.slots[wid] = Slot(SlotPhase.WAITING, attempt=attempt)
    if attempt:
        state.unsettled += 1


def _stopping(state: State, record: Record, body: Any) -> None:
    slot = state.slots.get(record.slot or 0)
    if slot is None or slot.spawn_id != record.spawn_id:
        return
    if slot.phase is SlotPhase.STOPPING:
        _unbatched(state, slot)
    else:
        if slot.phase is SlotPhase.SPAWNING:
            state.unsettled -= 1
        slot.phase = SlotPhase.STOPPING
        state.stopping += 1
    slot.batch = state.grace
    state.graces[state.grace].members[slot.spawn_id] = None
    for operation in _touching(state):
        operation.pending.pop(slot.spawn_id, None)


def _signalled(state: State, record: Record, body: Any) -> None:
    spawn_id = record.spawn_id or 0
    wid = state.spawns.get(spawn_id)
    if wid is None:
        return
    if body.signum == SIGKILL:
        _unbatched(state, state.slots[wid])
    for operation in state.asides.values():
        if isinstance(operation.body, c.WatcherSignal) and operation.body.signum == body.signum:
            operation.pending.pop(spawn_id, None)
    if body.signum == SIGHUP and state.spec.send_hup and state.queue:
        operation = state.queue[0]
        if isinstance(operation.body, c.WatcherReload):
            operation.pending.pop(spawn_id, None)


def _left(state: State, slot: Slot) -> None:
    """The slot's process, or its wait, is over: out of every index and count."""
    if slot.phase is SlotPhase.WAITING:
        state.unsettled -= slot.attempt > 0
        return
    state.unsettled -= slot.phase is SlotPhase.SPAWNING
    state.stopping -= slot.phase is SlotPhase.STOPPING
    assert min(state.unsettled, state.stopping) >= 0, (slot, state)
    state.spawns.pop(slot.spawn_id, None)
    _unbatched(state, slot)
    for operation in _touching(state):
        operation.pending.pop(slot.spawn_id, None)
        if slot.spawn_id in operation.olds:
            del operation.olds[slot.spawn_id]
            if slot.phase is SlotPhase.STOPPING and slot.pid:
                operation.stopped.append(slot.pid)


def _touching(state: State) -> tuple[Operation, ...]:
    head = (state.queue[0],) if state.queue else ()
    return (*head, *state.asides.values()) if state.asides else head


def _unbatched(state: State, slot: Slot) -> None:
    if slot.batch:
        batch = state.graces[slot.batch]
        batch.members.pop(slot.spawn_id, None)
        if not batch.members:
            del state.graces[slot.batch]
        slot.batch = ""


# --- timers ---------------------------------------------------------------------------------------


def _armed(state: State, record: Record, body: Any) -> None:
    if record.slot is not None:
        slot = state.slots.get(record.slot)
        if slot is not None:
            slot.timer = record.seq
    elif body.timer == WARMUP:
        state.warmup = record.seq
    else:
        due = record.boot + body.duration
        batch = state.graces.get(body.timer)
        if batch is None:
            state.graces[body.timer] = Batch(record.seq, due)
        else:
            batch.armed, batch.due = record.seq, due
        state.grace = body.timer


def _disarmed(state: State, record: Record, body: Any) -> None:
    if body.timer == WARMUP:
        state.warmup = 0


NOTES: Final = (
    c.WatcherStart, c.WatcherStop, c.WatcherRestart, c.WatcherReload, c.WatcherIncr,
    c.WatcherDecr, c.WatcherSet, c.WatcherSignal, c.WatcherKill, c.WatcherManage,
    c.WatcherRetry, c.WatcherRemove,
)  # fmt: skip
BELIEVED: Final[Mapping[type[Body], Callable[[State, Record, Any], None]]] = {
    **dict.fromkeys(NOTES, _noted),
    e.CommandAccepted: _accepted,
    e.CommandFinished: _finished,
    e.WatcherStarting: _starting,
    e.WatcherStarted: _moved,
    e.WatcherStopping: _moved,
    e.WatcherStopped: _moved,
    e.WatcherFailed: _moved,
    e.WatcherRemoved: _moved,
    e.WatcherUpdated: _updated,
    e.WatcherResized: _resized,
    c.ProcessSpawn: _spawned,
    c.ProcessSignal: _signalled,
    e.SlotFilled: _filled,
    e.SlotVacated: _vacated,
    e.SlotWaiting: _waiting,
    e.SlotStopping: _stopping,
    c.TimerArm: _armed,
    c.TimerDisarm: _disarmed,
}
