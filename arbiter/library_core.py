"""Room: arbiter -- one core inside a program of the user: keeper a child, engine in a thread.

Knows:     the wiring and the engine, arbiter.library_keeper, watcher.library_*.
Known by:  the library's Arbiter, the watcher without one.
Never:     installs a signal handler, waits for a pid, touches another thread's loop.

Methods may be called from any thread, from signal handlers and from the core's own calls.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attr

from circus.arbiter.config import Config, to_configure
from circus.arbiter.engine import Engine
from circus.arbiter.library_hands import Between, DeskHands
from circus.arbiter.library_keeper import Keeper
from circus.arbiter.library_options import environment
from circus.arbiter.outcomes import Outcome, Waiter
from circus.arbiter.projection import Projection
from circus.arbiter.queries import answer
from circus.arbiter.runtime import ReaperPort
from circus.arbiter.verbs import Answered, Refusal, Wish, wish
from circus.arbiter.wiring import WireOptions, Wiring, open_engine
from circus.bus import commands, events
from circus.bus.record import Decision, Draft, Record
from circus.bus.values import CLIENT, CORE, NS_PER_SECOND
from circus.bus.vault import Vault
from circus.watcher.library_bond import Bond
from circus.watcher.library_desk import Desk
from circus.watcher.library_future import Promise, failed, finished
from circus.watcher.library_process import Row

ID_BYTES: Final = 16
EX_SOFTWARE: Final = 70


class Stopped(RuntimeError):
    """There is no core any more that could carry this out."""


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Plan:
    """What a core is started with. `configure` is given the vault and makes the configuration."""

    state_dir: str
    endpoint: str
    pubsub_endpoint: str
    ctl: Sequence[str]
    events: Sequence[str]
    configure: Callable[[Vault], Config]
    private: bool = False


class LibraryCore:
    """From `main` to its end, in the thread that calls `main`."""

    def __init__(self, plan: Plan, watchers: Sequence[Bond]) -> None:
        self.plan = plan
        self.opened = Promise()  # the core takes commands
        self.started = Promise()  # every watcher that starts by itself has started
        self.ended = Promise()  # nothing of it is left
        self.desks: dict[str, Desk] = {}
        self._watchers: list[weakref.ref[Bond]] = [weakref.ref(watcher) for watcher in watchers]
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._early: list[Callable[[], None]] = []
        self._open: set[Promise] = set()
        self._awaited: dict[int, Promise] = {}
        self._thread = 0
        self._over = False
        self._hands: DeskHands | None = None
        self._expected: dict[int, Promise] = {}
        self._between = Between(self.desks, lambda: self._projection, self._expect)
        self._projection = Projection()

    # --- its life -------------------------------------------------------------------------------

    def main(self) -> bool:
        """Open, run to the end, leave nothing. False: no full restart is asked for."""
        self._thread = threading.get_ident()
        RUNNING.add(self)
        keeper: Keeper | None = None
        error: BaseException | None = None
        try:
            keeper = Keeper(self.plan.state_dir)
            self._opening(keeper)
            code = self._run()
            if code == EX_SOFTWARE:
                error = Stopped("cannot go on: the keeper has ended; start again")
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
        wiring = Wiring(
            state_dir=plan.state_dir, ctl=plan.ctl, events=plan.events, link=keeper.link,
            keeper_pid=keeper.pid, vault=vault, environ=environment(),
            configure=to_configure(config), options=WireOptions(vault),
            settings={
                "endpoint": plan.endpoint, "pubsub_endpoint": plan.pubsub_endpoint,
                "stats_endpoint": None, "multicast_endpoint": None, "check_delay": 0.0,
            },
            observers=(self, self._between), hands=self._put_between,
        )  # fmt: skip
        engine = open_engine(wiring)
        self._projection = engine.parts.projection
        with self._lock:
            self._engine = engine

    def _put_between(self, reaper: ReaperPort, say: Callable[[Sequence[Draft]], None]) -> Between:
        self._hands = DeskHands(reaper, say, self._later)
        for reference in self._watchers:
            watcher = reference()
            if watcher is not None:
                self.adopt(watcher)
        return self._between.behind(reaper)

    def _run(self) -> int:
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
    def alive(self) -> bool:
        """Whether it may still carry something out."""
        return not self._over

    @property
    def private(self) -> bool:
        """Whether it serves one watcher that has no arbiter."""
        return self.plan.private

    def is_here(self) -> bool:
        """Whether the caller is on the core's own thread."""
        return threading.get_ident() == self._thread

    def call(self, function: Callable[[], None]) -> bool:
        """Have the loop call this when the watchers exist. False: there is no loop any more."""
        with self._lock:
            if self._over:
                return False
            if self._engine is None or not self.opened.done():
                self._early.append(function)
            else:
                self._engine.calls.call(function)
        return True

    def _be_open(self) -> None:
        """The watchers exist: what was asked for earlier has its turn."""
        assert self._engine is not None
        with self._lock:
            early, self._early = self._early, []
            self.opened.set_result(None)
            for function in early:
                self._engine.calls.call(function)

    def _later(self, function: Callable[[], None]) -> None:
        """For desks; after the end nobody asks them for anything."""
        self.call(function)

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

    def ask(
        self, command: str, properties: Mapping[str, Any], *, method: str = ""
    ) -> Promise:
        """One recorded command; the promise has the fields of Circus's reply.

        `method`: it comes from the public method of this name, which need not be called for it.
        """
        promise = Promise(self._thread)
        if not self.call(partial(self._submit, command, properties, promise, method)):
            text = f"cannot {command}: the arbiter has stopped; start it again"
            return failed(Stopped(text))
        return promise

    def answer(self, command: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """One question; KeyError where the watcher or option does not exist."""
        def question() -> Mapping[str, Any]:
            sources = self._sources()
            fields = answer(command, properties, sources) if sources is not None else None
            if fields is None:
                raise KeyError(command)
            return fields

        try:
            fields: Mapping[str, Any] = self._look(question)
        except Refusal as refusal:
            raise KeyError(refusal.reason) from refusal
        return fields

    def rows(self, name: str) -> Sequence[Row]:
        """The processes of one watcher, oldest first."""
        def question() -> list[Row]:
            view = self._projection.watchers.get(name.lower())
            return [] if view is None else [
                Row(p.pid, p.slot, p.started_wall / NS_PER_SECOND, p.phase == "stopping")
                for p in view.processes.values() if p.phase in {"running", "stopping"}
            ]  # fmt: skip

        rows: list[Row] = self._look(question)
        return rows

    def desk(self, name: str) -> Desk | None:
        """Where the core's requests to this watcher lie."""
        return self.desks.get(name.lower())

    def note(self, name: str, method: str, text: str) -> None:
        """Put something that the program says on record."""
        draft = Draft(events.MethodCalled(method, text), watcher=name)
        self.call(lambda: self._say(draft))

    def outcome_of(self, record: Record) -> Promise:
        """What becomes of a command that is on record."""
        promise = self._expected.pop(record.seq, None)
        return promise or self._awaited.setdefault(record.seq, Promise(self._thread))

    def _expect(self, record: Record) -> None:
        """A method will be called for this command, which may be finished by then."""
        self._expected[record.seq] = self._awaited[record.seq] = Promise(self._thread)

    # --- on the core's thread -------------------------------------------------------------------

    def observe(self, record: Record) -> None:
        """Keep the promises about commands of others."""
        body = record.body
        if record.actor == CORE and isinstance(body, commands.ArbiterConfigure):
            self._awaited[record.seq] = self.started
        elif isinstance(body, events.ArbiterConfigured):
            if not self.opened.done():
                self._be_open()
        elif isinstance(body, events.CommandFinished):
            promise = self._awaited.pop(body.command, None)
            if promise is not None and not promise.done():
                promise.set_result(body.reply)
        elif isinstance(body, events.CommandRefused):
            promise = self._awaited.pop(body.command, None)
            if promise is not None and not promise.done():
                promise.set_exception(RuntimeError(body.reason))

    def _say(self, draft: Draft) -> None:
        if self._engine is not None:
            self._engine.parts.runtime.say((draft,))

    def _look(self, question: Callable[[], Any]) -> Any:
        """Ask on the core's thread, where nothing changes meanwhile."""
        if self.is_here() or self._over or not self.opened.done():
            return question()
        promise = Promise(self._thread)
        return promise.result() if self.call(partial(_fulfil, promise, question)) else question()

    def _sources(self) -> Any:
        return self._engine.parts.sources if self._engine is not None else None

    def _submit(
        self, command: str, properties: Mapping[str, Any], promise: Promise, method: str
    ) -> None:
        if self._over or self._engine is None:
            promise.set_exception(Stopped(f"cannot {command}: the arbiter has stopped"))
            return
        parts = self._engine.parts
        try:
            wanted = wish(command, properties, parts.projection, parts.options)
        except Refusal as refusal:
            promise.set_exception(_error(refusal.reason))
            return
        if isinstance(wanted, Answered):
            promise.set_result(wanted.fields)
            return
        identity = os.urandom(ID_BYTES)
        if method:
            self._between.own.add(identity)
        self._open.add(promise)
        waiter = Waiter(True, partial(self._told, promise, wanted))
        draft = Draft(wanted.body, to=wanted.to, id=identity, peer=_ourselves())
        parts.runtime.submit(
            Decision(CLIENT, 0, (draft,)),
            lambda item: parts.outcomes.wait(item.first_seq, waiter),
        )

    def _told(self, promise: Promise, wanted: Wish, outcome: Outcome) -> None:
        fact = outcome.fact
        if isinstance(fact, events.CommandRefused):
            promise.set_exception(_error(fact.reason))
        elif isinstance(fact, events.CommandFinished) and fact.outcome != "done":
            reason = (fact.reply or {}).get("reason", f"cannot carry out: {fact.outcome}")
            promise.set_exception(RuntimeError(str(reason)))
        else:
            reply = fact.reply if isinstance(fact, events.CommandFinished) else None
            promise.set_result(wanted.fields(reply))
        self._open.discard(promise)


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


def _fulfil(promise: Promise, question: Callable[[], Any]) -> None:
    try:
        promise.set_result(question())
    except (KeyError, Refusal) as error:
        promise.set_exception(error)


def _error(reason: str) -> Exception:
    return KeyError(reason) if reason.endswith("not found") else ValueError(reason)


def _ourselves() -> dict[str, int]:
    return {"uid": os.geteuid(), "gid": os.getegid(), "pid": os.getpid()}


def _in_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


atexit.register(stop_all)
