"""Room: replay -- `show`: the records that are wanted, one line each.

Knows:     replay.opening, replay.moments, bus.words.lines (the lines of `circusctl events`).
Known by:  replay.command; circus.replay gives `show` and `Wanted` to programs.
Never:     decodes a frame whose bytes already say that nothing wanted is in it.
"""

from __future__ import annotations

import re
import select
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import click

from circus.bus.codec import pack
from circus.bus.cursor_errors import CursorError, Damaged, Trimmed
from circus.bus.reader import LedgerReader
from circus.bus.record import Record
from circus.bus.segments import Frame
from circus.bus.shapes import frozen
from circus.bus.values import watcher_of
from circus.bus.words.lines import human_line, json_line
from circus.replay.ask.commandline import AS_JSON, LEDGER, SINCE, UNTIL, finish
from circus.replay.moments import at_of, begin_of
from circus.replay.opening import Opened, Trouble
from circus.replay.progress import Progress

LOOK_EVERY_MS: Final = 200
RANGE: Final = re.compile(r"(\d*)(\.\.)?(\d*)")
WILD: Final = re.compile(r"[*?\[]")


@frozen
class Wanted:
    """Which records: those that fit everything that is given.

    `watcher`: said by it, to it or about it, in any case. `pid`: about that process, from its
    start on; `spawn_id`: about that life. `names`: any of these, `*` allowed. `after` and
    `until_seq` are numbers, `since` and `until` wall ns.
    """

    watcher: str | None = None
    pid: int | None = None
    spawn_id: int | None = None
    names: tuple[str, ...] = ()
    cause: int | None = None
    since: int | None = None
    until: int | None = None
    after: int = 0
    until_seq: int | None = None


def show(opened: Opened, wanted: Wanted) -> Iterator[Record]:
    """Every wanted record, in order. What cannot be read is in `opened.troubles` then."""
    sieve = Sieve(wanted)
    for frame in opened.frames(_begin(opened, wanted), wanted.until_seq):
        yield from sieve.of(opened, frame)


def follow(
    opened: Opened, wanted: Wanted, wait: Callable[[], object] | None = None
) -> Iterator[Record]:
    """The same, and then what is written from now on; `wait` passes the time between two looks."""
    wait = _a_moment if wait is None else wait
    sieve, last = Sieve(wanted), _begin(opened, wanted)
    for frame in opened.frames(last):
        yield from sieve.of(opened, frame)
        last = frame.last_seq
    reader = LedgerReader(opened.directory, last, disk=opened.disk)
    while True:
        try:
            for frame in reader.frames():
                yield from sieve.of(opened, frame)
        except Trimmed as gone:
            opened.note(Trouble("", 0, last + 1, gone.first_seq - 1, str(gone)))
            reader = LedgerReader(opened.directory, gone.first_seq - 1, disk=opened.disk)
        except Damaged as hole:
            opened.note(
                Trouble(hole.segment, hole.offset, hole.lost_from, hole.lost_to, "no frame")
            )
        wait()


