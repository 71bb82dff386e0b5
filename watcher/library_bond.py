"""Room: watcher -- what ties a public Watcher to the core that runs it, if one does.

Knows:     watcher.library_options, watcher.library_future, watcher.library_process.
Known by:  the parts of the public Watcher.
Never:     reaches into the core: it asks its home, by Circus's command names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from circus.bus.record import Record
from circus.bus.spec import OPTIONS
from circus.watcher.library_desk import Desk, Step
from circus.watcher.library_future import Promise, finished
from circus.watcher.library_options import default_of, given_options, mapping_of
from circus.watcher.library_process import Row, WatchedProcess


class Home(Protocol):
    """The core as a watcher sees it. Every method may be called from any thread."""

    @property
    def alive(self) -> bool: ...
    @property
    def private(self) -> bool: ...
    def stop(self) -> Promise: ...
    def ask(
        self, command: str, properties: Mapping[str, Any], /, *, method: str = ""
    ) -> Promise: ...
    def answer(self, command: str, properties: Mapping[str, Any], /) -> Mapping[str, Any]: ...
    def rows(self, name: str, /) -> Sequence[Row]: ...
    def desk(self, name: str, /) -> Desk | None: ...
    def note(self, name: str, method: str, text: str, /) -> None: ...
    def outcome_of(self, record: Record, /) -> Promise: ...
    def is_here(self) -> bool: ...


class Line:
    """To the core that runs the watcher, while one does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._home: Home | None = None
        self.arbiter: Any = None

    def bind(self, home: Home | None) -> None:
        """The core that runs it from now on."""
        self._home = home

    def ask(self, command: str, *, method: str = "", **properties: Any) -> Promise:
        """One recorded command about this watcher. Before start there is nothing to do."""
        if self._home is None:
            return finished()
        return self._home.ask(command, {"name": self.name, **properties}, method=method)

    def settled(self, promise: Promise) -> Any:
        """The outcome, waited for: not on the core's own thread, which would wait for itself."""
        if self._home is not None and self._home.is_here():
            return promise.result() if promise.done() else None
        return promise.result()

    def answer(self, command: str, **properties: Any) -> Mapping[str, Any] | None:
        """One question about this watcher; None before start and after it was removed."""
        if self._home is None:
            return None
        try:
            return self._home.answer(command, {"name": self.name, **properties})
        except KeyError:
            return None

    def rows(self) -> Sequence[Row]:
        """Its processes, oldest first."""
        return () if self._home is None else self._home.rows(self.name)

    def signal(self, how: Mapping[str, Any]) -> None:
        """`watcher.signal` with these properties, waited for."""
        self.settled(self.ask("signal", **how))

    def requested(self) -> Desk | None:
        """The desk with what the core asks of this watcher now, if this is such a call."""
        desk = self._home.desk(self.name) if self._home is not None else None
        return desk if desk is not None and desk.busy else None

    def asked_for(self, method: str) -> Step | None:
        """The call that a record of somebody else owes to `method`, if this is it."""
        desk = self.requested()
        step = desk.about if desk is not None else None
        return step if step is not None and step.method == method else None


class Bond(Line):
    """Options before there is a core; commands and questions to it when there is one.

    Assigning to an option (`watcher.numprocesses = 3`) changes the plain description before start,
    and is a recorded `watcher.set` while the watcher runs.
    """

    def __init__(self, name: str, cmd: str, *words: Any, **options: Any) -> None:
        if not str(cmd).strip():
            raise ValueError("cannot make a watcher without cmd: name the program to run")
        super().__init__(str(name))
        self._given = given_options(words, options)
        self._cmd = str(cmd)

    def __getattr__(self, name: str) -> Any:
        """An option's value now: the core's while it runs, else what was given, else Circus's."""
        given = vars(self).get("_given")
        if given is None or name.startswith("__"):
            raise AttributeError(name)
        if name == "_options":
            return {key: value for key, value in given.items() if key not in OPTIONS}
        if name in OPTIONS or name in given:
            return self._option(name)
        try:
            return default_of(name)
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OPTIONS and name != "name" and "_given" in vars(self):
            self._set_option(name, value)
        else:
            object.__setattr__(self, name, value)

    @property
    def res_name(self) -> str:
        """The name as Circus's event topics have it: lower case, `_` for blanks."""
        return self.name.lower().replace(" ", "_")

    def mapping(self) -> dict[str, Any]:
        """A fresh description for the configuration."""
        return mapping_of(self.name, self._cmd, self._given)

    def end_process(self, pid: int) -> None:
        """`watcher.kill` of one process, waited for."""
        self.settled(self.ask("kill", pid=pid))

    def program(self) -> str:
        """The `cmd` option now."""
        return str(self._option("cmd"))

    def process_of(self, pid: int) -> WatchedProcess:
        """The process with this pid. KeyError: there is none."""
        for row in self.rows():
            if row.pid == pid:
                return WatchedProcess(self, row)
        raise KeyError(pid)

    # --- options --------------------------------------------------------------------------------

    def _option(self, name: str) -> Any:
        if name == "cmd":
            given: Any = self._cmd
        else:
            given = self._given[name] if name in self._given else default_of(name)
        if self._home is None or name not in OPTIONS or name == "env":
            return given
        if not self._home.alive:
            return given  # what the next start begins with
        told = self.answer("get", keys=[name])
        return given if told is None else told["options"][name]

    def _set_option(self, name: str, value: Any) -> None:
        if self._home is not None and self._home.alive:
            self.settled(self.ask("set", options={name: value}))
        self._remember(name, value)

    def _remember(self, name: str, value: Any) -> None:
        if name == "cmd":
            object.__setattr__(self, "_cmd", value)
        else:
            self._given[name] = value
