"""Room: replay -- `index` and `query`: the record as a table of SQLite, made anew at any time.

Knows:     sqlite3, replay.opening, bus.words.plain (bodies as JSON).
Known by:  replay.command; circus.replay gives `index` and `query` to programs.
Never:     is the truth: deleting the file is always safe; lets a query write.

One table, `events`: a row for each record, its body as JSON. The file remembers of which ledger it
is and how far it goes, with the chain there: another history, or another ledger, begins it anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from circus.bus.record import Record, fields_of
from circus.bus.segments import Frame
from circus.bus.words.lines import clock
from circus.bus.words.plain import as_json as json_of
from circus.bus.words.plain import plain
from circus.replay.ask.commandline import AS_JSON, EXIT_USAGE, LEDGER, finish
from circus.replay.opening import Opened
from circus.replay.progress import Progress

FILE: Final = "events.sqlite"
SHAPE: Final = 1  # counted up when the tables change; an older file is made anew
FRAMES_PER_COMMIT: Final = 20_000
SIGNED_MAX: Final = 2**63 - 1
TABLES: Final = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, cause INTEGER, kind TEXT, name TEXT, actor TEXT, addressee TEXT,
    watcher TEXT, slot INTEGER, spawn_id INTEGER, pid INTEGER, at INTEGER, boot INTEGER,
    incarnation INTEGER, time TEXT, data TEXT);
CREATE INDEX events_by_name ON events (name, seq);
CREATE INDEX events_by_watcher ON events (watcher, seq);
CREATE INDEX events_by_pid ON events (pid, seq) WHERE pid IS NOT NULL;
CREATE TABLE source (shape INTEGER, log_id TEXT, seq INTEGER, chain TEXT);
"""
ROW: Final = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class CannotQuery(Exception):
    """SQLite's reason, and what to do about it."""


class Answer(NamedTuple):
    """Of one query."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def index(opened: Opened, path: Path) -> int:
    """Build the tables, or go on where they end; how many records are new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _connected(path) as connection:
            return _fill(connection, opened)
    except sqlite3.DatabaseError as error:
        raise CannotQuery(
            f"cannot use {path}: {error}; delete it, it is made from the ledger"
        ) from error


def query(path: Path, text: str) -> Answer:
    """What SQLite answers to one SELECT; nothing can be written."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        cursor = connection.execute(text)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise CannotQuery(f"cannot answer: {error}; the columns are those of `events`") from error
    return Answer(tuple(one[0] for one in cursor.description or ()), cursor)


def place_of(opened: Opened) -> Path:
    """Where the index of a ledger is if nobody says otherwise: in the user's cache."""
    cache = Path.home() / ".cache" / "circus"
    return cache / f"{opened.log_id.hex() or 'unknown'}-{FILE}"


def _connected(path: Path) -> sqlite3.Connection:
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # as secret as the ledger
    os.close(made)
    return sqlite3.connect(path)


def _fill(connection: sqlite3.Connection, opened: Opened) -> int:
    connection.execute("PRAGMA synchronous = OFF")  # It can be made again.
    begun = _begun_at(connection, opened)
    rows: list[tuple[Any, ...]] = []
    last: Frame | None = None
    count = 0
    frames = opened.frames(begun)
    for number, last in enumerate(Progress("index").over(frames, opened), 1):
        rows += [_row(record) for record in opened.understood(last) if record.seq > begun]
        if number % FRAMES_PER_COMMIT == 0:
            count += _write(connection, rows, opened, last)
            rows.clear()
    if last is not None:
        count += _write(connection, rows, opened, last)
    return count


def _begun_at(connection: sqlite3.Connection, opened: Opened) -> int:
    """How far it is filled; 0, and empty, if that is not the beginning of this very ledger."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if ("source",) in tables:
        source = connection.execute("SELECT shape, log_id, seq, chain FROM source").fetchone()
        if source is not None and source[:2] == (SHAPE, opened.log_id.hex()):
            seq = int(source[2])
            frame = next(iter(opened.frames(seq - 1, seq)), None)
            if frame is not None and (frame.last_seq, frame.chain.hex()) == (seq, source[3]):
                return seq
    for (name,) in tables:
        connection.execute(f'DROP TABLE "{name}"')
    connection.executescript(TABLES)
    return 0


def _write(
    connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], opened: Opened, last: Frame
) -> int:
    with connection:
        connection.executemany(ROW, rows)
        connection.execute("DELETE FROM source")
        source = (SHAPE, opened.log_id.hex(), last.last_seq, last.chain.hex())
        connection.execute("INSERT INTO source VALUES (?, ?, ?, ?)", source)
    return len(rows)


def _row(record: Record) -> tuple[Any, ...]:
    data = fields_of(record.body)
    pid = data.get("pid")
    return (
        record.seq, record.cause, record.kind, record.name, record.actor, record.to,
        record.watcher, record.slot, record.spawn_id,
        pid if isinstance(pid, int) and abs(pid) <= SIGNED_MAX else None,
        record.at, record.boot, record.incarnation, clock(record.at), json_of(data),
    )  # fmt: skip


# --- the command lines ----------------------------------------------------------------------------

OUTPUT: Final = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The SQLite file; else one in ~/.cache/circus named after the ledger.",
)  # fmt: skip


@click.command("index")
@LEDGER
@OUTPUT
@AS_JSON
def index_command(*, ledger: Opened, output: Path | None, as_json: bool) -> None:
    """Build or update the SQLite tables that `query` asks. Deleting the file is always safe."""
    path = output or place_of(ledger)
    count = _indexed(ledger, path)
    if as_json:
        click.echo(json_of({"file": str(path), "new": count}))
    else:
        click.echo(f"{path}: {count} records are new")
    finish(ledger)


@click.command("query")
@LEDGER
@click.argument("select")
@OUTPUT
@AS_JSON
def query_command(*, ledger: Opened, select: str, output: Path | None, as_json: bool) -> None:
    """Ask with SQL: table `events`, a row for each record, `data` its body as JSON.

    The index is brought up to date before.
    """
    path = output or place_of(ledger)
    _indexed(ledger, path)
    try:
        answer = query(path, select)
        for line in _lines(answer, as_json=as_json):
            click.echo(line)
    except (CannotQuery, sqlite3.Error) as error:
        click.echo(f"{error}", err=True)
        finish(ledger, EXIT_USAGE)
    finish(ledger)


def _indexed(ledger: Opened, path: Path) -> int:
    try:
        return index(ledger, path)
    except (CannotQuery, OSError) as error:
        raise click.UsageError(f"cannot make an index in {path}: {error}") from error


def _lines(answer: Answer, *, as_json: bool) -> Iterator[str]:
    if not as_json:
        yield "\t".join(map(plain, answer.columns))
    for row in answer.rows:
        if as_json:
            yield json_of(dict(zip(answer.columns, row, strict=True)))
        else:
            yield "\t".join("" if value is None else plain(value) for value in row)


__all__ = ["Answer", "CannotQuery", "index", "query"]
