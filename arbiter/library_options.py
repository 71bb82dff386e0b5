"""Room: arbiter -- what a program may give to the library: endpoints, options, what comes later.

Knows:     arbiter.config (judges watchers), bus.spec.
Known by:  the library's Arbiter, the watcher without one.
Never:     lets pass in silence what would be missed; changes what it was given.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Final, Protocol

from circus.arbiter.config import Config, Settings, config_of_mappings
from circus.arbiter.config_later import is_without_effect, later_option
from circus.arbiter.config_problems import ConfigProblems, Problem, did_you_mean
from circus.arbiter.config_settings import structure_settings
from circus.bus.spec import OPTIONS
from circus.bus.vault import Vault

# What Circus's Arbiter takes and this version refuses when it is asked for.
LATER: Final[Mapping[str, str]] = {
    "statsd": "the stats stream",
    "stats_endpoint": "the stats stream",
    "multicast_endpoint": "discovery by multicast",
    "plugins": "plugins",
    "sockets": "sockets",
    "httpd": "the web page",
    "loggerconfig": "logging configurations",
    "ssh_server": "remote access by ssh",
    "endpoint_owner": "sharing the endpoint with another user",
}
# Kept as attributes, as in Circus, and nothing else is done with them.
KEPT: Final[Mapping[str, Any]] = {
    "context": None, "check_delay": 1.0, "debug": False, "debug_gc": False,
    "proc_name": "circusd", "fqdn_prefix": None, "statsd_close_outputs": False,
    "httpd_host": "localhost", "httpd_port": 8080, "httpd_close_outputs": False,
    "stream_backend": "thread", "env": None, "name": None,
}  # fmt: skip
# What `[circus]` of a file says too, and is judged and carried out as there.
FROM_CIRCUS: Final = ("warmup_delay", "umask", "pidfile", "loglevel", "logoutput", "orphans")
# Their defaults, in Circus's order behind the two endpoints.
OWN: Final[Mapping[str, Any]] = {
    "prereload_fn": None, "loop": None, "warmup_delay": 0, "background": False, "state_dir": None,
    "umask": None, "pidfile": None, "loglevel": None, "logoutput": None, "orphans": None,
}  # fmt: skip
POSITIONS: Final = (
    "check_delay", "prereload_fn", "context", "loop", "statsd", "stats_endpoint",
    "statsd_close_outputs", "multicast_endpoint", "plugins", "sockets", "warmup_delay", "httpd",
    "httpd_host", "httpd_port", "httpd_close_outputs", "debug", "debug_gc", "ssh_server",
    "proc_name", "pidfile", "loglevel", "logoutput", "loggerconfig", "fqdn_prefix", "umask",
    "endpoint_owner",
)  # fmt: skip


NOTHING: Final[Mapping[str, Any]] = {}


class Described(Protocol):
    """A watcher that can describe itself."""

    def mapping(self) -> Mapping[str, Any]: ...


class StateDirectory(Protocol):
    """The paths of one start."""

    state: str
    ctl_endpoint: str
    events_endpoint: str


def arbiter_options(words: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an Arbiter by name. TypeError: unknown or twice; ValueError: not here yet."""
    if len(words) > len(POSITIONS):
        raise TypeError(f"Arbiter takes at most {len(POSITIONS)} options by position")
    by_position = dict(zip(POSITIONS, words, strict=False))
    wrong = (by_position.keys() & options.keys()) | (options.keys() - {*LATER, *KEPT, *OWN})
    if wrong:
        name = min(wrong)
        known = (*LATER, *KEPT, *OWN)
        near = did_you_mean(name, known)
        raise TypeError(f"Arbiter got an unknown or repeated option {name!r}{near}")
    given = {**by_position, **options}
    for name, what in LATER.items():
        if given.get(name):
            text = f"cannot use {name!r}: this version does not have {what} yet; leave it out"
            raise ValueError(text)
    return {**KEPT, **OWN, **given}


