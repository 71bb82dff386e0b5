"""Room: replay -- `why`: who asked, or what the world did; the answer of `circusctl why`.

Knows:     bus.words.causes (the answer), replay.opening, replay.ask.show (what concerns whom).
Known by:  replay.command; circus.replay gives `why` to programs.
Never:     needs the daemon; looks behind the point that it is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from circus.bus.record import Record
from circus.bus.words import causes
from circus.bus.words.causes import Answer
from circus.replay.ask.commandline import AS_JSON, EXIT_UNKNOWN, LEDGER, POINT, finish
from circus.replay.ask.show import Wanted, show
from circus.replay.moments import Point, seq_at
from circus.replay.opening import Opened
from circus.replay.progress import Progress


class Files:
    """A ledger's files, up to one record."""

    def __init__(self, opened: Opened, until: int | None = None) -> None:
        self._opened = opened
        self._until = until

    def containing(self, needle: bytes) -> Iterator[Record]:
        """The records of every decision that has these bytes."""
        frames = self._opened.frames(0, self._until)
        for frame in Progress("why").over(frames, self._opened):
            if needle in frame.payload:
                yield from filter(self._is_known, self._opened.understood(frame))

    def of_watcher(self, name: str) -> Iterator[Record]:
        """All that concerns this watcher."""
        found = show(self._opened, Wanted(watcher=name, until_seq=self._until))
        return Progress("why").over(found, self._opened)

    def at(self, seq: int) -> Record | None:
        """The record with this number."""
        if self._until is not None and seq > self._until:
            return None
        return next(iter(self._opened.records(seq - 1, seq)), None)

    def _is_known(self, record: Record) -> bool:
        return self._until is None or record.seq <= self._until


def why(opened: Opened, subject: str, point: Point | None = None) -> Answer:
    """The causes of a process (`501`), a record (`#77`) or a watcher, as of `point` or the end.

    `circus.bus.words.causes.Unknown`: it is not on record.
    """
    return causes.why(Files(opened, None if point is None else seq_at(opened, point)), subject)


@click.command("why")
@LEDGER
@click.argument("subject", metavar="PID|WATCHER|#SEQ")
@click.option("--at", "point", type=POINT, help="As of this record, or time; else of the end.")
@AS_JSON
def why_command(*, ledger: Opened, subject: str, point: Point | None, as_json: bool) -> None:
    """Why something happened, or why a process or watcher is not running; and who asked for it."""
    try:
        answer = why(ledger, subject, point)
    except causes.Unknown as error:
        click.echo(str(error), err=True)
        finish(ledger, EXIT_UNKNOWN)
    click.echo(answer.as_json() if as_json else answer.told())
    finish(ledger)


__all__ = ["Answer", "why"]
