"""Room: arbiter -- when a snapshot is made, and the process that makes it, seen from the core.

Knows:     process.spawn (the fast road), arbiter.snapshotter by its name, arbiter.recovery.
Known by:  arbiter.engine, the wiring.
Never:     folds on the sequencer's thread while anybody waits; starts two at once.

Snapshots are there for the next start only: one is made when that would have to read 10,000 records
or when there is anything new after ten minutes, and in a daemon that is very busy so rarely that it
costs no more than a tenth of a processor.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final, Protocol

from circus.arbiter.memory import Living
from circus.arbiter.recovery import make_snapshot, save_living
from circus.bus.clock import SystemClock
from circus.bus.cursor_errors import CursorError
from circus.bus.disk import RealDisk
from circus.bus.past import Unfoldable
from circus.bus.values import NS_PER_SECOND, Moment, Nanoseconds

RECORDS: Final = 10_000
PERIOD_NS: Final = 600 * NS_PER_SECOND
REST_NS: Final = 10 * NS_PER_SECOND
REST_FACTOR: Final = 10
# Fewer are read by the next start as quickly as they are folded now.
WORTH_AN_END: Final = 1_000


class Written(Protocol):
    """The ledger: where it stands, and a way to begin a new segment."""

    log_id: bytes
    head: int
    chain: bytes

    def cut(self, now: Moment, /) -> None: ...


Start = Callable[[str], int]


class Snapshotting:
    """Asked after every turn; `fileno` is readable when the process has ended."""

    __slots__ = (
        "_begun", "_directory", "_head", "_ledger", "_not_before", "_pidfd", "_start", "_taken",
    )  # fmt: skip

    def __init__(
        self, ledger: Written, directory: str, taken: int, start: Start | None = None
    ) -> None:
        self._ledger = ledger
        self._directory = directory
        self._start = start or start_process
        self._taken = taken  # the seq of the newest snapshot
        self._head = 0  # what the one that is being made will reach at least
        self._begun: Nanoseconds = 0  # of the last one, or of this core
        self._not_before: Nanoseconds = 0
        self._pidfd = -1

    def fileno(self) -> int:
        """The process that makes one; -1: none is being made."""
        return self._pidfd

    def next_due(self) -> Nanoseconds | None:
        """Boot ns at which `attend` would start one."""
        behind = self._ledger.head - self._taken
        if self._pidfd >= 0 or behind <= 0:
            return None
        return max(self._not_before, 0 if behind >= RECORDS else self._begun + PERIOD_NS)

    def attend(self, boot: Nanoseconds) -> bool:
        """Start one if it is due; True if there is a new descriptor to wait for."""
        self._begun = self._begun or boot
        if self._pidfd >= 0:
            self._look(boot)
        due = self.next_due()
        if due is None or boot < due:
            return False
        self._begun, self._not_before = boot, boot + REST_NS
        self._head = self._ledger.head
        # A start verifies the newest segment as a whole: what the snapshot has stays out of it.
        self._ledger.cut(SystemClock().now())
        try:
            self._pidfd = os.pidfd_open(self._start(self._directory))
        except OSError:
            return False  # No process is to be had; a start can do without a snapshot.
        return True

    def _look(self, boot: Nanoseconds) -> None:
        """Is it over? If it failed it has said why, and the next one tries again."""
        code = self._wait(os.WNOHANG)
        if code is None:
            return
        if code == os.EX_OK:
            self._taken = self._head
        self._not_before = max(self._not_before, boot + REST_FACTOR * (boot - self._begun))

    def keep(self, living: Living) -> None:
        """Save what this very core is, where the ledger alone would not say it: behind a gap."""
        wall = SystemClock().now().wall
        save_living(RealDisk(), self._directory, living, self._ledger, wall)
        self._taken = living.seq

    def finish(self) -> None:
        """At a clean stop: the last one, here and now, if the next start would feel it."""
        self.close()
        if self._ledger.head - self._taken < WORTH_AN_END:
            return
        try:
            make_snapshot(RealDisk(), self._directory, SystemClock().now().wall)
        except (OSError, CursorError, Unfoldable):
            return  # The next start reads on from the one before.

    def close(self) -> None:
        """Give up the one that is being made."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It has ended by itself.
            self._wait()

    def _wait(self, how: int = 0) -> int | None:
        """Its exit code, once it has ended."""
        try:
            seen = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | how)
            if seen is None:
                return None
            code = seen.si_status if seen.si_code == os.CLD_EXITED else os.EX_IOERR
        except ChildProcessError:
            code = os.EX_IOERR  # Somebody else in this program has waited for it.
        os.close(self._pidfd)
        self._pidfd = -1
        return code


def start_process(directory: str) -> int:
    """The maker, by vfork: a copy of this process, sockets and threads, is nobody's wish. OSError
    if there is no process to be had."""
    # Hands of a keeper, which a core does not need to start.
    from circus.process.fast_road import SpawnFailed
    from circus.process.keeper import python_argv
    from circus.process.launch import Launch
    from circus.process.spawn import Spawner

    argv = python_argv("circus.arbiter.snapshotter", directory, str(os.getpid()))
    try:
        return Spawner().spawn_aside(Launch(tuple(argv), {}))
    except SpawnFailed as error:
        raise OSError(error.errno, error.step) from error
