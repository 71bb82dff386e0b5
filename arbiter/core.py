"""Room: arbiter -- decides which watchers exist, and in which order they come and go.

Knows:     bus.commands, bus.events, bus.digest, bus.spec, arbiter.fold, arbiter.state.
Known by:  the composition root, replay (runs it again).
Never:     touches a process, reads a file or a clock, changes its state while deciding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from circus.arbiter.differences import difference, is_fixed
from circus.arbiter.fold import BELIEVED, WARMUP, evolve, initial, job_of, removals_of
from circus.arbiter.refusals import refusal_of
from circus.arbiter.state import Job, Phase, State
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.chance import Chance
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Command, Draft, Record
from circus.bus.spec import from_data
from circus.bus.values import ARBITER, CLOCK, CORE, EFFECTS_PER_DECISION_MAX, NS_PER_SECOND

__all__ = ["BELIEVED", "State", "decide", "evolve", "initial", "resume"]

SECOND_GRACE: Final = 1 * NS_PER_SECOND
SIGHUP: Final = 1  # numbers of Linux, as `signal.received` has them
ENDING: Final = frozenset((15, 2, 3))  # TERM, INT, QUIT

CHILDREN: Final = (c.WatcherStart, c.WatcherReload, c.WatcherRestart, c.WatcherStop)

Drafts = list[Draft]


def decide(state: State, record: Record, chance: Chance) -> tuple[Draft, ...]:
    """What the arbiter says about one input."""
    decider = DECIDERS.get(type(record.body))
    if decider is None:
        return ()
    if isinstance(record.body, Command) and not isinstance(record.body, c.Continue):
        if record.actor == ARBITER:
            return ()  # our own note comes back: it was for the record (ADR-0030)
        refusal = refusal_of(state, record)
        if refusal is not None:
            return (_answer(record, refusal),)
    return tuple(decider(state, record, record.body))


def resume(state: State) -> tuple[Draft, ...]:
    """That a core has come is the answer to whoever asked for a new one; other jobs wait for
    answers and timers that are records, and come again."""
    return tuple(_end(n, job) for n, job in state.jobs.items() if job.kind == "core")


def _answer(record: Record, body: Body) -> Draft:
    return Draft(body, record.actor, id=record.id)


# --- configuration --------------------------------------------------------------------------------


def _configure(state: State, record: Record, body: c.ArbiterConfigure) -> Drafts:
    wanted = {str(spec["name"]).lower(): spec for spec in body.watchers}
    # At a start only what has changed in the file counts; what was added or removed by command
    # since stays so. Whoever asks for the file gets the file.
    kept = state.listed if record.actor == CORE else None
    added = [k for k in wanted if k not in state.entries and (kept is None or k not in kept)]
    removed = [
        k for k, entry in state.entries.items()
        if k not in wanted and not entry.leaving and (kept is None or k in kept)
    ]  # fmt: skip
    changed = {k: diff for k in wanted if (diff := difference(state.entries.get(k), wanted[k]))}
    drafts = [_answer(record, e.CommandAccepted(record.seq))]
    configured = {key: tuple(diff) for key, diff in changed.items()}
    facts = e.ArbiterConfigured(tuple(added), tuple(removed), configured, body.digest)
    # The note has what the fold has to know: settings, and the new specs of those that stay.
    stay = tuple(wanted[key] for key, diff in changed.items() if not is_fixed(diff))
    note = c.ArbiterConfigure(stay, body.settings, body.digest, body.source)
    drafts += [Draft(note, ARBITER), Draft(facts)]
    births = sorted(added, key=lambda key: -int(wanted[key]["priority"]))
    drafts += [_birth(wanted[key]) for key in births]
    for key in removed:
        drafts.append(_child(state, record.seq, key, c.WatcherRemove()))
    for key, diff in changed.items():
        drafts += _change(state, record.seq, key, wanted[key], diff)
    revived = [] if state.phase is Phase.RUNNING else _autostarting(state, wanted, changed)
    starts = [key for key in births if wanted[key]["autostart"]] + revived
    drafts.append(_note(record.seq, c.ArbiterStart(tuple(_ranked(state, wanted, starts)))))
    drafts.append(Draft(c.Continue(), ARBITER))
    return drafts


def _autostarting(state: State, wanted: Mapping[str, Any], changed: Mapping[str, Any]) -> list[str]:
    """After a `quit` everything that the operator had not stopped runs again."""
    if state.phase is not Phase.STOPPED:
        return []
    return [
        key for key, entry in state.entries.items()
        if (key in wanted or key not in state.listed)
        and wanted.get(key, entry.spec)["autostart"] and not entry.halted and not entry.leaving
        and not is_fixed(changed.get(key, {}))
    ]  # fmt: skip


def _ranked(state: State, wanted: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    order = {key: index for index, key in enumerate(wanted)}
    specs = {key: wanted[key] if key in wanted else state.entries[key].spec for key in keys}
    return sorted(specs, key=lambda k: (-int(specs[k]["priority"]), order.get(k, len(order))))


def _change(
    state: State, job: int, key: str, spec: Mapping[str, Any], diff: Mapping[str, Any]
) -> Drafts:
    if not is_fixed(diff):
        return [_child(state, job, key, c.WatcherSet(diff))]
    start = bool(spec["autostart"]) and not state.entries[key].halted
    return [
        _note(job, c.ArbiterAdd(spec, start)),
        _child(state, job, key, c.WatcherRemove()),
    ]


def _birth(spec: Mapping[str, Any]) -> Draft:
    body = e.WatcherAdded(spec, spec_digest(from_data(spec)))
    return Draft(body, watcher=str(spec["name"]))


# --- requests -------------------------------------------------------------------------------------


def _add(state: State, record: Record, body: c.ArbiterAdd) -> Drafts:
    drafts = [_answer(record, e.CommandAccepted(record.seq)), _birth(body.spec)]
    if not body.start:
        return [*drafts, _answer(record, e.CommandFinished(record.seq))]
    names = (str(body.spec["name"]).lower(),)
    note = _note(record.seq, c.ArbiterStart(names))
    return [*drafts, note, Draft(c.Continue(), ARBITER)]


def _remove(state: State, record: Record, body: c.ArbiterRemove) -> Drafts:
    child = _child(state, record.seq, body.name.lower(), c.WatcherRemove(body.nostop))
    return [_answer(record, e.CommandAccepted(record.seq)), child]


def _fan_out(state: State, record: Record, body: Any) -> Drafts:
    keys = _meant(state, body)
    drafts = [_answer(record, e.CommandAccepted(record.seq))]
    if not keys:
        return [*drafts, _answer(record, e.CommandFinished(record.seq))]
    return drafts + _begin_job(state, record.seq, body, keys)


def _begin_job(state: State, number: int, body: Any, keys: Iterable[str]) -> Drafts:
    """The note, and as much of the job as fits into this decision."""
    names = tuple(keys)
    if isinstance(body, c.ArbiterReload):
        note: Command = c.ArbiterReload(names, body.graceful, body.sequential)
    else:
        note = type(body)(names)
    return [_note(number, note), *_send(state, number, note, names)]


def _meant(state: State, body: Any) -> list[str]:
    entries = {k: entry for k, entry in state.entries.items() if not entry.leaving}
    keys = [name.lower() for name in body.names] if body.names is not None else list(entries)
    if isinstance(body, c.ArbiterStart) and len(body.names or ()) != 1:
        keys = [key for key in keys if entries[key].spec["autostart"]]
    if isinstance(body, c.ArbiterRestart) and body.names is None:
        keys = [key for key in keys if not entries[key].halted]
    keys.sort(key=lambda key: entries[key].rank, reverse=isinstance(body, c.ArbiterStop))
    return keys


def _send(state: State, number: int, body: Command, keys: Iterable[str]) -> Drafts:
    """The next of a job's children; starts and reloads keep `warmup_delay` between them."""
    todo = [key for key in keys if key in state.entries]
    warm = state.warmup_delay and not isinstance(body, c.ArbiterStop)
    if not todo or (warm and state.warmup):
        return []
    now = todo[: 1 if warm else EFFECTS_PER_DECISION_MAX]
    drafts = [_child(state, number, key, _verb(state, number, body)) for key in now]
    if len(now) == len(todo):
        return drafts
    if warm:
        arm = c.TimerArm(WARMUP, state.warmup_delay)
        return [*drafts, Draft(arm, CLOCK)]
    return [*drafts, Draft(c.Continue(), ARBITER)]


