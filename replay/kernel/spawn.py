"""Room: replay -- the weather of the simulated kernel: what goes wrong there, and how often.

Knows:     process.launch (what is to be started), the errors of Linux.
Known by:  replay.kernel.kernel, replay.kernel.lives; whoever sets the rates.
Never:     makes anything happen: it is asked.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Mapping
from typing import Final, NamedTuple

import attr

from circus.process.fast_road import SpawnFailed
from circus.process.launch import Launch

MS: Final = 1_000_000
EXEC_HANG_MAX: Final = 400 * MS
EARLY_DEATH_MAX: Final = 2 * MS  # before anybody is told that it was started
SIGCHLD_LATE_MAX: Final = 3_000 * MS
PIDFD_LATE_MAX: Final = 1_000 * MS
TRACED_MAX: Final = 1_500 * MS
# What the kernel allows for one string and for all of them: 32 pages, and a quarter of the stack.
STRING_BYTES_MAX: Final = 128 * 1024
STRINGS_BYTES_MAX: Final = 2 * 1024 * 1024
USERS: Final[Mapping[str, int]] = {"root": 0, "daemon": 1, "www-data": 33, "nobody": 65534}


class SpawnFault(NamedTuple):
    """A spawn that fails: at which step, with which errno."""

    step: str
    errno: int

    @property
    def name(self) -> str:
        return f"spawn: {self.step} {errno.errorcode[self.errno]}"


SPAWN_FAULTS: Final = tuple(
    SpawnFault(step, number)
    for step, number in (
        ("fork", errno.EAGAIN), ("fork", errno.ENOMEM), ("fork", errno.EMFILE),
        ("fork", errno.ENFILE), ("exec", errno.ENOENT), ("exec", errno.EACCES),
        ("exec", errno.ENOEXEC), ("exec", errno.ETXTBSY), ("exec", errno.E2BIG),
        ("uid", errno.EPERM), ("chdir", errno.ENOENT),
    )
)  # fmt: skip

EXEC_HANGS: Final = "exec hangs"
DIES_UNBORN: Final = "dies before its spawn returns"
DIES_UNTOLD: Final = "dies before its start is told"
SIGCHLD_LATE: Final = "SIGCHLD late"
SIGCHLD_MERGED: Final = "SIGCHLD merged"
SIGCHLD_SPURIOUS: Final = "SIGCHLD spurious"
PIDFD_LATE: Final = "pidfd readable late"
TRACED: Final = "end shown late by a debugger"
KERNEL_FAULTS: Final = (
    *(fault.name for fault in SPAWN_FAULTS), EXEC_HANGS, DIES_UNBORN, DIES_UNTOLD, SIGCHLD_LATE,
    SIGCHLD_MERGED, SIGCHLD_SPURIOUS, PIDFD_LATE, TRACED,
)  # fmt: skip


@attr.s(auto_attribs=True, slots=True)
class KernelWeather:
    """How often the kernel does what it may do but mostly does not; all 0: a calm day."""

    spawn_fault: float = 0.0  # of all spawns
    exec_hang: float = 0.0  # of all spawns: the program's file is far away
    early_death: float = 0.0  # of all spawns: the machine is out of memory and kills it
    sigchld_late: float = 0.0  # of all SIGCHLD
    sigchld_spurious: float = 0.0  # for each spawn and signal
    pidfd_late: float = 0.0  # of all ends
    traced: float = 0.0  # of all ends
    spawn_faults: tuple[SpawnFault, ...] = SPAWN_FAULTS  # which kinds there are today

    @classmethod
    def drawn(cls, chance: random.Random) -> KernelWeather:
        """Half of all faults are absent from a day, and so are some kinds of failing spawns."""

        def rate(most: float) -> float:
            return most * chance.random() if chance.random() < 0.5 else 0.0

        kinds = tuple(fault for fault in SPAWN_FAULTS if chance.random() < 0.5)
        return cls(
            spawn_fault=rate(0.2),
            exec_hang=rate(0.02),
            early_death=rate(0.1),
            sigchld_late=rate(0.3),
            sigchld_spurious=rate(0.1),
            pidfd_late=rate(0.1),
            traced=rate(0.05),
            spawn_faults=kinds or SPAWN_FAULTS,
        )

    def spoil(self, chance: random.Random) -> SpawnFault | None:
        """What is wrong with a spawn; None: nothing."""
        if self.spawn_fault and chance.random() < self.spawn_fault:
            return chance.choice(self.spawn_faults)
        return None


def uid_of(launch: Launch, own: int) -> int:
    """Who the child becomes. Raises SpawnFailed where there is no such user, or we are not root."""
    user = launch.uid
    if user is None:
        return own
    uid = USERS.get(user) if isinstance(user, str) and not user.isdigit() else int(user)
    if uid is None:
        raise SpawnFailed("user", errno.ENOENT)
    if own not in (0, uid):
        raise SpawnFailed("uid", errno.EPERM)
    return uid


def refuse_too_long(launch: Launch) -> None:
    """Raises SpawnFailed where exec would not take the arguments and the environment."""
    sizes = [len(word) + 1 for word in launch.argv]
    sizes += [len(name) + len(value) + 2 for name, value in launch.env.items()]
    if max(sizes, default=0) > STRING_BYTES_MAX or sum(sizes) > STRINGS_BYTES_MAX:
        raise SpawnFailed("exec", errno.E2BIG)
