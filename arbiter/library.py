"""Room: arbiter -- the public names of Circus's library: `get_arbiter`, `Arbiter`.

Knows:     arbiter.library_arbiter.
Known by:  the front (`from circus import get_arbiter`), `circus.arbiter`.
Never:     loads ZeroMQ before an arbiter is made: importing it must cost a program nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from circus.arbiter.library_arbiter import AlreadyExist, Arbiter, ThreadedArbiter

__all__ = ["AlreadyExist", "Arbiter", "ThreadedArbiter", "get_arbiter"]

HOME: Final = "circus.arbiter.library_arbiter"


def get_arbiter(
    watchers: Iterable[Mapping[str, Any]],
    controller: str | None = None,
    pubsub_endpoint: str | None = None,
    statsd: bool = False,
    stats_endpoint: str | None = None,
    *words: Any,
    **options: Any,
) -> Arbiter:
    """An Arbiter for these descriptions of watchers; nothing runs before its `start()`.

    `watchers`: mappings with `cmd` (KeyError without it), `name` (default: the program's), and any
    option of a watcher. They are not changed. `controller`, `pubsub_endpoint`: one more endpoint
    each, beside the sockets in the state directory: `ipc://…`, or `tcp://127.0.0.1:…` with a
    warning. The other options are Circus's, in its order; `background=True` has `start()` return,
    `state_dir` (ours) names the directory of the ledger instead of a fresh one.

    Raises ValueError (ConfigProblems: every fault at once) for what cannot be used.
    """
    by_position = dict(zip(POSITIONS, words, strict=False))
    if len(words) > len(POSITIONS) or by_position.keys() & options.keys():
        raise TypeError("get_arbiter got too many options by position, or one of them twice")
    given = {**by_position, **options, "statsd": statsd, "stats_endpoint": stats_endpoint}
    home = import_module(HOME)
    kind: type[Arbiter] = home.ThreadedArbiter if given.get("background") else home.Arbiter
    return kind(list(watchers), controller, pubsub_endpoint, **given)


# Circus's order behind `stats_endpoint`.
POSITIONS: Final = (
    "statsd_close_outputs", "multicast_endpoint", "env", "name", "context", "background",
    "stream_backend", "httpd", "plugins", "debug", "proc_name", "loop", "check_delay",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(HOME), name)
    globals()[name] = value
    return value