def _verb(state: State, number: int, body: Command) -> Command:
    if isinstance(body, c.ArbiterReload):
        return c.WatcherReload(body.graceful, body.sequential)
    if isinstance(body, c.ArbiterRestart):
        return c.WatcherRestart()
    return c.WatcherStop() if isinstance(body, c.ArbiterStop) else c.WatcherStart()


def _child(state: State, job: int, key: str, body: Command) -> Draft:
    entry = state.entries[key]
    return Draft(body, entry.address, entry.name, id=str(job))


def _note(job: int, body: Command) -> Draft:
    return Draft(body, ARBITER, id=str(job))


# --- going on -------------------------------------------------------------------------------------


def _continue(state: State, record: Record, body: c.Continue) -> Drafts:
    return _go_on(state, warm=False)


def _woke(state: State, record: Record, body: e.TimerWoke) -> Drafts:
    if body.timer != WARMUP or body.armed != state.warmup:
        return []
    drafts = _go_on(state, warm=True)
    if any(isinstance(draft.body, CHILDREN) for draft in drafts):
        return drafts
    return [*drafts, Draft(c.TimerDisarm(WARMUP), CLOCK)]


def _go_on(state: State, *, warm: bool) -> Drafts:
    """Carry on one job; those behind it follow when it has sent all its children."""
    for number, job in state.jobs.items():
        if job.todo and job.body is not None:
            # A stop never waits for the timer, and the timer that woke is not a stop's.
            stops = isinstance(job.body, c.ArbiterStop)
            if warm if stops else state.warmup and not warm:
                continue
            return _go_on_with(state, number, job, job.body, warm=warm)
        if job.configures:
            # What it was to start has been removed meanwhile; others may wait behind it.
            drafts = [_started(number), *_end_if_done(state, number, job)]
            return [*drafts, Draft(c.Continue(), ARBITER)]
        if job.is_bereft:
            return [_end(number, job), Draft(c.Continue(), ARBITER)]
    return []


