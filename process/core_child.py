"""Room: process -- the core as a child of the keeper: started, restarted, never believed.

Knows:     process.spawn, process.launch.
Known by:  process.keeper (starts the first one), process.keeper_loop, process.keeping.
Never:     imports msgpack: the core is started before the keeper has it.

A core that had reported ready is started again at once: whatever killed it, its workers run on and
miss it. What waits longer each time are cores that never became ready, and cores that die as soon
as they are, one after the other, at the place in the ledger where the one before them died.

A core is heard every few seconds. One that is silent for too long is hung, or stopped, and is
replaced; how long it was silent is counted in looks, not on a clock, so that a machine that slept
or a keeper that was stopped itself finds nobody guilty.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from circus.process.launch import Launch
from circus.process.spawn import Spawner

# A core that ends closes its link before it is a zombie, and its exit code is worth waiting for.
EXIT_WITHIN: Final = 2_000_000_000
NS_PER_SECOND: Final = 1_000_000_000
SILENCE: Final = 30 * NS_PER_SECOND
LOOKS_PER_SILENCE: Final = 3
# A core that comes back reads the ledger before it says anything: that may take its time.
PATIENCE_AT_START: Final = 10
# Shorter than this after it was ready, a core has died of where it is, if it got nowhere.
BRIEF: Final = NS_PER_SECOND
PAUSES: Final = tuple(seconds * NS_PER_SECOND for seconds in (1, 2, 5, 10, 20, 30))
# sysexits: what a core that cannot live with its configuration ends with.
HOPELESS: Final = range(64, 79)


class KeeperOptions(NamedTuple):
    """`start_core` gives the core's argv for the descriptor of its end of the link.

    Embedded in a program that uses the library there is no core to start: `link_fd` is the keeper's
    end of the link, inherited, and `host_pid` the program, whose end is the end of its workers.
    `first_core` gives pid and link of the first core, where it was started early (circus.start).
    `pauses` are the waits (ns) before another core where one after the other never became ready;
    `silence` (ns) is how long a core may say nothing, 0: for ever.

    `again` gives the argv that goes on with the state in a descriptor, by another Python if one is
    named; `resume` is that descriptor, where this is what we do (process.successor).
    """

    state_dir: str
    start_core: Callable[[int], Sequence[str]] | None = None
    link_fd: int = -1
    host_pid: int = 0
    no_new_privs: bool = False
    pauses: Sequence[int] = PAUSES
    first_core: Callable[[], tuple[int, int]] | None = None
    silence: int = SILENCE
    again: Callable[[str, str], Sequence[str]] | None = None
    resume: str = ""


class Lost(NamedTuple):
    """A core that ended; the next one is told. `silent` (ns) is not 0 if it was hung. `at` (boot
    ns) is when its end was seen: what is on record up to there is not recorded again."""

    pid: int
    code: int | None
    signal: int | None
    silent: int = 0
    at: int = 0


class CoreLife:
    """The present core as the rules see it, or the time at which the next one is due."""

    __slots__ = (
        "_failures", "_pauses", "_ready_at", "_watch", "due", "heard", "lost", "pid",
    )  # fmt: skip

    def __init__(self, pauses: Sequence[int] = PAUSES, silence: int = 0) -> None:
        self._failures = 0
        self._pauses = pauses
        self._watch = Watch(silence)
        self._ready_at = Readiness()
        self.pid = 0
        self.heard = False  # since the last look
        # Boot ns: of its start while it is down; while it is up, of the next look at it.
        self.due: int | None = None
        self.lost: list[Lost] = []

    @property
    def up(self) -> bool:
        return self.pid != 0

    @property
    def ready(self) -> bool:
        return self._ready_at.ready

    def begun(self, pid: int) -> None:
        """It runs."""
        self.pid = pid
        self._ready_at.ready = False
        self._watch.begin()
        self.due = 0

    def is_ready(self, found: int, head: int) -> None:
        """It works: it `found` the ledger at that record, and has come as far as `head`."""
        self._ready_at.note(found, head)
        self.lost.clear()
        self.due = 0

    def bear(self, silence: int) -> None:
        """The configuration says how long (ns) a core may be silent; 0: for ever."""
        self._watch.silence = silence
        self.due = 0

    def look(self, boot: int) -> None:
        """It is up and `due` has come: kill it if it had to end, find out whether it hangs."""
        if self._watch.doomed:
            self.kill()
            return
        self._ready_at.seen(boot)
        heard, self.heard = self.heard, False
        patience = 1 if self.ready else PATIENCE_AT_START
        if self._watch.misses(heard=heard, patience=patience):
            self.abort()
            self.due = self._watch.doom(boot)
        else:
            self.due = self._watch.next_look(boot)

    def abort(self) -> None:
        """It hangs: SIGABRT makes it say where, if it still can."""

    def kill(self) -> None:
        """A core is made to be killed; its end is seen like any other."""
        self._watch.doomed = True
        self.due = None

    def expect_exit(self, boot: int) -> None:
        """Its link is closed: if it does not end by itself, it is killed."""
        if self.up and not self._watch.doomed:
            self.due = self._watch.doom(boot)

    def ended(self, code: int | None, signum: int | None, boot: int) -> None:
        """The next one is told of it, until one is ready; not of one that made room for it."""
        pid, self.pid, self.due = self.pid, 0, None
        if not self.ready or code != 0:
            self.lost.append(Lost(pid, code, signum, self._watch.silent, boot))

    def put_off(self, boot: int) -> None:
        """Decide when the next one starts."""
        if self.ready and not self._ready_at.died_in_place(boot):
            self._failures = 0
            self.due = boot
            return
        self.due = boot + self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._failures += 1

    def hopeless(self, code: int | None) -> bool:
        """The very first core refused its configuration: a second one would too."""
        return len(self.lost) == 1 and not self.ready and code in HOPELESS

    def known(self) -> list[Any]:
        """What another object of this class must know to go on: plain data."""
        return [
            self._failures, self._watch.silence, self._watch.doomed, self.due, list(self.lost),
            self._ready_at.known(),
        ]  # fmt: skip

    def recall(self, known: Sequence[Any]) -> None:
        """Go on as the object that knew this. The watch begins anew."""
        self._failures, self._watch.silence, self._watch.doomed, self.due, lost, ready = known
        self.lost = [Lost(*one) for one in lost]
        self._ready_at.recall(ready)


class Watch:
    """How long the present core has been silent, counted in looks."""

    __slots__ = ("_missed", "doomed", "silence", "silent")

    def __init__(self, silence: int) -> None:
        self.silence = silence
        self.begin()

    def begin(self) -> None:
        """Another core."""
        self._missed = 0
        self.silent = 0  # ns: of a core that hangs
        self.doomed = False  # whatever it does, it is killed when its time is over

    def misses(self, *, heard: bool, patience: int) -> bool:
        """Whether the core hangs, now that it was heard since the last look, or was not."""
        self._missed = 0 if heard or not self.silence else self._missed + 1
        # The first look is at the beginning and says nothing.
        if self._missed <= LOOKS_PER_SILENCE * patience:
            return False
        self.silent = self.silence * patience
        return True

    def doom(self, boot: int) -> int:
        """It has to end by itself until then, or is killed."""
        self.doomed = True
        return boot + EXIT_WITHIN

    def next_look(self, boot: int) -> int | None:
        """When; None: never, unless somebody changes his mind."""
        return boot + self.silence // LOOKS_PER_SILENCE if self.silence else None


class Readiness:
    """Whether the present core works, and whether it got anywhere."""

    __slots__ = ("_head", "_in_place", "_since", "ready")

    def __init__(self) -> None:
        self.ready = False
        self._head = -1
        self._in_place = False
        self._since: int | None = None

    def known(self) -> list[Any]:
        return [self.ready, self._head, self._in_place, self._since]

    def recall(self, known: Sequence[Any]) -> None:
        self.ready, self._head, self._in_place, self._since = known

    def note(self, found: int, head: int) -> None:
        """`found` is where the last core that worked was when it said so: it got nowhere."""
        self.ready = True
        self._in_place = found == self._head
        self._head = head
        self._since = None

    def seen(self, boot: int) -> None:
        """The first look at a core that works says since when it does."""
        if self.ready and self._since is None:
            self._since = boot

    def died_in_place(self, boot: int) -> bool:
        """Two cores, one after the other, have died at one place, and this one at once."""
        return self._in_place and boot - (self._since or boot) < BRIEF


class CoreChild(CoreLife):
    """A core that is a process."""

    __slots__ = ("_argv", "_spawner", "link_fd", "pidfd")

    def __init__(
        self,
        argv: Callable[[int], Sequence[str]],
        spawner: Spawner,
        *,
        pauses: Sequence[int] = PAUSES,
        silence: int = SILENCE,
    ) -> None:
        super().__init__(pauses, silence)
        self._argv = argv
        self._spawner = spawner
        self.pidfd = -1
        self.link_fd = -1

    def start(self) -> int:
        """Start one; our end of its link. The other end is inheritable for this moment only."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with theirs:
            theirs.set_inheritable(True)
            launch = Launch(tuple(self._argv(theirs.fileno())), os.environ)
            pid = self._spawner.spawn(launch)
        return self.take(pid, ours.detach())

    def take(self, pid: int, link_fd: int) -> int:
        """This is the present core, and our end of its link."""
        self.begun(pid)
        self.pidfd = os.pidfd_open(pid)
        self.link_fd = link_fd
        return link_fd

    def abort(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGABRT)

    def kill(self) -> None:
        super().kill()
        if self.up:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def carry(self) -> dict[str, Any]:
        """For the next keeper in this process."""
        return {"pid": self.pid, "link": self.link_fd if self.up else -1, "life": self.known()}

    def restore(self, carried: Mapping[str, Any]) -> None:
        """As the keeper before us in this process knew it: the core is our child as it was his."""
        if carried["pid"]:
            self.take(carried["pid"], carried["link"])
        self.recall(carried["life"])

    def reap(self, boot: int) -> tuple[int | None, int | None]:
        """It has ended: code or signal. The link is the caller's to close."""
        seen = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert seen is not None
        os.close(self.pidfd)
        self.pidfd = -1
        exited = seen.si_code == os.CLD_EXITED
        code, signum = (seen.si_status, None) if exited else (None, seen.si_status)
        self.ended(code, signum, boot)
        return code, signum


class Start(NamedTuple):
    """What is there when the loop begins."""

    core: CoreChild | None
    wake_fd: int
    spawner: Spawner
    lock_fd: int = -1
    carried: Mapping[str, Any] | None = None  # by the keeper before us, in this process
