"""Room: bus -- one record as a sentence, for `why`.

Knows:     the vocabulary (bus.commands, bus.events).
Known by:  circusctl why, circus-replay why.
Never:     fails on a record that it does not know: its name and fields are a sentence, too.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from circus.bus.record import Record, fields_of
from circus.bus.values import NS_PER_SECOND
from circus.bus.words.plain import plain


def sentence(record: Record) -> str:
    """What happened, or what was asked for."""
    say = SENTENCES.get(record.name)
    return say(record, record.body) if say is not None else _other(record)


def asked_by(record: Record) -> str:
    """Who sent a command, as the kernel told it."""
    peer = record.peer or {}
    if "uid" not in peer:
        return ", ".join(f"{plain(key)} {plain(value)}" for key, value in peer.items()) or "nobody"
    words = [f"uid {peer['uid']}{_user(peer['uid'])}"]
    if peer.get("pid"):
        words.append(f"pid {peer['pid']}")
    return ", ".join(words)


def signal_name(number: int) -> str:
    """`SIGTERM`, or `signal 40` where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _user(uid: Any) -> str:
    import pwd

    try:
        return f" ({pwd.getpwuid(int(uid)).pw_name})"
    except (KeyError, ValueError, OverflowError):
        return ""  # a uid without a name is told by its number


def _seconds(duration: int) -> str:
    return f"{duration / NS_PER_SECOND:g} s"


def _subject(record: Record) -> str:
    name = plain(record.watcher or record.actor)
    return name if record.slot is None else f"{name} (slot {record.slot})"


def _exited(record: Record, body: Any) -> str:
    how = f"exited with code {body.code}"
    if body.signal is not None:
        how = f"was ended by {signal_name(body.signal)}{', core dumped' if body.core else ''}"
        how += " for want of memory" if body.rusage.get("oom_kill") else ""
    return f"process {body.pid} of {_subject(record)} {how}"


def _spawn(record: Record, body: Any) -> str:
    attempt = "" if body.attempt <= 1 else f", attempt {body.attempt}"
    instead = "" if body.replaces is None else f" in place of #{body.replaces}"
    name = plain(record.watcher or record.actor)
    return f"{name} wanted a process in slot {record.slot}{instead}{attempt}"


def _spawn_failed(record: Record, body: Any) -> str:
    code = errno.errorcode.get(body.errno, str(body.errno))
    reason = plain(body.reason) or os.strerror(body.errno)
    return f"{_subject(record)} could not be started at step {plain(body.step)} ({code}): {reason}"


def _configured(_: Record, body: Any) -> str:
    count = len(body.watchers)
    return f"the configuration was read, with {count} watcher{'s'[: count != 1]}"


def _names(body: Any) -> str:
    return "all watchers" if body.names is None else ", ".join(plain(name) for name in body.names)


SENTENCES: Final[dict[str, Callable[[Record, Any], str]]] = {
    "core.started": lambda r, b: f"circusd {plain(b.version)} began incarnation {r.incarnation}",
    "signal.received": lambda _, b: f"the daemon got {signal_name(b.signum)}",
    "actor.continue": lambda r, _: f"{plain(r.actor)} went on with a long decision",
    "arbiter.configure": _configured,
    "arbiter.start": lambda _, b: f"the start of {_names(b)} was asked for",
    "arbiter.stop": lambda _, b: f"the stop of {_names(b)} was asked for",
    "arbiter.restart": lambda _, b: f"the restart of {_names(b)} was asked for",
    "arbiter.reload": lambda _, b: f"the reload of {_names(b)} was asked for",
    "arbiter.quit": lambda _r, _b: "the end of the daemon was asked for",
    "arbiter.stopping": lambda _, b: f"the daemon stops everything: {plain(b.reason)}",
    "watcher.added": lambda r, _: f"watcher {_subject(r)} was added and not started yet",
    "watcher.removed": lambda r, _: f"{_subject(r)} was removed",
    "watcher.starting": lambda r, _: f"{_subject(r)} is starting",
    "watcher.started": lambda r, _: f"{_subject(r)} is active",
    "watcher.stopping": lambda r, _: f"{_subject(r)} is stopping",
    "watcher.stopped": lambda r, _: f"{_subject(r)} is stopped",
    "watcher.failed": lambda r, b: f"{_subject(r)} gave up: {plain(b.reason)}",
    "watcher.start": lambda r, _: f"the start of {_target(r)} was asked for",
    "watcher.stop": lambda r, _: f"the stop of {_target(r)} was asked for",
    "watcher.restart": lambda r, _: f"the restart of {_target(r)} was asked for",
    "watcher.reload": lambda r, _: f"the reload of {_target(r)} was asked for",
    "watcher.incr": lambda r, b: f"{b.nb} more processes of {_target(r)} were asked for",
    "watcher.decr": lambda r, b: f"{b.nb} fewer processes of {_target(r)} were asked for",
    "watcher.kill": lambda r, _: f"processes of {_target(r)} were to be stopped and replaced",
    "watcher.signal": lambda r, b: f"{signal_name(b.signum)} for {_target(r)} was asked for",
    "slot.waiting": lambda r, b: (
        f"the respawn of {_subject(r)} is put off for {_seconds(b.delay)} "
        f"after {b.failures} short or failed lives"
    ),
    "slot.stopping": lambda r, b: (
        f"the process of {_subject(r)} was asked to end: {plain(b.reason)}"
    ),
    "slot.vacated": lambda r, b: (
        f"{_subject(r)} is empty{' after a short life' if b.short else ''}"
    ),
    "process.spawn": _spawn,
    "process.spawned": lambda r, b: (
        f"process {b.pid} of {_subject(r)} was {'found running' if b.adopted else 'started'}"
    ),
    "process.spawn_failed": _spawn_failed,
    "process.adopted": lambda r, b: f"{_subject(r)} (pid {b.pid}) was adopted by another keeper",
    "process.never_run": lambda r, b: f"the spawn of {_subject(r)} never ran: {plain(b.reason)}",
    "process.exited": _exited,
    "process.signal": lambda r, b: f"{signal_name(b.signum)} was to be sent to {_subject(r)}",
    "scribe.started": lambda _, b: f"scribe {b.pid} began to read what workers write",
    "scribe.lost": lambda _, b: f"scribe {b.pid} ended unasked; another one is started",
    "output.uncertain": lambda r, b: (
        f"at most {b.bytes} bytes of {_subject(r)}'s {plain(b.stream)} were lost with a scribe"
    ),
    "output.failed": lambda r, b: f"{plain(b.stream)} of {_subject(r)} waits: {plain(b.reason)}",
    "output.resumed": lambda r, b: f"{plain(b.stream)} of {_subject(r)} is written again",
    "socket.bound": lambda _, b: f"socket {plain(b.socket)} listens at {plain(b.address)}",
    "socket.failed": lambda _, b: (
        f"socket {plain(b.socket)} cannot listen at {plain(b.address)}: {plain(b.reason)}"
    ),
    "socket.closed": lambda _, b: f"socket {plain(b.socket)} at {plain(b.address)} was given up",
    "timer.arm": lambda _, b: f"a timer ({plain(b.timer)}) was set to {_seconds(b.duration)}",
    "timer.woke": lambda _, b: f"the timer {plain(b.timer)} was due",
}


def _target(record: Record) -> str:
    return plain(record.watcher or (record.to or "?").partition(":")[2].rpartition("#")[0])


def _other(record: Record) -> str:
    words = ", ".join(f"{key} {plain(value)}" for key, value in fields_of(record.body).items())
    return f"{plain(record.name)} of {_subject(record)}{f' ({words})' if words else ''}"
