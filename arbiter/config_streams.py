"""Room: arbiter -- where captured output goes: all `stdout_stream.*` options as one value.

Knows:     arbiter.config_problems.
Known by:  arbiter.config_options.
Never:     opens a file; lets pass a class that nobody here can be.

A sink is a map: `class`, and for a FileStream `filename` and what else was said of it. It goes in
the spec and with every spawn to the keeper, and from there to the scribe, who alone reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.arbiter.config_problems import did_you_mean

STREAMS: Final = ("stdout_stream", "stderr_stream")
FILE: Final = "FileStream"
STDOUT: Final = "StdoutStream"
PACKAGE: Final = "circus.stream."
# What else Circus has, until it is here too.
LATER: Final = ("WatchedFileStream", "TimedRotatingFileStream", "QueueStream", "FancyStdoutStream")
KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    FILE: {"filename": str, "max_bytes": int, "backup_count": int, "time_format": str},
    STDOUT: {},
}
WITHOUT_EFFECT: Final = frozenset({"class", "refresh_time"})
FILENAME_BYTES_MAX: Final = 4096

Parse = Callable[[Any, Any], Any]
Faults = list[tuple[str, str]]


def gather(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The options without those of streams, and what is said of each stream."""
    others: dict[str, Any] = {}
    streams: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        stream, dot, part = key.partition(".")
        if stream not in STREAMS:
            others[key] = value
        elif dot:
            streams.setdefault(stream, {})[part] = value
        elif isinstance(value, Mapping):
            streams.setdefault(stream, {}).update(value)
        elif value is not None and value != "":
            streams.setdefault(stream, {})[""] = value
    return others, streams


def structure_stream(
    name: str, parts: Mapping[str, Any], parse: Parse
) -> tuple[dict[str, Any], Faults]:
    """A sink, or {} where nothing is captured, and every (option, fault). `parse` gives a value the
    type that is asked for, or raises ValueError with a sentence."""
    parts = {key: value for key, value in parts.items() if value is not None}
    if "" in parts or "stream" in parts:
        option = f"{name}.stream" if "stream" in parts else name
        text = f"cannot use an object here: name its class, {name}.class = {FILE!r}"
        return {}, [(option, text)]
    if not any(parts.values()):
        return {}, []
    kind = str(parts.get("class") or (FILE if "filename" in parts else "")).removeprefix(PACKAGE)
    if kind not in KINDS:
        return {}, [(f"{name}.class", _unknown(kind))]
    kinds = KINDS[kind]
    sink: dict[str, Any] = {"class": kind}
    faults = [
        (f"{name}.{key}", f"cannot use it: a {kind} has no such option{did_you_mean(key, kinds)}")
        for key in parts.keys() - kinds.keys() - WITHOUT_EFFECT
    ]
    for key in kinds.keys() & parts.keys():
        try:
            sink[key] = _checked(key, parse(parts[key], kinds[key]))
        except ValueError as error:
            faults.append((f"{name}.{key}", str(error)))
    if kind == FILE and "filename" not in parts:
        text = f"cannot write to a file without a name: set {name}.filename"
        faults.append((f"{name}.filename", text))
    return {key: sink[key] for key in ("class", *kinds) if key in sink}, faults


def _unknown(kind: str) -> str:
    works = f"use {FILE} or {STDOUT}"
    if not kind:
        return f"cannot capture without it: {works}"
    if kind in LATER:
        return f"cannot use {kind!r}: this version does not have it yet; {works}"
    return f"cannot use {kind!r}: there is no such class here; {works}"


def _checked(key: str, value: Any) -> Any:
    if key == "filename" and not value:
        raise ValueError("cannot write to a file without a name")
    if key == "filename" and len(value.encode("utf-8", "surrogateescape")) > FILENAME_BYTES_MAX:
        raise ValueError(f"cannot use it: a path has at most {FILENAME_BYTES_MAX} bytes")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"cannot use {value}: it must be 0 or more")
    return value
