"""The real side of the comparison: a program that carries out scripts of system calls on Linux.

A line of its input is a script: a JSON list of calls (tests/sim/kernel_calls.py says which). A line
of its output is what Linux made of it: for each call its result, and how all processes stood when
they had come to rest. Processes are named by the order of their births; this one is -1.

The processes of a script are forks of this program that take orders from a pipe each, or `sleep`
started by the production kernel seam. This program is their sub-reaper and leads a session, so
that nobody else's processes are ever concerned; its own signals go through pidfds.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn

from circus.process import linux
from circus.process.kernel import Child, LinuxKernel
from circus.process.launch import Launch

HARNESS: Final = -1
NAMES_MAX: Final = 10
ANSWER_MS_MAX: Final = 20_000
REST_SECONDS_MAX: Final = 20.0
LOOKS_IN_A_ROW: Final = 10
LOOK_SECONDS: Final = 0.0003
ORDER: Final = struct.Struct("iiii")  # which, three numbers
REPLY: Final = struct.Struct("iiii")  # errno, three numbers
WORDS: Final = (
    "fork", "exit", "exec", "kill", "killpg", "raise", "raisepg", "ignore", "catch", "default",
    "block", "unblock", "setsid", "setpgid", "wait", "subreaper",
)  # fmt: skip
# Whoever is told this may not be there to answer.
SILENT: Final = {"exit", "exec", "raise", "raisepg", "unblock"}
# After these somebody may have to act on a signal.
RESTLESS: Final = {*SILENT, "kill", "killpg", "signal", "leftovers"}
SLEEP: Final = shutil.which("sleep") or "/bin/sleep"
ENV: Final = {"PATH": os.defpath}
KINDS: Final = (os.P_ALL, os.P_PID, os.P_PGID, linux.P_PIDFD)

Numbers = tuple[int, int, int]


# --- a process that takes orders ------------------------------------------------------------------


def live(inboxes: list[int], name: int, outbox: int) -> NoReturn:
    """Carry out orders until nobody is there to give any."""
    while True:
        letter = os.read(inboxes[name], ORDER.size)
        if len(letter) < ORDER.size:
            os._exit(0)
        which, *rest = ORDER.unpack(letter)
        word, numbers = WORDS[which], (rest[0], rest[1], rest[2])
        if word == "fork":
            pid = os.fork()
            if pid == 0:
                name = numbers[0]
                continue
            reply = (0, pid, 0, 0)
        else:
            reply = obey(word, numbers)
        if word not in SILENT:
            os.write(outbox, REPLY.pack(*reply))


def obey(word: str, numbers: Numbers) -> tuple[int, int, int, int]:
    """One system call: errno and what it gave."""
    try:
        return (0, *DEEDS[word](*numbers))
    except OSError as error:
        return (error.errno or errno.EINVAL, 0, 0, 0)


def _wait(kind: int, number: int, options: int) -> Numbers:
    seen = os.waitid(KINDS[kind], number, options)
    return (0, 0, 0) if seen is None else (seen.si_pid, seen.si_code, seen.si_status)


def _done(act: Callable[..., object], *arguments: object) -> Numbers:
    act(*arguments)
    return (0, 0, 0)


def _handle(signum: int, handler: Any) -> Numbers:
    try:
        signal.signal(signum, handler)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    return (0, 0, 0)


def _mask(how: int, signum: int) -> Numbers:
    return _done(signal.pthread_sigmask, how, [signum])


DEEDS: Final[dict[str, Callable[[int, int, int], Numbers]]] = {
    "exit": lambda code, _b, _c: os._exit(code),
    "exec": lambda _a, _b, _c: os.execve(SLEEP, ["sleep", "1000"], ENV),
    "kill": lambda pid, signum, _c: _done(os.kill, pid, signum),
    "killpg": lambda group, signum, _c: _done(os.killpg, group, signum),
    "raise": lambda signum, _b, _c: _done(os.kill, os.getpid(), signum),
    "raisepg": lambda signum, _b, _c: _done(os.killpg, os.getpgrp(), signum),
    "ignore": lambda signum, _b, _c: _handle(signum, signal.SIG_IGN),
    "catch": lambda signum, _b, _c: _handle(signum, lambda *_: None),
    "default": lambda signum, _b, _c: _handle(signum, signal.SIG_DFL),
    "block": lambda signum, _b, _c: _mask(signal.SIG_BLOCK, signum),
    "unblock": lambda signum, _b, _c: _mask(signal.SIG_UNBLOCK, signum),
    "setsid": lambda _a, _b, _c: _done(os.setsid),
    "setpgid": lambda pid, group, _c: _done(os.setpgid, pid, group),
    "wait": _wait,
    "subreaper": lambda flag, _b, _c: _done(linux.prctl, linux.PR_SET_CHILD_SUBREAPER, flag),
}


# --- one process as the harness sees it -----------------------------------------------------------


class Subject:
    """Held by a pidfd, so that no other process is ever taken for it."""

    __slots__ = ("child", "children", "over", "pid", "pidfd", "stat", "status")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        self.status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        self.children = _open_children(pid)
        self.over = False
        # What production holds of it; it closes its descriptor when it reaps.
        self.child = Child(pid, os.dup(self.pidfd), 0, 0)

    def look(self) -> tuple[str, int, int, int, bytes] | None:
        """State, parent, group, session, command; None: it is gone."""
        try:
            before, _, after = os.pread(self.stat, 1024, 0).rpartition(b")")
        except ProcessLookupError:
            return None
        state, parent, group, session = after.split(None, 4)[:4]
        return state.decode(), int(parent), int(group), int(session), before.partition(b"(")[2]

    def rests(self) -> bool:
        """Whether all that it has got has had its effect: it reads its orders, is stopped, over."""
        try:
            text = b"" if self.over else os.pread(self.status, 4096, 0)
        except ProcessLookupError:
            text = b""
        state = _field(text, b"State", 1) if text else b"Z"
        if state == b"Z":
            self.over = True
            return True
        pending = int(_field(text, b"SigPnd", 16), 16) | int(_field(text, b"ShdPnd", 16), 16)
        if state == b"T":
            return not pending & 1 << signal.SIGKILL - 1
        return state == b"S" and not pending & ~int(_field(text, b"SigBlk", 16), 16)

    def close(self) -> None:
        for fd in (self.pidfd, self.stat, self.status, self.children):
            _errno(os.close, fd)


def _open_children(pid: int) -> int:
    """-1: this kernel has no lists of children."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)
    except FileNotFoundError:
        return -1


