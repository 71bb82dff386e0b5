"""Room: watcher -- the public Watcher of Circus's library: a shell around the pure core.

Knows:     its parts in watcher.library_*; the library of the arbiter only by name, when a watcher
           without an arbiter is used.
Known by:  users, the library's Arbiter.
Never:     decides; holds a process: what it tells comes from the core's projection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, Self

from circus.watcher.library_life import Life
from circus.watcher.library_supervision import Supervision
from circus.watcher.library_views import Views

# The composition root of a watcher without an arbiter; above us, so known by name only (ADR-0070).
ALONE: Final = "circus.arbiter.library_alone"


class Watcher(Supervision, Life, Views):
    """Several processes of one program.

    `Watcher(name, cmd, args=None, numprocesses=1, …)`: Circus's options by name or by position,
    with Circus's defaults and units (durations in seconds). Make it alone, give it to
    `Arbiter(watchers=…)`, or get it from `arbiter.get_watcher(name)`. It may be subclassed: the
    core asks by record, and the method that is overridden is called for it.

    Raises ValueError for options that contradict each other; what is wrong with a single value is
    said when the watcher is given to an arbiter or first used.
    """

    def alone(self) -> None:
        """Start a private keeper and ledger, ended by `stop()`, garbage collection or exit."""
        import_module(ALONE).settle(self)

    @classmethod
    def load_from_config(cls, config: Mapping[str, Any]) -> Self:
        """From a mapping with `name`, `cmd` and options, which stays as it is."""
        options = dict(config)
        watcher = cls(options.pop("name"), options.pop("cmd"), **options)
        watcher._cfg = dict(config)
        return watcher

    def notify_event(self, topic: str, msg: Mapping[str, Any]) -> None:
        """Called for each of Circus's events: `spawn`, `reap`, `kill`, `start`, `stop`, `reload`,
        `updated`, `add`, `remove`; `msg` as Circus has it (times in seconds).

        Called by the program it puts an event of its own on record (`method.called`), where every
        subscriber reads it.
        """
        if self.requested() is None and self._home is not None:
            self._home.note(self.name, f"notify_event {topic}", json.dumps(dict(msg), default=str))

    def __len__(self) -> int:
        """How many processes there are, those that are stopping included."""
        return len(self.rows())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
