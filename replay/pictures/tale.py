"""Room: replay -- what a record has to say beside a picture: its kind of mark, its subject, a text.

Knows:     bus.commands, bus.events, bus.record; replay.pictures.lives for exits.
Known by:  replay.pictures.timeline and perfetto.
Never:     says a number that no two records share, where a table of texts is to stay short.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum
from typing import Any, Final

from circus.bus import commands, events
from circus.bus.record import Body, Record, fields_of
from circus.bus.shapes import declared
from circus.bus.values import NS_PER_SECOND, watcher_of
from circus.bus.words.plain import plain
from circus.replay.pictures.lives import exit_text, failure_text, signal_name

TEXT_CHARACTERS_MAX: Final = 160


class Kind(Enum):
    """What sort of mark a record is; the values are the pictures' words."""

    NONE = ""  # part of a chain of causes, no mark of its own
    COMMAND = "command"
    RELOAD = "reload"
    SIGNAL = "signal"
    STATE = "state"
    WAIT = "wait"
    TROUBLE = "trouble"


_KINDS: Final[dict[Kind, tuple[type[Body], ...]]] = {
    Kind.RELOAD: (commands.WatcherReload, commands.ArbiterReload, events.WatcherReloaded),
    Kind.SIGNAL: (
        commands.ProcessSignal, commands.WatcherSignal, commands.WatcherKill,
        events.SignalReceived,
    ),
    Kind.WAIT: (events.SlotWaiting,),
    Kind.STATE: (
        events.CoreStarted, events.CoreReady, events.CoreStopped, events.CoreRestarting,
        events.KeeperAnswered, events.KeeperReexeced, events.ArbiterStarted,
        events.ArbiterStopping, events.ArbiterStopped, events.ArbiterConfigured,
        events.WatcherAdded, events.WatcherRemoved, events.WatcherUpdated, events.WatcherStarting,
        events.WatcherStarted, events.WatcherStopping, events.WatcherStopped,
        events.WatcherResized, events.LogTrimmed,
    ),
    Kind.TROUBLE: (
        events.CoreLost, events.CoreHung, events.KeeperSilent, events.KeeperLost,
        events.KeeperReexecRefused, events.HostRestarted, events.LogTailCut, events.LogDamaged,
        events.LogGap, events.LogSpaceLow, events.CommandRefused, events.WatcherFailed,
        events.ActorFailed, events.InputSetAside,
    ),
}  # fmt: skip
KIND_OF: Final = {cls: kind for kind, classes in _KINDS.items() for cls in classes}
_SAID: Final[dict[type[Body], tuple[str, ...]]] = {}
_NOTHING: Final = (None, "", (), False)
# Requests that the cores make of their own accord, by the thousand.
_INNER: Final = (
    commands.ProcessSpawn, commands.TimerArm, commands.TimerDisarm, commands.Continue,
)  # fmt: skip
# What is in a column of its own, or different in every record.
_UNSAID: Final = frozenset(
    {
        "pid", "command", "armed", "signal", "input", "spec", "digest", "started", "inode", "wall",
        "observed", "rusage", "reply", "watchers", "settings", "seed", "keeper_pid", "boot_id",
        "pids", "leftovers", "replaces", "barrier", "traceback", "added", "child_pid", "address",
    }
)  # fmt: skip


def kind_of(record: Record) -> Kind:
    """The sort of mark; a note that an actor writes to itself is none."""
    kind = KIND_OF.get(type(record.body))
    if record.kind == "command":
        if isinstance(record.body, _INNER) or record.actor == record.to:
            return Kind.NONE
        return kind or Kind.COMMAND
    return kind or Kind.NONE


def subject_of(record: Record) -> tuple[str, int]:
    """Watcher and slot; "" for the daemon itself, slot 0 for the watcher as a whole."""
    watcher = record.watcher or watcher_of(record.to or "") or watcher_of(record.actor)
    return watcher, record.slot or 0


def only(records: Iterable[Record], watchers: Collection[str]) -> Iterator[Record]:
    """What concerns these watchers (in any case), or all of them; everything if none is named."""
    wanted = {"", *(name.casefold() for name in watchers)}
    for record in records:
        if not watchers or subject_of(record)[0].casefold() in wanted:
            yield record


def text_of(record: Record) -> str:
    """What the record says, in a few words that many records share; "" for nothing to add."""
    say = _TEXTS.get(type(record.body), _fields)
    text = say(record.body)
    if record.peer:
        text = f"{text}, {_peer(record)}" if text else _peer(record)
    return shown(text)


def shown(text: str) -> str:
    """One line of bounded length; control characters are shown, not obeyed."""
    text = plain(text)
    if len(text) > TEXT_CHARACTERS_MAX:
        return f"{text[: TEXT_CHARACTERS_MAX - 1]}…"
    return text


def pid_of(record: Record) -> int:
    """The process that the record is about, as the kernel knows it; 0 for none."""
    pid = getattr(record.body, "pid", 0)
    return pid if isinstance(pid, int) and 0 <= pid < 2**31 else 0


def _peer(record: Record) -> str:
    words = [f"{key} {value}" for key, value in (record.peer or {}).items() if key != "pid"]
    return f"asked by {', '.join(words)}" if words else ""


def _fields(body: Body) -> str:
    whole = fields_of(body)
    said = [(key, whole[key]) for key in _said(type(body))]
    return ", ".join(_said_of(key, value) for key, value in said if value not in _NOTHING)


def _said_of(key: str, value: Any) -> str:
    if value is True:
        return key
    return f"{key} {', '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _said(cls: type[Body]) -> tuple[str, ...]:
    """The fields of a class that can be said; looked for once."""
    if cls not in _SAID:
        _SAID[cls] = tuple(one.name for one in declared(cls) if one.name not in _UNSAID)
    return _SAID[cls]


def _waiting(body: Any) -> str:
    return f"after {body.failures} failures, {body.delay / NS_PER_SECOND:.1f} s"


def _signal(body: Any) -> str:
    return f"{signal_name(body.signum)} to the {body.scope}"


_TEXTS: Final[dict[type[Body], Callable[[Any], str]]] = {
    events.ProcessExited: exit_text,
    events.ProcessSpawnFailed: failure_text,
    events.SlotWaiting: _waiting,
    events.SlotStopping: lambda body: f"for {body.reason}",
    events.SignalReceived: lambda body: signal_name(body.signum),
    commands.ProcessSignal: _signal,
    commands.ProcessSpawn: lambda body: f"attempt {body.attempt}" if body.attempt != 1 else "",
}

__all__ = [
    "TEXT_CHARACTERS_MAX", "Kind", "kind_of", "only", "pid_of", "shown", "subject_of", "text_of",
]  # fmt: skip
