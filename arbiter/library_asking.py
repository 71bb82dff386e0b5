"""Room: arbiter -- questions and commands of other threads to the core's own, and their outcomes.

Knows:     the engine's way in (`calls`), queries, verbs, outcomes.
Known by:  arbiter.library_core.
Never:     waits on the core's own thread; lets a promise be forgotten.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from circus.arbiter.engine import Engine
from circus.arbiter.outcomes import Outcome, Waiter
from circus.arbiter.projection import Projection
from circus.arbiter.queries import answer
from circus.arbiter.verbs import Answered, Refusal, Wish, wish
from circus.bus import commands, events
from circus.bus.record import Decision, Draft, Record
from circus.bus.values import CLIENT, CORE, NS_PER_SECOND
from circus.watcher.library_future import Promise, failed
from circus.watcher.library_process import Row

ID_BYTES: Final = 16


class Stopped(RuntimeError):
    """There is no core any more that could carry this out."""


class KeeperLost(Stopped):
    """The keeper has ended unasked: its workers have lost their parent. They have been stopped; or
    `orphans` says otherwise, and `pids` has those that run on."""

    def __init__(self, how: str, pids: Sequence[int]) -> None:
        self.pids = tuple(pids)
        listed = ", ".join(map(str, pids))
        left = (
            f"run on without it (pids: {listed}): end them, or have them adopted (`orphans`), then"
            if pids
            else "are stopped;"
        )
        super().__init__(f"cannot go on: the keeper {how}; its workers {left} start again")


class Doorway:
    """The way onto the core's thread, and what is owed to those who came through."""

    def __init__(self) -> None:
        self.opened = Promise()  # the core takes commands
        self.started = Promise()  # every watcher that starts by itself has started
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._early: list[Callable[[], None]] = []
        self._awaited: dict[int, Promise] = {}
        self._expected: dict[int, Promise] = {}
        self._thread = 0
        self._over = False

    @property
    def alive(self) -> bool:
        """Whether it may still carry something out."""
        return not self._over

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


class CoreLoop:
    """Stands where Circus's arbiter has its event loop: `arbiter.loop.add_callback(…)`.

    What is given to it is called on the core's thread, in order; before the start it waits for
    that, after the end it is dropped, as by a loop that is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._core: Doorway | None = None
        self._early: list[Callable[[], None]] = []

    def add_callback(self, callback: Callable[..., Any], *args: Any, **options: Any) -> None:
        """From any thread, and from a signal handler. What it raises is logged."""
        function = partial(_logged, partial(callback, *args, **options))
        with self._lock:
            if self._core is None:
                self._early.append(function)
            else:
                self._core.call(function)

    add_callback_from_signal = add_callback

    def serve(self, core: Doorway) -> None:
        """This core is what calls from now on."""
        with self._lock:
            early, self._early, self._core = self._early, [], core
            for function in early:
                core.call(function)


class Asking(Doorway):
    """Circus's commands and questions, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._projection = Projection()
        self._open: set[Promise] = set()
        self.own: set[object] = set()  # ids of commands whose method need not be called for them

    def ask(self, command: str, properties: Mapping[str, Any], *, method: str = "") -> Promise:
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

    def note(self, name: str, method: str, text: str) -> None:
        """Put something that the program says on record."""
        draft = Draft(events.MethodCalled(method, text), watcher=name)
        self.call(lambda: self._say(draft))

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
            self.own.add(identity)
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


def _logged(callback: Callable[[], Any]) -> None:
    try:
        callback()
    except Exception:  # it is the program's, and the core goes on
        logging.getLogger("circus").exception("a callback has failed")


def _fulfil(promise: Promise, question: Callable[[], Any]) -> None:
    try:
        promise.set_result(question())
    except (KeyError, Refusal) as error:
        promise.set_exception(error)


def _error(reason: str) -> Exception:
    return KeyError(reason) if reason.endswith("not found") else ValueError(reason)


def _ourselves() -> dict[str, int]:
    return {"uid": os.geteuid(), "gid": os.getegid(), "pid": os.getpid()}
