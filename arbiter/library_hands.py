"""Room: arbiter -- the library between the core and its reaper: overridden methods are called here.

Knows:     the reaper (as a port), watcher.library_desk, the projection.
Known by:  arbiter.library_core.
Never:     decides; touches a watcher that has overridden nothing (its requests pass straight on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from signal import SIGKILL
from typing import Any, Final

from circus.arbiter.projection import ProcessView, Projection, WatcherView
from circus.arbiter.runtime import ReaperPort
from circus.bus import commands, events
from circus.bus.past import Spawns
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import OPTIONS, Change
from circus.bus.values import ARBITER, CLIENT, NS_PER_SECOND, ns_to_seconds, watcher_of
from circus.watcher.library_desk import KILLING, REAPING, SPAWNING, Desk, Kill, Step
from circus.watcher.library_options import outside

LIVES: Final[Mapping[type[Body], str]] = {
    commands.WatcherStart: "start",
    commands.WatcherStop: "stop",
    commands.WatcherRestart: "restart",
    commands.WatcherReload: "reload",
    commands.WatcherIncr: "incr",
    commands.WatcherDecr: "decr",
}
# Circus's events that carry nothing but the time.
PLAIN_NEWS: Final[Mapping[type[Body], str]] = {
    events.WatcherStarted: "start",
    events.WatcherStopped: "stop",
    events.WatcherReloaded: "reload",
    events.WatcherAdded: "add",
    events.WatcherRemoved: "remove",
}
_ACTIONS: Final = {Change.LIVE: 0, Change.RELOAD: 1}


class DeskHands:
    """What a desk needs of the core: the reaper behind us and the way into the loop."""

    def __init__(
        self,
        reaper: ReaperPort,
        say: Callable[[Sequence[Draft]], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self.perform = reaper.perform
        self.say = say
        self.later = later
        self._reaper = reaper

    def acknowledge(self, record: Record) -> None:
        """An end may be let go: its record is in the ledger."""
        self._reaper.recorded((record,))


class Between:
    """Stands where the runtime has its reaper, and beside the projection as an observer."""

    def __init__(
        self,
        desks: Mapping[str, Desk],
        views: Callable[[], Projection],
        expect: Callable[[Record], None],
        own: set[object],
    ) -> None:
        self._desks = desks
        self._views = views
        self._expect = expect
        self._inner: ReaperPort | None = None
        self._stopping: dict[int, str] = {}
        self._own = own
        self._own_jobs: set[str] = set()

    def behind(self, reaper: ReaperPort) -> Between:
        """Take the reaper that carries everything out."""
        self._inner = reaper
        return self

    # --- the reaper's port ----------------------------------------------------------------------

    @property
    def reconciled(self) -> bool:
        """As the reaper says."""
        return self.reaper.reconciled

    @property
    def crowded(self) -> bool:
        """As the reaper says."""
        return self.reaper.crowded

    @property
    def reaper(self) -> ReaperPort:
        """The one behind us."""
        assert self._inner is not None, "the wiring gives it before anything happens"
        return self._inner

    def receive(self) -> None:
        """Read the link."""
        self.reaper.receive()

    def flush(self) -> object:
        """Send what is queued."""
        return self.reaper.flush()

    def hear(self, reports: Iterable[Sequence[object]]) -> None:
        """Turn reports into facts."""
        self.reaper.hear(reports)

    def reconcile(self, spawns: Spawns, barrier: int, lost: str) -> None:
        """Ask the keeper what it holds."""
        self.reaper.reconcile(spawns, barrier, lost)

    def perform(self, record: Record) -> None:
        """A request in the ledger: to the public method that is overridden, or straight on."""
        desk = self._desks.get(watcher_of(record.actor).lower())
        if desk is None or not self._laid_out(desk, record):
            self.reaper.perform(record)

    def recorded(self, records: Sequence[Record]) -> None:
        """Ends wait for an overridden method; everything else is believed at once."""
        straight = [record for record in records if not self._is_held(record)]
        if straight:
            self.reaper.recorded(straight)

    def _is_held(self, record: Record) -> bool:
        if not isinstance(record.body, events.ProcessExited):
            return False
        desk = self._desks.get(watcher_of(record.to or "").lower())
        if desk is None or not desk.wants(REAPING):
            return False
        desk.take_exit(record)
        return True

    def _laid_out(self, desk: Desk, record: Record) -> bool:
        body = record.body
        view = self._views().watchers.get(desk.name.lower())
        if isinstance(body, commands.ProcessSpawn):
            if not desk.wants(SPAWNING):
                return False
            desk.take_spawn(record, starting=view is not None and view.status == "starting")
            return True
        reason = self._stopping.pop(record.spawn_id or 0, None)
        if not isinstance(body, commands.ProcessSignal) or reason is None or view is None:
            return False
        process = view.processes.get(record.spawn_id or 0)
        if process is None or not process.pid or not desk.wants(KILLING):
            return False
        if body.signum == SIGKILL != view.spec.stop_signal:
            return False  # The grace is over: nothing keeps a process alive then.
        grace = ns_to_seconds(view.spec.graceful_timeout)
        desk.take_kill(Kill(record, process.pid, body.signum, reason, grace))
        return True

    # --- the observer ---------------------------------------------------------------------------

    def observe(self, record: Record) -> None:
        """See each record before its effects: reasons of stops, lives and news of desks."""
        if record.actor == CLIENT and record.id in self._own:
            self._own.remove(record.id)
            self._own_jobs.add(str(record.seq))
            return
        desk = self._desks.get((record.watcher or watcher_of(record.to or "")).lower())
        if desk is None:
            return
        body = record.body
        if isinstance(body, events.SlotStopping):
            self._stopping[record.spawn_id or 0] = body.reason
        elif isinstance(body, events.ProcessExited):
            self._stopping.pop(record.spawn_id or 0, None)
        if record.actor in {ARBITER, CLIENT} and record.kind == "command":
            self._owe_life(desk, record)
        if desk.wants(("notify_event",)):
            view = self._views().watchers.get(desk.name.lower())
            for topic, message in _news(view, record):
                desk.take(Step("notify_event", (topic, message), record))

    def _owe_life(self, desk: Desk, record: Record) -> None:
        """A command of somebody else: the method of the same name is called for it."""
        body = record.body
        if record.actor == ARBITER and str(record.id) in self._own_jobs:
            return
        if isinstance(body, commands.WatcherSet):
            _owe_set(desk, record, body)
            return
        method = LIVES.get(type(body))
        if method is not None and desk.wants((method,)):
            self._expect(record)
            desk.take(Step(method, (), record, _life_arguments(body)))


def _owe_set(desk: Desk, record: Record, body: commands.WatcherSet) -> None:
    if desk.wants(("set_opt",)):
        for name, value in body.options.items():
            desk.take(Step("set_opt", (name, outside(name, value)), record))
    if desk.wants(("do_action",)):
        costs = [OPTIONS[name].metadata["change"] for name in body.options]
        action = max((_ACTIONS.get(cost, -1) for cost in costs), default=-1)
        desk.take(Step("do_action", (action,), record))


def _news(view: WatcherView | None, record: Record) -> list[tuple[str, dict[str, Any]]]:
    """Circus's events out of ours (CIRCUS.md, 3.5)."""
    body, at = record.body, record.at / NS_PER_SECOND
    plain = PLAIN_NEWS.get(type(body))
    if plain is not None:
        return [(plain, {"time": at})]
    if isinstance(body, events.ProcessSpawned):
        return [("spawn", {"process_pid": body.pid, "time": at})]
    if isinstance(body, events.ProcessExited):
        code = body.code if body.signal is None else -body.signal
        return [("reap", {"process_pid": body.pid, "time": at, "exit_code": code})]
    if isinstance(body, events.WatcherUpdated):
        return [("updated", {"time": at}) for _ in body.options]
    if isinstance(body, events.SlotStopping):
        process = _process(view, record)
        pid = process.pid if process is not None else 0
        return [("kill", {"process_pid": pid, "time": at})] if pid else []
    return []


def _process(view: WatcherView | None, record: Record) -> ProcessView | None:
    return view.processes.get(record.spawn_id or 0) if view is not None else None


def _life_arguments(body: Body) -> dict[str, Any]:
    if isinstance(body, commands.WatcherReload):
        return {"graceful": body.graceful, "sequential": body.sequential}
    if isinstance(body, commands.WatcherIncr | commands.WatcherDecr):
        return {"nb": body.nb}
    return {}
