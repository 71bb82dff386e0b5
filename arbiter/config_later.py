"""Room: arbiter -- what Circus has and this version does not: refused by name, or without effect.

Knows:     nothing.
Known by:  arbiter.config_options, arbiter.config_settings, arbiter.config.
Never:     lets an option that would be missed pass in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

_OFF: Final = ("", "0", "false", "no", "off", "none")

# What a watcher may say in Circus, and what it is about. Patterns, first match counts.
LATER_WATCHER: Final[Mapping[str, str]] = {
    "hooks": "hooks",
    "hooks.*": "hooks",
    "rlimit_*": "resource limits",
    "rlimits": "resource limits",
    "virtualenv": "virtual environments",
    "virtualenv_py_ver": "virtual environments",
    "copy_path": "copying sys.path",
    "on_demand": "starting on demand",
    "stdin_socket": "a socket as standard input",
}
LATER_CIRCUS: Final[Mapping[str, str]] = {
    "httpd*": "the web page",
    "statsd": "the stats stream",
    "stats_endpoint": "the stats stream",
    "multicast_endpoint": "discovery by multicast",
    "endpoint_owner": "sharing the endpoint with another user",
    "loggerconfig": "logging configurations",
    "ssh_server": "remote access by ssh",
}
# Sections of a later version, and what to do until it is there.
LATER_SECTIONS: Final[Mapping[str, str]] = {
    "plugin": "remove the section, or make it a watcher whose program reads `circus.subscribe`",
}
# Options that Circus accepts too, and that change nothing there or here.
WITHOUT_EFFECT_WATCHER: Final = (
    "check_flapping", "flapping.*", "retry_in", "executable", "stream_backend", "use_papa",
)  # fmt: skip
WITHOUT_EFFECT_CIRCUS: Final = (
    "check_delay", "debug", "debug_gc", "fqdn_prefix", "statsd_close_outputs",
    "httpd_close_outputs", "stream_backend", "papa_endpoint", "httpd_host", "httpd_port",
)  # fmt: skip


def later_option(name: str, value: object) -> str | None:
    """The sentence about a watcher option of a later version; None for all others."""
    return _later(LATER_WATCHER, name, value)


def later_setting(name: str, value: object) -> str | None:
    """The same for `[circus]`."""
    if is_setting_without_effect(name):
        return None
    return _later(LATER_CIRCUS, name, value)


def later_section(kind: str) -> str:
    """The sentence about `[plugin:…]`."""
    remedy = LATER_SECTIONS[kind]
    return f"cannot use [{kind}] sections: this version does not have {kind}s yet; {remedy}"


def is_without_effect(name: str, value: object) -> bool:
    """Whether a watcher option is accepted and changes nothing, in Circus as well as here."""
    named = _matches(WITHOUT_EFFECT_WATCHER, name) is not None
    return named or (_is_off(value) and _matches(LATER_WATCHER, name) is not None)


def is_setting_without_effect(name: str) -> bool:
    """The same for `[circus]`."""
    return _matches(WITHOUT_EFFECT_CIRCUS, name) is not None


def is_switched_off(name: str, value: object) -> bool:
    """Whether `[circus]` names a feature of a later version only to do without it."""
    return _is_off(value) and _matches(LATER_CIRCUS, name) is not None


def _later(table: Mapping[str, str], name: str, value: object) -> str | None:
    pattern = _matches(table, name)
    if pattern is None or _is_off(value):
        return None
    return f"cannot use {name!r}: this version does not have {table[pattern]} yet; remove it"


def _matches(patterns: Mapping[str, str] | tuple[str, ...], name: str) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def _is_off(value: object) -> bool:
    """A feature that is asked for by nobody need not be there."""
    return not value or (isinstance(value, str) and value.strip().lower() in _OFF)