def _field(text: bytes, name: bytes, size: int) -> bytes:
    start = text.index(name) + len(name) + 2
    return text[start : start + size]


# --- one script -----------------------------------------------------------------------------------


class Stage:
    """Carries out scripts, one after another, and leaves nobody behind."""

    def __init__(self) -> None:
        self.kernel = LinuxKernel()
        self.subjects: dict[int, Subject] = {}
        self._pipes = [os.pipe() for _ in range(NAMES_MAX)]
        self._replies, self._outbox = os.pipe()
        self._poll = select.poll()
        self._own_children = _open_children(os.getpid())
        self._names: dict[int, int] = {}  # by pid

    def play(self, script: list[list[Any]]) -> list[Any]:
        """What came of each call."""
        self._names = {os.getpid(): HARNESS}
        self._poll = select.poll()
        try:
            return list(self._steps(script))
        finally:
            self._clear()

    def _steps(self, script: list[list[Any]]) -> Iterator[list[Any]]:
        try:
            for call in script:
                yield [self._call(call), self._scene()]
        except TimeoutError as error:
            yield [str(error), []]

    def _call(self, call: list[Any]) -> Any:
        word, *rest = call
        result = getattr(self, f"_do_{word}")(*rest)
        if word in RESTLESS:
            self._rest()
        return result

    # -- births ------------------------------------------------------------------------------------

    def _do_spawn(self, name: int) -> int:
        child = self.kernel.spawn(Launch((SLEEP, "1000"), ENV))
        os.close(child.pidfd)
        self._know(name, child.pid)
        return 0

    def _do_fork(self, mother: int, name: int) -> int:
        if mother != HARNESS:
            self._know(name, self._order(mother, "fork", name)[1])
            return 0
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            for _, end in self._pipes:
                os.close(end)
            os.write(self._outbox, REPLY.pack(0, 0, 0, 0))
            live([end for end, _ in self._pipes], name, self._outbox)
        self._know(name, pid)
        self._hear("fork")
        return 0

    def _know(self, name: int, pid: int) -> None:
        self.subjects[name] = subject = Subject(pid)
        self._names[pid] = name
        self._poll.register(subject.pidfd, select.POLLIN)

    # -- what processes do -------------------------------------------------------------------------

    def _do_tell(self, name: int, word: str, *numbers: int) -> int:
        """An order with plain numbers."""
        return -self._order(name, word, *numbers)[0]

    def _do_raise(self, name: int, signum: int) -> int:
        self._order(name, "raise", signum)
        return 0

    def _do_raisepg(self, name: int, signum: int) -> int:
        self._order(name, "raisepg", signum)
        return 0

    def _do_exit(self, name: int, code: int) -> int:
        self._order(name, "exit", code)
        return 0

    def _do_unblock(self, name: int, signum: int) -> int:
        self._order(name, "unblock", signum)
        return 0

    def _do_exec(self, name: int) -> int:
        self._order(name, "exec")
        self._until(lambda: (self.subjects[name].look() or ("",) * 5)[4] == b"sleep", "no exec")
        return 0

    def _do_kill(self, name: int, target: int, signum: int) -> int:
        if name != HARNESS:
            return -self._order(name, "kill", self._pid(target), signum)[0]
        return _errno(signal.pidfd_send_signal, self.subjects[target].pidfd, signum)

    def _do_killpg(self, name: int, group: int, signum: int) -> int:
        if name != HARNESS:
            return -self._order(name, "killpg", self._pid(group), signum)[0]
        return _errno(os.killpg, self._pid(group), signum)

    def _do_setpgid(self, name: int, target: int, group: int) -> int:
        pid = 0 if target == name else self._pid(target)
        pgid = self._pid(group)
        if name != HARNESS:
            return -self._order(name, "setpgid", pid, pgid)[0]
        return _errno(os.setpgid, pid, pgid)

    def _do_wait(self, name: int, kind: int, target: int, options: int) -> Any:
        subject = self.subjects.get(target)
        number = 0 if subject is None else subject.pid
        if subject is not None and KINDS[kind] == linux.P_PIDFD:
            number = subject.pidfd
        if name != HARNESS:
            failed, pid, code, status = self._order(name, "wait", kind, number, options)
        else:
            failed, pid, code, status = obey("wait", (kind, number, options))
        if failed:
            return -failed
        return [self._name(pid), code, status] if pid else []

    # -- the production seam -----------------------------------------------------------------------

    def _do_peek(self, name: int) -> Any:
        try:
            ending = self.kernel.peek(self.subjects[name].child)
        except OSError as error:
            return -(error.errno or 0)
        return [] if ending is None else [ending.code, ending.signal, ending.core]

    def _do_reap(self, name: int) -> int:
        subject = self.subjects[name]
        self.kernel.reap(subject.child)
        subject.child = subject.child._replace(pidfd=-1)
        return 0

    def _do_signal(self, name: int, signum: int, scope: str, child: int | None) -> Any:
        pid = None if child is None else self._pid(child)
        pids, failed = self.kernel.signal(self.subjects[name].child, signum, scope, pid)
        return [-failed, sorted(map(self._name, pids))]

    def _do_strangers(self, known: list[int]) -> list[int]:
        return sorted(map(self._name, self.kernel.strangers([self._pid(one) for one in known])))

    def _do_leftovers(self, name: int) -> list[int]:
        return sorted(map(self._name, self.kernel.kill_leftovers(self.subjects[name].child)))

    def _do_orphans(self, names: list[int]) -> list[Any]:
        found = self.kernel.reap_orphans(frozenset(map(self._pid, names)))
        return sorted([self._name(one.pid), one.code, one.signal] for one in found)

    # -- what there is to see ----------------------------------------------------------------------

    def _scene(self) -> list[Any]:
        """Every process, and in which order everybody has his children."""
        readable = {fd for fd, event in self._poll.poll(0) if event & select.POLLIN}
        rows = [
            self._row(subject, readable=subject.pidfd in readable)
            for subject in self.subjects.values()
        ]
        return [self._born_to(self._own_children), *rows]

    def _row(self, subject: Subject, *, readable: bool) -> list[Any]:
        seen = subject.look()
        if seen is None:
            return ["gone", readable]
        state = seen[0] if seen[0] in "TZ" else "R"
        kin = [self._name(pid) for pid in seen[1:4]]
        return [state, readable, *kin, [] if state == "Z" else self._born_to(subject.children)]

    def _born_to(self, fd: int) -> list[int] | None:
        """Whose file of children this is; None: this kernel has none."""
        if fd < 0:
            return None
        try:
            return [self._name(int(word)) for word in os.pread(fd, 4096, 0).split()]
        except ProcessLookupError:
            return []

    # -- parts -------------------------------------------------------------------------------------

    def _pid(self, name: int) -> int:
        return os.getpid() if name == HARNESS else self.subjects[name].pid

    def _name(self, pid: int) -> int:
        return self._names.get(pid, -pid)

    def _order(self, name: int, word: str, *numbers: int) -> tuple[int, ...]:
        padded = (*numbers, 0, 0, 0)[:3]
        os.write(self._pipes[name][1], ORDER.pack(WORDS.index(word), *padded))
        return (0, 0, 0, 0) if word in SILENT else self._hear(word)

    def _hear(self, word: str) -> tuple[int, ...]:
        if not select.select([self._replies], [], [], ANSWER_MS_MAX / 1000)[0]:
            raise TimeoutError(f"no answer to {word}")
        return REPLY.unpack(os.read(self._replies, REPLY.size))

    def _rest(self) -> None:
        """Until two looks in a row have found everybody at rest: the first may have missed one."""
        quiet = 0

        def calm() -> bool:
            nonlocal quiet
            restless = [one for one in self.subjects.values() if not one.rests()]
            quiet = 0 if restless else quiet + 1
            return quiet > 1

        self._until(calm, "no rest")

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + REST_SECONDS_MAX
        looks = 0
        while not condition():
            looks += 1
            if looks < LOOKS_IN_A_ROW:
                os.sched_yield()
            else:
                select.select([], [], [], LOOK_SECONDS)
            if time.monotonic() > deadline:
                raise TimeoutError(otherwise)

    def _clear(self) -> None:
        """End whoever is left and wait for all of them; nobody may send us a late answer."""
        for subject in self.subjects.values():
            _errno(signal.pidfd_send_signal, subject.pidfd, signal.SIGKILL)
        while _errno(os.waitid, os.P_ALL, 0, os.WEXITED) == 0:
            pass
        for subject in self.subjects.values():
            subject.close()
            _errno(os.close, subject.child.pidfd)
        self.subjects.clear()
        self._drain([self._replies, *(end for end, _ in self._pipes)])

    def _drain(self, ends: Iterable[int]) -> None:
        for end in select.select(list(ends), [], [], 0)[0]:
            os.read(end, 65536)


def _errno(call: Callable[..., object], *arguments: object) -> int:
    """0, or the errno with a minus."""
    try:
        call(*arguments)
    except OSError as error:
        return -(error.errno or errno.EINVAL)
    return 0


def main() -> None:
    """Scripts in, what came of them out."""
    os.setsid()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # neither a core file nor a core pipe
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signum not in (32, 33):  # the C library's own
            signal.signal(signum, signal.SIG_DFL)
    # Of an orphaned group with a stopped member all are hung up, and we may be one of them.
    signal.signal(signal.SIGHUP, lambda *_: None)
    stage = Stage()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(stage.play(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
