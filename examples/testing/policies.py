"""Two restart policies of a user: when the database has been replaced, the API has to be restarted.

In production `handle` gets the records of `circus.subscribe`, and `call` sends a command, as
`circusctl` does. Neither knows whether it is tested: in a test they are given the world's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from circus.bus.record import Record

Call = Callable[..., Any]


class Hasty:
    """The first version: while it restarts, it looks at nothing else."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.busy = False

    def handle(self, record: Record) -> None:
        """One record."""
        if record.name == "process.spawned" and record.watcher == "database":
            if not self.busy:
                self.busy = True
                self.call("restart", name="api")
        elif record.name == "watcher.started" and record.watcher == "api":
            self.busy = False


class Careful:
    """The mended one: what comes while it restarts is remembered, and done afterwards."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.busy = False
        self.again = False

    def handle(self, record: Record) -> None:
        """One record."""
        if record.name == "process.spawned" and record.watcher == "database":
            self.again = True
        elif record.name == "watcher.started" and record.watcher == "api":
            self.busy = False
        if self.again and not self.busy:
            self.again, self.busy = False, True
            self.call("restart", name="api")
