"""Room: watcher -- the public Watcher's hands: spawn, reap, manage, kill, and the signals.

Knows:     watcher.library_bond, watcher.library_desk.
Known by:  watcher.shell.
Never:     starts or waits for a process: in a call for the core it carries out what is on record,
           in a call of the program it asks the core by a recorded command.

Override them at will: the core's requests come through here (ADR-0071).
"""

from __future__ import annotations

from typing import Any

from circus.bus.clock import SystemClock
from circus.bus.values import NS_PER_SECOND
from circus.watcher.library_bond import Bond
from circus.watcher.library_future import Promise, finished, mapped, together
from circus.watcher.library_process import WatchedProcess


class Supervision(Bond):
    """Methods that the core calls through, and the program may call."""

    def spawn_process(self, recovery_wid: int | None = None) -> bool | float:
        """Start one process: True if the watcher is stopped, else the time of the start (seconds).

        The core's request has the slot already (`recovery_wid`); recorded before it comes here as
        `process.spawn`, after it as `process.spawned` or `process.spawn_failed`. An override that
        does not call this leaves a `process.spawn_failed` with step `spawn_process`.
        """
        desk = self.requested()
        if desk is not None and desk.spawns:
            desk.hands.perform(desk.spawns.popleft())
            return _now()
        status = self.answer("status")
        if status is None or status["status"] in {"stopped", "stopping"}:
            return True
        self.settled(self.ask("manage"))
        return _now()

    def spawn_processes(self) -> Promise:
        """Start what is missing, `spawn_process` for each. Result: None."""
        desk = self.requested()
        if desk is None:
            return mapped(self.ask("manage"), lambda _: None)
        for record in list(desk.spawns):
            try:
                desk.ask("spawn_process")
            finally:
                desk.close_spawn(record)
        return finished()

    def manage_processes(self) -> Promise:
        """Look again: start what is missing, end what is too much or too old. Result: None."""
        desk = self.requested()
        if desk is None:
            return mapped(self.ask("manage"), lambda _: None)
        result = desk.ask("spawn_processes") if desk.spawns else None
        return result if isinstance(result, Promise) else finished()

    def reap_process(self, pid: int, status: int | None = None) -> None:
        """Let go of one process that has ended; `status` is its exit code, or minus the signal.

        Its `process.exited` is in the ledger when this is called; then it is acknowledged, and
        `process.reaped` follows. Called by the program it does nothing: the keeper sees every end.
        """
        desk = self.requested()
        if desk is None:
            return
        for record in desk.exits:
            if getattr(record.body, "pid", None) == pid:
                desk.exits.remove(record)
                desk.hands.acknowledge(record)
                return

    def reap_processes(self) -> None:
        """Let go of every process that has ended, `reap_process` for each."""
        desk = self.requested()
        for record in list(desk.exits) if desk is not None else ():
            assert desk is not None
            body: Any = record.body
            desk.ask("reap_process", body.pid, body.code if body.signal is None else -body.signal)

    def reap_and_manage_processes(self) -> Promise:
        """Both, in this order. Result: None."""
        desk = self.requested()
        if desk is None:
            return self.manage_processes()
        desk.ask("reap_processes")
        result = desk.ask("manage_processes") if desk.spawns else None
        return result if isinstance(result, Promise) else finished()

    def kill_process(
        self, process: Any, stop_signal: int | None = None, graceful_timeout: float | None = None
    ) -> Promise:
        """Stop signal, SIGKILL after `graceful_timeout` seconds. Result: False if it is gone.

        Recorded: `watcher.kill`, `process.signal`, `process.exited`. An override that does not call
        this keeps the stop signal back; SIGKILL at the end of the grace comes all the same.
        """
        desk = self.requested()
        for kill in list(desk.kills) if desk is not None else ():
            assert desk is not None
            if kill.pid == process.pid:
                desk.kills.remove(kill)
                desk.hands.perform(kill.record)
                return finished(True)
        if process.pid not in {row.pid for row in self.rows() if not row.stopping}:
            return finished(False)
        how = _stop_options(stop_signal, graceful_timeout)
        return mapped(self.ask("kill", pid=process.pid, **how), lambda _: True)

    def kill_processes(
        self, stop_signal: int | None = None, graceful_timeout: float | None = None
    ) -> Promise:
        """`kill_process` for every process. Result: None, when all are gone."""
        desk = self.requested()
        if desk is None or not desk.kills:
            how = _stop_options(stop_signal, graceful_timeout)
            return mapped(self.ask("kill", **how), lambda _: None)
        promises = []
        for kill in list(desk.kills):
            process = self._running(kill.pid)
            if process is None:
                continue  # Its end is on record already.
            result = desk.ask("kill_process", process, kill.signum, graceful_timeout)
            promises += [result] if isinstance(result, Promise) else []
        return mapped(together(promises), lambda _: None)

    def _running(self, pid: int) -> WatchedProcess | None:
        return next((WatchedProcess(self, row) for row in self.rows() if row.pid == pid), None)

    # --- signals --------------------------------------------------------------------------------

    def send_signal(self, pid: int, signum: int) -> None:
        """One signal to one process; a pid that is not ours is passed over, as in Circus.

        Recorded: `watcher.signal`, `process.signal`, `process.signalled` with what the kernel said.
        """
        if pid in {row.pid for row in self.rows()}:
            self.signal({"signum": int(signum), "pid": pid})

    def send_signal_process(
        self, process: WatchedProcess, signum: int, recursive: bool = False
    ) -> None:
        """One signal to a process and its children, or all its descendants."""
        self.send_signal(process.pid, signum)
        self.send_signal_children(process.pid, signum, recursive)

    def send_signal_child(self, pid: int, child_id: int, signum: int) -> None:
        """One signal to one direct child of process `pid`. KeyError: `pid` is not ours."""
        self.process_of(pid).send_signal_child(child_id, signum)

    def send_signal_children(self, pid: int, signum: int, recursive: bool = False) -> None:
        """One signal to the children of process `pid`. KeyError: `pid` is not ours."""
        self.process_of(pid).send_signal_children(signum, recursive)


def _stop_options(signum: int | None, grace: float | None) -> dict[str, Any]:
    how: dict[str, Any] = {}
    if signum is not None:
        how["signum"] = int(signum)
    if grace is not None:
        how["graceful_timeout"] = grace
    return how


def _now() -> float:
    return SystemClock().now().wall / NS_PER_SECOND
