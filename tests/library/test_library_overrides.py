"""A subclass of Watcher: each method that it overrides is called, and that is on record."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from circus.arbiter import Arbiter
from circus.bus.events import MethodCalled, ProcessSpawnFailed
from circus.bus.record import Record
from circus.bus.subscribe import subscribe
from circus.watcher import Watcher

WAIT = 20
PROGRAM = "sleep 1000"
Use = Callable[[Watcher], object]


def overriding(method: str, calls: queue.Queue[Any]) -> type[Watcher]:
    """A subclass whose `method` notes that it was called and calls the library's own."""
    own = getattr(Watcher, method)

    def called(self: Watcher, *args: Any, **kwargs: Any) -> Any:
        calls.put((method, args))
        return own(self, *args, **kwargs)

    return type("Overriding", (Watcher,), {method: called})


def lose_one(watcher: Watcher) -> None:
    """One process dies."""
    os.kill(watcher.pids[0], 9)


def nothing(_watcher: Watcher) -> None:
    """The start alone calls it."""


def by_circusctl(command: str, **properties: Any) -> Use:
    """The command of a client, not of the program."""

    def use(watcher: Watcher) -> None:
        watcher.arbiter._core.ask(command, {"name": "w", **properties}).result(WAIT)

    return use


METHODS: list[tuple[str, Use]] = [
    ("spawn_process", nothing),
    ("spawn_processes", nothing),
    ("manage_processes", lose_one),
    ("reap_process", lose_one),
    ("reap_processes", lose_one),
    ("reap_and_manage_processes", lose_one),
    ("kill_process", lambda watcher: watcher.decr().result(WAIT)),
    ("kill_processes", lambda watcher: watcher.arbiter.stop_watchers().result(WAIT)),
    ("notify_event", nothing),
    ("start", nothing),
    ("stop", lambda watcher: watcher.arbiter.stop_watchers().result(WAIT)),
    ("restart", lambda watcher: watcher.arbiter.restart().result(WAIT)),
    ("reload", lambda watcher: watcher.arbiter.reload().result(WAIT)),
    ("incr", by_circusctl("incr")),
    ("decr", by_circusctl("decr")),
    ("set_opt", by_circusctl("set", options={"numprocesses": 3})),
    ("do_action", by_circusctl("set", options={"numprocesses": 3})),
]


@pytest.fixture
def run(state_dir: Path, reaped: object) -> Iterator[Callable[[Watcher], Arbiter]]:
    """Start an arbiter with this watcher; it is stopped at the end."""
    made: list[Arbiter] = []

    def start(watcher: Watcher) -> Arbiter:
        made.append(Arbiter([watcher], background=True, state_dir=str(state_dir)))
        made[0].start().result(WAIT)
        return made[0]

    yield start
    for arbiter in made:
        arbiter.stop()


def recorded(state_dir: Path) -> list[Record]:
    """What the ledger says, after the end."""
    with subscribe(str(state_dir), after=0, follow=False) as past:
        return list(past)


@pytest.mark.parametrize(("method", "use"), METHODS, ids=[name for name, _ in METHODS])
def test_an_overridden_method_is_called_and_recorded(
    method: str, use: Use, run: Callable[[Watcher], Arbiter], state_dir: Path
) -> None:
    """
    The core asks by record, the override is called, the library's own carries it out.
    """
    calls: queue.Queue[Any] = queue.Queue()
    watcher = overriding(method, calls)("w", PROGRAM, numprocesses=2)
    arbiter = run(watcher)
    use(watcher)
    assert method == calls.get(timeout=WAIT)[0]
    arbiter.stop()
    called = [r.body for r in recorded(state_dir) if isinstance(r.body, MethodCalled)]
    assert {(method, None)} == {(body.method, body.raised) for body in called}


def test_signals_and_children_go_through_overridden_methods(
    run: Callable[[Watcher], Arbiter],
) -> None:
    """
    The program's own calls reach its overrides as in any Python class.
    """
    heard: list[tuple[int, int, int]] = []

    class Listening(Watcher):
        def send_signal_child(self, pid: int, child_id: int, signum: int) -> None:
            heard.append((pid, child_id, signum))

    watcher = Listening("w", PROGRAM)
    run(watcher)
    watcher.send_signal_child(1, 2, 3)
    assert [(1, 2, 3)] == heard