def _go_on_with(state: State, number: int, job: Job, body: Command, *, warm: bool) -> Drafts:
    keys = [key for key in job.todo if key in state.entries]
    if isinstance(body, c.ArbiterStart):
        # Those that take another's place have joined in the order in which the others went.
        keys.sort(key=lambda key: state.entries[key].rank)
    drafts = _send_warm(state, number, body, keys) if warm else _send(state, number, body, keys)
    sent = sum(draft.id == str(number) for draft in drafts)
    if sent == len(keys):
        if job.configures:
            drafts.append(_started(number))
        if sum(other.has_more for other in state.jobs.values()) > 1:
            drafts.append(Draft(c.Continue(), ARBITER))
    return drafts


def _send_warm(state: State, number: int, body: Command, keys: list[str]) -> Drafts:
    drafts = [_child(state, number, key, _verb(state, number, body)) for key in keys[:1]]
    if len(keys) > 1:
        drafts.append(Draft(c.TimerArm(WARMUP, state.warmup_delay), CLOCK))
    return drafts


def _started(number: int) -> Draft:
    """All that the configuration of this job starts has been asked for: of no other job."""
    return Draft(e.ArbiterStarted(), id=str(number))


def _end_if_done(state: State, number: int, job: Job) -> Drafts:
    if job.todo or job.waiting:
        return []
    return [_end(number, job)] if job.asker is not None else []


def _end(number: int, job: Job, outcome: str = "", reply: Mapping[str, Any] | None = None) -> Draft:
    outcome = outcome or ("failed" if job.failed else "done")
    return Draft(e.CommandFinished(number, outcome, reply), job.asker, id=job.id)


def _child_ended(state: State, record: Record, body: Any) -> Drafts:
    """One watcher has answered; the last answer ends the job."""
    number = job_of(record)
    if number not in state.jobs:
        number = state.quit  # which waits for the removals of jobs that it has ended
    job = state.jobs.get(number)
    if job is None or body.command not in job.waiting:
        return []
    refused = isinstance(body, e.CommandRefused)
    outcome = "failed" if refused else body.outcome
    reply = {"reason": body.reason} if refused else body.reply
    verb, key = job.waiting[body.command]
    successor = state.successors.get(key) if verb is c.WatcherRemove else None
    # The birth comes last: the old entry must be folded away before the new one takes its key.
    born = [_birth(successor.spec)] if successor else []
    starts = successor is not None and successor.start
    going_on = Draft(c.Continue(), ARBITER, id=f"{number}:{body.command}:{outcome}")
    last = len(job.waiting) == 1 and not job.todo and not job.configures
    if not last or starts:
        return [going_on, *born]
    stopped = [Draft(e.ArbiterStopped())] if number == state.quit else []
    if job.asker is None:
        return [going_on, *stopped, *born]
    single = job.count == 1 or outcome == "failed"
    told = _told(job, outcome, reply) if single else None
    return [*stopped, _end(number, job, outcome if single else "", told), *born]


