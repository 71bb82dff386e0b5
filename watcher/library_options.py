"""Room: watcher -- a library watcher's options as its program wrote them, before anything runs.

Knows:     bus.spec.
Known by:  the public Watcher.
Never:     judges a value (the configuration does, when the arbiter takes the watcher); mutates what
           it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from circus.bus.spec import OPTIONS, Unit
from circus.bus.values import ns_to_seconds

# Circus's order of the constructor's parameters behind `name` and `cmd`.
POSITIONS: Final = (
    "args", "numprocesses", "warmup_delay", "working_dir", "shell", "shell_args", "uid",
    "max_retry", "gid", "send_hup", "stop_signal", "stop_children", "env", "graceful_timeout",
    "prereload_fn", "rlimits", "executable", "stdout_stream", "stderr_stream", "priority", "loop",
    "singleton",
    "use_sockets", "copy_env", "copy_path", "max_age", "max_age_variance", "hooks", "respawn",
    "autostart", "on_demand", "virtualenv", "stdin_socket", "close_child_stdin",
    "close_child_stdout", "close_child_stderr", "virtualenv_py_ver",
)  # fmt: skip
OWN: Final = ("prereload_fn", "loop")
ABSENT: Final[Mapping[str, Any]] = {
    "prereload_fn": None, "loop": None, "rlimits": None, "executable": None, "copy_path": False,
    "hooks": None,
    "on_demand": False, "virtualenv": None, "stdin_socket": None, "virtualenv_py_ver": None,
}  # fmt: skip
# Circus shows these as None or a list where bus.spec has an empty tuple.
NONE_BY_DEFAULT: Final = ("args", "shell_args")


def given_options(words: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the program gave, by name. TypeError: by position and by name, or too many."""
    if len(words) > len(POSITIONS):
        raise TypeError(f"Watcher takes at most {len(POSITIONS)} options by position")
    by_position = dict(zip(POSITIONS, words, strict=False))
    twice = by_position.keys() & options.keys()
    if twice:
        raise TypeError(f"Watcher got repeated options: {', '.join(sorted(twice))}")
    given = {**by_position, **options}
    if given.get("singleton") and given.get("numprocesses", 1) not in {0, 1}:
        raise ValueError(
            "cannot run more than one process of a singleton: give numprocesses=1 or no singleton"
        )
    if given.get("copy_path") and not given.get("copy_env"):
        raise ValueError("cannot copy the path without the environment: give copy_env=True too")
    return given


def default_of(name: str) -> Any:
    """Circus's default, in the units of the program (durations in seconds)."""
    if name in ABSENT:
        return ABSENT[name]
    if OPTIONS[name].factory is not None:
        return {} if name == "env" else None
    if name in NONE_BY_DEFAULT:
        return None
    return outside(name, OPTIONS[name].default)


def outside(name: str, value: Any) -> Any:
    """A value of the record in the units of the program."""
    if OPTIONS[name].metadata["unit"] is Unit.SECONDS:
        seconds = ns_to_seconds(value)
        return int(seconds) if seconds.is_integer() else seconds
    return list(value) if isinstance(value, tuple) else value


def mapping_of(name: str, cmd: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A fresh mapping for the configuration; lists of words are made of strings, as in Circus."""
    kept = {key: value for key, value in given.items() if value is not None and key not in OWN}
    for key in NONE_BY_DEFAULT:
        if isinstance(kept.get(key), list | tuple):
            kept[key] = [str(word) for word in kept[key]]
    return {"name": name, "cmd": cmd, **kept}