def test_circus_s_events_are_told_with_their_values(run: Callable[[Watcher], Arbiter]) -> None:
    """
    `notify_event` hears spawn, start, reap and the rest, with Circus's payloads.
    """
    told: queue.Queue[tuple[str, Mapping[str, Any]]] = queue.Queue()

    class Telling(Watcher):
        def notify_event(self, topic: str, msg: Mapping[str, Any]) -> None:
            told.put((topic, msg))

    watcher = Telling("w", PROGRAM)
    run(watcher)
    pid = watcher.pids[0]
    os.kill(pid, 9)
    seen: dict[str, Mapping[str, Any]] = {}
    while "reap" not in seen:
        topic, message = told.get(timeout=WAIT)
        seen.setdefault(topic, message)
    assert {"add", "spawn", "start", "reap"} == set(seen)
    assert (pid, pid, -9) == (
        seen["spawn"]["process_pid"],
        seen["reap"]["process_pid"],
        seen["reap"]["exit_code"],
    )


@pytest.mark.parametrize("raises", [True, False])
def test_a_spawn_that_an_override_keeps_back_has_failed(
    *, raises: bool, run: Callable[[Watcher], Arbiter], state_dir: Path
) -> None:
    """
    It raises or does not call the library's own: `process.spawn_failed` with step `spawn_process`.
    """

    class Refusing(Watcher):
        def spawn_process(self, recovery_wid: int | None = None) -> bool | float:
            if raises:
                raise ValueError("not today")
            return False

    watcher = Refusing("w", PROGRAM, max_retry=1)
    arbiter = run(watcher)
    assert ("failed", 0) == (watcher.status(), len(watcher))
    arbiter.stop()
    bodies = [record.body for record in recorded(state_dir)]
    failed = [body for body in bodies if isinstance(body, ProcessSpawnFailed)]
    assert {"spawn_process"} == {body.step for body in failed}
    if raises:
        assert "not today" in failed[0].reason


def test_a_kill_that_is_kept_back_ends_with_the_grace(run: Callable[[Watcher], Arbiter]) -> None:
    """
    An override can keep the stop signal back, never the SIGKILL: `stop` leaves no process.
    """

    class Merciful(Watcher):
        def kill_process(self, *_args: Any, **_kwargs: Any) -> Any:
            return None

    watcher = Merciful("w", PROGRAM, graceful_timeout=0.1)
    run(watcher)
    assert watcher.stop().result(WAIT) is None
    assert 0 == len(watcher)


def test_an_async_override_may_await_the_library_s_own(run: Callable[[Watcher], Arbiter]) -> None:
    """
    `async def` overrides are carried from future to future, without an event loop.
    """
    done: queue.Queue[str] = queue.Queue()

    async def managed(self: Watcher) -> None:
        await Watcher.manage_processes(self)
        done.put("managed")

    awaiting: type[Watcher] = type("Awaiting", (Watcher,), {"manage_processes": managed})
    watcher = awaiting("w", PROGRAM)
    run(watcher)
    lose_one(watcher)
    assert "managed" == done.get(timeout=WAIT)


def test_waiting_on_the_core_s_own_thread_is_refused(run: Callable[[Watcher], Arbiter]) -> None:
    """
    An override that waits for a command would wait for itself: RuntimeError, and life goes on.
    """
    caught: queue.Queue[str] = queue.Queue()

    class Waiting(Watcher):
        def spawn_process(self, recovery_wid: int | None = None) -> bool | float:
            try:
                self.incr().result()
            except RuntimeError as error:
                caught.put(str(error))
            return super().spawn_process(recovery_wid)

    watcher = Waiting("w", PROGRAM, respawn=False)
    watcher.singleton = False
    run(watcher)
    assert "cannot wait here" in caught.get(timeout=WAIT)
