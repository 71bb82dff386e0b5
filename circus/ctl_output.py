"""Room: front -- replies in words: the lines that Circus's operators and scripts know.

Knows:     the fields of replies (docs/wire.md).
Known by:  circus.ctl_commands, circus.ctl_events, circus.ctl_why.
Never:     prints a control character that somebody else chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Body = Mapping[str, Any]
Show = Callable[[Body], Iterator[str]]

# What a terminal may obey instead of show: C0, DEL, C1, line and bidi controls.
HIDDEN: Final = (
    *range(0x20), *range(0x7F, 0xA0), 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F),
    *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
)  # fmt: skip
ESCAPES: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in HIDDEN}
INFO_KEYS: Final = (
    "pid", "cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime",
)  # fmt: skip


def plain(value: Any) -> str:
    """Text that shows its control characters instead of sending them to the terminal."""
    text = value if isinstance(value, str) else str(value)
    if text.isascii() and text.isprintable():
        return text
    text = text.translate(ESCAPES)
    # A lone surrogate cannot be encoded, and would end the command with a traceback.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_json(value: Any) -> str:
    """One line; bytes are hexadecimal, everything outside ASCII is escaped."""
    import json

    return json.dumps(jsonable(value), ensure_ascii=True, separators=(", ", ": "))


def jsonable(value: Any) -> Any:
    """What JSON has no word for, in the words that it has."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


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
