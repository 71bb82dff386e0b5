"""Room: arbiter -- a configuration without a fault, as values.

Knows:     bus.spec.
Known by:  arbiter.config and its parts, the daemon, the library.
Never:     reads anything; it is imported on the way to the first worker and stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from circus.bus.commands import ArbiterConfigure
from circus.bus.shapes import field, keyed
from circus.bus.spec import WatcherSpec, to_data


def setting(default: Any, help: str, *, kind: str = "text", toml: Any = None) -> Any:
    """Declare one setting; `toml` is the native format's default where it differs."""
    return field(default=default, metadata={"help": help, "kind": kind, "toml": toml})


@keyed
class Settings:
    """`[circus]`, in the units of the record."""

    endpoint: str | None = setting(
        None, "one more endpoint for commands, beside run/ctl.sock", kind="endpoint"
    )
    pubsub_endpoint: str | None = setting(
        None, "one more endpoint for events, beside run/events.sock", kind="endpoint"
    )
    warmup_delay: int = setting(0, "pause between the starts of two watchers", kind="seconds")
    umask: int | None = setting(None, "file mode creation mask of all, octal", kind="umask")
    pidfile: str | None = setting(None, "file for the daemon's pid")
    loglevel: str = setting("info", "least important line that is logged")
    logoutput: str = setting("-", "where the log goes: `-` for standard error, or a file")
    transport: str = setting("zmq", "what carries messages between actors: zmq or memory")
    durability: str = setting(
        "group", "what is synced before it is told: always, group (within 100 ms) or none"
    )
    on_log_failure: str = setting(
        "refuse_commands",
        "while the disk takes no records, changes are refused: refuse_commands; or all workers are "
        "stopped, too, until somebody starts them: stop_workers",
    )
    watchdog: int = setting(
        30_000_000_000, "how long the core may be silent before it is replaced; 0: for ever",
        kind="seconds",
    )  # fmt: skip
    orphans: str = setting(
        "stop",
        "workers whose keeper was killed, where they are proven ours: stop them, let the next "
        "circusd adopt them, or leave them",
    )
    cgroup: str = setting(
        "off", "a cgroup (v2) for each process: off, auto (in our own, where it is delegated), or "
        "the directory of one in which circusd may do as it likes", toml="auto",
    )  # fmt: skip
    no_new_privs: bool = setting(
        False, "no process gains privileges by exec (setuid programs)", kind="bool", toml=True
    )


@keyed
class Config:
    """Watchers, settings, and the terms of the sockets by name. `digest` changes with anything that
    the configuration says."""

    watchers: tuple[WatcherSpec, ...]
    settings: Settings
    digest: str
    source: Literal["file", "library"]
    sockets: Mapping[str, Any] = field(factory=dict)


def to_configure(config: Config, source: str | None = None) -> ArbiterConfigure:
    """The command that carries a configuration to the arbiter."""
    return ArbiterConfigure(
        watchers=tuple(to_data(spec) for spec in config.watchers),
        settings={
            "warmup_delay": config.settings.warmup_delay,
            **({"sockets": dict(config.sockets)} if config.sockets else {}),
        },
        digest=config.digest,
        source=source or config.source,
    )