def _told(job: Job, outcome: str, reply: Any) -> Mapping[str, Any] | None:
    if job.body is None or job.kind == "configure":
        return dict(reply) if outcome == "failed" and reply else None
    if outcome == "failed" or job.kind == "add":
        return None if reply is None else dict(reply)
    return {"info": reply}


# --- the end --------------------------------------------------------------------------------------


def _quit(state: State, record: Record, body: c.ArbiterQuit) -> Drafts:
    accepted = _answer(record, e.CommandAccepted(record.seq))
    if state.phase is Phase.STOPPING:
        # Joins the end that is under way: no watcher is asked twice without need.
        return [accepted, *_shorten(state, body.grace), _answer(record, _done(record))]
    return [accepted, *_stop_all(state, record, "quit", body.grace)]


def _done(record: Record) -> e.CommandFinished:
    return e.CommandFinished(record.seq)


def _shorten(state: State, grace: int | None) -> Drafts:
    if grace is None:
        return []
    stop = c.WatcherStop(grace)
    return [_child(state, state.quit, key, stop) for key in _stop_order(state)]


def _stop_order(state: State) -> list[str]:
    """Those that are being removed stop already, and may be gone before they could answer."""
    staying = [key for key, entry in state.entries.items() if not entry.leaving]
    return sorted(staying, key=lambda key: state.entries[key].rank, reverse=True)


def _stop_all(state: State, record: Record, reason: str, grace: int | None) -> Drafts:
    """Everything else ends here: waiting jobs are superseded, every watcher is asked to stop."""
    # First, so that the fold keeps what the other jobs wait for: watchers on their way out.
    drafts = [Draft(e.ArbiterStopping(reason))]
    drafts += [
        _end(number, job, "superseded")
        for number, job in state.jobs.items() if job.asker is not None
    ]  # fmt: skip
    stop = c.WatcherStop(grace)
    order = _stop_order(state)
    drafts += [_child(state, record.seq, key, stop) for key in order]
    if not order and not removals_of(state):
        drafts.append(Draft(e.ArbiterStopped()))
        if isinstance(record.body, c.ArbiterQuit):
            drafts.append(_answer(record, _done(record)))
    return drafts


def _signalled(state: State, record: Record, body: e.SignalReceived) -> Drafts:
    if body.signum in ENDING:
        if state.phase is Phase.STOPPING:
            return _shorten(state, SECOND_GRACE)
        return _stop_all(state, record, f"signal {body.signum}", None)
    if body.signum != SIGHUP or state.source != "library" or state.phase is not Phase.RUNNING:
        return []
    keys = [key for key in _meant(state, c.ArbiterReload()) if not state.entries[key].halted]
    return _begin_job(state, record.seq, c.ArbiterReload(), keys) if keys else []


def _restart_core(state: State, record: Record, body: c.CoreRestart) -> Drafts:
    accepted = _answer(record, e.CommandAccepted(record.seq))
    return [accepted, Draft(e.CoreRestarting(body.keeper))]


Decider = Callable[[State, Record, Any], Drafts]
DECIDERS: Final[Mapping[type[Body], Decider]] = {
    c.ArbiterConfigure: _configure,
    c.ArbiterAdd: _add,
    c.ArbiterRemove: _remove,
    c.ArbiterStart: _fan_out,
    c.ArbiterStop: _fan_out,
    c.ArbiterRestart: _fan_out,
    c.ArbiterReload: _fan_out,
    c.ArbiterQuit: _quit,
    c.CoreRestart: _restart_core,
    c.Continue: _continue,
    e.CommandFinished: _child_ended,
    e.CommandRefused: _child_ended,
    e.TimerWoke: _woke,
    e.SignalReceived: _signalled,
}
