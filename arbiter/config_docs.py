"""Room: arbiter -- prints docs/options.md: `python -m circus.arbiter.config_docs`.

Knows:     bus.spec, arbiter.config_settings, arbiter.config_options, arbiter.config_later.
Known by:  whoever changes an option; a test compares the page with it.
Never:     says anything that the declarations do not.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any, Final

from circus.arbiter.config_later import (
    LATER_CIRCUS,
    LATER_SECTIONS,
    LATER_WATCHER,
    WITHOUT_EFFECT_CIRCUS,
    WITHOUT_EFFECT_WATCHER,
)
from circus.arbiter.config_options import Flavour, default_of, show_option
from circus.arbiter.config_settings import SETTINGS, default_setting
from circus.bus.spec import OPTIONS, Change, Unit
from circus.bus.values import NS_PER_SECOND

COSTS: Final = {
    Change.NOTHING: "at the next occasion",
    Change.LIVE: "at once",
    Change.RELOAD: "processes are replaced",
    Change.FIXED: "not by `set`",
}
KINDS: Final = {
    "str": "text", "int": "number", "bool": "true/false", "tuple[str, ...]": "words",
    "str | None": "text", "int | str | None": "name or number", "Mapping[str, str]": "table",
}  # fmt: skip
INTRODUCTION: Final = """\
# Options

This page is printed from the declarations (`python -m circus.arbiter.config_docs`); edit those.

There are two formats, chosen by the file's suffix: TOML (`*.toml`), the native one, and Circus's
own (`*.ini`, `*.conf`). They have the same options. The defaults differ in a few: an ini file and a
program that calls `get_arbiter` get what Circus gives, TOML what a new user expects. Durations are
seconds, with fractions. The last column tells what a change of a running watcher costs.

`circusd --check CONFIG` says everything that is wrong with a file, each with file, line and option.
"""
ENVIRONMENT: Final = """\
## Environment variables

`[env]` is for all watchers; `[env.PATTERN]` (ini `[env:A,B*]`) for those whose names match, later
ones win; in TOML `[watcher.NAME.env]` is for one watcher and wins over both. In their values
`$UPPER_CASE` stands for a variable of the daemon, empty if it is not set. `$(circus.env.NAME)`
stands for a variable anywhere in the file; what refers to nothing is left as it is. Values are kept
in the vault (mode 0600) and never in the ledger; a value that is put into another option by
reference is part of that option."""


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            *_watcher_options(), "",
            *_circus_options(), "",
            *_sections(), "",
            *_others(),
        ]
    ) + "\n"  # fmt: skip


def _watcher_options() -> Iterator[str]:
    yield "## `[watcher.NAME]`, in ini `[watcher:NAME]`\n"
    yield "| option | kind | ini and library | TOML | meaning | a change takes effect |"
    yield "|---|---|---|---|---|---|"
    for name, declared in OPTIONS.items():
        if name == "name":
            continue
        columns = (
            f"`{name}`",
            _kind(declared.metadata["unit"], str(declared.type)),
            _shown(name, "ini"),
            _shown(name, "toml"),
            declared.metadata["help"],
            COSTS[declared.metadata["change"]],
        )
        yield f"| {' | '.join(columns)} |"


def _circus_options() -> Iterator[str]:
    yield "## `[circus]`\n"
    yield "| option | ini and library | TOML | meaning |"
    yield "|---|---|---|---|"
    for name, declared in SETTINGS.items():
        seconds = declared.metadata["kind"] == "seconds"
        defaults = [default_setting(name, flavour) for flavour in ("ini", "toml")]
        ini, toml = (_value(d // NS_PER_SECOND if seconds else d) for d in defaults)
        yield f"| `{name}` | {ini} | {toml} | {declared.metadata['help']} |"
    yield "| `include` |  |  | files or patterns to read too, relative to this file |"
    yield "| `include_dir` |  |  | directories whose `*.toml` or `*.ini` files to read too |"


def _sections() -> Iterator[str]:
    yield ENVIRONMENT


def _others() -> Iterator[str]:
    yield "## Not in this version\n"
    yield "Circus's sections for sockets and plugins (ini `[socket:NAME]`, `[plugin:NAME]`, TOML"
    yield "`[socket.NAME]`, `[plugin.NAME]`) are refused after their types have been checked, with"
    yield "file, line and section:\n"
    for kind, remedy in LATER_SECTIONS.items():
        yield f"* `[{kind}:…]`: {remedy}"
    yield "\nRefused with file, line, section and option, unless they are switched off:\n"
    yield f"* of a watcher: {_listed(LATER_WATCHER)}"
    yield f"* of `[circus]`: {_listed(LATER_CIRCUS)}\n"
    yield "Accepted and without effect:\n"
    yield f"* of a watcher: {_listed(WITHOUT_EFFECT_WATCHER)}"
    yield f"* of `[circus]`: {_listed(WITHOUT_EFFECT_CIRCUS)}"


def _kind(unit: Unit, declared: str) -> str:
    units = {Unit.SECONDS: "seconds", Unit.SIGNAL: "signal"}
    return units.get(unit) or KINDS[declared]


def _shown(name: str, flavour: Flavour) -> str:
    default = default_of(name, flavour)
    if OPTIONS[name].metadata["unit"] is Unit.SIGNAL:
        return f"`{signal.Signals(default).name}`"
    return _value(show_option(name, default))


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(page())
