"""Room: arbiter -- what `[circus]` may say: every setting once, with its type and its default.

Knows:     arbiter.config_options, arbiter.config_later, arbiter.config_problems.
Known by:  arbiter.config, arbiter.config_docs, the library (endpoints).
Never:     opens a socket, writes a pid file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from circus.arbiter.config_later import (
    is_setting_without_effect,
    is_switched_off,
    later_setting,
)
from circus.arbiter.config_options import Flavour, Seconds, Text, Unfit, structure
from circus.arbiter.config_problems import did_you_mean
from circus.arbiter.config_values import Settings
from circus.bus.shapes import Field, declared

SOCKET_PATH_BYTES_MAX: Final = 107
UMASK_MAX: Final = 0o777
INCLUDES: Final = ("include", "include_dir")  # read before anything has a type
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "loglevel": ("critical", "error", "warning", "info", "debug"),
    "transport": ("zmq", "memory"),
    "orphans": ("stop", "adopt", "leave"),
    "on_log_failure": ("refuse_commands", "stop_workers"),
    "durability": ("always", "group", "none"),
}

KINDS: Final[Mapping[str, Any]] = {"text": Text, "seconds": Seconds, "bool": bool}

Faults: TypeAlias = list[tuple[str, str]]


SETTINGS: Final[Mapping[str, Field]] = {one.name: one for one in declared(Settings)}


def structure_settings(
    given: Mapping[str, Any], flavour: Flavour, *, insecure_tcp: bool
) -> tuple[Settings, Faults]:
    """The settings with the flavour's defaults, and every (setting, fault)."""
    values = {name: default_setting(name, flavour) for name in SETTINGS}
    faults: Faults = []
    for name, value in given.items():
        fault = _refusal(name, value)
        if fault is not None:
            faults.append((name, fault))
        elif name in SETTINGS:
            try:
                found = _structured(name, value, flavour, insecure_tcp=insecure_tcp)
            except ValueError as error:  # Unfit, or the endpoint's own sentence
                faults.append((name, str(error)))
            else:
                values[name] = values[name] if found is None else found
    return Settings(**values), faults


def default_setting(name: str, flavour: Flavour) -> Any:
    """The default in the units of the record."""
    setting = SETTINGS[name]
    toml = setting.metadata["toml"]
    return toml if flavour == "toml" and toml is not None else setting.default


def check_endpoint(value: str, *, insecure_tcp: bool) -> str:
    """`value`, if the daemon may listen there; ValueError with the sentence that says why not."""
    scheme, separator, rest = value.partition("://")
    if separator and scheme == "ipc":
        _check_ipc_path(value, rest)
    elif separator and scheme == "tcp":
        if not insecure_tcp:
            raise ValueError(
                f"cannot listen on {value}: plain tcp has no protection, whoever reaches it "
                "commands this daemon; use an ipc:// endpoint or start with --insecure-tcp"
            )
    else:
        raise ValueError(f"cannot listen on {value!r}: write ipc:///PATH or tcp://HOST:PORT")
    return value


def _check_ipc_path(value: str, path: str) -> None:
    if path.startswith("@"):
        raise ValueError(
            f"cannot listen on {value}: an abstract socket is open to every user of the machine; "
            "name a file, ipc:///PATH"
        )
    if not path.startswith("/"):
        raise ValueError(f"cannot listen on {value}: the path must be absolute, ipc:///PATH")
    length = len(path.encode("utf-8", "surrogateescape"))
    if length > SOCKET_PATH_BYTES_MAX:
        raise ValueError(
            f"cannot listen on {value}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes "
            f"and this one has {length}; choose a shorter one"
        )


def _refusal(name: str, value: object) -> str | None:
    if name in SETTINGS or name in INCLUDES or is_setting_without_effect(name):
        return None
    later = later_setting(name, value)
    if later is not None or is_switched_off(name, value):
        return later
    return f"cannot use it: there is no such option{did_you_mean(name, SETTINGS)}"


def _structured(name: str, value: Any, flavour: Flavour, *, insecure_tcp: bool) -> Any:
    kind = SETTINGS[name].metadata["kind"]
    if kind == "umask":
        return structure_umask(value)
    if kind == "endpoint":
        endpoint = structure(value, Text, flavour)
        return endpoint and check_endpoint(endpoint, insecure_tcp=insecure_tcp)
    found = structure(value, KINDS[kind], flavour)
    if kind == "seconds" and found < 0:
        raise Unfit(value, "0 or more", "must be 0 or more")
    choices = CHOICES.get(name)
    if choices is not None and found is not None and name == "loglevel":
        found = found.lower()
    if choices is not None and found not in (None, *choices):
        raise Unfit(value, f"one of {', '.join(choices)}", "isn't valid")
    if name == "cgroup" and found not in ("off", "auto") and not str(found).startswith("/"):
        raise Unfit(value, "off, auto or an absolute path", "isn't valid")
    return found


def structure_umask(value: Any) -> int | None:
    """Octal digits as text, or a number (TOML writes octal numbers as 0o022)."""
    if isinstance(value, str) and not value.strip():
        return None
    try:
        mask = int(value, 8) if isinstance(value, str) else value
    except ValueError as error:
        raise Unfit(value, "octal digits, 000 to 777", "isn't a umask") from error
    if not isinstance(mask, int) or isinstance(mask, bool) or not 0 <= mask <= UMASK_MAX:
        raise Unfit(value, "octal digits, 000 to 777", "isn't a umask")
    return mask
