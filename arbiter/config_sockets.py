"""Room: arbiter -- `[socket]` sections: on what terms the keeper listens, and who may refer to it.

Knows:     arbiter.config_options (kinds of values), arbiter.config_settings (octal digits).
Known by:  arbiter.config.
Never:     binds; looks a name up: the answer of a name server may take longer than a decision.

The terms of a socket are a map with every key of TERMS (process.sockets reads it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from circus.arbiter.config_options import Flavour, Text, Unfit, structure
from circus.arbiter.config_problems import did_you_mean
from circus.arbiter.config_settings import SOCKET_PATH_BYTES_MAX, structure_umask

# Every term with Circus's default.
TERMS: Final[Mapping[str, Any]] = {
    "family": "AF_INET", "type": "SOCK_STREAM", "host": "localhost", "port": 8080, "path": "",
    "backlog": 2048, "umask": None, "replace": False, "so_reuseport": False, "blocking": False,
}  # fmt: skip
FAMILIES: Final = ("AF_INET", "AF_INET6", "AF_UNIX")
TYPES: Final = ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET")
NUMBERS: Final[Mapping[str, int]] = {"port": 65_535, "backlog": 65_535}
BOOLEANS: Final = ("replace", "so_reuseport", "blocking")
LOCALHOST: Final[Mapping[str, str]] = {"AF_INET": "127.0.0.1", "AF_INET6": "::1"}
EVERYWHERE: Final[Mapping[str, str]] = {"AF_INET": str(IPv4Address(0)), "AF_INET6": "::"}
REFUSED: Final[Mapping[str, str]] = {
    "proto": "the protocol follows from type; leave it out",
    "interface": "this version binds to addresses; give the address of that interface as host",
}
REFERENCE: Final = re.compile(
    r"\$\(circus\.sockets\.([\w.-]+)\)|\(\(circus\.sockets\.([\w.-]+)\)\)", re.IGNORECASE
)

Faults = list[tuple[str, str]]


def structure_socket(given: Mapping[str, Any], flavour: Flavour) -> tuple[dict[str, Any], Faults]:
    """The terms, and every (option, fault)."""
    terms: dict[str, Any] = dict(TERMS)
    faults: Faults = []
    for key, value in given.items():
        try:
            if key in TERMS:
                terms[key] = _structured(key, value, flavour)
            elif key not in REFUSED:
                faults.append((key, _unknown(key)))
            elif value not in ("", 0, "0"):
                faults.append((key, f"cannot use it: {REFUSED[key]}"))
        except ValueError as error:
            faults.append((key, str(error)))
    if not faults:
        faults += _place(terms)
    return terms, faults


def reference_faults(values: Mapping[str, Any], sockets: Mapping[str, Any]) -> Faults:
    """(option, fault) of a watcher that refers to what it does not have."""
    faults: Faults = []
    for option in ("cmd", "args", "shell_args"):
        value = values.get(option) or ""
        text = value if isinstance(value, str) else " ".join(value)
        for found in REFERENCE.finditer(text):
            name = (found[1] or found[2]).lower()
            if name not in sockets:
                near = did_you_mean(name, sockets)
                faults.append((option, f"cannot find a section [socket] called {name!r}{near}"))
            elif not values.get("use_sockets"):
                text = f"cannot refer to socket {name!r} without it: set use_sockets = true"
                faults.append(("use_sockets", text))
    return faults


def _structured(key: str, value: Any, flavour: Flavour) -> Any:
    if key in NUMBERS:
        number = structure(value, int, flavour)
        if not 0 <= number <= NUMBERS[key]:
            raise Unfit(value, f"0 to {NUMBERS[key]}", "isn't valid")
        return number
    if key in BOOLEANS:
        return structure(value, bool, flavour)
    if key == "umask":
        return structure_umask(value)
    text = structure(value, Text, flavour) or TERMS[key]
    choices = {"family": FAMILIES, "type": TYPES}.get(key)
    if choices is not None and text not in choices:
        raise Unfit(value, f"one of {', '.join(choices)}", "isn't valid")
    return text


def _place(terms: dict[str, Any]) -> Faults:
    """Where it is, made definite: a path alone, or an address in numbers and a port."""
    if terms["path"] or terms["family"] == "AF_UNIX":
        terms.update(family="AF_UNIX", host="", port=0)
        return _path_faults(terms)
    host, family = terms["host"], terms["family"]
    if terms["type"] == "SOCK_SEQPACKET":
        return [("type", "cannot use it with an address: give a path, or SOCK_STREAM")]
    if host in ("", "*"):
        terms["host"] = EVERYWHERE[family]
    elif host == "localhost":
        terms["host"] = LOCALHOST[family]
    else:
        try:
            version = ip_address(host).version
        except ValueError:
            text = f"cannot use {host!r}: names are not looked up; write its address in numbers"
            return [("host", text)]
        terms["family"] = "AF_INET6" if version == 6 else "AF_INET"
    if terms["so_reuseport"] and not terms["port"]:
        return [("so_reuseport", "cannot be shared by workers without a number: give a port")]
    return []


def _path_faults(terms: dict[str, Any]) -> Faults:
    path = terms["path"]
    if not path:
        return [("path", "cannot bind an AF_UNIX socket without it: name a file")]
    if terms["so_reuseport"]:
        return [("so_reuseport", "cannot use it with a path: one socket has it")]
    terms["path"] = os.path.abspath(path)
    length = len(os.fsencode(terms["path"]))
    if length > SOCKET_PATH_BYTES_MAX:
        text = f"cannot use it: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes"
        return [("path", f"{text} and this one has {length}; choose a shorter one")]
    return []


def _unknown(key: str) -> str:
    return f"cannot use it: a socket has no such option{did_you_mean(key, TERMS)}"
