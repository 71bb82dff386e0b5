"""Room: arbiter -- one option's value: from a file, a program or the wire to the record's units.

Knows:     bus.spec, bus.vault, arbiter.config_problems, arbiter.config_streams.
Known by:  arbiter.config, arbiter.config_settings, arbiter.config_wire, the library.
Never:     reads a file, asks whether a user exists.

Types, bounds and units are bus.spec's alone: there is one hook for each kind of value, and every
option is structured by the hook that its declaration names (ADR-0091).
"""

from __future__ import annotations

import math
import shlex
import signal
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, Literal, NewType, TypeAlias, get_type_hints

from circus.arbiter.config_later import is_without_effect, later_option
from circus.arbiter.config_problems import ConfigProblems, Problem, did_you_mean
from circus.arbiter.config_streams import gather, structure_stream
from circus.bus.spec import DERIVED, OPTIONS, Unit, WatcherSpec
from circus.bus.values import (
    NS_PER_SECOND,
    WATCHER_NAME_CHARACTERS_MAX,
    ns_to_seconds,
    seconds_to_ns,
)
from circus.bus.vault import Vault

Flavour: TypeAlias = Literal["ini", "toml", "library"]

Seconds = NewType("Seconds", int)
SignalNumber = NewType("SignalNumber", int)
Words: TypeAlias = tuple[str, ...]
Account: TypeAlias = int | str | None
Text: TypeAlias = str | None
Environment: TypeAlias = Mapping[str, str]

INTEGER_MAX: Final = 2**63 - 1
SIGNAL_MAX: Final = 64
SOCKETS_OF_A_FILE: Final = (
    "cannot be used here: sockets are those of a configuration file; add the watcher there"
)
BOOLEANS: Final = {
    "yes": True, "true": True, "on": True, "1": True,
    "no": False, "false": False, "off": False, "0": False,
}  # fmt: skip
CHOICES: Final[Mapping[str, Words]] = {"leftovers": ("kill", "leave")}


class Unfit(ValueError):
    """A value of the wrong type: what it should be, and how Circus's replies say so."""

    def __init__(self, value: object, wanted: str, circus: str) -> None:
        super().__init__(f"cannot use {value!r}: it must be {wanted}")
        self.circus = circus


# --- kinds of values --------------------------------------------------------------------------


