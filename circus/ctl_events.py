"""Room: front -- `circusctl events`: the record, one line each.

Knows:     bus.subscribe, bus.words.lines (a record as a line).
Known by:  circus.ctl_commands; circus.ctl_why takes the errors from here.
Never:     leaves a record out: a line may be short, the list is whole.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from circus.bus.cursor_errors import CursorError
from circus.bus.follow import ReadRefused
from circus.bus.record import Record
from circus.bus.subscribe import subscribe
from circus.bus.wire import Malformed
from circus.bus.words.lines import human_line, json_line
from circus.ctl_target import EXIT_REFUSED, CannotTell, Target
from circus.ctl_values import BadValue

NOW: Final = "now"


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


__all__ = ["reading", "reading_errors", "show_events"]
