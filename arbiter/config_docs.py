"""Room: arbiter -- prints docs/options.md: `python -m circus.arbiter.config_docs`.

Knows:     bus.spec, arbiter.config_settings, arbiter.config_options, arbiter.config_later.
Known by:  whoever changes an option; a test compares the page with it.
Never:     says anything that the declarations do not.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
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
from circus.arbiter.config_sockets import TERMS
from circus.bus.spec import DERIVED, OPTIONS, Change, Unit
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
    "Mapping[str, Any]": "stream",
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

STREAMS: Final = """
## Captured output

Without a stream a worker writes to circusd's own standard output and error. With one, what it
writes goes through a pipe that the keeper holds to the scribe, a process that does nothing else.

| option | meaning |
|---|---|
| `stdout_stream.class` | `FileStream` or `StdoutStream` (circusd's standard output) |
| `stdout_stream.filename` | of a FileStream: appended to; `$(circus.wid)` is the slot |
| `stdout_stream.max_bytes`, `stdout_stream.backup_count` | both given: between two lines, before \
the file is larger, it becomes `.1`, `.1` becomes `.2` and so on |
| `stdout_stream.time_format` | in front of each line: the time (as strftime has it) and the pid, \
`12:00:01 [4711] \\| ` |

The same for `stderr_stream`. A file is made with mode 0640 and, for a watcher with `uid`, with the
rights of that user; a symbolic link is not followed; one that was moved away is made anew. Circus's
other classes are refused by name.
"""
MEANINGS: Final[Mapping[str, str]] = {
    "family": "`AF_INET`, `AF_INET6` or `AF_UNIX`; follows from `path` and from `host`",
    "type": "`SOCK_STREAM`, `SOCK_DGRAM`, or `SOCK_SEQPACKET` with a path",
    "host": "an address in numbers, `localhost`, or `*` for all; names are not looked up",
    "port": "0: the kernel chooses one",
    "path": "of an AF_UNIX socket; one that nobody serves any more is replaced",
    "backlog": "how many connections may wait for a worker",
    "umask": "octal, for the file of `path`; without it only the same user may connect",
    "replace": "replace the file of `path` even if somebody serves it",
    "so_reuseport": "every worker binds a socket of its own to the same port",
    "blocking": "whether a worker that accepts waits",
}
SOCKETS: Final = """
The keeper binds it once and holds it; workers, cores and upgrades come and go, and who connects
meanwhile waits in the backlog. A worker of a watcher with `use_sockets = true` finds the sockets of
all sections as its descriptors 3, 4, … in the order of their names; `$(circus.sockets.NAME)` in
`cmd`, `args` and `shell_args` is that number. A changed `backlog` or `blocking` is applied to the
socket that is there. For another address the new socket is bound first, then the workers are
reloaded; if that fails, the old one stays. Names are lower case, as in Circus. `proto` and
`interface` are refused.
"""


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
        if name == "name" or name in DERIVED:
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
    yield STREAMS
    yield "## `[socket.NAME]`, in ini `[socket:NAME]`\n"
    yield "| option | default | meaning |"
    yield "|---|---|---|"
    for name, default in TERMS.items():
        yield f"| `{name}` | {_value(default)} | {MEANINGS[name]} |"
    yield SOCKETS


def _others() -> Iterator[str]:
    yield "## Not in this version\n"
    yield "Circus's sections for plugins (ini `[plugin:NAME]`, TOML `[plugin.NAME]`) are refused"
    yield "with file, line and section:\n"
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
