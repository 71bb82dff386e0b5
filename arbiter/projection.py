"""Room: arbiter -- what queries are answered from: every record folded into plain views.

Knows:     the vocabulary.
Known by:  the queries, the verbs, the reaper's shell (which spec a digest names), `status`.
Never:     decides, is asked by an actor, costs anything that grows with history.

It is folded up to the head before any effect of a record, so an answer is never older than what the
ledger says. `status` uses Circus's words and one more: `failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.shapes import altered, entity, field
from circus.bus.spec import WatcherSpec, from_data
from circus.bus.values import Address, watcher_address


@entity
class ProcessView:
    """One process: `phase` is `spawning`, `running`, `stopping` or `exited`."""

    spawn_id: int
    slot: int
    phase: str = "spawning"
    pid: int = 0
    started_wall: int = 0


@entity
class WatcherView:
    """One watcher as an operator sees it."""

    name: str
    address: Address
    spec: WatcherSpec
    specs: dict[str, WatcherSpec]
    status: str = "stopped"
    reason: str = ""
    processes: dict[int, ProcessView] = field(factory=dict)
    deaths: int = 0
    spawn_failures: int = 0
    waiting: dict[int, int] = field(factory=dict)
    removed: bool = False

    @property
    def pids(self) -> list[int]:
        """Pids of processes that run, in the order of their spawns."""
        return [p.pid for p in self.processes.values() if p.phase in {"running", "stopping"}]


class Projection:
    """All watchers by lower-case name, and the daemon's own facts."""

    def __init__(self) -> None:
        self.watchers: dict[str, WatcherView] = {}
        self.core: events.CoreStarted | None = None
        self.incarnation = 0
        self.scribe = 0  # its pid; 0: nothing is captured
        self.sockets: dict[str, str] = {}  # where the keeper listens, by name
        self._by_address: dict[Address, WatcherView] = {}
        self._names: list[str] | None = None
        self.folds: Mapping[type[Body], Callable[[Record], None]] = {
            events.CoreStarted: self._core_started,
            events.ScribeStarted: self._scribe_started,
            events.ScribeLost: self._scribe_lost,
            events.SocketBound: self._socket_bound,
            events.SocketClosed: self._socket_closed,
            events.WatcherAdded: self._added,
            events.WatcherRemoved: self._removed,
            events.WatcherUpdated: self._updated,
            events.WatcherResized: self._resized,
            events.WatcherStarting: self._status("starting"),
            events.WatcherStarted: self._status("active"),
            events.WatcherStopping: self._status("stopping"),
            events.WatcherStopped: self._status("stopped"),
            events.WatcherFailed: self._failed,
            events.InputSetAside: self._set_aside,
            events.SlotWaiting: self._slot_waiting,
            events.SlotStopping: self._slot_stopping,
            commands.ProcessSpawn: self._spawn,
            events.ProcessSpawned: self._spawned,
            events.ProcessSpawnFailed: self._spawn_failed,
            events.ProcessNeverRun: self._ended,
            events.ProcessExited: self._exited,
            events.ProcessReaped: self._ended,
            events.ProcessLost: self._ended,
        }

    @property
    def watches(self) -> Collection[type[Body]]:
        """The kinds of records that change anything here."""
        return self.folds

    def observe(self, record: Record) -> None:
        """Fold one record."""
        fold = self.folds.get(type(record.body))
        if fold is not None:
            fold(record)

    def names(self) -> list[str]:
        """Lower-case names, sorted, as Circus lists them."""
        if self._names is None:
            self._names = sorted(self.watchers)
        return self._names

    def spec_of(self, spawn: Record) -> WatcherSpec:
        """The spec that a spawn command names by digest."""
        assert isinstance(spawn.body, commands.ProcessSpawn), spawn
        view = self._by_address[spawn.actor]
        return view.specs.get(spawn.body.spec, view.spec)

    def numprocesses(self) -> int:
        """Processes that run, of all watchers."""
        return sum(len(view.pids) for view in self.watchers.values())

    def kept(self) -> list[Any]:
        """All of it, for a snapshot; removed watchers too, as long as they are spoken of."""
        views = list(self._by_address.values())
        return [self.core, self.incarnation, list(self.watchers), views, self.scribe, self.sockets]

    def restore(self, kept: list[Any]) -> None:
        """From a snapshot, in place of what there is."""
        self.core, self.incarnation, names, views, self.scribe, self.sockets = kept
        self._by_address = {view.address: view for view in views}
        living = {view.name.lower(): view for view in views if not view.removed}
        self.watchers = {name: living[name] for name in names}
        self._names = None

    # --- the daemon and the watchers ----------------------------------------------------------

    def _core_started(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.CoreStarted), record
        known = self.core
        if known and (known.keeper_pid, known.boot_id) != (body.keeper_pid, body.boot_id):
            self.scribe, self.sockets = 0, {}  # They were another keeper's.
        self.core = body
        self.incarnation = record.incarnation

    def _scribe_started(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.ScribeStarted), record
        self.scribe = body.pid

    def _scribe_lost(self, _record: Record) -> None:
        self.scribe = 0

    def _socket_bound(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.SocketBound), record
        self.sockets[body.socket] = body.address

    def _socket_closed(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.SocketClosed), record
        if self.sockets.get(body.socket) == body.address:
            del self.sockets[body.socket]

    def _added(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.WatcherAdded), record
        spec = from_data(body.spec)
        address = watcher_address(spec.name, record.seq)
        view = WatcherView(spec.name, address, spec, {body.digest: spec})
        self.watchers[spec.name.lower()] = self._by_address[address] = view
        self._names = None

    def _removed(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.WatcherRemoved), record
        view = self._by_address.get(body.address)
        if view is None:
            return
        view.removed = True
        if self.watchers.get(view.name.lower()) is view:
            del self.watchers[view.name.lower()]
        self._names = None
        self._forget(view)

    def _forget(self, view: WatcherView) -> None:
        """A removed watcher is remembered while a process of it may still be spoken of."""
        if view.removed and not view.processes:
            self._by_address.pop(view.address, None)

    def _updated(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.WatcherUpdated), record
        view = self._by_address.get(record.actor)
        if view is not None:
            view.spec = altered(view.spec, **_frozen(body.options))
            # Spawns that name the spec before this one may still be on their way.
            view.specs = {**_newest(view.specs), body.digest: view.spec}

    def _resized(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.WatcherResized), record
        view = self._by_address.get(record.actor)
        if view is not None:
            view.spec = altered(view.spec, numprocesses=body.numprocesses)

    def _status(self, status: str) -> Callable[[Record], None]:
        def fold(record: Record) -> None:
            view = self._by_address.get(record.actor)
            if view is not None:
                view.status, view.reason = status, ""

        return fold

    def _failed(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.WatcherFailed), record
        view = self._by_address.get(record.actor)
        if view is not None:
            view.status, view.reason = "failed", body.reason

    def _set_aside(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.InputSetAside), record
        view = self._by_address.get(record.actor)
        if view is not None:
            view.status = "failed"
            view.reason = f"its policy failed twice on record {body.input}; see `circusctl events`"

    # --- processes ----------------------------------------------------------------------------

    def _spawn(self, record: Record) -> None:
        view = self._by_address.get(record.actor)
        if view is not None and record.slot is not None:
            view.processes[record.seq] = ProcessView(record.seq, record.slot)
            view.waiting.pop(record.slot, None)

    def _spawned(self, record: Record) -> None:
        process = self._process(record)
        if process is not None:
            body: Any = record.body
            process.pid = body.pid
            process.started_wall = record.at
            if process.phase == "spawning":
                process.phase = "running"

    def _spawn_failed(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.ProcessSpawnFailed), record
        view = self._by_address.get(record.to or "")
        if view is not None:
            view.spawn_failures += 1
            view.reason = body.reason
        self._ended(record)

    def _slot_waiting(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, events.SlotWaiting), record
        view = self._by_address.get(record.actor)
        if view is not None and record.slot is not None:
            view.waiting[record.slot] = body.delay

    def _slot_stopping(self, record: Record) -> None:
        view = self._by_address.get(record.actor)
        process = view.processes.get(record.spawn_id or 0) if view is not None else None
        if process is not None:
            process.phase = "stopping"

    def _exited(self, record: Record) -> None:
        view = self._by_address.get(record.to or "")
        if view is not None and view.processes.pop(record.spawn_id or 0, None) is not None:
            view.deaths += 1
            self._forget(view)

    def _ended(self, record: Record) -> None:
        view = self._by_address.get(record.to or "")
        if view is not None:
            view.processes.pop(record.spawn_id or 0, None)
            self._forget(view)

    def _process(self, record: Record) -> ProcessView | None:
        view = self._by_address.get(record.to or "")
        return view.processes.get(record.spawn_id or 0) if view is not None else None


def _frozen(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in options.items()}


def _newest(specs: dict[str, WatcherSpec]) -> dict[str, WatcherSpec]:
    digest = next(reversed(specs))
    return {digest: specs[digest]}
