"""Room: front -- `circusctl events`: the record, one line each.

Knows:     bus.subscribe, bus.record, bus.spec (which options are durations, and the defaults).
Known by:  circus.ctl_commands; circus.ctl_why takes the time and the errors from here.
Never:     leaves a record out: a line may be short, the list is whole.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from circus.bus.cursor_errors import CursorError
from circus.bus.follow import ReadRefused
from circus.bus.record import ENVELOPE_KEYS, Record, fields_of
from circus.bus.spec import OPTIONS, Unit
from circus.bus.subscribe import subscribe
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.bus.wire import Malformed
from circus.ctl_output import as_json, plain
from circus.ctl_target import EXIT_REFUSED, CannotTell, Target
from circus.ctl_values import BadValue

NOW: Final = "now"
# Bookkeeping that a person rarely asks for; it is in the record and in --json.
UNTOLD: Final = frozenset(
    {"boot_id", "digest", "inode", "observed", "seed", "settings", "started", "wall"}
)
DURATIONS: Final = frozenset(
    {"delay", "duration", "grace"}
    | {name for name, option in OPTIONS.items() if option.metadata["unit"] is Unit.SECONDS}
)
NAMES_OF_SIGNALS: Final = {one.value: one.name for one in signal.Signals}
NAMES: Final = {"rusage": "cpu"}  # of which only the time is told
SIGNALS: Final = frozenset({"signal", "signum", "stop_signal"})


class CannotFollow(CannotTell):
    """The record cannot be read from there; the text says why and what to do."""

    exit_code = EXIT_REFUSED


def show_events(target: Target, *, after: str | None, watcher: str | None, follow: bool) -> int:
    """Print until the end: the head that there was, or, with `follow`, Ctrl-C."""
    start = _start(after, follow=follow)
    line = json_line if target.json else human_line
    write = sys.stdout.write
    with reading(target, start, watcher, follow=follow) as records:
        for record in records:
            write(line(record) + "\n")
            if follow:
                sys.stdout.flush()
    return 0


@contextmanager
def reading(
    target: Target, after: int | None, watcher: str | None = None, *, follow: bool = False
) -> Generator[Iterable[Record]]:
    """The records, with what may go wrong said to an operator."""
    with reading_errors(), subscribe(target.place, after, watcher, follow=follow) as records:
        yield records


@contextmanager
def reading_errors() -> Generator[None]:
    """What may go wrong with the record, said to an operator."""
    try:
        yield
    except CursorError as error:
        raise CannotFollow(str(error)) from error
    except FileNotFoundError as error:
        raise CannotFollow(str(error)) from error
    except ReadRefused as error:
        raise CannotFollow(f"cannot read the record: {error}") from error
    except Malformed as error:
        raise CannotTell(str(error)) from error


def _start(after: str | None, *, follow: bool) -> int | None:
    if after is None:
        return None if follow else 0
    if after == NOW:
        return None
    if not (after.isascii() and after.isdigit()):
        raise BadValue(f"cannot begin after {after!r}: give a number, 0 or now")
    return int(after)


def json_line(record: Record) -> str:
    """One object with the envelope's field names, absent where there is nothing."""
    return as_json(record_data(record))


def record_data(record: Record) -> dict[str, Any]:
    """The record as the map that the ledger has."""
    whole: dict[str, Any] = {}
    for key in ENVELOPE_KEYS:
        value = fields_of(record.body) if key == "data" else getattr(record, key)
        if value is not None:
            whole[key] = value
    return whole


def human_line(record: Record) -> str:
    """`seq  time  name  subject  key=value …`, with nothing that a terminal would obey.

    A line for people: what says nothing (none, false, an option at its default, a digest) is left
    out. `--json` has every field.
    """
    subject = record.watcher or record.actor
    if record.slot is not None:
        subject = f"{subject}[{record.slot}]"
    fields = fields_of(record.body)
    if "signum" in fields:
        fields = {key: value for key, value in fields.items() if key != "signal"}  # its seq
    words = [
        f"{NAMES.get(key, key)}={_word(key, value)}"
        for key, value in fields.items()
        if _says(key, value)
    ]
    return (
        f"{record.seq:>8}  {clock(record.at)}  {plain(record.name):<22}  {plain(subject)}"
        f"{'  ' if words else ''}{' '.join(words)}"
    )


def clock(at: int) -> str:
    """Local wall time to the millisecond."""
    moment = datetime.fromtimestamp(at // NS_PER_SECOND, tz=UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at % NS_PER_SECOND // NS_PER_MS:03d}"


def _says(key: str, value: Any) -> bool:
    if key in UNTOLD or value is None or value is False or (key == "errno" and value == 0):
        return False
    return not isinstance(value, list | tuple | Mapping | str) or len(value) > 0


def _word(key: str, value: Any) -> str:
    if key in DURATIONS and isinstance(value, int):
        return duration(value)
    if key in SIGNALS and isinstance(value, int):
        return NAMES_OF_SIGNALS.get(value, str(value))
    if key == "errno":
        return errno.errorcode.get(value, str(value))
    if key == "rusage":
        return duration(value.get("utime", 0) + value.get("stime", 0))
    if key == "spec":
        return _spec(value)
    if key == "watchers":
        return f"[{' '.join(map(_spec, value))}]"
    if key in {"options", "changed"} and isinstance(value, Mapping):
        return _short({name: _word(name, one) for name, one in value.items()})
    return _short(value)


def _spec(spec: Any) -> str:
    """The options that are neither Circus's default nor the native format's."""
    if not isinstance(spec, Mapping):
        return _short(spec)
    told = (
        f"{plain(name)}={_word(name, value)}"
        for name, value in spec.items()
        if name not in OPTIONS or value not in _defaults(name)
    )
    return "{" + " ".join(told) + "}"


def _defaults(name: str) -> tuple[Any, ...]:
    declared = OPTIONS[name]
    return (None, [], {}, declared.default, declared.metadata["toml"])


def duration(ns: int) -> str:
    """`30s`, `1.5s`, `250ms`: as an operator writes it."""
    if 0 < ns < NS_PER_SECOND:
        return f"{ns / NS_PER_MS:.3g}ms"
    return f"{ns / NS_PER_SECOND:.3f}".rstrip("0").rstrip(".") + "s"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{plain(k)}={_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_short(one) for one in value) + "]"
    text = bytes(value).hex() if isinstance(value, bytes) else plain(value)
    return f'"{text}"' if " " in text else text


__all__ = [
    "clock", "human_line", "json_line", "reading", "reading_errors", "record_data", "show_events",
]  # fmt: skip
