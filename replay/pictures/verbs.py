"""Room: replay -- `circus-replay timeline` and `stats`: pictures of a ledger.

Knows:     click, replay.ask.commandline, the pictures beside it.
Known by:  replay.command, by the names of its verbs.
Never:     writes into the ledger; leaves half a file where a whole one was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Final

import click

from circus.bus.record import Record
from circus.replay.ask.commandline import LEDGER, SINCE, UNTIL, finish, troubles_of
from circus.replay.opening import Opened
from circus.replay.pictures.perfetto import trace
from circus.replay.pictures.stats import Stats, stats
from circus.replay.pictures.stats_shown import as_csv, as_json, terminal
from circus.replay.pictures.stats_svg import as_svg
from circus.replay.pictures.timeline import TooMany, draw
from circus.replay.progress import Progress

FILE: Final = click.Path(dir_okay=False, path_type=Path)
WIDTH_MAX: Final = 120
WATCHERS: Final = click.option(
    "--watcher", "watchers", metavar="NAME", multiple=True, help="Only this one; several: these."
)


@click.command("timeline")
@LEDGER
@click.option("-o", "--output", type=FILE, help="The page to write.")
@click.option("--perfetto", type=FILE, help="A trace to write, for Perfetto's viewer.")
@SINCE
@UNTIL
@WATCHERS
def timeline_command(
    ledger: Opened, *, output: Path | None, perfetto: Path | None, until: int | None, **part: Any
) -> None:
    """Draw the lives of all processes: one page for a browser, which needs no network."""
    if output is None and perfetto is None:
        raise click.UsageError("cannot draw: say where to, with -o page.html or --perfetto t.json")
    try:
        if output is not None:
            page = draw(_up_to(until, ledger, "timeline"), **part).page(_title(ledger))
            _write(output, page)
        if perfetto is not None:
            _write(perfetto, json.dumps(trace(_up_to(until, ledger, "timeline"), **part)))
    except TooMany as error:
        raise click.UsageError(str(error)) from error
    finish(ledger)


@click.command("stats")
@LEDGER
@SINCE
@UNTIL
@WATCHERS
@click.option("--csv", "form", flag_value="csv", help="A table: one line for each watcher.")
@click.option("--svg", "form", flag_value="svg", help="A picture to put on a page.")
@click.option("--json", "form", flag_value="json", help="For programs; durations in nanoseconds.")
def stats_command(ledger: Opened, *, until: int | None, form: str | None, **part: Any) -> None:
    """Restarts, causes of exits, uptimes, times to ready, availability: by watcher."""
    figures = stats(_up_to(until, ledger, "stats"), **part)
    if form == "csv":
        click.echo(as_csv(figures), nl=False)
    elif form == "svg":
        click.echo(as_svg(figures), nl=False)
    elif form == "json":
        click.echo(json.dumps({**as_json(figures), "troubles": troubles_of(ledger)}))
    else:
        _show(figures)
    finish(ledger)


def _show(figures: Stats) -> None:
    """In colour on a terminal that has some; each line says the same without."""
    for pieces in terminal(figures, min(WIDTH_MAX, get_terminal_size().columns)):
        click.echo("".join(click.style(text, colour) for text, colour in pieces).rstrip())


def _up_to(until: int | None, ledger: Opened, verb: str) -> Iterator[Record]:
    """The records up to a time, with a bar while they are read."""
    for record in Progress(verb).over(ledger.records(), ledger):
        if until is not None and record.at > until:
            return
        yield record


def _title(ledger: Opened) -> str:
    return f"{ledger.directory} ({ledger.log_id.hex()})"


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a page that is looked at just now is replaced by a rename."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error
