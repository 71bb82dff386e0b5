"""Room: front -- the operator's log: one structlog line per notable record, with its seq.

Knows:     the vocabulary; structlog, once the daemon is idle.
Known by:  circus.daemon.
Never:     holds up a decision: lines are written by a thread of their own, after the ledger.

structlog costs more to import than the whole start of a worker, so it is imported when the daemon
has nothing else to do; until then notable records wait in the queue.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TextIO

from circus.bus import events
from circus.bus.record import Body, Record, fields_of
from circus.bus.values import NS_PER_SECOND, Nanoseconds

# The numbers of the standard library's logging, whose import would cost 6 ms.
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
DEBUG: Final = "debug"
INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"

# What an operator wants to read, how loud, and in which words. Everything else is in the ledger.
NOTABLE: Final[Mapping[type[Body], tuple[str, str]]] = {
    events.CoreStarted: (INFO, "core started"),
    events.CoreReady: (INFO, "Arbiter now waiting for commands"),
    events.CoreLost: (ERROR, "an earlier core ended unasked"),
    events.CoreHung: (ERROR, "an earlier core was silent for too long"),
    events.KeeperSilent: (ERROR, "the keeper does not answer"),
    events.KeeperLost: (ERROR, "the keeper is gone"),
    events.KeeperReexeced: (INFO, "the keeper runs a newer version"),
    events.KeeperReexecRefused: (ERROR, "the keeper was not replaced"),
    events.KeeperAnswered: (WARNING, "the keeper answers again"),
    events.ScribeStarted: (DEBUG, "scribe started"),
    events.ScribeLost: (ERROR, "the scribe ended unasked; it is started again"),
    events.OutputUncertain: (ERROR, "some output may be lost"),
    events.OutputFailed: (ERROR, "output cannot be written"),
    events.OutputResumed: (INFO, "output is written again"),
    events.SocketBound: (INFO, "listening"),
    events.SocketFailed: (ERROR, "cannot listen"),
    events.SocketClosed: (INFO, "not listening any more"),
    events.CoreStopped: (INFO, "core stopped"),
    events.SignalReceived: (INFO, "signal received"),
    events.LogTailCut: (WARNING, "torn tail of the ledger moved to quarantine"),
    events.LogDamaged: (ERROR, "ledger damaged"),
    events.LogGap: (ERROR, "ledger has a gap"),
    events.LogSpaceLow: (ERROR, "disk nearly full"),
    events.CommandRefused: (WARNING, "command refused"),
    events.ArbiterStopping: (INFO, "stopping"),
    events.ArbiterStopped: (INFO, "stopped"),
    events.ArbiterConfigured: (INFO, "configured"),
    events.WatcherAdded: (DEBUG, "watcher added"),
    events.WatcherRemoved: (INFO, "watcher removed"),
    events.WatcherUpdated: (INFO, "watcher updated"),
    events.WatcherStarted: (INFO, "watcher started"),
    events.WatcherStopped: (INFO, "watcher stopped"),
    events.WatcherFailed: (ERROR, "watcher failed"),
    events.WatcherReloaded: (INFO, "watcher reloaded"),
    events.SlotWaiting: (WARNING, "respawn put off"),
    events.ProcessSpawned: (DEBUG, "process spawned"),
    events.ProcessAdopted: (INFO, "process adopted"),
    events.ProcessSpawnFailed: (ERROR, "process could not be spawned"),
    events.ProcessExited: (DEBUG, "process exited"),
    events.ProcessLost: (ERROR, "process lost"),
    events.ActorFailed: (ERROR, "policy failed"),
    events.InputSetAside: (ERROR, "input set aside"),
}
DURATIONS: Final = frozenset({"delay", "silent"})  # ns
HIDDEN: Final = frozenset({"rusage", "spec", "traceback", "seed", "flags", "boot_id", "inode"})
LINES_WAITING_MAX: Final = 10_000


class Line(NamedTuple):
    """Something to say about what is not on record."""

    level: str
    text: str
    values: Mapping[str, Any]


class OperatorLog:
    """An observer of the switchboard; `start` when the daemon is idle, `close` at its end."""

    def __init__(self, level: str = "info", output: str = "-") -> None:
        self._level = LEVELS[level]
        self._output = output
        self._lines: queue.Queue[Record | Line | None] = queue.Queue(LINES_WAITING_MAX)
        self._thread: threading.Thread | None = None
        self._dropped = 0

    @property
    def watches(self) -> list[type[Body]]:
        """The kinds of records that this log shows at its level."""
        return [kind for kind, (level, _) in NOTABLE.items() if LEVELS[level] >= self._level]

    def observe(self, record: Record) -> None:
        """Queue a notable record; a full queue drops it, and the log says how many it lacks."""
        notable = NOTABLE.get(type(record.body))
        if notable is not None and LEVELS[notable[0]] >= self._level:
            self._queue(record)

    def note(self, level: str, text: str, **values: Any) -> None:
        """Say what no record says."""
        if LEVELS[level] >= self._level:
            self._queue(Line(level, text, values))

    def _queue(self, what: Record | Line) -> None:
        try:
            self._lines.put_nowait(what)
        except queue.Full:
            self._dropped += 1

    def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="operator-log", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is queued and end."""
        self.start()
        self._lines.put(None)
        assert self._thread is not None
        self._thread.join()

    def _write(self) -> None:
        stream = sys.stderr if self._output == "-" else _opened(self._output)
        say = _logger(stream)
        what = self._lines.get()
        while what is not None:
            level, text, values = what if isinstance(what, Line) else _line(what)
            say(level, text, **values)
            if self._dropped:
                say("warning", "log lines dropped", count=self._dropped)
                self._dropped = 0
            what = self._lines.get()
        stream.flush()
        if stream is not sys.stderr:
            stream.close()


def _line(record: Record) -> Line:
    level, text = NOTABLE[type(record.body)]
    return Line(level, text, _values(record))


def _values(record: Record) -> dict[str, Any]:
    values: dict[str, Any] = {"timestamp": _iso(record.at), "seq": record.seq}
    if record.watcher is not None:
        values["watcher"] = record.watcher
    if record.spawn_id is not None:
        values["spawn_id"] = record.spawn_id
    for name, value in fields_of(record.body).items():
        shown = None if name in HIDDEN else _shown(name, value)
        if shown not in (None, ""):
            values[name] = shown
    return values


def _shown(name: str, value: Any) -> Any:
    """As a person reads it: durations in seconds, names in a row."""
    if name in DURATIONS:
        return f"{value / NS_PER_SECOND:.3g}s"
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{_shown('', inner)}" for key, inner in value.items())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value


def _iso(wall: Nanoseconds) -> str:
    """When it was recorded, which is before this line is written."""
    import datetime as dt  # it is not there before structlog is

    moment = dt.datetime.fromtimestamp(wall / NS_PER_SECOND, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _opened(path: str) -> TextIO:
    return open(path, "a", encoding="utf-8", errors="backslashreplace")


def _logger(stream: TextIO) -> Callable[..., None]:
    import structlog

    renderer: Any = (
        structlog.dev.ConsoleRenderer(pad_event=32)
        if stream.isatty()
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            _timed,
            renderer,
        ],
    )
    return lambda level, text, **values: getattr(logger, level)(text, **values)


def _timed(_logger: Any, _method: str, values: Any) -> Any:
    """What no record says has the time at which it is written."""
    values.setdefault("timestamp", _iso(time.time_ns()))
    return values
