"""Room: watcher -- what operations do: begun once, carried on by every later input, ended once.

Knows:     bus.commands, bus.events, watcher.plan, watcher.policy, watcher.state.
Known by:  watcher.asides, watcher.lives, watcher.core.
Never:     changes a state; says more than 256 effects in one decision.

`advance` is the level-triggered half: it looks at what is and does the next that is missing, so
it may be called after any input. `begin` is the other half: what happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from signal import SIGHUP, SIGKILL
from typing import Any, Final

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.commands import ProcessSignal
from circus.bus.digest import spec_digest
from circus.bus.record import Command
from circus.bus.shapes import altered
from circus.watcher.fold import WARMUP
from circus.watcher.plan import Plan
from circus.watcher.state import Mode, Operation, Phase, SlotPhase, untouched_of

RESIZES: Final = (c.WatcherIncr, c.WatcherDecr)
# What a stop makes pointless: begun or waiting, it is finished as `superseded`.
OVERTAKEN: Final = (
    c.WatcherStart, c.WatcherRestart, c.WatcherReload, c.WatcherManage, c.WatcherRetry,
)  # fmt: skip


# --- carried on -----------------------------------------------------------------------------------


def advance(plan: Plan) -> None:
    """Do the next that is missing."""
    if plan.phase is Phase.STOPPING:
        _advance_stop(plan)
    elif plan.runs():
        ADVANCES[plan.task.mode](plan)
    elif plan.phase is Phase.FAILED and plan.surplus() > 0:
        trim(plan, plan.surplus())


def _advance_stop(plan: Plan) -> None:
    touch(plan, plan.task.pending, "restart" if _is_restart(plan.op) else "stop")
    if plan.occupied:
        return
    plan.tell(e.WatcherStopped())
    plan.phase = Phase.STOPPED
    op = plan.op
    assert op is not None, plan.state  # what stops a watcher is in hand until it is stopped
    if _is_restart(op):
        starting(plan)
        return
    end_stop(plan, op)


def end_stop(plan: Plan, op: Operation) -> None:
    """Stopped; and after a remove, never act again."""
    if isinstance(op.body, c.WatcherRemove):
        plan.tell(e.WatcherRemoved(plan.state.address))
        plan.phase = Phase.REMOVED
        for aside in plan.state.asides.values():
            if aside.command not in plan.finished:
                plan.finish(aside, outcome="superseded")
    plan.finish(op)


def _advance_plain(plan: Plan) -> None:
    fill(plan, warm=True)
    surplus = plan.surplus()
    if surplus > 0:
        trim(plan, surplus)
    if plan.missing() or plan.unsettled:
        return
    _settle(plan)
    if plan.op is not None and not (plan.stopping and _waits_for_ends(plan.op)):
        plan.finish(plan.op, reply_of(plan, plan.op))
    if plan.gone and not plan.occupied and not plan.spec.respawn:
        # Without respawn a watcher is over when its last process is.
        plan.tell(e.WatcherStopped())
        plan.phase = Phase.STOPPED


def _advance_rolling(plan: Plan) -> None:
    fill(plan, warm=False)
    if plan.missing() or plan.unsettled:
        return
    _settle(plan)
    touch(plan, plan.task.pending, "reload")
    if not plan.task.olds:
        _reloaded(plan)


def _advance_stepping(plan: Plan) -> None:
    fill(plan, warm=True)
    if plan.missing() or plan.unsettled or plan.stopping or plan.warmup:
        return
    _settle(plan)
    if plan.task.olds:
        touch(plan, islice(plan.task.pending, 1), "reload")
    else:
        _reloaded(plan)


def _advance_hangup(plan: Plan) -> None:
    left = 0
    for spawn_id in plan.task.pending:
        if plan.gone is not None and plan.gone.spawn_id == spawn_id:
            continue
        if plan.room:
            plan.signal(spawn_id, ProcessSignal(int(SIGHUP)))
        else:
            left += 1
    if left:
        plan.go_on()
    else:
        _reloaded(plan)


ADVANCES: Final[Mapping[Mode, Callable[[Plan], None]]] = {
    Mode.PLAIN: _advance_plain,
    Mode.ROLLING: _advance_rolling,
    Mode.STEPPING: _advance_stepping,
    Mode.HANGUP: _advance_hangup,
}


def _settle(plan: Plan) -> None:
    if plan.phase is Phase.STARTING:
        plan.tell(e.WatcherStarted())
        plan.phase = Phase.ACTIVE


def _reloaded(plan: Plan) -> None:
    assert plan.op is not None, plan.state
    plan.tell(e.WatcherReloaded())
    plan.finish(plan.op, reply_of(plan, plan.op))


def _is_restart(op: Operation | None) -> bool:
    return op is not None and isinstance(op.body, c.WatcherRestart | c.WatcherReload)


def _waits_for_ends(op: Operation) -> bool:
    return isinstance(op.body, (*RESIZES, c.WatcherSet, c.WatcherManage))


def fill(plan: Plan, *, warm: bool) -> None:
    """Spawn what is missing: all at once, or one and the next after `warmup_delay`."""
    delay = plan.spec.warmup_delay if warm else 0
    need = plan.missing()
    if not need or (delay and plan.warmup):
        return
    for _ in range(min(1 if delay else need, plan.room)):
        plan.occupied += 1
        plan.task.owed -= 1
        plan.spawn(plan.wids.take())
    if delay:
        plan.arm(WARMUP, delay, bound="watcher")
        plan.warmup = -1
    elif plan.missing():
        plan.go_on()


def trim(plan: Plan, surplus: int) -> None:
    """Too many: waiting slots go first, then the oldest processes, as in Circus.

    After a reload that has failed for good the newest go: the old ones have shown that they run.
    """
    for wid, slot in plan.state.slots.items():
        if surplus and slot.phase is SlotPhase.WAITING and wid not in plan.wids.freed:
            plan.vacate(wid, slot)
            surplus -= 1
    gone = plan.gone.spawn_id if plan.gone else 0
    found = [s for s in untouched_of(plan.state, plan.state.spawns) if s != gone]
    order = reversed(found) if plan.phase is Phase.FAILED else found
    touch(plan, islice(order, surplus), "decr")


def touch(plan: Plan, spawn_ids: Iterable[int], reason: str) -> None:
    """Ask these to end, under one shared grace timer; what does not fit follows."""
    gone = plan.gone.spawn_id if plan.gone else 0
    left = [spawn_id for spawn_id in spawn_ids if spawn_id != gone]
    if not left:
        return
    name = f"grace:{plan.op.command if plan.op else plan.record.seq}"
    stop_batch(plan, name, left, reason=reason, wish=plan.op.body if plan.op else None)


def stop_batch(
    plan: Plan, name: str, spawn_ids: list[int], *, reason: str, wish: Command | None = None
) -> None:
    """Stop signal now, SIGKILL after the grace (the wish's own or the spec's), armed first."""
    spec = plan.spec
    grace: int | None = getattr(wish, "grace", None)
    signum: int | None = getattr(wish, "signum", None)
    plan.arm(name, spec.graceful_timeout if grace is None else grace, bound="process")
    scope = "family" if spec.stop_children else "process"
    signal = ProcessSignal(signum or spec.stop_signal, scope)
    for spawn_id in spawn_ids[: plan.room]:
        wid = plan.state.spawns[spawn_id]
        plan.stop(wid, plan.state.slots[wid], reason, signal)
    if plan.room == 0:
        plan.go_on()


def hasten(plan: Plan, name: str, grace: int, reason: str) -> None:
    """Bring those that are stopping already under a shorter grace."""
    due = plan.record.boot + grace
    moved = [s for b in plan.state.graces.values() if b.due > due for s in b.members]
    if not moved:
        return
    plan.arm(name, grace, bound="process")
    for spawn_id in moved:
        plan.tell(e.SlotStopping(reason), plan.state.spawns[spawn_id], spawn_id)


def kill_due(plan: Plan, woken: str = "") -> None:
    """SIGKILL to everybody whose grace is over, or whose timer woke."""
    signal = ProcessSignal(int(SIGKILL), "tree" if plan.spec.stop_children else "process")
    for name, batch in plan.state.graces.items():
        if name == woken or batch.due <= plan.record.boot:
            for spawn_id in islice(batch.members, plan.room):
                plan.signal(spawn_id, signal)
    if plan.room == 0:
        plan.go_on()


def reply_of(plan: Plan, op: Operation) -> Mapping[str, Any] | None:
    """What Circus answers when the command is done (CIRCUS.md, 3.4); tuples, as all on record."""
    body = op.body
    if isinstance(body, RESIZES):
        return {"numprocesses": plan.spec.numprocesses}
    if isinstance(body, c.WatcherSet | c.WatcherManage | c.WatcherStop | c.WatcherRemove):
        return None
    started = [*op.started, plan.filled] if plan.filled else list(op.started)
    reply = {"started": tuple(sorted(started)), "kept": _kept(plan, op)}
    if not isinstance(body, c.WatcherStart | c.WatcherRetry):
        gone = plan.gone
        ended = gone is not None and gone.spawn_id in op.olds and gone.pid
        stopped = [*op.stopped, gone.pid] if gone and ended else list(op.stopped)
        reply = {"stopped": tuple(sorted(stopped)), **reply}
    return reply


def _kept(plan: Plan, op: Operation) -> tuple[int, ...]:
    """The pids that ran when it began and run still; all of them if it has only begun."""
    state = plan.state
    olds = op.olds if op.begun else state.spawns
    gone = plan.gone.spawn_id if plan.gone else 0
    pids = (state.slots[state.spawns[s]].pid for s in olds if s != gone)
    return tuple(sorted(pid for pid in pids if pid))


# --- begun ----------------------------------------------------------------------------------------


def begin(plan: Plan, op: Operation, body: Command) -> None:
    """The first and only begin of an operation."""
    BEGINS[type(body)](plan, op, body)


def _begin_start(plan: Plan, op: Operation, body: Any) -> None:
    plan.begin(op, body)
    plan.task.owed = max(0, plan.spec.numprocesses - plan.occupied)
    if plan.phase is Phase.ACTIVE and not plan.missing() and not plan.unsettled:
        plan.finish(op, {"started": (), "kept": _kept(plan, op)})
        return
    starting(plan)


def starting(plan: Plan) -> None:
    """Fill up, and give waiting slots their second chance at once."""
    plan.tell(e.WatcherStarting())
    plan.phase = Phase.STARTING
    plan.task.owed = max(0, plan.spec.numprocesses - plan.occupied)
    for wid, slot in plan.state.slots.items():
        if slot.phase is SlotPhase.WAITING and wid not in plan.wids.freed and plan.room:
            plan.leave(slot)
            plan.spawn(wid)
    advance(plan)


def _begin_stop(plan: Plan, op: Operation, body: Any) -> None:
    plan.begin(op, body)
    if isinstance(body, c.WatcherRemove) and body.nostop:
        end_stop(plan, op)
        return
    stopping(plan, body)


def stopping(plan: Plan, body: Command) -> None:
    """From any phase: waits end, who stops already gets the shorter grace, the rest is asked."""
    if plan.phase is Phase.STOPPED:
        assert plan.op is not None
        if isinstance(body, c.WatcherRestart):
            starting(plan)
        else:
            end_stop(plan, plan.op)
        return
    if plan.phase is not Phase.STOPPING:
        plan.tell(e.WatcherStopping())
        plan.phase = Phase.STOPPING
    for wid, slot in plan.state.slots.items():
        if slot.phase is SlotPhase.WAITING:
            plan.vacate(wid, slot)
    hasten_to(plan, body)
    _advance_stop(plan)


def hasten_to(plan: Plan, body: Command) -> None:
    """Whoever is stopping already gets this command's grace if that is shorter."""
    grace: int | None = getattr(body, "grace", None)
    timeout = plan.spec.graceful_timeout if grace is None else grace
    hasten(plan, f"grace:{plan.record.seq}", timeout, "stop")


