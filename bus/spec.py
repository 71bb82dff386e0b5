"""Room: bus -- what a watcher may be told: every option once, with type, unit, default and cost.

Knows:     bus.values.
Known by:  configuration, `set`, `options`, the watcher's core, docs/options.md.
Never:     parses a file, resolves a user, reads the environment.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from circus.bus.shapes import NOTHING, Field, declared, field, fields_of, keyed
from circus.bus.values import NS_PER_SECOND


class Change(Enum):
    """What it costs to change an option of a running watcher."""

    NOTHING = "nothing"  # takes effect at the next occasion
    LIVE = "live"  # applied at once, no process is touched
    RELOAD = "reload"  # every process is replaced, gracefully
    FIXED = "fixed"  # cannot be changed by `set`


class Unit(Enum):
    """How the value is written outside; durations are whole nanoseconds inside."""

    PLAIN = "plain"
    SECONDS = "seconds"
    SIGNAL = "signal"


def option(
    default: Any,
    help: str,
    *,
    change: Change,
    unit: Unit = Unit.PLAIN,
    low: int | None = None,
    toml: Any = None,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """Declare one option.

    `default` is Circus's (ini and library); `toml` is the native format's where it differs. Both
    are in the unit used inside. `low` is the least allowed value, in the unit used inside.
    """
    return field(
        default=default,
        factory=factory,
        metadata={"help": help, "change": change, "unit": unit, "low": low, "toml": toml},
    )


S: Final = NS_PER_SECOND


@keyed
class WatcherSpec:
    """All options of one watcher, in the units of the record (durations: ns).

    `env` maps names to a keyed hash of the value; the values live in the vault, never in a record.
    """

    name: str = option("", "the watcher's name", change=Change.FIXED)
    cmd: str = option(
        "", "the program and its arguments, split as a shell splits words", change=Change.RELOAD
    )
    args: tuple[str, ...] = option((), "more arguments", change=Change.RELOAD)
    numprocesses: int = option(1, "how many processes to keep running", change=Change.LIVE, low=0)
    autostart: bool = option(True, "start together with the daemon", change=Change.FIXED)
    respawn: bool = option(True, "replace a process that exits", change=Change.LIVE)
    singleton: bool = option(False, "never more than one process", change=Change.FIXED)
    priority: int = option(0, "higher ones start first and stop last", change=Change.FIXED)
    warmup_delay: int = option(
        0, "pause between two spawns", change=Change.LIVE, unit=Unit.SECONDS, low=0
    )
    max_retry: int = option(
        5,
        "failed spawns in a row before the watcher gives up; -1: never",
        change=Change.LIVE,
        low=-1,
    )
    backoff: int = option(
        0,
        "pause before the respawn after a second short life in a row, doubled each time; 0: none",
        change=Change.LIVE,
        unit=Unit.SECONDS,
        low=0,
        toml=S // 10,
    )
    backoff_max: int = option(
        30 * S, "longest pause of the backoff", change=Change.LIVE, unit=Unit.SECONDS, low=0
    )
    min_uptime: int = option(
        1 * S, "a shorter life counts as a failure", change=Change.LIVE, unit=Unit.SECONDS, low=0
    )
    give_up: int = option(
        0,
        "short lives in a row of one slot before the watcher fails; 0: never",
        change=Change.LIVE,
        low=0,
        toml=20,
    )
    graceful_timeout: int = option(
        30 * S, "from the stop signal to SIGKILL", change=Change.LIVE, unit=Unit.SECONDS, low=0
    )
    stop_signal: int = option(
        int(signal.SIGTERM),
        "the signal that asks a process to end",
        change=Change.LIVE,
        unit=Unit.SIGNAL,
        low=1,
    )
    stop_children: bool = option(
        False, "signal the direct children too when stopping", change=Change.LIVE
    )
    leftovers: str = option(
        "leave",
        "what remains of a process's group when it exits: kill or leave",
        change=Change.LIVE,
        toml="kill",
    )
    send_hup: bool = option(
        False, "a graceful reload sends SIGHUP instead of replacing processes", change=Change.LIVE
    )
    max_age: int = option(
        0,
        "replace a process older than this; 0: never",
        change=Change.LIVE,
        unit=Unit.SECONDS,
        low=0,
    )
    max_age_variance: int = option(
        30 * S,
        "random addition to max_age, drawn per process",
        change=Change.LIVE,
        unit=Unit.SECONDS,
        low=0,
    )
    working_dir: str | None = option(
        None, "the directory to run in; the daemon's if not given", change=Change.RELOAD
    )
    shell: bool = option(False, "run through sh -c", change=Change.RELOAD)
    shell_args: tuple[str, ...] = option((), "more arguments for the shell", change=Change.RELOAD)
    uid: int | str | None = option(None, "user to run as, name or number", change=Change.RELOAD)
    gid: int | str | None = option(None, "group to run as, name or number", change=Change.RELOAD)
    env: Mapping[str, str] = option(
        NOTHING, "environment variables", change=Change.RELOAD, factory=dict
    )
    copy_env: bool = option(
        False, "start from the daemon's environment", change=Change.RELOAD, toml=True
    )
    stdout_stream: Mapping[str, Any] = option(
        NOTHING, "where captured standard output goes", change=Change.RELOAD, factory=dict
    )
    stderr_stream: Mapping[str, Any] = option(
        NOTHING, "where captured standard error goes", change=Change.RELOAD, factory=dict
    )
    use_sockets: bool = option(
        False, "inherit the listening sockets of all [socket] sections", change=Change.FIXED
    )
    sockets: Mapping[str, Any] = option(
        NOTHING, "what use_sockets means: the sockets by name", change=Change.RELOAD, factory=dict
    )
    close_child_stdin: bool = option(True, "/dev/null as standard input", change=Change.RELOAD)
    close_child_stdout: bool = option(False, "/dev/null as standard output", change=Change.RELOAD)
    close_child_stderr: bool = option(False, "/dev/null as standard error", change=Change.RELOAD)


# Worked out from the whole configuration; nobody sets them.
DERIVED: Final = frozenset({"sockets"})
OPTIONS: Final[Mapping[str, Field]] = {one.name: one for one in declared(WatcherSpec)}


def to_data(spec: WatcherSpec) -> dict[str, Any]:
    """The spec as the map of a record: every option, in the order of declaration."""
    return {name: _plain(value) for name, value in fields_of(spec).items()}


def from_data(data: Mapping[str, Any]) -> WatcherSpec:
    """Back from a record; options of a newer version are ignored, missing ones take defaults."""
    known = {name: _frozen(value) for name, value in data.items() if name in OPTIONS}
    return WatcherSpec(**known)


def _plain(value: Any) -> Any:
    # Sequences stay tuples: that is what the ledger gives back, and a spec must be equal to itself.
    return dict(value) if isinstance(value, Mapping) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
