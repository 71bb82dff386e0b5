"""Room: watcher -- where the core's requests meet the public methods of one watcher.

Knows:     bus.events, bus.record, watcher.library_future.
Known by:  the public Watcher (its base methods carry out what lies here), the library's reaper.
Never:     decides; loses a request: what no method has carried out is recorded as not done.

The core asks by record (`process.spawn`, `process.exited`, `process.signal`, `watcher.stop` …).
Where the user has overridden the method for it, the record lies here for one turn of the loop, the
public method is called, and the base method carries it out (ADR-0071). Everything here runs on
the sequencer's thread, between two of its turns.
"""

from __future__ import annotations

import errno
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from circus.bus.events import MethodCalled, ProcessSignalled, ProcessSpawnFailed
from circus.bus.record import Body, Draft, Record
from circus.watcher.library_future import Promise, carried

TEXT_CHARACTERS_MAX: Final = 400
PENDING: Final = "a future"
SPAWNING: Final = ("manage_processes", "spawn_processes", "spawn_process")
REAPING: Final = ("reap_and_manage_processes", "reap_processes", "reap_process")
KILLING: Final = ("kill_processes", "kill_process")


class Hands(Protocol):
    """What the composition root gives: the reaper behind us, and the way into its loop."""

    def perform(self, record: Record, /) -> None: ...
    def acknowledge(self, record: Record, /) -> None: ...
    def say(self, drafts: Sequence[Draft], /) -> None: ...
    def later(self, function: Callable[[], None], /) -> None: ...


class Kill(NamedTuple):
    """One process that is to end: the stop signal's command, and the reason on record."""

    record: Record
    pid: int
    signum: int
    reason: str
    grace: float | None = None


class Step(NamedTuple):
    """A call that is owed: an overridden method, its arguments, the record that it is about."""

    method: str
    args: tuple[Any, ...]
    record: Record
    kwargs: Mapping[str, Any] = MappingProxyType({})


class Requests:
    """What lies there, and what becomes of requests that nobody carries out."""

    def __init__(self, watcher: Any, hands: Hands) -> None:
        # Weak: a watcher without an arbiter ends with its last reference, and its core with it.
        self._watcher = weakref.ref(watcher)
        self.name = watcher.name
        self.hands = hands
        self.exits: deque[Record] = deque()
        self.spawns: deque[Record] = deque()
        self.kills: deque[Kill] = deque()
        self._fault = ""

    @property
    def watcher(self) -> Any:
        """The user's object; None when nobody has it any more."""
        return self._watcher()

    def wants(self, methods: Sequence[str]) -> bool:
        """Whether the user has overridden one of them, in a class or on the watcher itself."""
        return self.watcher is not None and any(map(self.is_overridden, methods))

    def is_overridden(self, method: str) -> bool:
        """Whether `method` is not the library's own."""
        function = getattr(type(self.watcher), method, None)
        home = str(getattr(function, "__module__", None))
        return not home.startswith("circus.watcher.") or method in vars(self.watcher)

    def close_spawn(self, record: Record) -> None:
        """`spawn_process` was called for this request: if it lies here still, it is refused."""
        if record in self.spawns:
            self.spawns.remove(record)
            self._refuse_spawn(record, "spawn_process")

    def _refuse_spawn(self, record: Record, method: str) -> None:
        fault = self._fault or "did not call the library's own"
        reason = f"cannot start: the overridden {method} of {self.name} {fault}; mend or remove it"
        self._report(record, record.seq, ProcessSpawnFailed(method, errno.ECANCELED, reason))

    def _refuse_kill(self, kill: Kill) -> None:
        body = ProcessSignalled(kill.record.seq, kill.signum, (), errno.ECANCELED)
        self._report(kill.record, kill.record.spawn_id or 0, body)

    def _report(self, record: Record, spawn_id: int, body: Body) -> None:
        draft = Draft(
            body, to=record.actor, watcher=record.watcher, slot=record.slot, spawn_id=spawn_id,
            cause=record.seq,
        )  # fmt: skip
        self.hands.say([draft])

    def _tell_result(self, method: str, seq: int, result: Any) -> None:
        """A future that is not done is told as such: what becomes of it is a record of its own."""
        if not isinstance(result, Future):
            self._tell(method, seq, result)
        elif not result.done():
            self._tell(method, seq, PENDING)
        elif (error := result.exception()) is not None:
            self._tell(method, seq, error=error)
        else:
            self._tell(method, seq, result.result())

    def _tell(
        self, method: str, seq: int, value: Any = None, error: BaseException | None = None
    ) -> None:
        if error is None:
            called = MethodCalled(method, repr(value)[:TEXT_CHARACTERS_MAX])
        else:
            called = MethodCalled(method, None, _text(error))
        self.hands.say([Draft(called, watcher=self.name, cause=seq or None)])


