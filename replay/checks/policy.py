"""Room: replay -- invariants 24 to 26 (RELIABILITY.md 4.3): reload, refusal, order.

Knows:     replay.checks.checkers, replay.checks.truth, replay.checks.witness, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     asks a watcher what it has changed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Record
from circus.bus.shapes import entity, field
from circus.bus.spec import OPTIONS, Change, WatcherSpec
from circus.bus.values import ARBITER
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.truth import Fact, Noted, Obeyed
from circus.replay.checks.witness import Watched

if TYPE_CHECKING:
    from circus.replay.world import World

SIGKILL: Final = 9


class Reload(Checker):
    """What runs is one version of its spec, never a mix; unchanged watchers are left alone."""

    id = "I-RELOAD"
    hears = (
        events.WatcherAdded, events.WatcherUpdated, events.WatcherReloaded, commands.ProcessSpawn,
        commands.ArbiterConfigure, commands.WatcherSet, commands.WatcherRemove,
        commands.WatcherReload, commands.WatcherRestart, commands.WatcherStop,
        events.CommandFinished, events.CommandRefused, events.ArbiterConfigured,
        (Obeyed, "spec"), (Obeyed, "spawn"),
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._specs: dict[str, WatcherSpec] = {}  # by digest
        self._argv: dict[str, tuple[str, ...]] = {}  # by the digest of the launch
        self._unchanged: dict[str, int] = {}  # names, by seq of the configuration that kept them
        self._sets: dict[int, str] = {}  # on their way: whose spec will be another one
        self._unread: set[int] = set()  # configurations that the arbiter has not decided about
        self._reactions: Mapping[type[Body], Callable[[Record, Any], None]] = {
            events.WatcherAdded: self._added, events.WatcherUpdated: self._updated,
            events.WatcherReloaded: self._reloaded, commands.ProcessSpawn: self._spawned,
            commands.ArbiterConfigure: self._configured, events.ArbiterConfigured: self._read,
            events.CommandFinished: self._finished, events.CommandRefused: self._finished,
        }  # fmt: skip

    def recorded(self, record: Record) -> None:
        self._reactions.get(type(record.body), self._told)(record, record.body)

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Obeyed), fact
        operation = fact.operation
        if operation[0] == "spec":
            self._argv[operation[1]] = tuple(operation[2]["argv"])
        else:
            self._started(operation[1], operation[2], operation[4])

    def _added(self, record: Record, body: Any) -> None:
        watched = next(reversed(self.truth.watchers.of.values()))
        self._know(watched, record)

    def _updated(self, record: Record, body: Any) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        if watched is not None:
            self._know(watched, record)

    def _know(self, watched: Watched, record: Record) -> None:
        self._specs[watched.digest] = watched.spec
        text = f"the digest of {watched.address} is not that of its spec"
        self.claim(spec_digest(watched.spec) == watched.digest, text, record.seq)

    def _spawned(self, record: Record, body: Any) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        if watched is not None and body.spec != watched.digest:
            self.fail(
                f"{record.seq} is started from {body.spec}, in force is {watched.digest}",
                record.seq,
            )

    def _started(self, spawn_id: int, launch: str, plan: Any) -> None:
        spawn = self.truth.workers.spawns.get(spawn_id)
        spec = self._specs.get(getattr(spawn.body, "spec", "")) if spawn is not None else None
        if spec is None:
            return  # I-WAL has a word about a spawn that is not on record.
        meant = (spec.stop_signal, spec.graceful_timeout, spec.priority, spec.stop_children,
                 spec.leftovers == "kill" or spec.stop_children)  # fmt: skip
        if tuple(plan) != meant:
            self.fail(f"{spawn_id} is to be stopped by {plan}, its spec says {meant}", spawn_id)
        argv = self._argv.get(launch)
        if spec.shell or "circus." in spec.cmd + " ".join(spec.args):
            return  # Not the text that the spec has: a shell or a reference is between.
        if argv != (*_words(spec.cmd), *spec.args):
            self.fail(f"{spawn_id} runs {argv}, a mix of specs", spawn_id)

    def _reloaded(self, record: Record, body: Any) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        if watched is None or watched.spec.send_hup:
            return
        wanted = _program(watched.spec)
        for spawn_id in self.truth.watchers.present(record.actor):
            spawn = self.truth.workers.spawns[spawn_id]
            spec = self._specs.get(getattr(spawn.body, "spec", ""))
            if spec is not None and _program(spec) != wanted:
                self.fail(f"{record.actor} is reloaded, and {spawn_id} is an old one", spawn_id)

    def _configured(self, record: Record, body: Any) -> None:
        if record.to != ARBITER or record.actor == ARBITER:
            return
        changing = set(self._sets.values())
        current = {
            w.spec.name: w.spec for w in self.truth.watchers.of.values()
            if not w.removed and w.address not in changing
        }  # fmt: skip
        self._unchanged = {
            str(spec["name"]): record.seq for spec in body.watchers
            if str(spec["name"]) in current and _says(spec, current[str(spec["name"])])
            and not self._unread  # behind another one nobody knows yet what will be the same
        }  # fmt: skip
        self._unread.add(record.seq)

    def _read(self, record: Record, body: Any) -> None:
        self._unread.discard(record.cause)

    def _finished(self, _record: Record, body: Any) -> None:
        self._sets.pop(body.command, None)
        self._unread.discard(body.command)

    def _told(self, record: Record, body: Any) -> None:
        if isinstance(body, commands.WatcherSet) and record.to and record.to != record.actor:
            self._sets[record.seq] = record.to
        kept = self._unchanged.get(record.watcher or "", 0)
        if record.actor == ARBITER and kept and record.cause == kept:
            self.fail(
                f"{record.watcher} is the same in the new configuration and gets {body!r}", kept
            )


@lru_cache
def _words(cmd: str) -> tuple[str, ...]:
    return tuple(shlex.split(cmd))


def _program(spec: WatcherSpec) -> list[Any]:
    """What a process is started from; the rest of a spec is about what happens to it later."""
    return [getattr(spec, n) for n, o in OPTIONS.items() if o.metadata["change"] is Change.RELOAD]


def _says(data: Mapping[str, Any], spec: WatcherSpec) -> bool:
    return all(_listed(data[n]) == _listed(getattr(spec, n)) for n in OPTIONS if n in data)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class Refused(Checker):
    """What was refused has changed nothing: the refusal is all that its decision says."""

    id = "I-ATOMRELOAD"
    hears = (events.CommandRefused,)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._new: list[Record] = []

    def recorded(self, record: Record) -> None:
        self._new.append(record)

    def stepped(self, world: World) -> None:
        if not self._new:
            return
        for refused in self._new:
            for seq in (refused.seq - 1, refused.seq + 1):
                beside = self.truth.record_at(seq)
                if beside is not None and _same_decision(beside, refused):
                    self.fail(f"refused, and yet: {beside.body!r}", refused.cause)
        self._new.clear()


def _same_decision(one: Record, other: Record) -> bool:
    return bool(one.cause) and (one.actor, one.cause) == (other.actor, other.cause)


@entity
class Procession:
    """One job's watchers, in the order in which they were sent for."""

    since: int
    last: dict[type, int] = field(factory=dict)  # priority, by verb


