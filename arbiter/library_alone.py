"""Room: arbiter -- a watcher without an arbiter: a private keeper and ledger while it is used.

Knows:     arbiter.library_core, library_options.
Known by:  watcher.shell, by name (ADR-0070).
Never:     keeps the watcher alive: with its last reference the core is told to end.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from circus.arbiter.library_core import LibraryCore, Plan
from circus.arbiter.library_options import configuration, state_directory
from circus.bus.vault import Vault

if TYPE_CHECKING:
    from circus.arbiter.config import Config
    from circus.watcher.shell import Watcher


class Description:
    """What the watcher said of itself at the start; nothing refers back to it."""

    def __init__(self, watcher: Watcher) -> None:
        self._mapping = watcher.mapping() | {"autostart": False}

    def mapping(self) -> dict[str, Any]:
        """A fresh mapping."""
        return dict(self._mapping)


def settle(watcher: Watcher) -> None:
    """Start a core for this watcher alone; ConfigProblems says what is wrong with it."""
    description = Description(watcher)
    configuration([description], Vault.in_memory())
    places = state_directory(None)

    def configure(vault: Vault) -> Config:
        return configuration([description], vault)

    plan = Plan(
        state_dir=places.state, endpoint=places.ctl_endpoint,
        pubsub_endpoint=places.events_endpoint, ctl=[places.ctl_endpoint],
        events=[places.events_endpoint], configure=configure, private=True,
    )  # fmt: skip
    core = LibraryCore(plan, [watcher])
    threading.Thread(target=core.main_in_thread, name="circus-watcher", daemon=True).start()
    error = core.opened.exception()
    if error is not None:
        raise error
    watcher.bind(core)
    weakref.finalize(watcher, _let_go, core)


def _let_go(core: LibraryCore) -> None:
    """Nobody can ask for its processes any more: they end, and nobody waits for that."""
    if core.alive:
        core.ask("quit", {})
