"""Room: arbiter -- the Arbiter of Circus's library: watchers before, during and after one core.

Knows:     arbiter.library_core, library_options, library_signals, watcher.shell.
Known by:  arbiter.library (its public names).
Never:     decides; runs anything in a thread that the program did not choose or ask for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from signal import SIGHUP
from typing import Any

from circus.arbiter.library_asking import CoreLoop, Stopped
from circus.arbiter.library_core import LibraryCore, Plan
from circus.arbiter.library_options import (
    FROM_CIRCUS,
    arbiter_options,
    checked_endpoint,
    configuration,
    is_free,
    state_directory,
)
from circus.arbiter.library_signals import hearing
from circus.bus.vault import Vault
from circus.watcher.library_future import Promise, finished, mapped, together
from circus.watcher.shell import Watcher

Select = Callable[[], Iterable[Watcher]] | None


class AlreadyExist(Exception):
    """A watcher of this name is there already (letter case does not count)."""


class Roster:
    """Who the watchers are, and what is known of them. Callable at any time from any thread."""

    def __init__(self, watchers: Iterable[Watcher | Mapping[str, Any]]) -> None:
        self.watchers: list[Watcher] = [_watcher(one) for one in watchers]
        self.sockets: dict[str, Any] = {}
        self._core: LibraryCore | None = None
        for watcher in self.watchers:
            watcher.arbiter = self

    def get_watcher(self, name: str) -> Watcher:
        """By name, letter case aside. KeyError: there is none."""
        for watcher in self.watchers:
            if watcher.name.lower() == name.lower():
                return watcher
        raise KeyError(f"program {name} not found")

    def iter_watchers(self, reverse: bool = True) -> list[Watcher]:
        """By priority, the highest first (`reverse=False`: the lowest)."""
        return sorted(self.watchers, key=lambda watcher: int(watcher.priority), reverse=reverse)

    def numwatchers(self) -> int:
        """How many watchers there are."""
        return len(self.watchers)

    def numprocesses(self) -> int:
        """How many processes there are, of all watchers, those that are stopping included."""
        return sum(len(watcher) for watcher in list(self.watchers))

    def statuses(self) -> dict[str, str]:
        """`{name: status}` of every watcher; see `Watcher.status`."""
        return {watcher.name: watcher.status() for watcher in list(self.watchers)}

    def get_socket(self, name: str) -> Any:
        """None: this version has no sockets."""
        return self.sockets.get(name)

    def add_watcher(self, name: str, cmd: str, **options: Any) -> Watcher:
        """A new watcher, not started. Recorded as `arbiter.add`, `watcher.added`.

        AlreadyExist: the name is taken. ValueError: an option cannot be used.
        """
        if any(watcher.name.lower() == str(name).lower() for watcher in self.watchers):
            raise AlreadyExist(f"cannot add {name!r}: a watcher of this name exists; rm it first")
        watcher = Watcher(name, cmd, **options)
        configuration([watcher], Vault.in_memory())
        core = self._core
        if core is not None and core.alive:
            self._add_to(core, watcher)
        watcher.arbiter = self
        self.watchers.append(watcher)
        return watcher

    def _add_to(self, core: LibraryCore, watcher: Watcher) -> None:
        options = {k: v for k, v in watcher.mapping().items() if not is_free(k, v)}
        name, cmd = options.pop("name"), options.pop("cmd")
        core.call(partial(core.adopt, watcher))
        done = core.ask("add", {"name": name, "cmd": cmd, "options": options})
        if not core.is_here():
            done.result()
        watcher.bind(core)

    def rm_watcher(self, name: str, nostop: bool = False) -> Promise:
        """Stop a watcher (`nostop`: leave its processes alone) and forget it. Result: None.

        KeyError: there is none. Recorded as `arbiter.remove`, `watcher.removed`.
        """
        watcher = self.get_watcher(name)
        self.watchers.remove(watcher)
        core = self._core
        if core is None or not core.alive:
            return finished()
        return _nothing(core.ask("rm", {"name": watcher.name, "nostop": nostop}))


class Controller:
    """Circus's `arbiter.ctrl`, as far as programs touch it."""

    loop: Any = None