class Desk(Requests):
    """The requests of one watcher that wait for its public methods."""

    def __init__(self, watcher: Any, hands: Hands, thread: int) -> None:
        super().__init__(watcher, hands)
        self.about: Step | None = None
        self._steps: deque[Step] = deque()
        self._asked: list[str] = []
        self._due = False
        self._thread = thread

    @property
    def busy(self) -> bool:
        """True on the sequencer's thread while a public method is being called for a record."""
        return self.about is not None and threading.get_ident() == self._thread

    # --- requests come ------------------------------------------------------------------------

    def take_exit(self, record: Record) -> None:
        """A `process.exited` that is in the ledger and not acknowledged."""
        self.exits.append(record)
        self._owe(Step("reap_and_manage_processes", (), record))

    def take_spawn(self, record: Record, *, starting: bool) -> None:
        """A `process.spawn` that is in the ledger and has not reached the keeper."""
        self.spawns.append(record)
        self._owe(Step("spawn_processes" if starting else "manage_processes", (), record))

    def take_kill(self, kill: Kill) -> None:
        """The stop signal of one process."""
        self.kills.append(kill)
        whole = kill.reason in {"stop", "restart", "quit"}
        if whole:
            self._owe(Step("kill_processes", (), kill.record))
        else:
            self._owe(Step("kill_process", (kill,), kill.record))

    def take(self, step: Step) -> None:
        """A call for something that is done without it: an event, or a command of somebody else."""
        self._owe(step)

    def _owe(self, step: Step) -> None:
        if step.args or step.kwargs or step.method not in {owed.method for owed in self._steps}:
            self._steps.append(step)
        if not self._due:
            self._due = True
            self.hands.later(self._serve)

    # --- and are served -----------------------------------------------------------------------

    def _serve(self) -> None:
        self._due = False
        while self._steps and self.about is None:
            step = self._steps.popleft()
            if not self._is_pointless(step):
                self._call(step)

    def _is_pointless(self, step: Step) -> bool:
        """An earlier pass has carried it out already."""
        if step.method in SPAWNING:
            return not self.spawns
        if step.method in KILLING:
            return not self.kills or bool(step.args and step.args[0] not in self.kills)
        return step.method in REAPING and not self.exits

    def _call(self, step: Step) -> None:
        self.about, self._asked, self._fault = step, [], ""
        try:
            args, kwargs = self._arguments(step)
            result = self.ask(step.method, *args, **kwargs)
        except Exception:  # noqa: BLE001 - `ask` has put it on record; supervision goes on
            result = None
        if isinstance(result, Promise) and not result.done() and self._waits(step):
            result.add_done_callback(lambda _: self.hands.later(self._called))
        else:
            self._called()

    def _waits(self, step: Step) -> bool:
        """A method that has not carried its requests out yet is given time; the others are not."""
        return not self._is_pointless(step) and step.method in (*SPAWNING, *REAPING, *KILLING)

    def _called(self) -> None:
        step = self.about
        self.about = None
        assert step is not None, self
        self._refuse_rest(step)
        if self._steps:
            self._serve()

    def _arguments(self, step: Step) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        if step.method not in KILLING:
            return step.args, step.kwargs
        kill: Kill = step.args[0] if step.args else self.kills[0]
        how = (kill.signum, kill.grace)
        if step.method == "kill_processes":
            return how, {}
        return (self.watcher.process_of(kill.pid), *how), {}

    def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a public method; what an overridden one returns or raises is put on record."""
        overridden = self.is_overridden(method)
        if overridden:
            self._asked.append(method)
        seq = self.about.record.seq if self.about else 0
        try:
            result = getattr(self.watcher, method)(*args, **kwargs)
        except Exception as error:
            if overridden:
                self._tell(method, seq, error=error)
                self._fault = f"raised {_text(error)}"
            raise
        if inspect.iscoroutine(result):
            result = carried(result, self.hands.later)
        if overridden:
            self._tell_result(method, seq, result)
        return result

    def _refuse_rest(self, step: Step) -> None:
        """What the methods did not carry out has an outcome all the same."""
        method = self._asked[-1] if self._asked else step.method
        if step.method in REAPING:
            while self.exits:  # An end is a fact: it is collected whatever a method thinks of it.
                self.hands.acknowledge(self.exits.popleft())
        if step.method in SPAWNING or step.method in REAPING:
            while self.spawns:
                self._refuse_spawn(self.spawns.popleft(), method)
        if step.method in KILLING:
            for kill in [one for one in self.kills if not step.args or one in step.args]:
                self.kills.remove(kill)
                self._refuse_kill(kill)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:TEXT_CHARACTERS_MAX]
