"""Room: arbiter -- Circus's ini dialect: text in, sections out, first definition wins.

Knows:     arbiter.config_problems.
Known by:  arbiter.config.
Never:     gives an option a type; interpolates `%`.

It is not configparser's dialect: `rem` starts a comment, ` ;` one at the end of a line, an indented
line goes on with the value above, the first of two definitions wins, and repeated sections are one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from circus.arbiter.config_problems import Problem, Section, Setting

DEFAULT: Final = "DEFAULT"
NAMED: Final = ("watcher", "socket", "plugin", "env")
PLAIN: Final = ("circus", "env")

_HEADER: Final = re.compile(r"\[(?P<title>[^]]+)\]")
_OPTION: Final = re.compile(r"(?P<key>[^:=\s][^:=]*)\s*[:=]\s*(?P<value>.*)$")


class _Last(NamedTuple):
    """The definition that an indented line goes on with."""

    section: dict[str, Setting]
    key: str

    def go_on(self, more: str) -> None:
        """One more line of its value."""
        before = self.section[self.key]
        self.section[self.key] = before._replace(value=f"{before.value}\n{more}")


class IniReader:
    """Collects the sections of several files; what is defined first stays."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._titles: dict[str, dict[str, Setting]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._defaults: dict[str, Setting] = {}

    def read(self, file: str, text: str) -> None:
        """Add one file after those already read."""
        current: dict[str, Setting] | None = None
        last: _Last | None = None
        for number, line in enumerate(text.splitlines(), 1):
            if _is_comment(line):
                continue
            if line[0].isspace() and last is not None:
                last.go_on(line.strip())
            elif header := _HEADER.match(line):
                current, last = self._section(header["title"], file, number), None
            elif current is None:
                self._problem(file, number, line, "cannot read it: no [section] comes before it")
            else:
                last = self._option(current, file, number, line)

    def sections(self) -> tuple[Section, ...]:
        """All sections, with `[DEFAULT]` in each; empty ones and unknown kinds are left out."""
        found: list[Section] = []
        for title, own in self._titles.items():
            kind, _, name = title.partition(":")
            settings = {**own, **{k: v for k, v in self._defaults.items() if k not in own}}
            if settings and (kind in NAMED if name else title in PLAIN):
                file, line = self._places[title]
                found.append(Section(kind, name, title, file, line, settings))
        return tuple(found)

    def _section(self, title: str, file: str, line: int) -> dict[str, Setting]:
        if title == DEFAULT:
            return self._defaults
        self._places.setdefault(title, (file, line))
        return self._titles.setdefault(title, {})

    def _option(
        self, section: dict[str, Setting], file: str, number: int, line: str
    ) -> _Last | None:
        """Add the option of `line`; one that is defined already goes where nobody looks."""
        match = _OPTION.match(line)
        if match is None:
            self._problem(file, number, line, "cannot read it: write it as `option = value`")
            return None
        key = match["key"].rstrip()
        target = {} if key in section else section
        target[key] = Setting(_value(match["value"]), file, number)
        return _Last(target, key)

    def _problem(self, file: str, number: int, line: str, text: str) -> None:
        self.problems.append(Problem(file, number, "", repr(line.strip()[:60]), text))


def _is_comment(line: str) -> bool:
    if not line.strip() or line[0] in "#;":
        return True
    return line[0] in "rR" and line.split(None, 1)[0].lower() == "rem"


def _value(text: str) -> str:
    """Without the comment after ` ;`; an empty string may be written as two quotes."""
    found = text.find(";")
    if found > 0 and text[found - 1].isspace():
        text = text[:found]
    text = text.strip()
    return "" if text == '""' else text
