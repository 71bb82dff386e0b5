"""Room: arbiter -- Circus's ini dialect: text in, sections out, first definition wins.

Knows:     arbiter.config_problems.
Known by:  arbiter.config.
Never:     gives an option a type; interpolates `%`.

It is not configparser's dialect: `rem` starts a comment, ` ;` one at the end of a line, an indented
line goes on with the value above, the first of two definitions wins, and repeated sections are one.
"""

from __future__ import annotations

import re
from typing import Final

from circus.arbiter.config_problems import Problem, Section, Setting

DEFAULT: Final = "DEFAULT"
NAMED: Final = ("watcher", "socket", "plugin", "env")
PLAIN: Final = ("circus", "env")

_HEADER: Final = re.compile(r"\[(?P<title>[^]]+)\]")
_OPTION: Final = re.compile(r"(?P<key>[^:=\s][^:=]*)\s*[:=]\s*(?P<value>.*)$")


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
        key = ""
        owned: set[tuple[int, str]] = set()  # only lines of a definition that won are continued
        for number, line in enumerate(text.splitlines(), 1):
            if _is_comment(line):
                continue
            if line[0].isspace() and current is not None and key:
                if (id(current), key) in owned:
                    _continue(current, key, line.strip())
                continue
            if header := _HEADER.match(line):
                current, key = self._section(header["title"], file, number), ""
            elif current is None:
                self._problem(file, number, line, "cannot read it: no [section] comes before it")
            else:
                key = self._option(current, file, number, line)
                if key and current[key].line == number and current[key].file == file:
                    owned.add((id(current), key))

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

    def _option(self, section: dict[str, Setting], file: str, number: int, line: str) -> str:
        """Add the option of `line` unless it is defined already; answer its key."""
        match = _OPTION.match(line)
        if match is None:
            self._problem(file, number, line, "cannot read it: write it as `option = value`")
            return ""
        key = match["key"].rstrip()
        section.setdefault(key, Setting(_value(match["value"]), file, number))
        return key

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


def _continue(section: dict[str, Setting], key: str, more: str) -> None:
    before = section[key]
    section[key] = before._replace(value=f"{before.value}\n{more}")
