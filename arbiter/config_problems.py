"""Room: arbiter -- what is wrong with a configuration, all of it, each with its place.

Knows:     nothing.
Known by:  every part of the configuration, circusd, the library.
Never:     prints; never stops at the first problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

UNNAMED: Final = ""


class Problem(NamedTuple):
    """One thing that is wrong. `section` is as in the file, without brackets."""

    file: str
    line: int | None
    section: str
    key: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        section = f"[{self.section}] " if self.section else ""
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {section}{key}{self.text}"


class ConfigProblems(ValueError):
    """Everything that is wrong with a configuration; nothing of it was used."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def unreadable(self) -> bool:
        """Whether a file is missing or cannot be read (EX_NOINPUT instead of EX_CONFIG)."""
        return any(isinstance(problem, Unreadable) for problem in self.problems)


class Unreadable(Problem):
    """The configuration file itself, or one that it includes, could not be read."""


class Setting(NamedTuple):
    """One value of a section and where it stands."""

    value: Any
    file: str
    line: int | None


class Section(NamedTuple):
    """One section of a file of any format; `kind` is circus, watcher, socket, plugin or env."""

    kind: str
    name: str
    title: str
    file: str
    line: int | None
    settings: Mapping[str, Setting]


class Source(NamedTuple):
    """One file that was read."""

    path: str
    content: bytes


class Document(NamedTuple):
    """What the files say, before any option has a type."""

    sections: tuple[Section, ...]
    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]
    includes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # each pattern and what it found

    def of(self, kind: str) -> tuple[Section, ...]:
        """The sections of one kind, in the order of the files."""
        return tuple(section for section in self.sections if section.kind == kind)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is close."""
    from difflib import get_close_matches  # only a wrong file pays for it

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
