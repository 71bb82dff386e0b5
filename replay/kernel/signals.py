"""Room: replay -- what a process does about signals: which wait, which act, which mean nothing.

Knows:     the numbers of the signals.
Known by:  replay.kernel.processes (sends and delivers), replay.kernel.lives (what programs set up).
Never:     ends or stops a process: it says what is to be done.

Linux keeps of each standard signal one bit. What a signal does is looked at twice: when it is sent
(an ignored one is dropped, unless it is blocked) and when it is delivered (the lowest number
first, but those that a fault of the program raises before all others).
"""

from __future__ import annotations

import errno
import signal
from typing import Final

import attr

KILL: Final = int(signal.SIGKILL)
STOP: Final = int(signal.SIGSTOP)
CONT: Final = int(signal.SIGCONT)
HUP: Final = int(signal.SIGHUP)
CHLD: Final = int(signal.SIGCHLD)
SIGNUM_MAX: Final = 64

IGNORED_BY_DEFAULT: Final = frozenset(
    map(int, (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH))
)
STOPPING: Final = frozenset(
    map(int, (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
)
DUMPING: Final = frozenset(
    map(
        int,
        (
            signal.SIGQUIT, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS,
            signal.SIGFPE, signal.SIGSEGV, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGSYS,
        ),
    )
)  # fmt: skip
SYNCHRONOUS: Final = frozenset(
    map(
        int,
        (
            signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGFPE,
            signal.SIGSYS,
        ),
    )
)  # fmt: skip
HARMLESS_AT_FIRST: Final = DUMPING | STOPPING | IGNORED_BY_DEFAULT
UNBLOCKABLE: Final = frozenset({KILL, STOP})
# What a program that wants to end in its own time has handlers for.
ENDING: Final = frozenset(
    map(
        int,
        (
            signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
            signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM,
        ),
    )
)  # fmt: skip
NAMES: Final = {int(one): one.name for one in signal.Signals}


def name_of(signum: int) -> str:
    """SIGTERM for 15, and the number for what has no name."""
    return NAMES.get(signum, str(signum))


@attr.s(auto_attribs=True, slots=True, eq=False)
class Signals:
    """The signals of one process: what waits, and what it has arranged for each."""

    pending: set[int] = attr.Factory(set)
    ignored: set[int] = attr.Factory(set)
    caught: set[int] = attr.Factory(set)
    blocked: set[int] = attr.Factory(set)

    def inherited(self) -> Signals:
        """What a child begins with: everything but what waits."""
        return Signals(set(), set(self.ignored), set(self.caught), set(self.blocked))

    def exec(self) -> None:
        """Another program: handlers are gone, what was ignored or blocked still is."""
        self.caught.clear()

    # --- what the process arranges: errno, or 0 ---------------------------------------------------

    def ignore(self, signum: int) -> int:
        if signum in UNBLOCKABLE:
            return errno.EINVAL
        self.caught.discard(signum)
        self.ignored.add(signum)
        self.pending.discard(signum)
        return 0

    def catch(self, signum: int) -> int:
        if signum in UNBLOCKABLE:
            return errno.EINVAL
        self.ignored.discard(signum)
        self.caught.add(signum)
        return 0

    def default(self, signum: int) -> int:
        if signum in UNBLOCKABLE:
            return errno.EINVAL
        self.ignored.discard(signum)
        self.caught.discard(signum)
        if signum in IGNORED_BY_DEFAULT:
            self.pending.discard(signum)
        return 0

    def block(self, signum: int) -> int:
        if signum not in UNBLOCKABLE:
            self.blocked.add(signum)
        return 0

    def unblock(self, signum: int) -> int:
        self.blocked.discard(signum)
        return 0

    # --- what the kernel asks ---------------------------------------------------------------------

    def by_default(self, signum: int) -> bool:
        """Neither ignored nor caught."""
        return signum not in self.ignored and signum not in self.caught

    def drops(self, signum: int) -> bool:
        """A signal that would do nothing is not even kept, unless it is blocked."""
        if signum in self.blocked or signum in self.caught:
            return False
        return signum in self.ignored or signum in IGNORED_BY_DEFAULT

    def dooms(self, signum: int) -> bool:
        """Sent to a process that nothing has woken yet, it settles the end before it is delivered.

        So it is for what ends without a core dump; else the first to be delivered decides.
        """
        if signum in self.blocked or not self.by_default(signum):
            return False
        return signum not in HARMLESS_AT_FIRST

    def next(self) -> int:
        """The next one to be delivered; 0: none."""
        due = self.pending - self.blocked if self.blocked else self.pending
        if not due:
            return 0
        return min(due & SYNCHRONOUS or due)
