"""Room: arbiter -- the fold: what each of the arbiter's own records makes of its state.

Knows:     bus.commands, bus.events, bus.values, arbiter.state.
Known by:  arbiter.core.
Never:     decides, raises for a record that it does not know.

A job's targets come into the state by a note, the arbiter's own copy of the command with the
names spelled out (ADR-0030); `id` of a note and of a child command is the job's number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.arbiter.state import LIFE, Entry, Job, State, Successor
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Body, Command, Record
from circus.bus.values import watcher_address

WARMUP: Final = "warmup"
# Sent one at a time: the timer that let it go is over, and the next arming follows in its decision.
WARMED: Final = (c.WatcherStart, c.WatcherRestart, c.WatcherReload)


def initial() -> State:
    """Before the first record."""
    return State()


def evolve(state: State, record: Record) -> State:
    """Fold one own record, in place."""
    fold = BELIEVED.get(type(record.body))
    if fold is not None:
        fold(state, record, record.body)
    return state


def job_of(record: Record) -> int:
    """The number of the job that a note, a child or a child's answer belongs to; 0: none."""
    first = record.id.partition(":")[0] if isinstance(record.id, str) else ""
    return int(first) if first.isdecimal() else 0


def _accepted(state: State, record: Record, body: Any) -> None:
    state.jobs[body.command] = Job(record.to, record.id)


def _noted(state: State, record: Record, body: Any) -> None:
    job = state.jobs.setdefault(job_of(record), Job(None))
    job.body = body
    job.todo = dict.fromkeys(body.names or ())


def _succeeded(state: State, record: Record, body: Any) -> None:
    key = body.spec["name"].lower()
    state.successors[key] = Successor(job_of(record), body.spec, body.start)


def _finished(state: State, record: Record, body: Any) -> None:
    job = state.jobs.pop(body.command, None)
    if job is not None:
        for verb, key in job.waiting.values():
            _answered(state, verb, key)


def _went_on(state: State, record: Record, body: Any) -> None:
    job = state.jobs.get(job_of(record))
    if job is None or not isinstance(record.id, str):
        return
    _, child, outcome = record.id.split(":")
    verb, key = job.waiting.pop(int(child), (c.WatcherStart, ""))
    job.failed = job.failed or outcome == "failed"
    _answered(state, verb, key)
    if job.is_untold:
        state.jobs.pop(job_of(record))


def _answered(state: State, verb: type[Command], key: str) -> None:
    if verb is c.WatcherRemove and key not in state.successors:
        state.entries.pop(key, None)
        _drop_from_jobs(state, key)


def _drop_from_jobs(state: State, key: str) -> None:
    """No job has anything to send to this watcher any more; some may be at their end by that."""
    waiting = [number for number, job in state.jobs.items() if job.todo]
    for number in waiting:
        job = state.jobs[number]
        job.todo.pop(key, None)
        if job.is_untold:
            del state.jobs[number]


def _restarting(state: State, record: Record, body: Any) -> None:
    job = state.jobs.get(record.cause)
    if job is not None:
        job.kind = "core"


def _moves(state: State, body: Body) -> bool:
    """One step of the life table; False where it has none."""
    phase = LIFE[state.phase].get(type(body))
    if phase is None:
        return False
    state.phase = phase
    return True


def _configured(state: State, record: Record, body: Any) -> None:
    if not _moves(state, body):
        return
    for key in body.removed:
        state.listed.pop(key, None)
    state.listed.update(dict.fromkeys(body.added))
    job = state.jobs.get(record.cause)
    if job is not None:
        job.configures = True
        job.kind = "configure"


def _set_up(state: State, record: Record, body: Any) -> None:
    """The note of a configuration: its settings, and new specs of watchers that stay."""
    state.warmup_delay = body.settings.get("warmup_delay", 0)
    state.source = body.source
    for spec in body.watchers:
        entry = state.entries.get(spec["name"].lower())
        if entry is not None:
            entry.spec = spec


