"""Room: watcher -- what the news about one process means: it came, failed to come, or went.

Knows:     bus.events, watcher.operations, watcher.plan, watcher.policy, watcher.state.
Known by:  watcher.core.
Never:     scans the slots: every exit of thousands costs the same.
"""

from __future__ import annotations

from typing import Any, Final

from circus.bus import events as e
from circus.bus.commands import ProcessSpawn, WatcherKill
from circus.bus.events import ProcessExited, ProcessSpawned, ProcessSpawnFailed
from circus.bus.record import Draft, Record
from circus.bus.values import REAPER
from circus.watcher.operations import advance, touch
from circus.watcher.plan import Plan
from circus.watcher.policy import (
    age_of,
    delay_of_life,
    delay_of_spawn,
    is_hopeless,
    is_spent,
)
from circus.watcher.state import Phase, Slot, SlotPhase, State

AGE: Final = "age"
RETRY: Final = "retry"


def in_peace(state: State, wid: int, slot: Slot, record: Record) -> Draft | None:
    """The two commonest decisions without a plan: it runs; it has lived, so it is replaced.

    They say what `came` and `went` would say (a property test compares) in a third of the time.
    """
    body, spec = record.body, state.spec
    if isinstance(body, ProcessSpawned):
        surplus = len(state.slots) - state.stopping - spec.numprocesses
        if slot.phase is not SlotPhase.SPAWNING or spec.max_age or surplus > 0:
            return None
        return Draft(e.SlotFilled(body.pid), None, spec.name, wid, slot.spawn_id)
    if not isinstance(body, ProcessExited) or slot.phase is not SlotPhase.RUNNING:
        return None
    crowded = len(state.slots) > spec.numprocesses or state.stopping
    if crowded or not spec.respawn or spec.warmup_delay:
        return None
    if 0 <= body.observed - slot.since < spec.min_uptime:
        return None
    return Draft(ProcessSpawn(state.digest, 1, slot.spawn_id), REAPER, spec.name, wid)


def came(plan: Plan, wid: int, slot: Slot, body: ProcessSpawned) -> None:
    """A spawn succeeded; also of a slot that is stopping by now, whose pid the reply wants."""
    plan.tell(e.SlotFilled(body.pid), wid, slot.spawn_id)
    if slot.phase is not SlotPhase.SPAWNING:
        return
    plan.unsettled -= 1
    if plan.op is None or slot.spawn_id not in plan.op.olds:
        plan.filled = body.pid
    if plan.spec.max_age:
        age = age_of(plan.spec, plan.chance, _key(plan, "age"))
        plan.arm(f"{AGE}:{wid}", age, wid, bound="process")
    _carry_on(plan)


def failed(plan: Plan, wid: int, slot: Slot, body: ProcessSpawnFailed) -> None:
    """A spawn failed: again at once, later, or never."""
    if slot.phase is not SlotPhase.SPAWNING or not plan.runs():
        _over(plan, wid, slot)
        return
    if plan.is_spare(slot):
        _dropped(plan, wid, slot)
        return
    if is_spent(plan.spec, slot.attempt):
        plan.vacate(wid, slot)
        name = plan.spec.name
        give_up(plan, f"cannot spawn {name}: {body.reason}; mend it, then start {name}")
        return
    delay = delay_of_spawn(plan.spec, slot.attempt, plan.chance, _key(plan, "spawn"))
    plan.leave(slot)
    plan.gone = None
    if not delay:
        plan.spawn(wid, slot.attempt + 1, slot.spawn_id)
        return
    if plan.spec.max_retry < 0 and plan.op is not None:
        # It is tried for ever; nobody should wait that long for an answer.
        plan.finish(plan.op, {"reason": f"cannot spawn yet: {body.reason}"}, outcome="failed")
        if plan.surplus() > 0:
            # It was to replace one that runs on: the reload is given up, and nothing waits.
            plan.occupied -= 1
            plan.wids.freed.add(wid)
            plan.tell(e.SlotVacated(), wid, slot.spawn_id)
            _carry_on(plan)
            return
    plan.unsettled += 1
    wait(plan, wid, failures=slot.attempt, delay=delay)


def never_ran(plan: Plan, wid: int, slot: Slot, body: Any) -> None:
    """The core died before the keeper heard of the spawn: nobody's failure, so ask again."""
    if slot.phase is not SlotPhase.SPAWNING or not plan.runs():
        _over(plan, wid, slot)
        return
    if plan.is_spare(slot):
        _dropped(plan, wid, slot)
        return
    plan.leave(slot)
    plan.gone = None
    plan.spawn(wid, slot.attempt, slot.spawn_id)


