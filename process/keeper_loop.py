"""Room: process -- the keeper's one loop: pidfds, the link, signals and what is due.

Knows:     process.kernel, keeping, children, core_child, link, last_words; prctl.
Known by:  process.keeper.
Never:     decides what follows from what it sees (process.keeping does); blocks; blocks a signal.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from circus.process import last_words, linux
from circus.process.children import Children
from circus.process.core_child import CoreChild, KeeperOptions, Start
from circus.process.fast_road import SpawnFailed
from circus.process.holdings import Holdings
from circus.process.keeping import Keeping
from circus.process.kernel import LinuxKernel
from circus.process.link import VERSION, Link, LinkClosed, LinkGarbled
from circus.process.outputs import Host
from circus.process.stop_plans import NOTHING_DUE
from circus.process.successor import Request, Successor, block_signals, unblock_signals
from circus.process.version import VERSION as VERSION_OF_PROGRAM

WAKE_BYTES_MAX: Final = 4096
# Of a thousand deaths the core hears while the rest is still being looked at.
EVENTS_MAX: Final = 64
FIRST_FD: Final = 3
# With the default of 700 it looks at every process while some of them wait to be spawned.
GARBAGE_THRESHOLDS: Final = (20_000, 50, 50)


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
    gc.freeze()  # what is there stays; what comes dies by its reference counts
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        return KeeperLoop(options, start, kernel).run()
    finally:
        kernel.close()


class KeeperLoop:
    """Sees all there is to see; what follows from it is for process.keeping to say."""

    __slots__ = (
        "_children",
        "_core",
        "_handler",
        "_holdings",
        "_host_fd",
        "_keeping",
        "_kernel",
        "_link",
        "_start",
        "_successor",
    )  # fmt: skip

    def __init__(self, options: KeeperOptions, start: Start, kernel: LinuxKernel) -> None:
        self._successor = Successor(options)
        self._start = start
        self._kernel = kernel
        self._core: CoreChild | None = start.core
        self._children = Children(kernel, self.tell)
        self._holdings = Holdings(
            Host(kernel.epoll, start.spawner, self._tell_one, self._children.know, self.complain)
        )
        kernel.holdings = self._holdings
        self._keeping = Keeping(self, self._children, start.core)
        self._link: Link | None = None
        self._host_fd = -1
        self._handler: Any = None  # of SIGCHLD, while that is not heeded

    def run(self) -> int:
        self._kernel.epoll.register(self._start.wake_fd, select.EPOLLIN)
        if self._start.carried is not None:
            self._go_on(self._start.carried)
        elif self._core is not None:
            self._connect(self._core.link_fd)
            self._attend_core(self._core)
        else:
            self._connect(self._successor.options.link_fd)
            self._attend_host()
        while True:
            code = self._turn()
            if code is not None:
                self._holdings.finish()
                return code

    def _turn(self) -> int | None:
        """Everything that is ready, then everything that is due.

        A death that comes alone is told at once. Where there are requests, the news of the turn
        waits for their answers and wakes the core once: in churn and in a mass death there is
        enough to do until then, and fewer and larger batches cost the core less.
        """
        self._note(self._kernel.epoll.poll(self._timeout(), EVENTS_MAX))
        few = self._keeping.take()
        if self._link is not None and not few:
            self._flush(self._link)  # who has died is told before we look for what they have left
        self._keeping.work(few)
        boot = _boot()
        code = self._keeping.attend(boot)
        self._holdings.attend(boot)
        if self._link is not None:
            self._flush(self._link)
        if self._successor.wanted:
            self._succeed()
        return code

    def _note(self, events: list[tuple[int, int]]) -> None:
        link_fd = self._link.fileno() if self._link else -1
        core_fd = self._core.pidfd if self._core else -1
        ended: list[int] = []
        core_ended = False
        for fd, _ in events:
            if fd == link_fd:
                self._hear_more()
            elif fd == self._start.wake_fd:
                self._note_signals()
            elif fd == core_fd:
                core_ended = True
            elif fd == self._host_fd:
                self._lose_host()
            elif not self._holdings.notice(fd):
                ended.append(fd)
        self._children.notice(ended)
        if core_ended and self._core is not None:
            self._note_core_ended(self._core)

    def _timeout(self) -> float | None:
        """Seconds until something is due; None: until something happens."""
        boot = _boot()
        due = min(self._keeping.next_due(boot), self._holdings.due)
        if due == NOTHING_DUE:
            return None
        return 0.0 if due <= boot else max(0.0, (due - boot) / 1e9 + 0.001)

    # -- the link ------------------------------------------------------------------------------

    @property
    def linked(self) -> bool:
        return self._link is not None

    def tell(self, reports: list[Sequence[Any]]) -> None:
        if self._link is not None:
            self._link.send(reports)

    def _tell_one(self, report: Sequence[Any]) -> None:
        self.tell([report])

    def hold(self, operation: Sequence[Any]) -> None:
        self._holdings.obey(operation)

    def _connect(self, fd: int) -> None:
        self._link = Link.keeper_end(fd)
        self._kernel.epoll.register(fd, select.EPOLLIN)
        lost = tuple(self._core.lost) if self._core else ()
        self.tell([("hello", VERSION, os.getpid(), lost, self._children.numbers.given)])
        self._flush(self._link)

    def _flush(self, link: Link) -> None:
        if not link.wants_write:
            return
        try:
            done = link.flush()
        except LinkClosed:
            self._hear_last()
            self.disconnect()
            return
        # Level-triggered: ask for writability only while something waits for it.
        if done is link.watched:
            link.watched = not done
            wanted = select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT
            self._kernel.epoll.modify(link.fileno(), wanted)

    def _hear_more(self) -> None:
        """Unless requests are waiting already: the link can keep what is in it."""
        if not self._keeping.to_do:
            self._hear()

    def _hear(self) -> bool:
        """Whether something was said. The end of a link is noted."""
        assert self._link is not None
        try:
            operations = self._link.receive()
        except LinkClosed:
            self.disconnect()
            return False
        except LinkGarbled as error:
            self.complain(f"the core does not speak our language: {error}")
            self.disconnect()
            return False
        if operations:
            self._keeping.hear(operations)
        return bool(operations)

    def _hear_last(self) -> None:
        """A core's last words count, `ready` or `stopping`, however much was said before them."""
        while self._link is not None and self._hear():
            pass

    def disconnect(self) -> None:
        """Give the link up, ours or what is left of it."""
        if self._link is not None:
            self._kernel.epoll.unregister(self._link.fileno())
            self._link.close()
            self._link = None
        self._holdings.disconnect()
        self._keeping.unlinked(_boot())

    # -- the core, or the host -------------------------------------------------------------------

    def start_core(self) -> None:
        core = self._core
        assert core is not None, "a host starts its own core"
        self._connect(core.start())
        self._attend_core(core)

    def harden(self) -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)

    def heed_children(self, *, heed: bool) -> None:
        """Have SIGCHLD told, or not. Ignored it would let the kernel reap; its default does not."""
        handler = self._handler
        if heed and handler is not None:
            self._handler = None
            signal.signal(signal.SIGCHLD, handler)
        elif not heed and handler is None:
            self._handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _attend_core(self, core: CoreChild) -> None:
        self._kernel.epoll.register(core.pidfd, select.EPOLLIN)
        self._children.know(core.pid)
        _write_pids(self._successor.options.state_dir, core.pid)

    def _attend_host(self) -> None:
        try:
            self._host_fd = os.pidfd_open(self._successor.options.host_pid)
        except ProcessLookupError:
            self._lose_host()
            return
        self._kernel.epoll.register(self._host_fd, select.EPOLLIN)

    def _lose_host(self) -> None:
        if self._host_fd >= 0:
            self._kernel.epoll.unregister(self._host_fd)
            os.close(self._host_fd)
            self._host_fd = -1
        self.disconnect()

    def _note_core_ended(self, core: CoreChild) -> None:
        self._hear_last()
        self._kernel.epoll.unregister(core.pidfd)
        self._children.know(core.pid, forget=True)
        boot = _boot()
        code, signum = core.reap(boot)
        self.disconnect()
        self._keeping.core_ended(core, code, signum, boot)

    # -- our own replacement -----------------------------------------------------------------------

    def succeed(self, seq: int, program: str) -> None:
        """Somebody wants newer code in this process: it is tried first, while we go on."""
        if self._successor.wanted or self._successor.options.again is None:
            self.tell([("reexec_refused", seq, "cannot be replaced: a replacement is under way")])
            return
        try:
            pid = self._successor.begin(Request(seq, program), self._carried(), self._start.spawner)
        except (OSError, SpawnFailed) as error:
            self.tell([("reexec_refused", seq, f"cannot be replaced: {error}")])
            return
        self._children.know(pid)
        self._kernel.epoll.register(self._successor.pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def _succeed(self) -> None:
        """Has the trial ended? Is this a quiet moment? Then become the new one."""
        judged = self._successor.judge()
        if judged is not None:
            pid, refusal = judged
            self._children.know(pid, forget=True)
            if refusal:
                self._refuse(refusal)
        if self._successor.tried and self._is_quiet():
            self._become()

    def _is_quiet(self) -> bool:
        busy = self._link is not None and self._link.wants_write
        return self._keeping.carry() is not None and not busy

    def _become(self) -> None:
        block_signals()
        try:
            if select.select([self._start.wake_fd], [], [], 0)[0]:
                return  # What came before the mask is heard first; the next turn is as good.
            link_fd = self._link.fileno() if self._link else -1
            fds = [self._start.lock_fd, *([link_fd] if self._link else []), *self._holdings.fds]
            fds += self._children.pidfds
            self._successor.exec(self._carried(), fds)
        except OSError as error:
            self._refuse(f"cannot be replaced: {error.strerror}")
        finally:
            unblock_signals()

    def _refuse(self, reason: str) -> None:
        self.complain(reason)
        self.tell([("reexec_refused", self._successor.seq, reason)])
        self._successor.drop()
        if self._link is not None:
            self._flush(self._link)

    def _carried(self) -> dict[str, Any]:
        """All that we know, as plain data."""
        return {
            "seq": self._successor.seq,
            "lock": self._start.lock_fd,
            "link": self._link.fileno() if self._link else -1,
            "nofile": self._start.spawner.nofile,
            "core": self._core.carry() if self._core else None,
            "children": self._children.carry(),
            "keeping": self._keeping.carry(),
            "holdings": self._holdings.carry(),
        }

    def _go_on(self, carried: Mapping[str, Any]) -> None:
        """As the keeper that was in this process before us."""
        self._children.restore(carried["children"], self._kernel.reopen)
        self._keeping.restore(carried["keeping"], _boot())
        self._holdings.restore(carried.get("holdings"))
        if carried["link"] >= 0:
            self._link = Link.keeper_end(carried["link"])
            self._kernel.epoll.register(carried["link"], select.EPOLLIN)
        if self._core is None:
            self._attend_host()
        elif self._core.up:
            self._attend_core(self._core)
        self.tell([("reexeced", carried["seq"], VERSION_OF_PROGRAM)])

    # -- signals and words -------------------------------------------------------------------------

    def _note_signals(self) -> None:
        boot = _boot()
        for signum in os.read(self._start.wake_fd, WAKE_BYTES_MAX):
            if signum == signal.SIGCHLD:
                self._keeping.child_ended(boot)
            else:
                self._keeping.signalled(signum, boot)

    def keep_words(self, reports: list[Sequence[Any]]) -> None:
        if not reports:
            return
        try:
            last_words.add(self._successor.options.state_dir, reports)
        except OSError as error:
            self.complain(f"cannot write {last_words.NAME}: {error.strerror}")

    def complain(self, text: str) -> None:
        _complain(text)


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
