"""Room: process -- the few system calls that Python's standard library does not offer.

Knows:     ctypes, the numbers of the kernel's interface.
Known by:  process.kernel (the production seam), process.keeper_loop (what it sets on itself).
Never:     decides; keeps state beyond two buffers; imports a third party.

`os.waitid` drops the rusage that the kernel fills in, and `wait4` would reap. So `peek` makes the
raw call with five arguments: it sees how a child ended and what it used, and leaves the zombie
where it is until the exit is in the ledger.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import Final, NamedTuple

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
CLOSE_RANGE_CLOEXEC: Final = 4
FD_MAX: Final = 2**32 - 1

P_PIDFD: Final = 3
PEEK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
CLD_EXITED: Final = 1
CLD_DUMPED: Final = 3

# The number of waitid(2) where `long` has 64 bits and siginfo has the common layout; elsewhere
# `peek` falls back to os.waitid and the rusage is empty.
WAITID: Final = {
    "x86_64": 247, "aarch64": 95, "riscv64": 95, "loongarch64": 95, "ppc64le": 272, "s390x": 281,
}.get(os.uname().machine if os.sysconf("SC_LONG_BIT") == 64 else "")  # fmt: skip

RUSAGE_NAMES: Final = ("minflt", "majflt", "inblock", "oublock", "nvcsw", "nivcsw")

CLONE3: Final = 435  # on every machine
CLONE_INTO_CGROUP: Final = 1 << 33
_CLONE_ARGUMENTS: Final = struct.Struct("11Q")

_libc = ctypes.CDLL(None, use_errno=True)
# Without letting go of the interpreter's lock: the child could not take it again.
_syscall_with_lock = ctypes.PyDLL(None, use_errno=True).syscall
_syscall = _libc.syscall
_prctl = _libc.prctl
_siginfo = ctypes.create_string_buffer(128)
_rusage = ctypes.create_string_buffer(144)
_unpack_siginfo: Final = struct.Struct("iii4xiii").unpack_from
_unpack_rusage: Final = struct.Struct("18q").unpack_from


class Ending(NamedTuple):
    """How a process ended: a code or a signal, whether it left a core, what it used."""

    code: int | None
    signal: int | None
    core: bool
    rusage: dict[str, int]


def peek(pidfd: int) -> Ending | None:
    """How the child behind `pidfd` ended, without reaping it; None while it runs."""
    if WAITID is None:
        return _peek_without_rusage(pidfd)
    if _syscall(WAITID, P_PIDFD, pidfd, _siginfo, PEEK, _rusage) != 0:
        _raise("waitid")
    _, _, how, pid, _, status = _unpack_siginfo(_siginfo)
    if pid == 0:
        return None
    return _ending(how, status, _usage())


def fork_into(group: int) -> int:
    """Fork; the child begins in the cgroup behind this descriptor. Raises OSError (before 5.7).

    To move a process afterwards makes the kernel wait for every processor, 30 ms and more. The
    interpreter hears nothing of this fork: it is for a process of one thread, and for a child that
    does no more than what leads to its exec.
    """
    arguments = ctypes.create_string_buffer(_CLONE_ARGUMENTS.pack(
        CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, group
    ))  # fmt: skip
    pid: int = _syscall_with_lock(CLONE3, arguments, _CLONE_ARGUMENTS.size)
    if pid < 0:
        _raise("clone3")
    return pid


def prctl(option: int, value: int) -> None:
    """One of the PR_SET_* switches with one number."""
    if _prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        _raise("prctl")


def name_process(name: str) -> None:
    """What /proc/PID/comm says, at most 15 bytes."""
    if _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0) != 0:
        _raise("prctl")


def close_on_exec_from(lowest: int) -> None:
    """Nothing from `lowest` up survives an exec: neither what we opened nor what we inherited."""
    close_range = getattr(_libc, "close_range", None)
    if close_range and close_range(lowest, ctypes.c_uint(FD_MAX), CLOSE_RANGE_CLOEXEC) == 0:
        return
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= lowest:
            _keep_from_exec(int(name))


def _keep_from_exec(fd: int) -> None:
    try:
        os.set_inheritable(fd, False)
    except OSError:
        # The descriptor of the listing itself is in the listing, and closed by now.
        return


def _peek_without_rusage(pidfd: int) -> Ending | None:
    seen = os.waitid(os.P_PIDFD, pidfd, PEEK)
    return None if seen is None else _ending(seen.si_code, seen.si_status, {})


def _ending(how: int, status: int, rusage: dict[str, int]) -> Ending:
    if how == CLD_EXITED:
        return Ending(status, None, False, rusage)
    return Ending(None, status, how == CLD_DUMPED, rusage)


def _usage() -> dict[str, int]:
    (user_s, user_us, system_s, system_us, maxrss, _, _, _, minflt, majflt, _,
     inblock, oublock, _, _, _, nvcsw, nivcsw) = _unpack_rusage(_rusage)  # fmt: skip
    return {
        "utime": user_s * 1_000_000_000 + user_us * 1_000,
        "stime": system_s * 1_000_000_000 + system_us * 1_000,
        "maxrss": maxrss, "minflt": minflt, "majflt": majflt, "inblock": inblock,
        "oublock": oublock, "nvcsw": nvcsw, "nivcsw": nivcsw,
    }  # fmt: skip


def _raise(call: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")