def _dropped(plan: Plan, wid: int, slot: Slot) -> None:
    """What did not come is not tried again: a reload has asked for others, enough without it."""
    plan.vacate(wid, slot)
    _carry_on(plan)


def _carry_on(plan: Plan) -> None:
    """Go on with what waits for this news.

    Beyond `numprocesses` without an operation is what a reload that was given up has left. It goes
    once nothing is under way: what is may fail as well.
    """
    left = plan.surplus() > 0 and not (plan.unsettled and plan.runs())
    if plan.op is not None or plan.phase is Phase.STARTING or left:
        advance(plan)


def went(plan: Plan, wid: int, slot: Slot, body: Any) -> None:
    """The process is gone: replace it, now or later, or go on with what waited for that."""
    unasked = slot.phase is not SlotPhase.STOPPING and plan.runs()
    if unasked and _is_short(plan, slot, body):
        _died_young(plan, wid, slot)
    else:
        _over(plan, wid, slot)


def woke_to_retry(plan: Plan, wid: int, slot: Slot) -> None:
    """The pause is over."""
    if not plan.runs():
        plan.vacate(wid, slot)
        return
    if plan.is_spare(slot):
        _dropped(plan, wid, slot)
        return
    plan.leave(slot)
    plan.spawn(wid, slot.attempt + 1)


def woke_of_age(plan: Plan, wid: int, slot: Slot) -> None:
    """Kill first, then spawn the replacement, as Circus does (CIRCUS.md, 5.10)."""
    op, plan.op = plan.op, None
    touch(plan, (slot.spawn_id,), "age")
    plan.op = op


def give_up(plan: Plan, reason: str) -> None:
    """Stop trying; what runs in other slots runs on."""
    plan.tell(e.WatcherFailed(reason))
    plan.phase = Phase.FAILED
    if plan.op is not None:
        plan.finish(plan.op, {"reason": reason}, outcome="failed")
    advance(plan)


def wait(plan: Plan, wid: int, *, failures: int, delay: int) -> None:
    """Put the slot's respawn off."""
    plan.tell(e.SlotWaiting(failures, delay), wid)
    plan.arm(f"{RETRY}:{wid}", delay, wid, bound="watcher")


def _is_short(plan: Plan, slot: Slot, body: Any) -> bool:
    # A lost process tells nothing about its life; one of another boot had its own clock.
    return (
        isinstance(body, ProcessExited) and 0 <= body.observed - slot.since < plan.spec.min_uptime
    )


def _died_young(plan: Plan, wid: int, slot: Slot) -> None:
    failures = plan.state.failures.get(wid, 0) + 1
    plan.vacate(wid, slot, short=True)
    _end_kills(plan, slot)
    if is_hopeless(plan.spec, failures):
        name = plan.spec.name
        text = (
            f"{name} died {failures} times in a row within min_uptime; mend it, then start {name}"
        )
        give_up(plan, text)
        return
    delay = delay_of_life(plan.spec, failures, plan.chance, _key(plan, "life"))
    if plan.missing() and plan.spec.respawn:
        if delay:
            plan.occupied += 1
            wait(plan, wid, failures=failures, delay=delay)
        elif _is_free_to_spawn(plan):
            plan.occupied += 1
            plan.spawn(wid, 1, slot.spawn_id)
    advance(plan)


def _over(plan: Plan, wid: int, slot: Slot) -> None:
    """Its end was asked for, or it has lived long enough."""
    if slot.batch and len(plan.state.graces[slot.batch].members) == 1:
        plan.disarm(slot.batch)
    plan.leave(slot)
    plan.occupied -= 1
    if plan.runs() and plan.spec.respawn and plan.missing() and _is_free_to_spawn(plan):
        plan.occupied += 1
        plan.spawn(wid, 1, slot.spawn_id)
    else:
        plan.wids.freed.add(wid)
        plan.tell(e.SlotVacated(), wid, slot.spawn_id)
    _end_kills(plan, slot)
    if (
        plan.phase is not Phase.ACTIVE
        or plan.op is not None
        or not plan.spec.respawn
        or not _is_free_to_spawn(plan)
    ):
        advance(plan)


def _is_free_to_spawn(plan: Plan) -> bool:
    return not plan.spec.warmup_delay


def _end_kills(plan: Plan, slot: Slot) -> None:
    for aside in plan.state.asides.values():
        last = len(aside.olds) == 1 and slot.spawn_id in aside.olds
        if last and isinstance(aside.body, WatcherKill):
            plan.finish(aside)


def _key(plan: Plan, purpose: str) -> str:
    return f"{plan.state.address}/{purpose}/{plan.record.seq}"
