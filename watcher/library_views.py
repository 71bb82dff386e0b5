"""Room: watcher -- what the public Watcher tells about itself: status, processes, options.

Knows:     watcher.library_bond, watcher.library_process.
Known by:  watcher.shell.
Never:     remembers: every answer is the core's projection at the moment of the question.
"""

from __future__ import annotations

from typing import Any

from circus.bus.spec import OPTIONS
from circus.watcher.library_bond import Bond
from circus.watcher.library_process import WatchedProcess


class Views(Bond):
    """Questions. All may be asked from any thread, before, during and after."""

    def status(self) -> str:
        """`stopped`, `starting`, `active`, `stopping`, or (ours) `failed`."""
        told = self.answer("status")
        return "stopped" if told is None else str(told["status"])

    def is_stopped(self) -> bool:
        """Whether the status is `stopped`."""
        return self.status() == "stopped"

    def is_stopping(self) -> bool:
        """Whether the status is `stopping`."""
        return self.status() == "stopping"

    def is_active(self) -> bool:
        """Whether the status is `active`."""
        return self.status() == "active"

    @property
    def processes(self) -> dict[int, WatchedProcess]:
        """Its processes by pid, as they are now; a copy."""
        return {row.pid: WatchedProcess(self, row) for row in self.rows()}

    def get_active_processes(self) -> list[WatchedProcess]:
        """Those that run."""
        return [process for process in self.processes.values() if process.is_alive()]

    def get_active_pids(self) -> list[int]:
        """Their pids."""
        return [process.pid for process in self.get_active_processes()]

    @property
    def pids(self) -> list[int]:
        """All pids, oldest process first."""
        return [row.pid for row in self.rows()]

    def process_info(self, pid: int, extended: bool = False) -> Any:
        """Circus's info object of one process. KeyError: not ours."""
        return self.process_of(pid).info()

    def info(self, extended: bool = False) -> dict[int, Any]:
        """Circus's info object of each process, by pid."""
        return {pid: process.info() for pid, process in self.processes.items()}

    def options(self, *args: Any) -> list[tuple[str, Any]]:
        """All options as sorted (name, value) pairs; durations in seconds."""
        names = [name for name in OPTIONS if name != "name"]
        told = self.answer("options")
        values = {name: self._option(name) for name in names} if told is None else told["options"]
        return sorted({**values, **self._options, "env": self.env}.items())
