"""Room: watcher -- decides how many processes run, how fresh they are, how often to retry.

Knows:     bus.commands, bus.events, watcher.fold, watcher.lives, watcher.operations.
Known by:  watcher.shell (runs it), the composition root, replay (runs it again).
Never:     forks, waits, reads a clock, rolls dice, logs, changes its state while deciding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.chance import Chance
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import OPTIONS, Change
from circus.watcher import lives
from circus.watcher.asides import begin_aside, carry_on_asides
from circus.watcher.fold import ASIDES, BELIEVED, NOTES, OVERTAKES, WARMUP, born, evolve
from circus.watcher.operations import (
    OVERTAKEN,
    RESIZES,
    advance,
    begin,
    hasten_to,
    kill_due,
    reply_of,
)
from circus.watcher.plan import Plan
from circus.watcher.state import Operation, Phase, Slot, SlotPhase, State

__all__ = ["BELIEVED", "State", "born", "decide", "evolve", "resume"]

REMOVED_ERRNO: Final = 3
DEADLINE_ERRNO: Final = 5


def decide(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
    """What the watcher says about one input; an empty decision changes nothing."""
    decider = DECIDERS.get(type(record.body))
    if decider is None:
        return ()
    return decider(state, record, chance)


def resume(state: State) -> tuple[Draft, ...]:
    """Nothing: open spawns, timers and continues are records that are settled or come again."""
    return ()


# --- news of processes ----------------------------------------------------------------------------


def _news(tell: Callable[[Plan, int, Slot, Any], None]) -> Decider:
    def decide_news(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
        spawn_id = record.spawn_id or 0
        wid = state.spawns.get(spawn_id)
        if wid is None or state.phase is Phase.REMOVED:
            return ()
        slot = state.slots[wid]
        if state.phase is Phase.ACTIVE and not state.queue and not state.asides:
            draft = lives.in_peace(state, wid, slot, record)
            if draft is not None:
                return (draft,)
        plan = Plan(state, record, chance)
        tell(plan, wid, slot, record.body)
        return tuple(plan.drafts)

    return decide_news


# --- timers ---------------------------------------------------------------------------------------


def _woke(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
    body = record.body
    assert isinstance(body, e.TimerWoke), record
    if state.phase is Phase.REMOVED:
        return ()
    plan = Plan(state, record, chance)
    kind, _, wid = body.timer.partition(":")
    if kind == WARMUP:
        _woke_warm(plan, body)
    elif kind == "grace":
        batch = state.graces.get(body.timer)
        if batch is not None and batch.armed == body.armed:
            kill_due(plan, body.timer)
    else:
        _woke_slot(plan, int(wid), body)
    return tuple(plan.drafts)


def _woke_warm(plan: Plan, body: e.TimerWoke) -> None:
    if body.armed != plan.state.warmup:
        return
    plan.warmup = 0
    advance(plan)
    if not plan.warmup:
        plan.disarm(WARMUP)


def _woke_slot(plan: Plan, wid: int, body: e.TimerWoke) -> None:
    slot = plan.state.slots.get(wid)
    if slot is None or slot.timer != body.armed:
        return
    if slot.phase is SlotPhase.WAITING:
        lives.woke_to_retry(plan, wid, slot)
    elif slot.phase is SlotPhase.RUNNING and plan.runs():
        lives.woke_of_age(plan, wid, slot)


# --- commands -------------------------------------------------------------------------------------


def _continue(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
    if state.phase is Phase.REMOVED:
        return ()
    plan = Plan(state, record, chance)
    kill_due(plan)
    carry_on_asides(plan)
    head = state.queue[0] if state.queue else None
    if head is None or head.begun:
        advance(plan)
    else:
        assert head.body is not None, head
        begin(plan, head, head.body)
    return tuple(plan.drafts)


def _command(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
    body = record.body
    assert isinstance(body, NOTES), record
    if record.actor == state.address:
        return ()  # our own note comes back: it was for the record (ADR-0030)
    refusal = _refusal(state, record)
    if refusal is not None:
        return (Draft(refusal, record.actor, state.name, id=record.id),)
    plan = Plan(state, record, chance)
    accepted = e.CommandAccepted(record.seq)
    plan.drafts.append(Draft(accepted, record.actor, state.name, id=record.id))
    op = Operation(record.seq, record.actor, record.id, body)
    if isinstance(body, ASIDES):
        begin_aside(plan, op, body)
    elif isinstance(body, OVERTAKES):
        _overtake(plan, op, body)
    elif state.queue:
        plan.note(body)
    else:
        begin(plan, op, body)
    return tuple(plan.drafts)


def _overtake(plan: Plan, op: Operation, body: c.WatcherStop | c.WatcherRemove) -> None:
    """A stop waits for nothing but another stop, whose grace it may shorten."""
    plan.op = None
    head: Operation | None = None
    for other in plan.state.queue:
        if isinstance(other.body, OVERTAKES):
            head = head or other
        elif other.begun and isinstance(other.body, (*RESIZES, c.WatcherSet)):
            plan.finish(other, reply_of(plan, other))
        elif isinstance(other.body, OVERTAKEN) or isinstance(body, c.WatcherRemove):
            plan.finish(other, outcome="superseded")
    if head is None:
        begin(plan, op, body)
    else:
        plan.note(body)
        hasten_to(plan, body)


def _refusal(state: State, record: Record) -> e.CommandRefused | None:
    verb = record.name.partition(".")[2]
    what = f"cannot {verb} {state.name}"
    if state.phase is Phase.REMOVED or _is_being_removed(state):
        text = f"{what}: program {state.name} not found, it is being removed; add it again first"
        return e.CommandRefused(record.seq, text, REMOVED_ERRNO)
    if record.deadline is not None and record.deadline < record.boot:
        text = f"{what}: its deadline has passed; send it again"
        return e.CommandRefused(record.seq, text, DEADLINE_ERRNO)
    if isinstance(record.body, c.WatcherSet):
        text = _reason_against(state, record.body)
        if text:
            return e.CommandRefused(record.seq, f"{what}: {text}", REMOVED_ERRNO)
    return None


def _is_being_removed(state: State) -> bool:
    return any(isinstance(op.body, c.WatcherRemove) for op in state.queue)


def _reason_against(state: State, body: c.WatcherSet) -> str:
    for option in body.options:
        if option not in OPTIONS:
            return f"{option!r} option not found; `options` lists them"
        if OPTIONS[option].metadata["change"] is Change.FIXED:
            return f"{option!r} is fixed while a watcher lives; remove it and add it anew"
    if state.spec.singleton and body.options.get("numprocesses", 0) > 1:
        return "a singleton has at most one process; remove it and add it without singleton"
    return ""


Decider = Callable[[State, Record, Chance], tuple[Draft, ...]]
DECIDERS: Final[Mapping[type[Body], Decider]] = {
    e.ProcessExited: _news(lives.went),
    e.ProcessSpawned: _news(lives.came),
    e.ProcessSpawnFailed: _news(lives.failed),
    e.ProcessNeverRun: _news(lives.never_ran),
    e.ProcessLost: _news(lives.went),
    e.TimerWoke: _woke,
    c.Continue: _continue,
    **dict.fromkeys(NOTES, _command),
}
