"""Room: arbiter -- from a path to the sections of all files that belong to the configuration.

Knows:     arbiter.config_ini, arbiter.config_toml, arbiter.config_problems.
Known by:  arbiter.config.
Never:     gives an option a type.

`include` names files or patterns, `include_dir` directories, both relative to the main file and
only there; a pattern may match nothing, a name may not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from glob import glob, has_magic
from typing import Final, NamedTuple

from circus.arbiter.config_ini import IniReader
from circus.arbiter.config_problems import (
    Document,
    Problem,
    Section,
    Setting,
    Source,
    Unreadable,
)
from circus.arbiter.config_toml import read_toml

BYTES_MAX: Final = 16 * 1024 * 1024
SUFFIXES: Final = {".toml": "toml", ".ini": "ini", ".conf": "ini"}


def format_of(path: str) -> str | None:
    """`toml` or `ini` by the suffix; None for any other."""
    return SUFFIXES.get(os.path.splitext(path)[1].lower())


def read_document(path: str) -> Document:
    """The main file and what it includes; problems instead of exceptions."""
    form = format_of(path)
    if form is None:
        text = "cannot tell its format: name it *.toml, or *.ini for Circus's format"
        return Document((), (), (Unreadable(path, None, "", "", text),))
    try:
        content = _read(path)
    except OSError as error:
        fault = Unreadable(path, None, "", "", f"cannot read it: {_reason(error)}")
        return Document((), (), (fault,))
    reader = _IniFiles() if form == "ini" else _TomlFiles()
    return _with_includes(path, content, reader)


class _IniFiles:
    """All files are one to Circus: the first definition wins across them."""

    suffix = "ini"

    def __init__(self) -> None:
        self._reader = IniReader()

    def read(self, path: str, text: str) -> None:
        self._reader.read(path, text)

    def sections(self) -> list[Section]:
        return list(self._reader.sections())

    def problems(self) -> list[Problem]:
        return self._reader.problems


class _TomlFiles:
    """Each file has its own sections; two of one name are found later."""

    suffix = "toml"

    def __init__(self) -> None:
        self._sections: list[Section] = []
        self._problems: list[Problem] = []

    def read(self, path: str, text: str) -> None:
        sections, problems = read_toml(path, text)
        self._sections += sections
        self._problems += problems

    def sections(self) -> list[Section]:
        return self._sections

    def problems(self) -> list[Problem]:
        return self._problems


def _with_includes(path: str, content: bytes, reader: _IniFiles | _TomlFiles) -> Document:
    problems: list[Problem] = []
    sources: list[Source] = []
    includes: list[tuple[str, tuple[str, ...]]] = []
    _parse(reader, Source(path, content), sources, problems)
    for wish in _wishes(path, reader):
        found = tuple(sorted(glob(wish.pattern)))
        includes.append((wish.pattern, found))
        if not found and not wish.may_be_empty:
            problems.append(wish.problem("create it, correct the path or remove it"))
        for name in found:
            try:
                source = Source(name, _read(name))
            except OSError as error:
                problems.append(wish.unreadable(name, _reason(error)))
            else:
                _parse(reader, source, sources, problems)
    found_problems = (*reader.problems(), *problems)
    return Document(tuple(reader.sections()), tuple(sources), found_problems, tuple(includes))


class _Wish(NamedTuple):
    """One word of `include` or `include_dir`."""

    section: Section
    key: str
    word: str
    pattern: str
    may_be_empty: bool

    def problem(self, remedy: str) -> Problem:
        """It names nothing."""
        return self._problem(f"cannot find {self.word}: {remedy}")

    def unreadable(self, name: str, reason: str) -> Problem:
        """It names something that is no readable file."""
        return self._problem(f"cannot read {name}: {reason}; make it readable or remove it")

    def _problem(self, text: str) -> Problem:
        setting = self.section.settings[self.key]
        return Unreadable(setting.file, setting.line, self.section.title, self.key, text)


def _wishes(main: str, reader: _IniFiles | _TomlFiles) -> list[_Wish]:
    """What `[circus]` of the main file includes; what includes bring is not asked again."""
    directory = os.path.dirname(os.path.abspath(main))
    wishes: list[_Wish] = []
    for section in reader.sections():
        settings = section.settings if section.kind == "circus" else {}
        for word in _words(settings, "include"):
            pattern = os.path.join(directory, word)
            wishes.append(_Wish(section, "include", word, pattern, has_magic(pattern)))
        for word in _words(settings, "include_dir"):
            folder = os.path.join(directory, word)
            pattern = f"{folder}/*.{reader.suffix}"
            wishes.append(_Wish(section, "include_dir", word, pattern, os.path.isdir(folder)))
    return wishes


def _words(settings: Mapping[str, Setting], key: str) -> list[str]:
    """White space separates; TOML may have a list."""
    value = settings[key].value if key in settings else ""
    if isinstance(value, str):
        return value.split()
    return [str(word) for word in value] if isinstance(value, list) else [str(value)]


def _parse(
    reader: _IniFiles | _TomlFiles, source: Source, sources: list[Source], problems: list[Problem]
) -> None:
    sources.append(source)
    try:
        text = source.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.content.count(b"\n", 0, error.start) + 1
        text = "cannot read it: it is not UTF-8; save it in that encoding"
        problems.append(Problem(source.path, line, "", "", text))
    else:
        reader.read(source.path, text)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise OSError(None, f"it is larger than {BYTES_MAX} bytes")
    return content


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