class Sieve:
    """From a frame to the wanted records in it; most frames are told apart by their bytes."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._watcher = (wanted.watcher or "").casefold()
        self._lives: set[int] = set()  # spawn_ids that had the wanted pid
        self._needles = list(_needles(wanted))
        self._folded = self._watcher.encode() if self._watcher.isascii() else b""
        self._pid = b"" if wanted.pid is None else pack("pid") + pack(wanted.pid)
        self._of_lives: list[bytes] = []

    def of(self, opened: Opened, frame: Frame) -> list[Record]:
        """Those of one frame."""
        payload = frame.payload
        for needle in self._needles:
            if needle not in payload:
                return []
        if self._folded and self._folded not in payload.lower():
            return []
        if self._pid and self._pid not in payload and not self._is_of_a_life(payload):
            return []
        if not self._is_timely(at_of(frame)):
            return []
        return [record for record in opened.understood(frame) if self._fits(record)]

    def _is_timely(self, at: int | None) -> bool:
        since, until = self._wanted.since, self._wanted.until
        return at is None or ((since is None or at >= since) and (until is None or at <= until))

    def _is_of_a_life(self, payload: bytes) -> bool:
        return any(needle in payload for needle in self._of_lives)

    def _fits(self, record: Record) -> bool:
        wanted = self._wanted
        names = wanted.names
        return (
            record.seq > wanted.after
            and (wanted.until_seq is None or record.seq <= wanted.until_seq)
            and self._is_timely(record.at)
            and (wanted.cause is None or record.cause == wanted.cause)
            and (wanted.spawn_id is None or record.spawn_id == wanted.spawn_id)
            and (not names or any(fnmatchcase(record.name, name) for name in names))
            and (not self._watcher or self._watcher in _concerned(record))
            and (wanted.pid is None or self._has_pid(record, wanted.pid))
        )

    def _has_pid(self, record: Record, pid: int) -> bool:
        """Of the process that has it now: a kernel gives the same number again."""
        named = getattr(record.body, "pid", None)
        if record.name == "process.spawned" and record.spawn_id is not None:
            self._lives.discard(record.spawn_id)
            if named == pid:
                self._lives = {record.spawn_id}
                self._of_lives = [pack("spawn_id") + pack(record.spawn_id)]
        return named == pid or record.spawn_id in self._lives


def _needles(wanted: Wanted) -> Iterator[bytes]:
    """Bytes without which a frame has nothing that is wanted."""
    if wanted.cause is not None:
        yield pack("cause") + pack(wanted.cause)
    if wanted.spawn_id is not None:
        yield pack("spawn_id") + pack(wanted.spawn_id)
    if len(wanted.names) == 1:
        yield (WILD.split(wanted.names[0])[0]).encode()


def _concerned(record: Record) -> tuple[str, ...]:
    names = (record.watcher or "", watcher_of(record.actor), watcher_of(record.to or ""))
    return tuple(name.casefold() for name in names if name)


def _begin(opened: Opened, wanted: Wanted) -> int:
    since = 0 if wanted.since is None else begin_of(opened, wanted.since)
    return max(wanted.after, since)


def _a_moment() -> None:
    select.poll().poll(LOOK_EVERY_MS)


# --- the command line -----------------------------------------------------------------------------


def _range(
    ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[int, int | None]:
    """`7`, `100..200`, `100..` or `..200` as (after, until)."""
    if value is None:
        return 0, None
    found = RANGE.fullmatch(value)
    if found is None or not (found[1] or found[3]):
        text = f"cannot read {value!r} as numbers: give 7, 100..200, 100.. or ..200"
        raise click.UsageError(text, ctx)
    first = max(0, int(found[1] or 1) - 1)
    return first, int(found[3]) if found[3] else None if found[2] else int(found[1])


@click.command("show")
@LEDGER
@click.option("--watcher", metavar="NAME", help="Said by it, to it or about it.")
@click.option("--pid", type=int, help="About the process that has this pid, from its start on.")
@click.option("--spawn-id", type=int, help="About this life.")
@click.option("--name", "names", multiple=True, help="process.exited, process.*; several: any.")
@click.option("--cause", type=int, metavar="SEQ", help="What this record led to.")
@click.option("--seq", callback=_range, metavar="A..B", help="7, 100..200, 100.. or ..200.")
@SINCE
@UNTIL
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on with what is written.")
@AS_JSON
def show_command(
    ledger: Opened, seq: tuple[int, int | None], *, follows: bool, as_json: bool, **given: Any
) -> None:
    """The records, one line each, as `circusctl events` shows them."""
    after, until_seq = seq
    wanted = Wanted(after=after, until_seq=until_seq, **given)
    line = json_line if as_json else human_line
    found = follow(ledger, wanted) if follows else show(ledger, wanted)
    progress = Progress("show")
    progress.wanted = progress.wanted and not follows and not sys.stdout.isatty()
    try:
        for record in progress.over(found, ledger):
            sys.stdout.write(line(record) + "\n")
            if follows:
                sys.stdout.flush()
    except KeyboardInterrupt:
        finish(ledger)
    except CursorError as error:
        raise click.UsageError(str(error)) from error
    finish(ledger)


__all__ = ["Sieve", "Wanted", "follow", "show"]
