"""Room: front -- option values as an operator types them, made into what the protocol carries.

Knows:     nothing; a test compares the names with bus.spec, which is too slow to import here.
Known by:  circus.ctl_commands.
Never:     refuses a name: the daemon knows better, and says so.
"""

from __future__ import annotations

from typing import Any, Final

INTEGERS: Final = frozenset(
    {"numprocesses", "priority", "max_retry", "give_up"},
)
SECONDS: Final = frozenset(
    {
        "backoff",
        "backoff_max",
        "graceful_timeout",
        "max_age",
        "max_age_variance",
        "min_uptime",
        "warmup_delay",
    }
)
SWITCHES: Final = frozenset(
    {
        "autostart",
        "close_child_stderr",
        "close_child_stdin",
        "close_child_stdout",
        "copy_env",
        "respawn",
        "send_hup",
        "shell",
        "singleton",
        "stop_children",
        "use_sockets",
    }
)
NUMBERS_OR_NAMES: Final = frozenset({"gid", "stop_signal", "uid"})
WORDS: Final = frozenset({"args", "shell_args"})
TEXTS: Final = frozenset({"cmd", "leftovers", "name", "working_dir"})
PAIRS: Final = frozenset({"env"})
# Given by their parts (`stdout_stream.filename`), or only in a file.
WHOLES: Final = frozenset({"sockets", "stderr_stream", "stdout_stream"})

YES: Final = frozenset({"1", "on", "true", "yes"})
NO: Final = frozenset({"0", "false", "no", "off"})


class BadValue(ValueError):
    """The text cannot be a value of this option."""


def option_value(name: str, text: str) -> Any:
    """The value of option `name` that `text` means."""
    if name in INTEGERS:
        return _number(name, text, int, "a whole number")
    if name in SECONDS:
        return _number(name, text, float, "a number of seconds")
    if name in SWITCHES:
        return _switch(name, text)
    if name in NUMBERS_OR_NAMES:
        return number_or_name(text)
    if name in WORDS:
        return split(text)
    return _pairs(text) if name in PAIRS else text


def number_or_name(text: str) -> int | str:
    """A signal or user by number where it is one, else by name."""
    return int(text) if text.isascii() and text.isdigit() else text


def split(text: str) -> list[str]:
    """Words, as a shell splits them."""
    import shlex

    return shlex.split(text)


def _number(name: str, text: str, kind: type[int | float], wanted: str) -> int | float:
    try:
        return kind(text)
    except ValueError as error:
        raise BadValue(f"cannot set {name} to {text!r}: give {wanted}") from error


def _switch(name: str, text: str) -> bool:
    lowered = text.lower()
    if lowered not in YES | NO:
        raise BadValue(f"cannot set {name} to {text!r}: give true or false")
    return lowered in YES


def _pairs(text: str) -> dict[str, str]:
    """`A=1,B=2`, as Circus writes environments."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise BadValue(f"cannot set env to {text!r}: give NAME=VALUE,NAME=VALUE")
        found[key.strip()] = value
    return found
