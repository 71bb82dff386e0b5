"""Room: replay -- `circus-replay`: questions to a ledger that need no daemon.

Knows:     click, replay.ask.commandline, replay.verify; the other verbs by name.
Known by:  the console script.
Never:     writes to a ledger, takes its lock; imports a verb that was not asked for.

Exit status of `verify`: 0 every byte is what was written; 1 it is not, or the anchor does not hold;
2 the command line is wrong or there is no ledger; 3 all is well but for a torn end, which a crash
may have left, or a daemon that is writing just now.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Final

import click

from circus.bus.segments import UnknownFormat
from circus.replay.ask.commandline import AS_JSON, EXIT_DAMAGED, LEDGER
from circus.replay.opening import Opened
from circus.replay.progress import Progress
from circus.replay.verify import Anchor, Finding, Verdict, verify

EXIT_TORN: Final = 3
# verb: the module that has `<verb>_command`.
VERBS: Final[dict[str, str]] = {
    "check": "circus.replay.ask.check",
    "diff": "circus.replay.ask.state",
    "index": "circus.replay.ask.index",
    "query": "circus.replay.ask.index",
    "show": "circus.replay.ask.show",
    "state": "circus.replay.ask.state",
    "stats": "circus.replay.pictures.verbs",
    "step": "circus.replay.ask.step",
    "timeline": "circus.replay.pictures.verbs",
    "why": "circus.replay.ask.why",
}


def _anchor(_context: click.Context, _parameter: click.Parameter, value: str | None) -> object:
    try:
        return None if value is None else Anchor.parse(value)
    except ValueError as error:
        text = f"cannot read {value!r}: an anchor is LOG_ID:SEQ:CHAIN, as `anchor` prints it"
        raise click.BadParameter(text) from error


class _Verbs(click.Group):
    """Verbs with a module of their own are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *VERBS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(VERBS[cmd_name]), f"{cmd_name}_command".replace("-", "_"))
        assert isinstance(command, click.Command), cmd_name
        return command


@click.group(cls=_Verbs)
def program() -> None:
    """Ask a ledger, with or without its daemon.

    LEDGER is a state directory, its ledger/, a copy of it, or one segment (*.evl); a daemon that
    uses it does not notice. What cannot be read is told on standard error, and the rest is shown.
    """


@program.command("verify")
@LEDGER
@click.option("--anchor", callback=_anchor, help="What `anchor` printed earlier; kept elsewhere.")
@AS_JSON
def verify_command(*, ledger: Opened, anchor: Anchor | None, as_json: bool) -> None:
    """Read every byte; say where it is not what was written."""
    verdict = _verified(ledger, anchor)
    click.echo(_as_json(verdict) if as_json else "\n".join(_sentences(verdict)))
    sys.exit(_status(verdict))


@program.command("anchor")
@LEDGER
def anchor_command(ledger: Opened) -> None:
    """Print LOG_ID:SEQ:CHAIN of the newest record, for a witness to keep elsewhere."""
    verdict = _verified(ledger, None)
    if verdict.damage:
        click.echo(f"cannot vouch for {ledger.directory}: it is damaged; see `verify`", err=True)
        sys.exit(EXIT_DAMAGED)
    click.echo(str(verdict.head))


def main() -> None:
    """The console script."""
    program()


def _verified(ledger: Opened, anchor: Anchor | None) -> Verdict:
    progress, size = Progress("verify"), ledger.size
    try:
        return verify(
            ledger.disk, ledger.directory, anchor, told=lambda done: progress.at(done, size)
        )
    except (OSError, UnknownFormat) as error:
        raise click.UsageError(f"cannot verify {ledger.directory}: {error}") from error
    finally:
        progress.end()


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