def _begin_reload(plan: Plan, op: Operation, body: Any) -> None:
    plan.begin(op, body)
    if not plan.runs():
        # What an operator stopped stays stopped; Circus starts it (CIRCUS.md, 5.6).
        plan.finish(op, {"stopped": (), "started": (), "kept": ()})
    elif body.graceful:
        advance(plan)
    else:
        stopping(plan, body)


def _begin_resize(plan: Plan, op: Operation, body: Any) -> None:
    number = plan.spec.numprocesses
    if plan.spec.singleton:
        plan.finish(op, {"numprocesses": number, "singleton": True})
        return
    plan.begin(op, body)
    more = body.nb if isinstance(body, c.WatcherIncr) else -body.nb
    _resize(plan, max(0, number + more))
    _apply(plan, op)


def _begin_set(plan: Plan, op: Operation, body: Any) -> None:
    changed = {k: v for k, v in body.options.items() if _plain(getattr(plan.spec, k)) != _plain(v)}
    plan.begin(op, c.WatcherSet(changed))
    if changed:
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in changed.items()
        }
        spec = altered(plan.spec, **frozen)
        plan.digest = spec_digest(spec)
        plan.tell(e.WatcherUpdated(changed, plan.digest))
        if "numprocesses" in changed:
            _resize(plan, changed["numprocesses"])
        plan.spec = spec
    _apply(plan, op)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _resize(plan: Plan, number: int) -> None:
    plan.tell(e.WatcherResized(number))
    plan.spec = altered(plan.spec, numprocesses=number)


def _apply(plan: Plan, op: Operation) -> None:
    if plan.runs():
        advance(plan)
    else:
        plan.finish(op, reply_of(plan, op))


def _begin_manage(plan: Plan, op: Operation, body: Any) -> None:
    plan.begin(op, body)
    if plan.runs() and plan.spec.max_age:
        oldest = plan.record.boot - plan.spec.max_age - plan.spec.max_age_variance
        slots, spawns = plan.state.slots, plan.state.spawns
        aged = [s for s in plan.task.pending if slots[spawns[s]].since < oldest]
        if aged:
            stop_batch(plan, f"grace:{op.command}", aged, reason="age")
    _apply(plan, op)


BEGINS: Final[Mapping[type[Command], Callable[[Plan, Operation, Any], None]]] = {
    c.WatcherStart: _begin_start,
    c.WatcherRetry: _begin_start,
    c.WatcherStop: _begin_stop,
    c.WatcherRemove: _begin_stop,
    c.WatcherRestart: _begin_stop,
    c.WatcherReload: _begin_reload,
    c.WatcherIncr: _begin_resize,
    c.WatcherDecr: _begin_resize,
    c.WatcherSet: _begin_set,
    c.WatcherManage: _begin_manage,
}