class InOrder(Checker):
    """Watchers start by priority, the highest first, and stop the other way round."""

    id = "I-DEP"
    DOWN: Final = (commands.WatcherStop,)
    hears = (
        commands.WatcherStart, commands.WatcherStop, commands.WatcherRestart,
        (Obeyed, "spawn"), (Noted, "signalled"),
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._jobs: dict[Any, Procession] = {}
        self._priority: dict[int, int] = {}  # of a process, by spawn_id, for the stop plans
        self._planned: int | None = None

    def recorded(self, record: Record) -> None:
        watched = self.truth.watchers.of.get(record.to or "")
        if record.actor != ARBITER or watched is None:
            return
        kind = type(record.body)
        key = (record.id, record.cause) if kind in self.DOWN else record.id
        job = self._jobs.setdefault(key, Procession(record.seq))
        if int(watched.address.rpartition("#")[2]) > job.since:
            return  # Born while the job was under way: it takes somebody's place.
        priority = watched.spec.priority
        last = job.last.setdefault(kind, priority)
        if priority != last and (priority < last) is (kind in self.DOWN):
            self.fail(
                f"{record.name} of {record.to} (priority {priority}) after one with {last}",
                record.seq,
            )
        job.last[kind] = priority

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            self._priority[fact.operation[1]] = fact.operation[4][2]
        elif isinstance(fact, Noted):
            _, _, spawn_id, signum, *_ = fact.report
            if signum != SIGKILL:
                self._plan(spawn_id, self._priority.get(spawn_id, 0))

    def _plan(self, spawn_id: int, priority: int) -> None:
        if self._planned is not None and priority < self._planned:
            text = (
                f"without a core {spawn_id} (priority {priority}) is stopped after {self._planned}"
            )
            self.fail(text, spawn_id)
        self._planned = priority


POLICY_CHECKERS = (Reload, Refused, InOrder)
