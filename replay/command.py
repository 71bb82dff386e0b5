"""Room: replay -- `circus-replay`: questions to a ledger that need no daemon.

Knows:     click, replay.verify; bus.reader for what only follows the record.
Known by:  the console script.
Never:     writes to a ledger, takes its lock.

Exit status of `verify`: 0 every byte is what was written; 1 it is not, or the anchor does not hold;
2 the command line is wrong or there is no ledger; 3 all is well but for a torn end, which a crash
may have left, or a daemon that is writing just now.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

import click

from circus.bus.disk import RealDisk
from circus.bus.segments import UnknownFormat
from circus.replay.verify import Anchor, Finding, Verdict, verify

EXIT_DAMAGED: Final = 1
EXIT_USAGE: Final = 2
EXIT_TORN: Final = 3


def _anchor(_context: click.Context, _parameter: click.Parameter, value: str | None) -> object:
    try:
        return None if value is None else Anchor.parse(value)
    except ValueError as error:
        text = f"cannot read {value!r}: an anchor is LOG_ID:SEQ:CHAIN, as `anchor` prints it"
        raise click.BadParameter(text) from error


LEDGER: Final = click.argument(
    "ledger", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.group()
def program() -> None:
    """Ask a ledger, with or without its daemon. LEDGER is DIR/ledger of a state directory DIR."""


@program.command("verify")
@LEDGER
@click.option("--anchor", callback=_anchor, help="What `anchor` printed earlier; kept elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
def verify_command(*, ledger: Path, anchor: Anchor | None, as_json: bool) -> None:
    """Read every byte; say where it is not what was written."""
    verdict = _verified(ledger, anchor)
    click.echo(_as_json(verdict) if as_json else "\n".join(_sentences(verdict)))
    sys.exit(_status(verdict))


@program.command("anchor")
@LEDGER
def anchor_command(ledger: Path) -> None:
    """Print LOG_ID:SEQ:CHAIN of the newest record, for a witness to keep elsewhere."""
    verdict = _verified(ledger, None)
    if verdict.damage:
        click.echo(f"cannot vouch for {ledger}: it is damaged; see `verify`", err=True)
        sys.exit(EXIT_DAMAGED)
    click.echo(str(verdict.head))


def main() -> None:
    """The console script."""
    program()


def _verified(ledger: Path, anchor: Anchor | None) -> Verdict:
    try:
        verdict = verify(RealDisk(), os.fspath(ledger), anchor)
    except (OSError, UnknownFormat) as error:
        raise click.UsageError(f"cannot verify {ledger}: {error}") from error
    if not verdict.segments:
        raise click.UsageError(f"cannot verify {ledger}: no segment is there; give DIR/ledger")
    return verdict


def _status(verdict: Verdict) -> int:
    if verdict.damage or verdict.anchored is False:
        return EXIT_DAMAGED
    return EXIT_TORN if verdict.torn is not None else os.EX_OK


def _sentences(verdict: Verdict) -> list[str]:
    head = verdict.head
    lines = [
        f"ledger {head.log_id.hex()}: {verdict.segments} segments, {verdict.frames} decisions, "
        f"records {verdict.first_seq} to {head.seq}, {verdict.bytes} bytes"
    ]
    lines += [f"damage: {_place(one)}" for one in verdict.damage]
    if verdict.torn is not None:
        lines.append(f"torn: {_place(verdict.torn)}")
    if verdict.anchored is not None:
        lines.append("the anchor holds" if verdict.anchored else "the anchor does not hold")
    if not verdict.damage:
        end = "closed" if verdict.closed else "open"
        lines.append(f"every frame is what was written ({end}); its anchor is {head}")
    return lines


def _place(one: Finding) -> str:
    text = f"{one.segment} at byte {one.offset}, {one.bytes} bytes: {one.what}"
    if one.lost_to < one.lost_from:
        return text
    return f"{text}; records {one.lost_from} to {one.lost_to} are lost"


def _as_json(verdict: Verdict) -> str:
    head = verdict.head
    return json.dumps(
        {
            "log_id": head.log_id.hex(), "first_seq": verdict.first_seq, "head_seq": head.seq,
            "anchor": str(head), "anchored": verdict.anchored, "segments": verdict.segments,
            "frames": verdict.frames, "bytes": verdict.bytes, "closed": verdict.closed,
            "damage": [one._asdict() for one in verdict.damage],
            "torn": None if verdict.torn is None else verdict.torn._asdict(),
            "status": _status(verdict),
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
