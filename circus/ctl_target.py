"""Room: front -- which daemon circusctl means, one question to it, and its answer in words.

Knows:     circus.client, circus.places (the daemons that run), circus.ctl_output.
Known by:  circus.circusctl, circus.ctl_commands, circus.ctl_events, circus.ctl_why.
Never:     knows what a command does, imports click.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from circus.bus.words.plain import as_json, plain
from circus.client import TIMEOUT_SECONDS, Client
from circus.ctl_output import Body, Show

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3


class CannotTell(Exception):
    """The command ends without an answer; the text says why and what to do."""

    exit_code = EXIT_FAILED


class NoDaemon(CannotTell):
    """There is none, or there are several: the text lists them. A question of usage."""

    exit_code = EXIT_USAGE


class Target:
    """What the flags said, and the client made from it when it is needed."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
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


def ask(target: Target, command: str, properties: dict[str, Any], show: Show) -> int:
    """Send, show the answer, and say what the exit status is."""
    body = target.client().ask(command, properties).body
    if target.json:
        say(as_json(body))
    if body["status"] == "error" and "reason" in body:
        complain(f"error: {plain(body['reason'])}")
        return EXIT_REFUSED
    if not target.json:
        say("\n".join(_shown(show, body)))
    return 0


def _shown(show: Show, body: Body) -> list[str]:
    try:
        return list(show(body))
    except (KeyError, AttributeError, TypeError) as error:
        raise CannotTell(
            f"cannot understand the answer ({error!r} in {plain(body)}); "
            "is this a circusd of the same version?"
        ) from error


def say(text: str) -> None:
    """One answer, for people or programs."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # before what goes to standard error


def complain(text: str) -> None:
    """What went wrong, beside the answer."""
    sys.stderr.write(f"{text}\n")
