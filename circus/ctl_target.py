"""Room: front -- which daemon circusctl means, and the flags that say so before or after a command.

Knows:     circus.client, circus.places (the daemons that run).
Known by:  circus.circusctl, circus.ctl_commands.
Never:     knows what a command does.
"""

from __future__ import annotations

import os
from typing import Any

import click

from circus.client import Client


class NoDaemon(click.ClickException):
    """There is none, or there are several: the text lists them. A question of usage."""

    exit_code = 2


class Target:
    """What the flags said, and the client made from it when it is needed."""

    def __init__(self, timeout: float) -> None:
        self.state_dir: str | None = None
        self.endpoint: str | None = None
        self.timeout = timeout
        self.json = False
        self._client: Client | None = None

    @property
    def place(self) -> str:
        """The endpoint, the state directory, or the only daemon that runs."""
        given = self.endpoint or self.state_dir or os.environ.get("CIRCUSCTL_ENDPOINT")
        return given or _only_one()

    def client(self) -> Client:
        """One client for the whole command line."""
        if self._client is None:
            self._client = Client(self.place, self.timeout)
        return self._client

    def close(self) -> None:
        """Give back what was opened."""
        if self._client is not None:
            self._client.close()


def flags() -> list[click.Option]:
    """The flags that stand before or after the command: the later one counts."""
    return [
        click.Option(
            ["--state-dir"], metavar="DIR", expose_value=False, callback=_note,
            help="The daemon's state directory.",
        ),
        click.Option(
            ["--endpoint"], metavar="E", expose_value=False, callback=_note,
            help="The daemon's control endpoint, such as ipc:///run/circus/web/ctl.sock.",
        ),
        click.Option(
            ["--timeout"], type=float, metavar="S", expose_value=False, callback=_note,
            help="Seconds to wait for an answer (5).",
        ),
        click.Option(
            ["--json"], is_flag=True, default=None, expose_value=False, callback=_note,
            help="Print JSON: one object, or one line per event.",
        ),
    ]  # fmt: skip


def _note(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    if value is None or not option.name:
        return
    if option.name == "timeout" and not 0 < value < 1e9:
        raise click.BadParameter("cannot wait that long: give a positive number of seconds")
    target: Target = ctx.ensure_object(Target)
    setattr(target, option.name, value)


def _only_one() -> str:
    from circus.places import running_daemons

    running = running_daemons(os.environ)
    if len(running) == 1:
        return running[0].places.state
    if not running:
        raise NoDaemon(
            "cannot find a running circusd of this user; start one, or say which with --state-dir "
            "or --endpoint"
        )
    listed = "\n".join(f"  --state-dir {daemon.places.state}" for daemon in running)
    raise NoDaemon(f"cannot choose among {len(running)} running daemons; say which:\n{listed}")
