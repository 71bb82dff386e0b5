"""The real side of the comparison: a program that carries out scripts of system calls on Linux.

A line of its input is a script: a JSON list of calls (kernel_scripts.py draws them). A line of its
output is what Linux made of it: for each call its result, and how all processes stood when they
had come to rest. Processes are named by the order of their births; this one is -1.

The processes of a script are forks of this program that take orders from a pipe each, or `sleep`
started by the production kernel seam. This program is their sub-reaper and leads a session, so
that nobody else's processes are ever concerned; its own signals go through pidfds.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from circus.process import linux
from circus.process.kernel import LinuxKernel
from circus.process.launch import Launch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kernel_orders import ENV, KINDS, ORDER, REPLY, SILENT, SLEEP, WORDS, live, obey
from kernel_subject import Subject, errno_of, open_children

HARNESS: Final = -1
NAMES_MAX: Final = 10
ANSWER_MS_MAX: Final = 20_000
REST_SECONDS_MAX: Final = 20.0
LOOKS_IN_A_ROW: Final = 10
LOOK_SECONDS: Final = 0.0003
# After these somebody may have to act on a signal.
RESTLESS: Final = {*SILENT, "kill", "killpg", "signal", "leftovers"}

# --- one script -----------------------------------------------------------------------------------


class Stage:
    """Carries out scripts, one after another, and leaves nobody behind."""

    def __init__(self) -> None:
        self.kernel = LinuxKernel()
        self.subjects: dict[int, Subject] = {}
        self._pipes = [os.pipe() for _ in range(NAMES_MAX)]
        self._replies, self._outbox = os.pipe()
        self._poll = select.poll()
        self._own_children = open_children(os.getpid())
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
        result = MOVES[word](self, *rest)
        if word in RESTLESS:
            self._rest()
        return result

    def know(self, name: int, pid: int) -> None:
        self.subjects[name] = subject = Subject(pid)
        self._names[pid] = name
        self._poll.register(subject.pidfd, select.POLLIN)

    # -- the production seam -----------------------------------------------------------------------

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
        kin = [self.name(pid) for pid in seen[1:4]]
        return [state, readable, *kin, [] if state == "Z" else self._born_to(subject.children)]

    def _born_to(self, fd: int) -> list[int] | None:
        """Whose file of children this is; None: this kernel has none."""
        if fd < 0:
            return None
        try:
            return [self.name(int(word)) for word in os.pread(fd, 4096, 0).split()]
        except ProcessLookupError:
            return []

    # -- parts -------------------------------------------------------------------------------------

    def pid(self, name: int) -> int:
        return os.getpid() if name == HARNESS else self.subjects[name].pid

    def name(self, pid: int) -> int:
        return self._names.get(pid, -pid)

    def order(self, name: int, word: str, *numbers: int) -> tuple[int, ...]:
        padded = (*numbers, 0, 0, 0)[:3]
        os.write(self._pipes[name][1], ORDER.pack(WORDS.index(word), *padded))
        return (0, 0, 0, 0) if word in SILENT else self.hear(word)

    def hear(self, word: str) -> tuple[int, ...]:
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

        _until(calm, "no rest")

    def _clear(self) -> None:
        """End whoever is left and wait for all of them; nobody may send us a late answer."""
        for subject in self.subjects.values():
            errno_of(signal.pidfd_send_signal, subject.pidfd, signal.SIGKILL)
        while errno_of(os.waitid, os.P_ALL, 0, os.WEXITED) == 0:
            pass
        # Whom nobody had to wait for may still be on his way out, in the list of our children.
        _until(lambda: not self._born_to(self._own_children), "somebody is left")
        for subject in self.subjects.values():
            subject.close()
            errno_of(os.close, subject.child.pidfd)
        self.subjects.clear()
        self._drain([self._replies, *(end for end, _ in self._pipes)])

    def _drain(self, ends: Iterable[int]) -> None:
        for end in select.select(list(ends), [], [], 0)[0]:
            os.read(end, 65536)


def _until(condition: Callable[[], bool], otherwise: str) -> None:
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


# --- the calls ------------------------------------------------------------------------------------


def _spawn(stage: Stage, name: int) -> int:
    child = stage.kernel.spawn(Launch((SLEEP, "1000"), ENV))
    os.close(child.pidfd)
    stage.know(name, child.pid)
    return 0


def _fork(stage: Stage, mother: int, name: int) -> int:
    if mother != HARNESS:
        stage.know(name, stage.order(mother, "fork", name)[1])
        return 0
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for _, end in stage._pipes:
            os.close(end)
        os.write(stage._outbox, REPLY.pack(0, 0, 0, 0))
        live([end for end, _ in stage._pipes], name, stage._outbox)
    stage.know(name, pid)
    stage.hear("fork")
    return 0


def _tell(stage: Stage, name: int, word: str, *numbers: int) -> int:
    """An order with plain numbers."""
    return -stage.order(name, word, *numbers)[0]


def _raise(stage: Stage, name: int, signum: int) -> int:
    stage.order(name, "raise", signum)
    return 0


def _raisepg(stage: Stage, name: int, signum: int) -> int:
    stage.order(name, "raisepg", signum)
    return 0


def _exit(stage: Stage, name: int, code: int) -> int:
    stage.order(name, "exit", code)
    return 0


def _unblock(stage: Stage, name: int, signum: int) -> int:
    stage.order(name, "unblock", signum)
    return 0


def _exec(stage: Stage, name: int) -> int:
    stage.order(name, "exec")
    _until(lambda: (stage.subjects[name].look() or ("",) * 5)[4] == b"sleep", "no exec")
    return 0


def _kill(stage: Stage, name: int, target: int, signum: int) -> int:
    if name != HARNESS:
        return -stage.order(name, "kill", stage.pid(target), signum)[0]
    return errno_of(signal.pidfd_send_signal, stage.subjects[target].pidfd, signum)


def _killpg(stage: Stage, name: int, group: int, signum: int) -> int:
    if name != HARNESS:
        return -stage.order(name, "killpg", stage.pid(group), signum)[0]
    return errno_of(os.killpg, stage.pid(group), signum)


def _setpgid(stage: Stage, name: int, target: int, group: int) -> int:
    pid = 0 if target == name else stage.pid(target)
    pgid = stage.pid(group)
    if name != HARNESS:
        return -stage.order(name, "setpgid", pid, pgid)[0]
    return errno_of(os.setpgid, pid, pgid)


def _wait(stage: Stage, name: int, kind: int, target: int, options: int) -> Any:
    subject = stage.subjects.get(target)
    number = 0 if subject is None else subject.pid
    if subject is not None and KINDS[kind] == linux.P_PIDFD:
        number = subject.pidfd
    if name != HARNESS:
        failed, pid, code, status = stage.order(name, "wait", kind, number, options)
    else:
        failed, pid, code, status = obey("wait", (kind, number, options))
    if failed:
        return -failed
    return [stage.name(pid), code, status] if pid else []


def _peek(stage: Stage, name: int) -> Any:
    try:
        ending = stage.kernel.peek(stage.subjects[name].child)
    except OSError as error:
        return -(error.errno or 0)
    return [] if ending is None else [ending.code, ending.signal, ending.core]


def _reap(stage: Stage, name: int) -> int:
    subject = stage.subjects[name]
    stage.kernel.reap(subject.child)
    subject.child = subject.child._replace(pidfd=-1)
    return 0


def _signal(stage: Stage, name: int, signum: int, scope: str, child: int | None) -> Any:
    pid = None if child is None else stage.pid(child)
    pids, failed = stage.kernel.signal(stage.subjects[name].child, signum, scope, pid)
    return [-failed, sorted(map(stage.name, pids))]


def _strangers(stage: Stage, known: list[int]) -> list[int]:
    return sorted(map(stage.name, stage.kernel.strangers([stage.pid(one) for one in known])))


def _leftovers(stage: Stage, name: int) -> list[int]:
    return sorted(map(stage.name, stage.kernel.kill_leftovers(stage.subjects[name].child)))


def _orphans(stage: Stage, names: list[int]) -> list[Any]:
    found = stage.kernel.reap_orphans(frozenset(map(stage.pid, names)))
    return sorted([stage.name(one.pid), one.code, one.signal] for one in found)


MOVES: Final[dict[str, Callable[..., Any]]] = {
    "spawn": _spawn,
    "fork": _fork,
    "tell": _tell,
    "raise": _raise,
    "raisepg": _raisepg,
    "exit": _exit,
    "unblock": _unblock,
    "exec": _exec,
    "kill": _kill,
    "killpg": _killpg,
    "setpgid": _setpgid,
    "wait": _wait,
    "peek": _peek,
    "reap": _reap,
    "signal": _signal,
    "strangers": _strangers,
    "leftovers": _leftovers,
    "orphans": _orphans,
}


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
