"""Room: arbiter -- the configuration: one call from a path to data, or to all that is wrong.

Knows:     the other arbiter.config_* modules, bus.spec, bus.commands, bus.vault.
Known by:  the daemon, circusd --check, the library.
Never:     starts anything, keeps a value of an environment variable outside the vault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple

from circus.arbiter.config_files import format_of, read_document
from circus.arbiter.config_later import later_section
from circus.arbiter.config_options import (
    Flavour,
    name_problem,
    spec_from_mapping,
    structure_watcher,
)
from circus.arbiter.config_problems import ConfigProblems, Document, Problem, Section, Setting
from circus.arbiter.config_settings import structure_settings
from circus.arbiter.config_sockets import reference_faults, structure_socket
from circus.arbiter.config_values import Config, Settings, to_configure
from circus.bus.blake import blake2b
from circus.bus.codec import pack
from circus.bus.shapes import fields_of
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.vault import Vault

NO_SOCKETS: Final[Mapping[str, Any]] = {}
_UPPER: Final = re.compile(r"\$([A-Z][A-Z0-9_]*)")
_SOCKET_NAME: Final = re.compile(r"[\w.-]+")
_REFERENCE: Final = re.compile(
    r"\$\(circus\.env\.([^()\s]+)\)|\(\(circus\.env\.([^()\s]+)\)\)", re.IGNORECASE
)


class Outside(NamedTuple):
    """What a configuration is read with."""

    environ: Mapping[str, str]
    vault: Vault
    insecure_tcp: bool


def load(
    path: str, environ: Mapping[str, str], *, vault: Vault, insecure_tcp: bool = False
) -> Config:
    """Read the file, and those that it includes; `ConfigProblems` has everything wrong with it.

    Call `vault.save()` before anything of the result is recorded.
    """
    document = read_document(path)
    return load_document(path, document, environ, vault=vault, insecure_tcp=insecure_tcp)


def load_document(
    path: str, document: Document, environ: Mapping[str, str], *, vault: Vault, insecure_tcp: bool
) -> Config:
    """`load` after the files have been read."""
    flavour: Flavour = "toml" if format_of(path) == "toml" else "ini"
    builder = _Builder(document, flavour, Outside(environ, vault, insecure_tcp))
    watchers = builder.watchers()
    settings = builder.settings()
    builder.refuse_later_sections()
    problems = [*document.problems, *builder.problems]
    if problems:
        order = {source.path: place for place, source in enumerate(document.sources)}
        problems.sort(key=lambda problem: (order.get(problem.file, 0), problem.line or 0))
        raise ConfigProblems(problems)
    return _config(watchers, settings, "file", builder.sockets)


def config_of_mappings(
    mappings: Iterable[Mapping[str, Any]], settings: Settings | None = None, *, vault: Vault
) -> Config:
    """The configuration that a program gives to `get_arbiter`, with Circus's defaults."""
    specs: list[WatcherSpec] = []
    problems: list[Problem] = []
    for mapping in mappings:
        try:
            specs.append(spec_from_mapping(mapping, "library", vault=vault))
        except ConfigProblems as error:
            problems += error.problems
    for spec, earlier in _duplicates([spec.name for spec in specs]):
        title = f"watcher {spec}"
        problems.append(Problem("library", None, title, "name", _duplicate_text(earlier)))
    if problems:
        raise ConfigProblems(problems)
    return _config(specs, settings or Settings(), "library")


def _config(
    watchers: Iterable[WatcherSpec],
    settings: Settings,
    source: Literal["file", "library"],
    sockets: Mapping[str, Any] = NO_SOCKETS,
) -> Config:
    specs = tuple(watchers)
    content = pack([[to_data(spec) for spec in specs], fields_of(settings), sockets])
    digest = blake2b(content, digest_size=8).hexdigest()
    return Config(
        watchers=specs, settings=settings, digest=digest, source=source, sockets=dict(sockets)
    )


__all__ = ["Config", "ConfigProblems", "Settings", "config_of_mappings", "load", "to_configure"]