class Arbiter(Roster):
    """Runs watchers inside this program: keeper and workers as children, everything on record.

    `Arbiter(watchers, endpoint=None, pubsub_endpoint=None, …)` with Circus's options, and ours:
    `background`, `state_dir`, `orphans`. Raises ValueError for what cannot be used, before anything
    starts.
    """

    warmup_delay: float
    umask: int | str | None
    pidfile: str | None
    loglevel: str | None
    logoutput: str | None
    orphans: str | None

    def __init__(
        self,
        watchers: Iterable[Watcher | Mapping[str, Any]],
        endpoint: str | None = None,
        pubsub_endpoint: str | None = None,
        *words: Any,
        **options: Any,
    ) -> None:
        super().__init__(watchers)
        self._chosen = (
            checked_endpoint("endpoint", endpoint),
            checked_endpoint("pubsub_endpoint", pubsub_endpoint),
        )
        given = arbiter_options(words, options)
        self.background = bool(given.pop("background"))
        self.loop: Any = given.pop("loop")
        self.prereload_fn: Callable[[Arbiter], object] | None = given.pop("prereload_fn")
        self.state_dir: str | None = given.pop("state_dir")
        vars(self).update(given)  # Circus's other attributes: `umask`, `pidfile`, `debug` …
        self.pid = os.getpid()
        self.ctrl = Controller()
        self._places: Any = None
        self._thread: threading.Thread | None = None
        configuration(self.watchers, Vault.in_memory(), self._circus())

    # --- start and stop -------------------------------------------------------------------------

    def start(self, cb: Callable[[Promise], Any] | None = None) -> Promise:
        """Start every watcher with `autostart`, the highest priority first.

        Blocks until stopped and returns a finished future with False; meanwhile, in the main
        thread, INT, TERM and QUIT stop it and HUP reloads, and the program's own handlers are back
        afterwards. With `background=True`, or a `loop`, it returns when commands are taken: the
        future is done when all watchers have started. `cb` is called with that future.

        Raises RuntimeError if it runs already or another live process is in the pid file,
        KeeperLost (a RuntimeError) when the keeper was killed, ConfigProblems, PlaceError,
        VaultError, OSError.
        """
        if self._core is not None and self._core.alive:
            raise RuntimeError("cannot start: the arbiter runs already; stop it first")
        aside = self.background or not (self.loop is None or isinstance(self.loop, CoreLoop))
        core = self._new_core()
        if cb is not None:
            core.started.add_done_callback(lambda _: cb(core.started))
        if aside:
            return self._start_aside(core)
        with hearing(partial(self._heard, core)):
            return finished(core.main())

    def stop(self) -> Promise:
        """Stop every watcher, lowest priority first, then the core; nothing is left. Result: None.

        Returns when all is gone, except in the thread that `start` blocks and where an asyncio loop
        runs: there the future says when. Idempotent; does nothing before start. Recorded as
        `arbiter.quit`, `arbiter.stopped`, `core.stopped`.
        """
        core, thread = self._core, self._thread
        if core is None:
            return finished()
        promise = core.stop()
        if thread is not None and promise.done() and thread is not threading.current_thread():
            thread.join()
        return promise

    @property
    def running(self) -> bool:
        """Whether commands are taken."""
        core = self._core
        return core is not None and core.alive and core.opened.done()

    @property
    def endpoint(self) -> str:
        """Where commands are taken: as given, else a socket in the state directory."""
        return self._chosen[0] or str(self._here().ctl_endpoint)

    @property
    def pubsub_endpoint(self) -> str:
        """Where events are published."""
        return self._chosen[1] or str(self._here().events_endpoint)

    # --- all watchers ---------------------------------------------------------------------------

    def reload(self, graceful: bool = True, sequential: bool = False) -> Promise:
        """Reload every watcher that runs. Calls `prereload_fn` first. Result: None."""
        if self.prereload_fn is not None:
            self.prereload_fn(self)
        return self._ask("reload", graceful=graceful, sequential=sequential)

    def restart(self, inside_circusd: bool = False, watcher_iter_func: Select = None) -> Promise:
        """Stop and start the watchers chosen, or all. Result: None.

        ValueError for `inside_circusd`: there is no circusd to be rebuilt from a file here.
        """
        if inside_circusd:
            raise ValueError("cannot restart circusd: this is a program of its own; stop and start")
        if watcher_iter_func is None:
            return self._ask("restart")
        return _nothing(together([watcher.restart() for watcher in watcher_iter_func()]))

    def start_watchers(self, watcher_iter_func: Select = None) -> Promise:
        """Start the watchers chosen, or all, if they are `autostart`. Result: None."""
        if watcher_iter_func is None:
            return self._ask("start")
        return _nothing(together([self.start_watcher(one) for one in watcher_iter_func()]))

    def start_watcher(self, watcher: Watcher) -> Promise:
        """Start one watcher if it is `autostart`. Result: None."""
        return _nothing(watcher.start()) if watcher.autostart else finished()

    def stop_watchers(self, watcher_iter_func: Select = None) -> Promise:
        """Stop the watchers chosen, or all; the arbiter goes on. Result: None."""
        if watcher_iter_func is None:
            return self._ask("stop")
        return _nothing(together([watcher.stop() for watcher in watcher_iter_func()]))

    def manage_watchers(self) -> Promise:
        """Look after every watcher now. Result: None. Nobody needs to: it happens by itself."""
        return _nothing(together([watcher.manage_processes() for watcher in self.watchers]))

    def reap_processes(self) -> None:
        """Nothing is left to do: the keeper sees every end, and no `waitpid(-1)` touches yours."""
        for watcher in list(self.watchers):
            watcher.rows()

    # --- inside ---------------------------------------------------------------------------------

    def _ensure_ioloop(self) -> None:
        """Circus's way to prepare a start in another thread; `start` does it by itself."""
        if self.loop is None:
            self.loop = CoreLoop()

    def _circus(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in FROM_CIRCUS}

    def _logs(self) -> bool:
        """Whether the program asked for an operator's log."""
        said = self._circus()
        return (said["loglevel"], said["logoutput"]) != (None, None)

    def _here(self) -> Any:
        if self._places is None:
            self._places = state_directory(self.state_dir)
        return self._places

    def _new_core(self) -> LibraryCore:
        if self._core is not None and self.state_dir is None:
            self._places = None  # another start, another directory
        places, chosen, circus = self._here(), self._chosen, self._circus()
        watchers = list(self.watchers)
        plan = Plan(
            state_dir=places.state, endpoint=self.endpoint, pubsub_endpoint=self.pubsub_endpoint,
            ctl=[places.ctl_endpoint, *filter(None, chosen[:1])],
            events=[places.events_endpoint, *filter(None, chosen[1:])],
            configure=lambda vault: configuration(watchers, vault, circus), logs=self._logs(),
        )  # fmt: skip
        core = LibraryCore(plan, watchers)
        self._core = core
        self._ensure_ioloop()
        if isinstance(self.loop, CoreLoop):
            self.loop.serve(core)
        for watcher in watchers:
            watcher.bind(core)
        return core

    def _start_aside(self, core: LibraryCore) -> Promise:
        self._thread = threading.Thread(target=core.main_in_thread, name="circus", daemon=True)
        self._thread.start()
        error = core.opened.exception()
        if error is not None:
            self._thread.join()
            raise error
        return mapped(core.started, lambda _: False)

    def _heard(self, core: LibraryCore, signum: int) -> None:
        if signum == SIGHUP and self.prereload_fn is not None:
            self.prereload_fn(self)
        core.tell_signal(signum)

    def _ask(self, command: str, **properties: Any) -> Promise:
        core = self._core
        if core is None:
            return finished()
        if not core.alive:
            raise Stopped(f"cannot {command}: the arbiter has stopped; start it again")
        return _nothing(core.ask(command, properties))


class ThreadedArbiter(Arbiter):
    """An Arbiter whose `start` returns at once: the same as `background=True`."""

    def __init__(
        self,
        watchers: Sequence[Watcher | Mapping[str, Any]],
        endpoint: str | None = None,
        pubsub_endpoint: str | None = None,
        *words: Any,
        **options: Any,
    ) -> None:
        options["background"] = True
        super().__init__(watchers, endpoint, pubsub_endpoint, *words, **options)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; `timeout`: seconds."""
        if self._thread is not None:
            self._thread.join(timeout)


def _watcher(one: Watcher | Mapping[str, Any]) -> Watcher:
    if isinstance(one, Watcher):
        return one
    options = dict(one)
    cmd = options.pop("cmd")
    name = options.pop("name", None) or str(cmd).split()[0].rpartition("/")[2]
    return Watcher(name, cmd, **options)


def _nothing(promise: Promise) -> Promise:
    return mapped(promise, lambda _: None)
