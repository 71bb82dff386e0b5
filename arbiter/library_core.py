"""Room: arbiter -- one core inside a program of the user: keeper a child, engine in a thread.

Knows:     the wiring and the engine, arbiter.library_keeper, watcher.library_*.
Known by:  the library's Arbiter, the watcher without one.
Never:     installs a signal handler, waits for a pid, touches another thread's loop.

Methods may be called from any thread, from signal handlers and from the core's own calls.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from circus.arbiter.config import Config, to_configure
from circus.arbiter.engine import Engine
from circus.arbiter.library_asking import Asking, KeeperLost, Stopped
from circus.arbiter.library_hands import Between, DeskHands
from circus.arbiter.library_keeper import Keeper
from circus.arbiter.library_options import Traces, environment, traces
from circus.arbiter.runtime import ReaperPort
from circus.arbiter.wiring import WireOptions, Wiring, open_engine
from circus.bus import events
from circus.bus.record import Draft
from circus.bus.shapes import keyed
from circus.bus.vault import Vault
from circus.process.link import LinkClosed
from circus.watcher.library_bond import Bond
from circus.watcher.library_desk import Desk
from circus.watcher.library_future import Promise, finished

EX_SOFTWARE: Final = 70


@keyed
class Plan:
    """What a core is started with. `configure` is given the vault and makes the configuration."""

    state_dir: str
    endpoint: str
    pubsub_endpoint: str
    ctl: Sequence[str]
    events: Sequence[str]
    configure: Callable[[Vault], Config]
    logs: bool = False
    private: bool = False


class LibraryCore(Asking):
    """From `main` to its end, in the thread that calls `main`."""

    def __init__(self, plan: Plan, watchers: Sequence[Bond]) -> None:
        super().__init__()
        self.plan = plan
        self.ended = Promise()  # nothing of it is left
        self.desks: dict[str, Desk] = {}
        self._watchers: list[weakref.ref[Bond]] = [weakref.ref(watcher) for watcher in watchers]
        self._hands: DeskHands | None = None
        self._traces: Traces | None = None
        self._between = Between(self.desks, lambda: self._projection, self._expect, self.own)

    # --- its life -------------------------------------------------------------------------------

    def main(self) -> bool:
        """Open, run to the end, leave nothing. False: no full restart is asked for."""
        self._thread = threading.get_ident()
        RUNNING.add(self)
        keeper: Keeper | None = None
        error: BaseException | None = None
        try:
            keeper = Keeper(self.plan.state_dir)
            if self._life(keeper) == EX_SOFTWARE:
                error = KeeperLost(keeper.how_it_ended(), self._pids())
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._close(keeper, error)
        if error is not None:
            raise error
        return False

    def main_in_thread(self) -> None:
        """`main` in a thread of its own: what goes wrong is in `ended` and in the log."""
        try:
            self.main()
        except Exception:  # the promises have it too, for those who look
            logging.getLogger("circus").exception("the arbiter has ended with an error")

    def _opening(self, keeper: Keeper) -> None:
        plan = self.plan
        vault = Vault.open(f"{plan.state_dir}/vault")
        config = plan.configure(vault)
        vault.save()
        self._traces = traces(config.settings, logs=plan.logs)
        wiring = Wiring(
            state_dir=plan.state_dir, ctl=plan.ctl, events=plan.events, link=keeper.link,
            keeper_pid=keeper.pid, vault=vault, environ=environment(),
            configure=to_configure(config), options=WireOptions(vault),
            settings={
                "endpoint": plan.endpoint, "pubsub_endpoint": plan.pubsub_endpoint,
                "stats_endpoint": None, "multicast_endpoint": None, "check_delay": 0.0,
            },
            observers=(self, self._between, *self._traces.observers), hands=self._put_between,
            umask=config.settings.umask, orphans=config.settings.orphans,
        )  # fmt: skip
        engine = open_engine(wiring)
        for complaint in engine.parts.complaints:
            logging.getLogger("circus").warning(complaint)
        if self._traces.log is not None:
            engine.idle.add(self._traces.log.start)
        self._projection = engine.parts.projection
        with self._lock:
            self._engine = engine

    def _pids(self) -> list[int]:
        """The workers that run, as far as the record goes."""
        views = self._projection.watchers.values()
        return sorted(p.pid for view in views for p in view.processes.values() if p.pid)

    def _put_between(self, reaper: ReaperPort, say: Callable[[Sequence[Draft]], None]) -> Between:
        self._hands = DeskHands(reaper, say, self._later)
        for reference in self._watchers:
            watcher = reference()
            if watcher is not None:
                self.adopt(watcher)
        return self._between.behind(reaper)

    def _life(self, keeper: Keeper) -> int:
        """From the first record to the last; the exit code."""
        try:
            self._opening(keeper)
        except LinkClosed:
            return EX_SOFTWARE
        assert self._engine is not None
        return self._engine.run()

    def _close(self, keeper: Keeper | None, error: BaseException | None) -> None:
        with self._lock:
            self._over = True
            engine, early = self._engine, self._early
        if engine is not None:
            engine.calls.run()
            _close_engine(engine)
        for function in early:
            function()
        if keeper is not None:
            keeper.end()
        if self._traces is not None:
            self._traces.close()
        RUNNING.discard(self)
        left, self._open = self._open, set()
        stopped = error or Stopped("cannot carry out: the arbiter has stopped; start it again")
        for promise in (self.opened, self.started, *left, *self._awaited.values()):
            if not promise.done():
                promise.set_exception(stopped)
        if error is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)

    def adopt(self, watcher: Bond) -> None:
        """Have this watcher's overridden methods called. On the core's thread."""
        if self._hands is not None:
            self.desks[watcher.name.lower()] = Desk(watcher, self._hands, self._thread)

    # --- the way in -----------------------------------------------------------------------------

    @property
    def private(self) -> bool:
        """Whether it serves one watcher that has no arbiter."""
        return self.plan.private

    def tell_signal(self, signum: int) -> None:
        """The program got a signal that means the arbiter."""
        self.call(lambda: self._say(Draft(events.SignalReceived(signum))))

    def stop(self) -> Promise:
        """Stop every watcher, then the core and the keeper. Idempotent.

        Waits for the end, except on the core's own thread and where an asyncio loop runs.
        """
        if self.alive:
            self.ask("quit", {})
            if not self.is_here() and not _in_asyncio():
                self.ended.exception()
        return self.ended if not self.ended.done() else finished()

    def desk(self, name: str) -> Desk | None:
        """Where the core's requests to this watcher lie."""
        return self.desks.get(name.lower())


RUNNING: Final[weakref.WeakSet[LibraryCore]] = weakref.WeakSet()


def stop_all() -> None:
    """At the end of the program: no core is left to the keeper's last net."""
    for core in list(RUNNING):
        core.stop()


def _close_engine(engine: Engine) -> None:
    parts = engine.parts
    parts.ledger.close()
    parts.syncer.close()
    engine.close()
    context = parts.router.context
    context.destroy(linger=0)


def _in_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


atexit.register(stop_all)