def _boolean(value: Any, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise Unfit(value, "true or false", "isn't a valid boolean")


def _integer(value: Any, _: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INTEGER_MAX:
        return value
    raise Unfit(value, "a whole number", "isn't an integer")


def _seconds(value: Any, _: object) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and abs(value) <= INTEGER_MAX // NS_PER_SECOND:
        return seconds_to_ns(value)
    raise Unfit(value, "a number of seconds", "isn't a number")


def _string(value: Any, _: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    raise Unfit(value, "a string", "isn't a string")


def _text(value: Any, kind: object) -> str | None:
    return None if value is None else _string(value, kind) or None


def _words(value: Any, kind: object) -> Words:
    """A list of words, or one string that is split as a shell splits it."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(_string(value, kind)))
        except ValueError as error:
            raise Unfit(value, f"words as a shell reads them ({error})", "isn't valid") from error
    if isinstance(value, list | tuple):
        return tuple(_string(word, kind) for word in value)
    raise Unfit(value, "a string or a list of strings", "isn't a string or a list of strings")


def _account(value: Any, _: object) -> Account:
    if value is None or value == "":
        return None
    if isinstance(value, str) and "\0" not in value:
        return int(value) if value.isdecimal() else value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    raise Unfit(value, "a name or a number", "isn't an integer or string")


def _environment(value: Any, _: object) -> Environment:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unfit(value, "a table of strings", "isn't a valid object")
    for name, content in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise Unfit(name, "a variable's name, without `=`", "isn't a valid object")
        if not isinstance(content, str) or "\0" in content:
            raise Unfit(content, f"a string to be the value of {name}", "isn't a valid object")
    return dict(value)


def _signal(value: Any, kind: object) -> int:
    """A number, or a name as Circus takes it: `INT`, `SIGINT`, `2`, `SIGRTMIN+1`."""
    number = signal_number(value) if isinstance(value, str) else _integer(value, kind)
    if number is None or not 1 <= number <= SIGNAL_MAX:
        raise Unfit(value, f"a signal: its name or 1 to {SIGNAL_MAX}", "isn't a signal")
    return number


def signal_number(text: str) -> int | None:
    """`INT`, `sigint`, `2`, `SIGRTMIN+1` as a number; None for what is no signal."""
    name, plus, offset = text.strip().upper().partition("+")
    if name.isdecimal() and not plus:
        return int(name)
    full = name if name.startswith("SIG") else f"SIG{name}"
    found = signal.Signals.__members__.get(full)
    if found is None or (plus and not offset.isdecimal()):
        return None
    return int(found) + (int(offset) if plus else 0)


# --- the same, written as text in an ini file -------------------------------------------------


def _ini_boolean(value: Any, kind: object) -> bool:
    found = BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else value
    if found is None:
        raise Unfit(value, "yes, true, on or 1, or no, false, off or 0", "isn't a valid boolean")
    return _boolean(found, kind)


def _ini_integer(value: Any, kind: object) -> int:
    return _integer(_parsed(int, value), kind)


def _ini_seconds(value: Any, kind: object) -> int:
    return _seconds(_parsed(float, value), kind)


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    """The number that the text is; the text itself if it is none, for the message."""
    try:
        return parse(value)
    except ValueError:
        return value


# --- structuring ------------------------------------------------------------------------------


Hook: TypeAlias = Callable[[Any, object], Any]

HOOKS: Final[Mapping[Any, Hook]] = {
    bool: _boolean,
    int: _integer,
    Seconds: _seconds,
    SignalNumber: _signal,
    str: _string,
    Text: _text,
    Words: _words,
    Account: _account,
    Environment: _environment,
}
INI_HOOKS: Final[Mapping[Any, Hook]] = {
    **HOOKS, bool: _ini_boolean, int: _ini_integer, Seconds: _ini_seconds,
}  # fmt: skip


@cache
def _kinds() -> Mapping[str, Any]:
    """Which hook structures which option."""
    units = {Unit.SECONDS: Seconds, Unit.SIGNAL: SignalNumber}
    hints = get_type_hints(WatcherSpec)
    return {name: units.get(a.metadata["unit"], hints[name]) for name, a in OPTIONS.items()}


def structure(value: Any, kind: Any, flavour: Flavour) -> Any:
    """One value as `kind`; `Unfit` says what it should have been."""
    hooks = INI_HOOKS if flavour == "ini" else HOOKS
    return hooks[kind](value, kind)


def structure_option(name: str, value: Any, flavour: Flavour) -> Any:
    """The value of one watcher option in the units of the record, within its bounds."""
    found = structure(value, _kinds()[name], flavour)
    low = OPTIONS[name].metadata["low"]
    if low is not None and found < low:
        shown = show_option(name, low) if name != "stop_signal" else low
        raise Unfit(value, f"{shown:g} or more", f"must be {shown:g} or more")
    choices = CHOICES.get(name)
    if choices is not None and found not in choices:
        wanted = " or ".join(repr(choice) for choice in choices)
        raise Unfit(value, wanted, f"must be {wanted}")
    return found


def default_of(name: str, flavour: Flavour) -> Any:
    """The default in the units of the record: Circus's, or the native format's own."""
    declared = OPTIONS[name]
    toml = declared.metadata["toml"]
    if flavour == "toml" and toml is not None:
        return toml
    return declared.factory() if declared.factory else declared.default


def show_option(name: str, value: Any) -> Any:
    """Back to the units of the outside: seconds as numbers, lists as lists."""
    if OPTIONS[name].metadata["unit"] is Unit.SECONDS:
        seconds = ns_to_seconds(value)
        return int(seconds) if seconds.is_integer() else seconds
    return list(value) if isinstance(value, tuple) else value


def stream_of(
    name: str, parts: Mapping[str, Any], flavour: Flavour
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What `stdout_stream` or `stderr_stream` is, and every (option, fault)."""
    return structure_stream(name, parts, lambda value, kind: structure(value, kind, flavour))


# --- rules about a whole watcher --------------------------------------------------------------


def name_problem(name: object) -> str | None:
    """What is wrong with a watcher's name, or None."""
    remedy = f"use 1 to {WATCHER_NAME_CHARACTERS_MAX} printable characters without `/`"
    if not isinstance(name, str) or not name.strip():
        return f"cannot use an empty name: {remedy}"
    if len(name) > WATCHER_NAME_CHARACTERS_MAX or not name.isprintable() or "/" in name:
        return f"cannot use {name!r} as a watcher's name: {remedy}"
    return None


def rule_problems(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(option, text) for what single values cannot tell; `values` may be incomplete."""
    found: list[tuple[str, str]] = []
    if not str(values.get("cmd") or "").strip():
        found.append(("cmd", "cannot run a watcher without cmd: name the program to run"))
    elif cmd_fault := _cmd_fault(values["cmd"]):
        found.append(("cmd", cmd_fault))
    for stream in ("stdout", "stderr"):
        if values.get(f"{stream}_stream") and values.get(f"close_child_{stream}"):
            text = f"cannot close it and capture it: leave one of {stream}_stream and this one out"
            found.append((f"close_child_{stream}", text))
    if values.get("singleton") and values.get("numprocesses", 1) > 1:
        text = "cannot be more than 1 with singleton: set numprocesses = 1 or singleton = false"
        found.append(("numprocesses", text))
    return found


def _cmd_fault(cmd: str) -> str | None:
    try:
        shlex.split(cmd)
    except ValueError as error:
        return f"cannot split {cmd!r} as a shell does: {str(error).lower()}"
    return None


def unknown_option(name: str) -> str:
    """The text about an option that nobody knows."""
    return f"cannot use it: there is no such option{did_you_mean(name, OPTIONS.keys() - DERIVED)}"


# --- from a program ---------------------------------------------------------------------------


def sealed(values: dict[str, Any], vault: Vault) -> dict[str, Any]:
    """With the environment's values in the vault, and what names them in their place."""
    return values | {"env": vault.seal_all(values["env"])} if "env" in values else values


def spec_from_mapping(
    mapping: Mapping[str, Any], flavour: Flavour, *, vault: Vault, place: str = "watcher"
) -> WatcherSpec:
    """A watcher as `get_arbiter([{…}])` describes it; `ConfigProblems` has all that is wrong.

    The name is the program's without a directory, if none is given, as in Circus.
    """
    given = {key: value for key, value in mapping.items() if value is not None}
    if "name" not in given and isinstance(given.get("cmd"), str) and given["cmd"].split():
        given["name"] = given["cmd"].split()[0].rpartition("/")[2]
    values, faults = structure_watcher(given, flavour)
    if values["use_sockets"]:
        faults.append(("use_sockets", SOCKETS_OF_A_FILE))
    if (problem := name_problem(given.get("name"))) is not None:
        faults.append(("name", problem))
    if faults:
        title = f"{place} {given.get('name', '')}".strip()
        raise ConfigProblems(Problem(flavour, None, title, key, text) for key, text in faults)
    return WatcherSpec(**sealed(values, vault))


def structure_watcher(
    given: Mapping[str, Any], flavour: Flavour, *, expanded: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """All options of a watcher with the flavour's defaults, and every (option, fault).

    `expanded` options came out of a reference: they are text in every format, as in an ini file.
    """
    values = {name: default_of(name, flavour) for name in OPTIONS}
    faults: list[tuple[str, str]] = []
    others, streams = gather(given)
    for name, parts in streams.items():
        # A number in quotes is one in every format: Circus's streams got nothing but text.
        values[name], found = stream_of(name, parts, "ini")
        faults += found
    for name, value in others.items():
        later = later_option(name, value)
        if later is not None:
            faults.append((name, later))
        elif name in OPTIONS and name not in DERIVED:
            try:
                as_text = "ini" if name in expanded else flavour
                values[name] = structure_option(name, value, as_text)
            except Unfit as error:
                faults.append((name, str(error)))
        elif not is_without_effect(name, value):
            faults.append((name, unknown_option(name)))
    faulty = {name for name, _ in faults}
    faults += [(name, text) for name, text in rule_problems(values) if name not in faulty]
    return values, faults
