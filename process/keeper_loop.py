"""Room: process -- the keeper's one loop: pidfds, the link, signals and what is due.

Knows:     process.kernel, children, stop_plans, core_child, link, last_words; prctl.
Known by:  process.keeper.
Never:     decides what should run; blocks; blocks a signal; reaps an unacknowledged exit while a
           core may come to record it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from circus.process import last_words, linux
from circus.process.children import Children
from circus.process.core_child import CoreChild, KeeperOptions, Start
from circus.process.kernel import LinuxKernel
from circus.process.link import VERSION, Link, LinkClosed, LinkGarbled
from circus.process.stop_plans import NOTHING_DUE, StopPlans

ENDING_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
ANSWER_WITHIN: Final = 2_000_000_000
# One look at all our children costs what a spawn costs; in churn five a second are enough.
ORPHANS_PAUSE: Final = 200_000_000
FINISH_PAUSE: Final = 1_000_000
WAKE_BYTES_MAX: Final = 4096
EVENTS_MAX: Final = 1024
OPERATIONS_PER_TURN: Final = 16
FIRST_FD: Final = 3


def keep(options: KeeperOptions, start: Start) -> int:
    """Set ourselves up and loop to the end; the exit code."""
    linux.name_process("circus-keeper")
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    if options.no_new_privs:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.close_on_exec_from(FIRST_FD)
    start.spawner.learn()
    kernel = LinuxKernel(start.spawner)
    try:
        return KeeperLoop(options, start, kernel).run()
    finally:
        kernel.close()


class KeeperLoop:
    """One of: supervising (a core is up or due), or ending (the stop plans run)."""

    __slots__ = (
        "_asked", "_children", "_core", "_exit_code", "_host_fd", "_kernel", "_leaving", "_link",
        "_options", "_orphans_due", "_plans", "_to_do", "_wake_fd", "_writing",
    )  # fmt: skip

    def __init__(self, options: KeeperOptions, start: Start, kernel: LinuxKernel) -> None:
        self._options = options
        self._kernel = kernel
        self._core: CoreChild | None = start.core
        self._wake_fd = start.wake_fd
        self._children = Children(kernel, self._tell)
        self._link: Link | None = None
        self._host_fd = -1
        self._plans: StopPlans | None = None
        self._exit_code: int | None = None  # what the core said that we end with
        self._leaving = False  # somebody has sent a signal that ends everything
        self._asked: int | None = None  # since when it is unanswered, boot ns
        self._orphans_due: int | None = None
        self._writing = False  # the link is watched for room to write
        self._to_do: deque[Sequence[Any]] = deque()

    def run(self) -> int:
        self._kernel.epoll.register(self._wake_fd, select.EPOLLIN)
        if self._core is not None:
            self._connect(self._core.link_fd)
            self._attend_core(self._core)
        else:
            self._connect(self._options.link_fd)
            self._attend_host()
        while True:
            code = self._turn()
            if code is not None:
                return code

    def _turn(self) -> int | None:
        """Everything that is ready, then everything that is due."""
        self._note(self._kernel.epoll.poll(self._timeout(), EVENTS_MAX))
        self._work()
        code = self._attend_due(_boot())
        if self._link is not None:
            self._flush(self._link)
        return code

    def _note(self, events: list[tuple[int, int]]) -> None:
        link_fd = self._link.fileno() if self._link else -1
        core_fd = self._core.pidfd if self._core else -1
        ended: list[int] = []
        core_ended = False
        for fd, _ in events:
            if fd == link_fd:
                self._hear_more()
            elif fd == self._wake_fd:
                self._note_signals()
            elif fd == core_fd:
                core_ended = True
            elif fd == self._host_fd:
                self._lose_host()
            else:
                ended.append(fd)
        if ended:
            self._children.notice(ended)
        if core_ended and self._core is not None:
            self._note_core_ended(self._core)

    # -- the link ------------------------------------------------------------------------------

    def _connect(self, fd: int) -> None:
        self._link = Link.keeper_end(fd)
        self._writing = False
        self._kernel.epoll.register(fd, select.EPOLLIN)
        lost = tuple(self._core.lost) if self._core else ()
        self._tell([("hello", VERSION, os.getpid(), lost)])
        self._flush(self._link)

    def _tell(self, reports: list[Sequence[Any]]) -> None:
        if self._link is not None:
            self._link.send(reports)

    def _flush(self, link: Link) -> None:
        if not link.wants_write:
            return
        try:
            done = link.flush()
        except LinkClosed:
            self._disconnect()
            return
        # Level-triggered: ask for writability only while something waits for it.
        if done is self._writing:
            self._writing = not done
            wanted = select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT
            self._kernel.epoll.modify(link.fileno(), wanted)

    def _hear_more(self) -> None:
        """Unless requests are waiting already: the link can keep what is in it."""
        if not self._to_do:
            self._hear()

    def _hear(self) -> None:
        assert self._link is not None
        try:
            operations = self._link.receive()
        except LinkClosed:
            self._disconnect()
            return
        except LinkGarbled as error:
            _complain(f"the core does not speak our language: {error}")
            self._disconnect()
            return
        if operations:
            self._asked = None
            self._take_notes(operations)
            self._to_do.extend(operations)

    def _work(self) -> None:
        """A few of the core's requests, then whoever has died meanwhile has a turn.

        A start of a thousand would else keep an exit waiting for as long as it takes, and the core
        would hear of the first process with the last.
        """
        to_do = self._to_do
        if to_do:
            few = [to_do.popleft() for _ in range(min(len(to_do), OPERATIONS_PER_TURN))]
            self._children.obey(few)

    def _take_notes(self, operations: list[Sequence[Any]]) -> None:
        for operation in operations:
            if operation[0] == "settings":
                if operation[1].get("no_new_privs"):
                    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            elif operation[0] == "stopping":
                self._exit_code = operation[1]
            elif operation[0] == "ready" and self._core is not None:
                self._core.ready = True
                self._core.lost.clear()

    def _disconnect(self) -> None:
        """No link, no core: what still runs of it is ended, and its end decides what follows."""
        if self._link is not None:
            self._kernel.epoll.unregister(self._link.fileno())
            self._link.close()
            self._link = None
        self._to_do.clear()
        self._children.disconnect()
        if self._core is None:
            self._end()
        else:
            self._core.expect_exit()

    # -- the core, or the host -------------------------------------------------------------------

    def _attend_core(self, core: CoreChild) -> None:
        self._kernel.epoll.register(core.pidfd, select.EPOLLIN)
        self._children.know(core.pid)
        _write_pids(self._options.state_dir, core.pid)

    def _attend_host(self) -> None:
        try:
            self._host_fd = os.pidfd_open(self._options.host_pid)
        except ProcessLookupError:
            self._lose_host()
            return
        self._kernel.epoll.register(self._host_fd, select.EPOLLIN)

    def _lose_host(self) -> None:
        if self._host_fd >= 0:
            self._kernel.epoll.unregister(self._host_fd)
            os.close(self._host_fd)
            self._host_fd = -1
        self._disconnect()

    def _note_core_ended(self, core: CoreChild) -> None:
        if self._link is not None:
            self._hear()  # its last words may be `stopping`
        self._kernel.epoll.unregister(core.pidfd)
        self._children.know(core.pid, forget=True)
        code, signum = core.reap()
        self._disconnect()
        if self._plans is not None:
            return
        if self._exit_code is None and core.hopeless(code):
            self._exit_code = code
        if self._exit_code is not None or self._leaving:
            # It said so, or somebody wants the end and it died before that was done: whether it
            # had heard of it nobody knows, and a core that had not would go on as if nothing were.
            self._end()
            return
        core.put_off()
        if not core.ready:
            how = f"code {code}" if signum is None else f"signal {signum}"
            _complain(f"the core ended before it was ready ({how}); it is started again")

    def _start_core(self, core: CoreChild) -> None:
        self._connect(core.start())
        self._attend_core(core)

    # -- signals -----------------------------------------------------------------------------------

    def _note_signals(self) -> None:
        for signum in os.read(self._wake_fd, WAKE_BYTES_MAX):
            if signum == signal.SIGCHLD:
                if self._orphans_due is None:
                    self._orphans_due = _boot() + ORPHANS_PAUSE
            else:
                self._note_signal(signum)

    def _note_signal(self, signum: int) -> None:
        ending = signum in ENDING_SIGNALS
        if self._plans is not None:
            if ending:
                self._plans.shorten(_boot())
            return
        if self._link is None:
            if ending:
                self._end()
            return
        self._tell([("os_signal", signum)])
        if ending and not self._leaving:
            self._leaving = True
            self._asked = _boot()

    # -- the end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        """Without a core: the plans that came with the spawns."""
        if self._core is not None:
            self._core.kill()
        if self._plans is None:
            self._plans = StopPlans(self._children, self._keep_words)
            self._plans.begin(_boot())

    def _keep_words(self, reports: list[Sequence[Any]]) -> None:
        if not reports:
            return
        try:
            last_words.add(self._options.state_dir, reports)
        except OSError as error:
            _complain(f"cannot write {last_words.NAME}: {error.strerror}")

    def _attend_due(self, now: int) -> int | None:
        if self._asked is not None and now >= self._asked + ANSWER_WITHIN:
            _complain("the core does not answer; it is killed and everything is stopped")
            self._end()
            self._disconnect()
        if self._orphans_due is not None and now >= self._orphans_due:
            self._orphans_due = None
            self._children.notice_orphans()
        if self._plans is not None:
            return self._finish(self._plans, now)
        core = self._core
        if core is not None and core.due is not None and now >= core.due:
            if core.up:
                core.kill()
            else:
                self._start_core(core)
        return None

    def _finish(self, plans: StopPlans, now: int) -> int | None:
        self._asked = None
        if not plans.advance(now) or (self._core is not None and self._core.up):
            return None
        self._children.notice_orphans()
        return self._exit_code or 0

    def _timeout(self) -> float | None:
        """Seconds until something is due; None: until something happens."""
        if self._to_do:
            return 0.0
        due = NOTHING_DUE if self._plans is None else self._plans.next_due
        if self._plans is not None and not self._children.living:
            # The link was found closed while flushing: there may be nothing left to wake us.
            due = min(due, _boot() + FINISH_PAUSE)
        if self._asked is not None:
            due = min(due, self._asked + ANSWER_WITHIN)
        if self._orphans_due is not None:
            due = min(due, self._orphans_due)
        if self._core is not None and self._core.due is not None and self._plans is None:
            due = min(due, self._core.due)
        if due == NOTHING_DUE:
            return None
        return max(0.0, (due - _boot()) / 1e9 + 0.001)


def _boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _complain(text: str) -> None:
    sys.stderr.write(f"circus-keeper: {text}\n")


def _write_pids(state_dir: str, core_pid: int) -> None:
    """For people and for `circusctl` when no core answers; never read by ourselves."""
    folder = os.path.join(state_dir, "run")
    path = os.path.join(folder, "pids")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(f"keeper {os.getpid()}\ncore {core_pid}\n")
        os.replace(f"{path}.new", path)
    except OSError as error:
        _complain(f"cannot write {path}: {error.strerror}")
