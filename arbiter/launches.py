"""Room: arbiter -- from a spawn command to what the keeper is told: spec, secrets, environment.

Knows:     the projection (which spec a digest names), process.launch.
Known by:  the wiring, which hands it to the reaper.
Never:     keeps what it resolved: the reaper does, by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circus.arbiter.projection import Projection
from circus.bus.record import Record
from circus.process.launch import Launch, resolve


class Launches:
    """Resolves spawn commands with the secrets and the environment of this daemon."""

    def __init__(
        self,
        projection: Projection,
        secrets: Callable[[str], str],
        environ: Mapping[str, str],
        umask: int | None = None,
    ) -> None:
        self._projection = projection
        self._secrets = secrets
        self._environ = dict(environ)
        self._umask = umask

    def of(self, spawn: Record) -> Launch:
        """How to start the process that `spawn` asks for. ValueError, VaultError: it cannot be."""
        assert spawn.slot is not None, spawn
        spec = self._projection.spec_of(spawn)
        launch = resolve(spec, spawn.slot, secrets=self._secrets, environ=self._environ)
        launch.umask = self._umask
        return launch
