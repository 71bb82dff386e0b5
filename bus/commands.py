"""Room: bus -- the requests: imperative, addressed, each with exactly the fields it needs.

Knows:     bus.record.
Known by:  every core, bus.names (their tags on the wire), the ctl gateway.
Never:     decides anything.

Durations are whole nanoseconds, signals are numbers. A watcher's spec travels as the map that
`bus.spec.to_data` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.bus.record import Command, body

# --- to the reaper: the only requests that touch a process ------------------------------------


@body
class ProcessSpawn(Command):
    """Start one process in `slot`. Its own seq is the `spawn_id` of the process.

    `spec` is the digest of the watcher's spec in force (bus.digest.spec_digest); `attempt` counts
    failed spawns of this slot in a row, from 1; `replaces` is the spawn_id that was there before.
    """

    spec: str
    attempt: int = 1
    replaces: int | None = None


@body
class ProcessSignal(Command):
    """Send `signum` to the process that the envelope's spawn_id names.

    `scope`: `process`; `children` (its direct children only); `family` (it and its direct
    children); `tree` (it and all descendants); `descendants` (those without it); `group` (its
    process group). `child_pid` narrows `children` to one of them.
    """

    signum: int
    scope: str = "process"
    child_pid: int | None = None


# --- to the clock -----------------------------------------------------------------------------


@body
class TimerArm(Command):
    """Wake the sender `duration` ns after this record's boot time; arming again replaces it.

    `bound` is `process` (the timer dies with the boot) or `watcher` (what remained of it runs on
    after a new boot).
    """

    timer: str
    duration: int
    bound: str = "watcher"


@body
class TimerDisarm(Command):
    timer: str


# --- to oneself -------------------------------------------------------------------------------


@body
class Continue(Command):
    """More of the same decision follows: a decision has at most 256 effects."""


# --- to one watcher ---------------------------------------------------------------------------


@body
class WatcherStart(Command):
    pass


@body
class WatcherStop(Command):
    """`grace`: ns until SIGKILL instead of the spec's graceful_timeout, or None."""

    grace: int | None = None


@body
class WatcherRestart(Command):
    pass


@body
class WatcherReload(Command):
    graceful: bool = True
    sequential: bool = False


@body
class WatcherIncr(Command):
    nb: int = 1


@body
class WatcherDecr(Command):
    nb: int = 1


@body
class WatcherSet(Command):
    """`options`: names and values as `WatcherSpec` has them, validated before they came here."""

    options: Mapping[str, Any]


@body
class WatcherSignal(Command):
    """To every process of the watcher, or to `pid` alone; `child_pid` one of its children;
    `children` the children instead of the process; `recursive` with all descendants."""

    signum: int
    pid: int | None = None
    child_pid: int | None = None
    children: bool = False
    recursive: bool = False


@body
class WatcherKill(Command):
    """Stop signal, grace, SIGKILL for every process or `pid` alone; the watcher then respawns."""

    pid: int | None = None
    signum: int | None = None
    grace: int | None = None


@body
class WatcherManage(Command):
    """Look again: replace what is missing, stop what is too much or too old."""


@body
class WatcherRetry(Command):
    """An operator's second chance for a failed watcher: failures are forgotten, it starts."""


@body
class WatcherRemove(Command):
    """The arbiter's: stop (unless `nostop`), finish, never act again."""

    nostop: bool = False


# --- about the core itself, to the arbiter ----------------------------------------------------


@body
class CoreRestart(Command):
    """End this incarnation in order and begin the next; no worker is touched.

    `keeper`: it begins anew too, in place, with the code that is installed now.
    """

    keeper: bool = False


# --- to the arbiter ---------------------------------------------------------------------------


@body
class ArbiterConfigure(Command):
    """The configuration as data, at each start of the core and at each reload.

    `watchers`: specs as maps, in file order. `settings`: what `[circus]` says and the arbiter uses
    (`warmup_delay` ns). `digest`: of the files, to see that nothing changed. `source`: `file` or
    `library`.
    """

    watchers: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    digest: str = ""
    source: str = "file"


@body
class ArbiterAdd(Command):
    spec: Mapping[str, Any]
    start: bool = False


@body
class ArbiterRemove(Command):
    name: str
    nostop: bool = False


@body
class ArbiterStart(Command):
    """`names`: the watchers meant, lower case, in no order; None: all that autostart."""

    names: tuple[str, ...] | None = None


@body
class ArbiterStop(Command):
    names: tuple[str, ...] | None = None


@body
class ArbiterRestart(Command):
    names: tuple[str, ...] | None = None


@body
class ArbiterReload(Command):
    names: tuple[str, ...] | None = None
    graceful: bool = True
    sequential: bool = False


@body
class ArbiterQuit(Command):
    """Stop every watcher, then the daemon. `grace` (ns) shortens every graceful_timeout."""

    grace: int | None = None
