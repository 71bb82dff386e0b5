"""Room: process -- the keeper's own replacement: the same pid, the same children, newer code.

Knows:     os.execve, memfd, msgpack; process.core_child (how we were started).
Known by:  process.keeper_loop (asks), process.keeper (goes on with what was carried over).
Never:     execs what has not been tried: a program that cannot go on with our state is refused.

An exec keeps the pid, so that children stay children and their zombies stay ours; the lock and the
link are descriptors that are made inheritable for this one moment. Everything else that we know is
written into a memfd. Signals are blocked over the exec: one that came before the new code has its
handlers would kill it; what waits is delivered when they are there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from circus.process.core_child import KeeperOptions
from circus.process.launch import Launch
from circus.process.spawn import Spawner

# A state is read by this version and every later one; another number is refused before the exec.
# 2: what the keeper holds beside processes.
STATE_VERSION: Final = 2
STATES: Final = (1, 2)
TRIAL: Final = "?"


class Unreadable(Exception):
    """The state is of a version that we do not know."""


class Request(NamedTuple):
    """Somebody wants us replaced: its seq, and another Python to run ("" for ours)."""

    seq: int
    program: str


class Successor:
    """At most one replacement at a time: first tried, then, at a quiet moment, the real one."""

    __slots__ = ("_child", "_request", "_tried", "options")

    def __init__(self, options: KeeperOptions) -> None:
        self.options = options
        self._request: Request | None = None
        self._child: tuple[int, int] | None = None  # the trial's pid and pidfd
        self._tried = False

    @property
    def wanted(self) -> bool:
        return self._request is not None

    @property
    def seq(self) -> int:
        return self._request.seq if self._request else 0

    def begin(self, request: Request, state: Mapping[str, Any], spawner: Spawner) -> int:
        """Start the trial; its pidfd, which is readable at its end. Raises SpawnFailed."""
        again = self.options.again
        assert again is not None, "whoever asks has looked"
        memory = write_state(state)
        os.set_inheritable(memory, True)
        try:
            argv = again(f"{memory}{TRIAL}", request.program)
            pid = spawner.spawn(Launch(tuple(argv), os.environ))
        finally:
            os.close(memory)
        self._request, self._tried = request, False
        self._child = pid, os.pidfd_open(pid)
        return pid

    def judge(self) -> tuple[int, str] | None:
        """Once, when the trial has ended: its pid, and why we are not replaced, or ""."""
        if self._child is None:
            return None
        pid, pidfd = self._child
        seen = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        if seen is None:
            return None
        os.close(pidfd)
        self._child = None
        if seen.si_code == os.CLD_EXITED and seen.si_status == 0:
            self._tried = True
            return pid, ""
        return pid, f"the new version was tried and ended with status {seen.si_status}"

    @property
    def pidfd(self) -> int:
        return self._child[1] if self._child else -1

    @property
    def tried(self) -> bool:
        """It can go on with our state."""
        return self._tried

    def drop(self) -> None:
        """We are not replaced."""
        self._request, self._tried = None, False

    def exec(self, state: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Become it. Signals must be blocked. Raises OSError where that is refused."""
        request, again = self._request, self.options.again
        assert request is not None
        assert again is not None
        memory = write_state(state)
        carried = (*fds, memory)
        try:
            for fd in carried:
                os.set_inheritable(fd, True)
            argv = again(str(memory), request.program)
            os.execve(argv[0], list(argv), os.environ)
        finally:
            # Only reached if the exec was refused: nothing may leak into a worker.
            for fd in carried:
                os.set_inheritable(fd, False)
            os.close(memory)


def write_state(state: Mapping[str, Any]) -> int:
    """A memfd with this in it."""
    fd = os.memfd_create("circus-keeper", os.MFD_CLOEXEC)
    body = {"version": STATE_VERSION, **state}
    packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")
    with open(fd, "wb", closefd=False) as file:
        file.write(packer.pack(body))
    return fd


def read_state(fd: int) -> dict[str, Any]:
    """What the keeper before us knew; the memfd is closed. Raises Unreadable."""
    try:
        body = os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
    state: dict[str, Any] = msgpack.unpackb(
        body, raw=False, strict_map_key=False, unicode_errors="surrogateescape"
    )
    if state.get("version") not in STATES:
        raise Unreadable(f"cannot go on with a state of version {state.get('version')!r}")
    return state


def block_signals() -> None:
    """Until the new code has its handlers, or the exec was refused."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def unblock_signals() -> None:
    """They are delivered now."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
