"""Room: replay -- what the command lines of all verbs share: LEDGER, --json, times, the end.

Knows:     click, replay.opening, replay.moments.
Known by:  replay.command and every verb.
Never:     reads a ledger: it is opened here, and read by the verb.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click

from circus.bus.words.plain import plain
from circus.replay.moments import BadPoint, Point, point_of, wall_of
from circus.replay.opening import CannotOpen, Opened, open_ledger

EXIT_DAMAGED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNKNOWN: Final = 3  # the record does not know what was asked about
TROUBLES_SHOWN: Final = 20


class _Ledger(click.ParamType[Opened]):
    """Opened before the verb begins, so that every verb refuses in the same words."""

    name = "ledger"

    def convert(
        self, value: str | Opened, param: click.Parameter | None, ctx: click.Context | None
    ) -> Opened:
        try:
            return value if isinstance(value, Opened) else open_ledger(value)
        except CannotOpen as error:
            raise click.UsageError(str(error), ctx) from error


class _Time(click.ParamType[int]):
    """Wall ns from a time or from how long ago."""

    name = "TIME"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return value if isinstance(value, int) else wall_of(value)
        except BadPoint as error:
            raise click.UsageError(str(error), ctx) from error


class _Point(click.ParamType[Point]):
    """A record's number or a time."""

    name = "SEQ|TIME"

    def convert(
        self, value: str | Point, param: click.Parameter | None, ctx: click.Context | None
    ) -> Point:
        try:
            return value if isinstance(value, Point) else point_of(value)
        except BadPoint as error:
            raise click.UsageError(str(error), ctx) from error


TIME: Final = _Time()
POINT: Final = _Point()
LEDGER: Final = click.argument("ledger", type=_Ledger())
AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="For programs.")
SINCE: Final = click.option(
    "--since", type=TIME, help="From then on: 10m (ago), 2026-11-24, 2026-11-24T04:05:06Z."
)
UNTIL: Final = click.option("--until", type=TIME, help="Up to then.")


def troubles_of(opened: Opened) -> list[dict[str, Any]]:
    """What could not be read, for --json."""
    return [one._asdict() for one in opened.troubles]


def finish(opened: Opened, status: int = 0) -> NoReturn:
    """End the verb; what could not be read is told on standard error, and costs the status."""
    for one in opened.troubles[:TROUBLES_SHOWN]:
        click.echo(f"cannot read all: {plain(one)}", err=True)
    if len(opened.troubles) > TROUBLES_SHOWN:
        click.echo(f"and {len(opened.troubles) - TROUBLES_SHOWN} more; see `verify`", err=True)
    lost = any(one.costs for one in opened.troubles)
    sys.exit(status or (EXIT_DAMAGED if lost else 0))


__all__ = [
    "AS_JSON", "EXIT_DAMAGED", "EXIT_UNKNOWN", "EXIT_USAGE", "LEDGER", "POINT", "SINCE", "TIME",
    "UNTIL", "finish", "troubles_of",
]  # fmt: skip
