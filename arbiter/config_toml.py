"""Room: arbiter -- the native format: TOML in, sections out.

Knows:     arbiter.config_problems.
Known by:  arbiter.config.
Never:     gives an option a type.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from circus.arbiter.config_problems import Problem, Section, Setting, did_you_mean

KINDS: Final = ("circus", "watcher", "socket", "plugin", "env")
NAMED: Final = ("watcher", "socket", "plugin")

_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")
_HEADER: Final = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""")


def read_toml(file: str, text: str) -> tuple[list[Section], list[Problem]]:
    """The sections of one file, or what is wrong with its syntax and its top level."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else None
        reason = _AT_LINE.sub("", str(error)).strip()
        reason = reason[:1].lower() + reason[1:]
        return [], [Problem(file, line, "", "", f"cannot read it as TOML: {reason}")]
    lines = dict(_lines(text))
    reader = _Reader(file, lines)
    for kind, content in tables.items():
        reader.top(kind, content)
    return reader.sections, reader.problems


class _Reader:
    """Turns nested tables into sections of one file."""

    def __init__(self, file: str, lines: Mapping[tuple[str, ...], int]) -> None:
        self.sections: list[Section] = []
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines

    def top(self, kind: str, content: Any) -> None:
        """One key of the top level."""
        if kind not in KINDS:
            self._problem((kind,), f"cannot use section {kind!r}{did_you_mean(kind, KINDS)}")
        elif not isinstance(content, dict):
            self._problem((kind,), f"cannot use {kind!r} as a value: write it as [{kind}]")
        elif kind in NAMED:
            self._named(kind, content)
        elif kind == "env":
            self._env(content)
        else:
            self._add((kind,), content)

    def _named(self, kind: str, content: Mapping[str, Any]) -> None:
        for name, options in content.items():
            if isinstance(options, dict):
                self._add((kind, name), options)
            else:
                text = f"cannot use {name!r} here: options belong below [{kind}.NAME]"
                self._problem((kind, name), text)

    def _env(self, content: Mapping[str, Any]) -> None:
        """`[env]` for all watchers; a table in it is for those that its name matches."""
        everywhere = {k: v for k, v in content.items() if not isinstance(v, dict)}
        if everywhere:
            self._add(("env",), everywhere)
        for pattern, values in content.items():
            if isinstance(values, dict):
                self._add(("env", pattern), values)

    def _add(self, path: tuple[str, ...], options: Mapping[str, Any]) -> None:
        settings = {
            key: Setting(value, self._file, self._line((*path, key)))
            for key, value in _flat(options)
        }
        kind, *rest = path
        name = rest[0] if rest else ""
        title = ".".join(path)
        self.sections.append(
            Section(kind, name, title, self._file, self._lines.get(path), settings)
        )

    def _line(self, path: tuple[str, ...]) -> int | None:
        return self._lines.get(path, self._lines.get(tuple(".".join(path).split("."))))

    def _problem(self, path: tuple[str, ...], text: str) -> None:
        lines = (line for place, line in self._lines.items() if place[: len(path)] == path)
        self.problems.append(Problem(self._file, min(lines, default=None), "", "", text))


def _flat(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`hooks.before_start = …` is a table to TOML and one option to Circus; `env` is a table."""
    for key, value in options.items():
        if isinstance(value, dict) and key != "env":
            yield from ((f"{key}.{inner}", more) for inner, more in value.items())
        else:
            yield key, value


def _lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Where tables and keys stand, as far as plain headers and keys tell; tomllib does not say."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_parts(key[1])), number


def _parts(dotted: str) -> tuple[str, ...]:
    found = re.findall(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""", dotted)
    return tuple(double or single or bare for double, single, bare in found)