def checked_endpoint(name: str, endpoint: str | None) -> str | None:
    """An endpoint that the program names: ipc, or tcp on the loopback with a warning."""
    if not endpoint:
        return None
    scheme, _, rest = str(endpoint).partition("://")
    if scheme == "ipc" and rest:
        return str(endpoint)
    host, colon, port = rest.rpartition(":")
    if scheme != "tcp" or not colon or not port.isdigit():
        raise ValueError(f"cannot use {name}={endpoint!r}: give ipc://PATH or tcp://127.0.0.1:PORT")
    if not _is_loopback(host):
        raise ValueError(
            f"cannot use {name}={endpoint!r}: everybody who reaches it could run programs here; "
            "give ipc://PATH or an address of the loopback"
        )
    text = f"{name}={endpoint!r}: every user of this machine can control it; ipc is safer"
    warnings.warn(text, UserWarning, stacklevel=4)
    logging.getLogger("circus").warning(text)
    return f"tcp://127.0.0.1:{port}" if host == "localhost" else str(endpoint)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def configuration(
    watchers: Iterable[Described], vault: Vault, circus: Mapping[str, Any] = NOTHING
) -> Config:
    """The configuration of these watchers; ConfigProblems (a ValueError) says all that is wrong.

    `circus` has what a file would say in `[circus]`, by name, None where nothing is said.
    """
    said = {name: value for name, value in circus.items() if value is not None}
    settings, faults = structure_settings(said, "library", insecure_tcp=False)
    problems = [Problem("library", None, "circus", key, text) for key, text in faults]
    mappings = [_without_free(watcher.mapping()) for watcher in watchers]
    try:
        config = config_of_mappings(mappings, settings, vault=vault)
    except ConfigProblems as error:
        raise ConfigProblems([*problems, *error.problems]) from error
    if problems:
        raise ConfigProblems(problems)
    return config


def _without_free(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Circus keeps options that it does not know; one that looks like a known one is a slip."""
    return {name: value for name, value in mapping.items() if not is_free(name, value)}


def is_free(name: str, value: object) -> bool:
    """Whether an option is the program's own: nobody here or in Circus knows it."""
    known = name in OPTIONS or is_without_effect(name, value)
    return not known and later_option(name, value) is None and not did_you_mean(name, OPTIONS)


def environment() -> Mapping[str, str]:
    """The program's, of which the workers get what their watchers say."""
    return os.environ  # noqa: TID251 - in a program of the user this is where it enters


def state_directory(state_dir: str | None) -> Any:
    """The directory of one start: the one that is named, or a fresh one (the newest ten stay).

    The module of places belongs to the front, so it is known by name only (ADR-0070).
    """
    places = import_module("circus.places")
    if state_dir is not None:
        return places.prepare_state(str(state_dir))
    return places.library_state_dir(sys.argv[0] if sys.argv else "", environment())


class Traces:
    """What an operator finds of a running program: its log and its pid file. Both may be None."""

    def __init__(self, log: Any, pidfile: Any) -> None:
        self.log = log
        self._pidfile = pidfile

    @property
    def observers(self) -> tuple[Any, ...]:
        """Who wants to see the records."""
        return () if self.log is None else (self.log,)

    def close(self) -> None:
        """Write the last line, remove the pid file."""
        if self.log is not None:
            self.log.close()
        if self._pidfile is not None:
            self._pidfile.unlink()


def traces(settings: Settings, *, logs: bool) -> Traces:
    """Begin them. OSError: a file cannot be written; RuntimeError: the pid file names another.

    Log and pid file are the front's, which is known by name only (ADR-0070).
    """
    log = pidfile = None
    if logs:
        if settings.logoutput != "-":
            # Said here and not by the thread that writes.
            open(settings.logoutput, "a", encoding="utf-8").close()
        log = import_module("circus.operator_log").OperatorLog(
            settings.loglevel, settings.logoutput
        )
    if settings.pidfile is not None:
        pidfile = import_module("circus.pidfile").Pidfile(settings.pidfile)
        pidfile.create(os.getpid())
    return Traces(log, pidfile)
