"""Room: process -- a cgroup (v2) for each process, where somebody has given us a part of that tree.

Knows:     the files of the kernel's interface; process.linux.
Known by:  process.holdings (owns it), process.kernel (kills, asks and clears).
Never:     touches a cgroup that was not given to us; is the reason that a process is not watched.

What a program starts stays in its cgroup, whatever it does about groups, sessions and parents: the
whole of it is killed by one write, and the kernel counts there whom it killed for want of memory.

`auto` means our own cgroup, if it is delegated: systemd marks it so (`Delegate=yes`), and gives it
to the user of the service. A cgroup that has controllers for its children may hold no process
itself, so that we move into one of our own there first.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

OFF: Final = "off"
AUTO: Final = "auto"
LOG_DIGITS: Final = 12
OURSELVES: Final = "circus-itself"
MARKS: Final = ("user.delegate", "trusted.delegate")
CLEARED_PER_SPAWN: Final = 8


class Cgroups:
    """Below `root`, one directory for each process; "" where there is none."""

    __slots__ = ("_complain", "_full", "root")

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._full: list[str] = []  # of processes that are over, with others in them still
        self.root = ""

    def settle(self, settings: Mapping[str, Any]) -> None:
        """As the configuration says: `cgroup`; and for which ledger, `log`."""
        wanted, log = settings.get("cgroup", OFF), settings.get("log", "")
        base = "" if wanted == OFF else own_if_delegated() if wanted == AUTO else str(wanted)
        if not base or not log:
            self.root = ""
            return
        try:
            if wanted == AUTO:
                _make_room(base)
            self.root = _root_in(base, log)
        except OSError as error:
            self._complain(f"no cgroups: {error.filename}: {error.strerror}")
            self.root = ""

    def make(self, spawn_id: int) -> str:
        """The cgroup of a process that is about to be started; "" if there is none to be had."""
        if not self.root or not spawn_id:
            return ""
        for _ in range(min(CLEARED_PER_SPAWN, len(self._full))):
            self.clear(self._full.pop(0))
        path = os.path.join(self.root, str(spawn_id))
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return path  # A spawn that failed has left it.
        except OSError as error:
            self._complain(f"no cgroup for {spawn_id}: {error.strerror}")
            return ""
        return path

    def of(self, pid: int) -> str:
        """That of a process which another keeper has started; "" if it is none of ours."""
        name = os.path.basename(_own_name(f"/proc/{pid}"))
        path = os.path.join(self.root, name)
        return path if self.root and name.isdigit() and pid in members(path) else ""

    def clear(self, path: str) -> None:
        """Its process is over. What others it holds keep it until they are over too."""
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                self._full.append(path)

    def close(self) -> None:
        """Everything is over: what is empty goes."""
        for path in (*self._full, self.root):
            if path:
                self.clear(path)


def fork_into(path: str) -> int:
    """Fork; the child begins in this cgroup where the kernel can do that, and calls `enter`."""
    from circus.process import linux  # with ctypes, for which no first core is to wait

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return linux.fork_into(fd)
    except OSError:
        return os.fork()  # An older kernel, or somebody filters this call.
    finally:
        os.close(fd)


def enter(path: str) -> None:
    """Be in it. For a child, before it becomes what it is to be."""
    if os.path.basename(_own_name("/proc/self")) != os.path.basename(path):
        _write(os.path.join(path, "cgroup.procs"), "0")


def members(path: str) -> tuple[int, ...]:
    """Who is in it, zombies not counted."""
    try:
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            return tuple(int(line) for line in file)
    except OSError:
        return ()


def kill(path: str) -> tuple[int, ...] | None:
    """SIGKILL to all of it at once; who that was. None: there is none, or this kernel cannot do it
    (before 5.14)."""
    if not path:
        return None
    found = members(path)
    try:
        _write(os.path.join(path, "cgroup.kill"), "1")
    except OSError:
        return None
    return found


def oom_kills(path: str) -> int:
    """How many of it the kernel has killed for want of memory; 0 where nobody counts."""
    try:
        with open(os.path.join(path, "memory.events"), encoding="ascii") as file:
            counts = dict(line.split() for line in file)
    except (OSError, ValueError):
        return 0
    return int(counts.get("oom_kill", 0))


def own_if_delegated(proc: str = "/proc/self") -> str:
    """Our own cgroup, where its tree is ours to shape; "" where it is not."""
    path = _own(proc)
    if not path:
        return ""
    owner = os.stat(path).st_uid
    ours = owner == os.geteuid() and owner != 0  # Root owns everything, and that says nothing.
    return path if ours or any(_has_mark(path, name) for name in MARKS) else ""


def _own_name(proc: str) -> str:
    """The cgroup (v2) of a process as the kernel names it; "" if it has none, or is gone."""
    try:
        with open(f"{proc}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except OSError:
        return ""


def _own(proc: str) -> str:
    name = _own_name(proc)
    try:
        with open(f"{proc}/mountinfo", encoding="utf-8") as file:
            mounts = [line.split() for line in file]
        mount = next(words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2")
    except (OSError, StopIteration, ValueError):
        return ""
    path = os.path.join(mount, name.lstrip("/"))
    return path if name and os.path.isdir(path) else ""


def _has_mark(path: str, name: str) -> bool:
    try:
        return os.getxattr(path, name) == b"1"
    except OSError:
        return False


def _root_in(base: str, log: str) -> str:
    """A directory for the processes of this ledger, in which we may make others."""
    root = os.path.join(base, f"circus-{log[:LOG_DIGITS]}")
    os.stat(os.path.join(base, "cgroup.procs"))  # Anywhere else we have no business.
    os.makedirs(root, 0o755, exist_ok=True)
    probe = os.path.join(root, "probe")
    os.mkdir(probe, 0o755)
    os.rmdir(probe)
    for place in (base, root):
        _enable_memory(place)
    return root


def _make_room(base: str) -> None:
    """Everybody who is there goes into one cgroup below it."""
    place = os.path.join(base, OURSELVES)
    os.makedirs(place, 0o755, exist_ok=True)
    for pid in members(base):
        _write(os.path.join(place, "cgroup.procs"), str(pid))


def _enable_memory(place: str) -> None:
    """Where that is refused nobody counts, and all the rest works."""
    try:
        _write(os.path.join(place, "cgroup.subtree_control"), "+memory")
    except OSError:
        return


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
