"""Room: watcher -- the public Watcher's life: start, stop, restart, reload, resize, set.

Knows:     watcher.library_bond.
Known by:  watcher.shell.
Never:     decides: each method is one recorded command, and its outcome is what the core says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from circus.bus.spec import OPTIONS, Change
from circus.watcher.library_bond import Bond
from circus.watcher.library_future import Promise, failed, finished, mapped

MANAGE: Final = 0
RELOAD: Final = 1
NOTHING: Final = -1
_ACTIONS: Final = {Change.LIVE: MANAGE, Change.RELOAD: RELOAD}


def _info(reply: Any) -> Any:
    return _told(reply.get("info")) if isinstance(reply, Mapping) else None


def _number(reply: Any) -> Any:
    return reply.get("numprocesses") if isinstance(reply, Mapping) else None


class Life(Bond):
    """Methods that change what should run. All may be called from any thread."""

    def start(self) -> Promise:
        """Start what is missing. Result: `{'started': [pids], 'kept': [pids]}`.

        Without an arbiter this starts a private keeper and ledger. Recorded: `arbiter.start`,
        `watcher.starting`, one `process.spawn` each, `watcher.started`. Raises, when waited for,
        RuntimeError with the reason if the watcher gave up.
        """
        return self._live("start")

    def stop(self) -> Promise:
        """Stop signal to every process, SIGKILL after `graceful_timeout` seconds. Result: None.

        Recorded: `watcher.stopping`, `process.signal`, `process.exited`, `watcher.stopped`.
        """
        promise = self._live("stop")
        return mapped(promise, lambda _: None)

    def restart(self) -> Promise:
        """Stop, then start. Result: `{'stopped': […], 'started': […], 'kept': […]}`."""
        return self._live("restart")

    def reload(self, graceful: bool = True, sequential: bool = False) -> Promise:
        """Replace every process: new ones first (`graceful`), one by one (`sequential`).

        Result as of `restart`. With `send_hup` SIGHUP is sent instead. Calls `prereload_fn` first.
        """
        if self.asked_for("reload") is None and callable(self.prereload_fn):
            self.prereload_fn(self)
        return self._live("reload", graceful=graceful, sequential=sequential)

    def incr(self, nb: int = 1) -> Promise:
        """More processes. Result: the new number. ValueError above 1 of a singleton."""
        if self.singleton and self.numprocesses + nb > 1:
            return failed(ValueError("cannot have more than one process of a singleton"))
        return self._resize("incr", nb)

    def decr(self, nb: int = 1) -> Promise:
        """Fewer processes, at least 0. Result: the new number. The oldest go."""
        return self._resize("decr", nb)

    def set_numprocesses(self, np: int) -> Promise:
        """Exactly so many processes, at least 0. Result: the new number."""
        number = max(0, int(np))
        if self.singleton and number > 1:
            return failed(ValueError("cannot have more than one process of a singleton"))
        self._remember("numprocesses", number)
        if self._home is None or not self._home.alive:
            return finished(number)
        return mapped(self.ask("set", options={"numprocesses": number}), lambda _: number)

    def set_opt(self, key: str, val: Any) -> int:
        """Change one option. 0: it is applied; 1: the processes are replaced; -1: neither.

        Unknown options are ignored, as in Circus. Recorded as `watcher.set`, `watcher.updated`.
        """
        if key not in OPTIONS or key == "name":
            return NOTHING
        if self.asked_for("set_opt") is None:
            self._set_option(key, val)
        return _ACTIONS.get(OPTIONS[key].metadata["change"], NOTHING)

    def do_action(self, num: int) -> Promise:
        """What `set_opt` said: 0 looks after the processes, 1 reloads them. Result: None.

        The core does it by itself when an option is set, so nothing is done twice.
        """
        if self.asked_for("do_action") is not None:
            return finished()
        promise = self.ask("manage") if num == MANAGE else self.reload()
        return mapped(promise, lambda _: None)

    def _live(self, command: str, **how: Any) -> Promise:
        step = self.asked_for(command)
        if step is not None and self._home is not None:
            return mapped(self._home.outcome_of(step.record), _told)
        if self._home is None or not self._home.alive:
            return self._live_without_core(command)
        if command == "stop" and self._home.private:
            return self._home.stop()
        return mapped(self.ask(command, method=command, match="simple", **how), _info)

    def _live_without_core(self, command: str) -> Promise:
        if command == "stop":
            return finished()
        if self.arbiter is None:
            self.alone()
            return mapped(self.ask(command, method=command, match="simple"), _info)
        if self._home is None:
            self._remember("autostart", True)
        return finished({"started": [], "kept": []} if command == "start" else None)

    def alone(self) -> None:
        """Start a private core; `shell` says how."""
        raise NotImplementedError

    def _resize(self, command: str, nb: int) -> Promise:
        step = self.asked_for(command)
        if step is not None and self._home is not None:
            return mapped(self._home.outcome_of(step.record), _number)
        sign = 1 if command == "incr" else -1
        if self._home is None or not self._home.alive:
            number = max(0, self.numprocesses + sign * nb)
            self._remember("numprocesses", number)
            return finished(number)
        return mapped(self.ask(command, method=command, nb=nb), self._resized)

    def _resized(self, reply: Any) -> Any:
        """The next start begins with the number that the last one ended with, as in Circus."""
        number = _number(reply)
        self._remember("numprocesses", number)
        return number


def _told(reply: Any) -> Any:
    """Circus's mapping: `started`, `stopped` and `kept` are sorted lists."""
    if not isinstance(reply, Mapping):
        return None
    return {key: sorted(pids) for key, pids in reply.items()}