class _Builder:
    """Goes through a document once and collects what is wrong with it."""

    def __init__(self, document: Document, flavour: Flavour, outside: Outside) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._flavour: Flavour = flavour
        self._outside = outside
        self._environments = [self._environment(section) for section in document.of("env")]
        everywhere = [values for section, values in self._environments if not section.name]
        merged = dict(outside.environ)
        for values in everywhere:
            merged |= values
        self._references = {name.lower(): value for name, value in merged.items()}
        self.sockets = self._sockets()

    def watchers(self) -> list[WatcherSpec]:
        """Every watcher without a fault; ini: by name, as Circus sorts them."""
        sections = list(self._document.of("watcher"))
        for name, earlier in _duplicates([section.name for section in sections]):
            section = next(s for s in reversed(sections) if s.name == name)
            self._problem(section, "", _duplicate_text(earlier))
        if self._flavour == "ini":
            sections.sort(key=lambda section: section.name)
        specs = [self._watcher(section) for section in sections]
        return [spec for spec in specs if spec is not None]

    def settings(self) -> Settings:
        """`[circus]`; of several files the first that says something counts."""
        merged: dict[str, Setting] = {}
        sections = self._document.of("circus")
        for section in sections:
            merged = {**section.settings, **merged}
        given, _ = self._expanded(merged)
        settings, faults = structure_settings(
            given, self._flavour, insecure_tcp=self._outside.insecure_tcp
        )
        for key, text in faults:
            owner = next(s for s in sections if key in s.settings)
            self._problem(owner, key, text)
        return settings

    def refuse_later_sections(self) -> None:
        """Plugins: refused, after the least that they must say."""
        for section in self._document.of("plugin"):
            if "use" not in section.settings:
                self._problem(section, "use", "cannot load a plugin without it: name its class")
            self._problem(section, "", later_section(section.kind))

    def _sockets(self) -> dict[str, Any]:
        """The terms of every socket without a fault, by lower-case name, as Circus has them."""
        sockets: dict[str, Any] = {}
        for section in self._document.of("socket"):
            name = section.name.lower()
            given, _ = self._expanded(section.settings)
            terms, faults = structure_socket(given, self._flavour)
            if name in sockets:
                faults.append(("", f"cannot have this name twice: rename socket {name!r}"))
            if not _SOCKET_NAME.fullmatch(name):
                text = "cannot use this name: use letters, digits, `_`, `-` and `.`"
                faults.append(("", text))
            for key, text in faults:
                self._problem(section, key, text)
            sockets[name] = terms
        return dict(sorted(sockets.items()))

    def _watcher(self, section: Section) -> WatcherSpec | None:
        given, expanded = self._expanded(section.settings)
        own_env = given.pop("env", None)
        if "name" in given:
            self._problem(section, "name", "cannot set it here: the section's title is the name")
            del given["name"]
        values, faults = structure_watcher(given, self._flavour, expanded=expanded)
        if (fault := name_problem(section.name)) is not None:
            faults.append(("", fault))
        faults += reference_faults(values, self.sockets)
        variables = self._env_of(section, own_env)
        for key, text in faults:
            self._problem(section, key, text)
        if faults:
            return None
        values["name"] = section.name
        values["sockets"] = self.sockets if values["use_sockets"] else {}
        values["env"] = self._outside.vault.seal_all(variables)
        return WatcherSpec(**values)

    def _env_of(self, section: Section, own: Any) -> dict[str, str]:
        """`[env]`, then each section that matches in the order of the file, then the watcher's."""
        merged: dict[str, str] = {}
        ordered = sorted(self._environments, key=lambda pair: pair[0].name != "")
        for env_section, values in ordered:
            if not env_section.name or _matches(section.name, env_section.name):
                merged |= values
        if own is not None:
            where = section.settings["env"]
            if isinstance(own, dict):
                settings = {key: where._replace(value=value) for key, value in own.items()}
                inner = section._replace(settings=settings, title=f"{section.title}.env")
                merged |= self._environment(inner)[1]
            else:
                self._problem(section, "env", "cannot use it as a value: write a section [env]")
        return merged

    def _environment(self, section: Section) -> tuple[Section, dict[str, str]]:
        """Its variables, with `$UPPER` replaced from the daemon's own environment."""
        values: dict[str, str] = {}
        for key, setting in section.settings.items():
            if not isinstance(setting.value, str):
                text = f"cannot use {setting.value!r}: it must be a string, in quotes"
                self._problem(section, key, text)
            elif not key or "\0" in key + setting.value or "=" in key:
                self._problem(section, key, "cannot use it: no variable can be called so")
            else:
                values[key] = self._upper(setting.value)
        return section, values

    def _upper(self, text: str) -> str:
        environ = self._outside.environ
        plain = {name.lower(): value for name, value in environ.items()}
        text = _substitute(text, plain) if "circus.env" in text.lower() else text
        return _UPPER.sub(lambda found: environ.get(found[1], ""), text) if "$" in text else text

    def _expanded(self, settings: Mapping[str, Setting]) -> tuple[dict[str, Any], frozenset[str]]:
        """The values with `$(circus.env.X)` replaced, and in which of them it was."""
        given: dict[str, Any] = {}
        changed: set[str] = set()
        for key, setting in settings.items():
            given[key] = self._expand(setting.value)
            if given[key] != setting.value:
                changed.add(key)
        return given, frozenset(changed)

    def _expand(self, value: Any) -> Any:
        if isinstance(value, str):
            return _substitute(value, self._references) if "circus" in value.lower() else value
        return [self._expand(one) for one in value] if isinstance(value, list) else value

    def _problem(self, section: Section, key: str, text: str) -> None:
        setting = section.settings.get(key)
        file, line = (setting.file, setting.line) if setting else (section.file, section.line)
        self.problems.append(Problem(file, line, section.title, key, text))


def _substitute(text: str, references: Mapping[str, str]) -> str:
    """One pass; what refers to nothing stays as it is."""
    return _REFERENCE.sub(
        lambda found: references.get((found[1] or found[2]).lower(), found[0]), text
    )


def _matches(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


def _duplicates(names: Iterable[str]) -> list[tuple[str, str]]:
    """(name, the earlier one that it repeats), letter case aside: Circus's lookup ignores it."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in names:
        if name.lower() in seen:
            found.append((name, seen[name.lower()]))
        seen.setdefault(name.lower(), name)
    return found


def _duplicate_text(earlier: str) -> str:
    return f"cannot have this name twice: watcher {earlier!r} has it (case does not count); rename"