def _added(state: State, record: Record, body: Any) -> None:
    name = body.spec["name"]
    key = name.lower()
    address = watcher_address(name, record.seq)
    order = 1 + max((entry.order for entry in state.entries.values()), default=0)
    old = state.entries.get(key)
    successor = state.successors.pop(key, None)
    # Whom an operator had stopped stays stopped under its new options, and under the next ones.
    halted = successor is not None and not successor.start and bool(body.spec["autostart"])
    state.entries[key] = Entry(name, address, body.spec, old.order if old else order, halted)
    cause = state.jobs.get(record.cause)
    if cause is not None and not cause.kind:
        cause.kind = "add"
    if successor is not None and successor.start and successor.job in state.jobs:
        job = state.jobs[successor.job]
        job.todo[key] = None
        job.body = job.body or c.ArbiterStart((key,))


def _asked(state: State, record: Record, body: Any) -> None:
    """A child command: the job waits for its end."""
    key = (record.watcher or "").lower()
    number = job_of(record)
    job = state.jobs.get(number)
    if job is not None:
        job.todo.pop(key, None)
        job.waiting[record.seq] = (type(body), key)
        job.count += 1
    entry = state.entries.get(key)
    if entry is None:
        return
    if isinstance(body, WARMED):
        state.warmup = 0
    if isinstance(body, c.WatcherRemove):
        entry.leaving = True
        _drop_from_jobs(state, key)  # It answers nobody any more.
    elif isinstance(body, c.WatcherStop):
        entry.halted = entry.halted or number != state.quit
    elif isinstance(body, c.WatcherStart | c.WatcherRestart):
        entry.halted = False


def removals_of(state: State) -> dict[int, tuple[type[Command], str]]:
    """The watchers that are on their way out, by the command that sent them there."""
    return {
        seq: child for job in state.jobs.values() for seq, child in job.waiting.items()
        if child[0] is c.WatcherRemove
    }  # fmt: skip


def _stopping(state: State, record: Record, body: Any) -> None:
    if not _moves(state, body):
        return
    removals = removals_of(state)
    state.quit = record.cause
    job = state.jobs.get(record.cause) or Job(None)
    job.waiting.update(removals)
    state.jobs = {record.cause: job}
    state.successors.clear()


def _stopped(state: State, record: Record, body: Any) -> None:
    if not _moves(state, body):
        return
    job = state.jobs.get(state.quit)
    if job is not None and job.asker is None:
        del state.jobs[state.quit]
    state.quit = 0


def _started(state: State, record: Record, body: Any) -> None:
    number = job_of(record)
    for job in (state.jobs.get(number),) if number else state.jobs.values():
        if job is not None:
            job.configures = False


def _disarmed(state: State, record: Record, body: Any) -> None:
    state.warmup = 0


def _armed(state: State, record: Record, body: Any) -> None:
    state.warmup = record.seq


BELIEVED: Final[Mapping[type[Body], Callable[[State, Record, Any], None]]] = {
    e.CommandAccepted: _accepted,
    e.CommandFinished: _finished,
    c.ArbiterStart: _noted,
    c.ArbiterStop: _noted,
    c.ArbiterRestart: _noted,
    c.ArbiterReload: _noted,
    c.ArbiterAdd: _succeeded,
    c.ArbiterConfigure: _set_up,
    c.Continue: _went_on,
    c.WatcherStart: _asked,
    c.WatcherStop: _asked,
    c.WatcherRestart: _asked,
    c.WatcherReload: _asked,
    c.WatcherSet: _asked,
    c.WatcherRemove: _asked,
    c.TimerArm: _armed,
    c.TimerDisarm: _disarmed,
    e.WatcherAdded: _added,
    e.ArbiterConfigured: _configured,
    e.ArbiterStarted: _started,
    e.ArbiterStopping: _stopping,
    e.ArbiterStopped: _stopped,
    e.CoreRestarting: _restarting,
}
