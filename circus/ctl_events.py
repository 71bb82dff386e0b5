"""Room: front -- `circusctl events`: the record, one line each.

Knows:     bus.subscribe, bus.record.
Known by:  circus.ctl_commands; circus.ctl_why takes the time and the errors from here.
Never:     decides what is worth showing: everything is.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click

from circus.bus.cursor_errors import CursorError
from circus.bus.follow import ReadRefused
from circus.bus.record import ENVELOPE_KEYS, Record, fields_of
from circus.bus.subscribe import subscribe
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.bus.wire import Malformed
from circus.ctl_output import as_json, plain
from circus.ctl_target import Target

NOW: Final = "now"


class CannotFollow(click.ClickException):
    """The record cannot be read from there; the text says why and what to do."""

    exit_code = 3


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
        raise click.ClickException(str(error)) from error


def _start(after: str | None, *, follow: bool) -> int | None:
    if after is None:
        return None if follow else 0
    if after == NOW:
        return None
    if not (after.isascii() and after.isdigit()):
        raise click.UsageError(f"cannot begin after {after!r}: give a number, 0 or now")
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
    """`seq  time  name  subject  key=value …`, with nothing that a terminal would obey."""
    subject = record.watcher or record.actor
    if record.slot is not None:
        subject = f"{subject}[{record.slot}]"
    words = [f"{key}={_short(value)}" for key, value in fields_of(record.body).items()]
    return (
        f"{record.seq:>8}  {clock(record.at)}  {plain(record.name):<22}  {plain(subject)}"
        f"{'  ' if words else ''}{' '.join(words)}"
    )


def clock(at: int) -> str:
    """Local wall time to the millisecond."""
    moment = datetime.fromtimestamp(at // NS_PER_SECOND, tz=UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at % NS_PER_SECOND // NS_PER_MS:03d}"


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
