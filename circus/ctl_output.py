"""Room: front -- replies in words: the lines that Circus's operators and scripts know.

Knows:     the fields of replies (docs/wire.md), bus.words.plain.
Known by:  circus.ctl_commands.
Never:     prints what somebody else chose as it is: `plain` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from circus.bus.words.plain import plain

Body = Mapping[str, Any]
Show = Callable[[Body], Iterator[str]]

INFO_KEYS: Final = (
    "pid", "cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime",
)  # fmt: skip


def ok(body: Body) -> Iterator[str]:
    """For everything that has nothing else to tell."""
    yield "ok"


def status(body: Body) -> Iterator[str]:
    """`name: state` lines, or the state of the one that was asked for; a failed one says why."""
    if "statuses" not in body:
        yield _with_reason(plain(body["status"]), body.get("reason"))
        return
    reasons = body.get("reasons", {})
    for name, state in sorted(body["statuses"].items()):
        yield _with_reason(f"{plain(name)}: {plain(state)}", reasons.get(name))


def _with_reason(line: str, reason: Any) -> str:
    return f"{line} ({plain(reason)})" if reason else line


def listing(body: Body) -> Iterator[str]:
    """Watchers, or the pids of one of them, on one line."""
    found = body["pids"] if "pids" in body else body.get("watchers", ())
    yield ",".join(plain(one) for one in found)


def count(body: Body) -> Iterator[str]:
    """The number that a counting command is about."""
    key = "numwatchers" if "numwatchers" in body else "numprocesses"
    yield str(body[key])


def resized(body: Body) -> Iterator[str]:
    """The new number where it is known already."""
    if body.get("singleton"):
        yield "this watcher is a singleton: it keeps one process"
    else:
        yield str(body["numprocesses"]) if "numprocesses" in body else "ok"


def options(body: Body) -> Iterator[str]:
    """`key: value` lines."""
    for key, value in body["options"].items():
        yield f"{plain(key)}: {plain(value)}"


def stats(body: Body) -> Iterator[str]:
    """One line per process; watchers have a line of their own where all were asked for."""
    if "infos" in body:
        for name, processes in sorted(body["infos"].items()):
            yield f"{plain(name)}:"
            yield from _process_lines(processes)
    elif "process" in body:
        yield from _process_lines({body["process"]: body["info"]})
    else:
        yield from _process_lines(body["info"])


def daemon_stats(body: Body) -> Iterator[str]:
    """The daemon itself."""
    yield "Main Process:"
    info = body["info"]
    yield f"    {_process_line(info)}" if isinstance(info, Mapping) else f"    {plain(info)}"


def _process_lines(processes: Any) -> Iterator[str]:
    if not isinstance(processes, Mapping):
        yield plain(processes)
        return
    for pid, info in processes.items():
        line = _process_line(info) if isinstance(info, Mapping) else plain(info)
        yield f"{pid}: {line}"
        children = info.get("children", ()) if isinstance(info, Mapping) else ()
        for child in children:
            yield f"   {_process_line(child)}" if isinstance(child, Mapping) else f"   {child}"


def _process_line(info: Body) -> str:
    return " ".join(plain(info.get(key, "N/A")) for key in INFO_KEYS)
