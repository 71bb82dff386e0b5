"""A process that takes orders: each is one system call, made by it, and answered through a pipe."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn

from circus.process import linux

ORDER: Final = struct.Struct("iiii")  # which, three numbers
REPLY: Final = struct.Struct("iiii")  # errno, three numbers
WORDS: Final = (
    "fork", "exit", "exec", "kill", "killpg", "raise", "raisepg", "ignore", "catch", "default",
    "block", "unblock", "setsid", "setpgid", "wait", "subreaper",
)  # fmt: skip
# Whoever is told this may not be there to answer.
SILENT: Final = {"exit", "exec", "raise", "raisepg", "unblock"}
SLEEP: Final = shutil.which("sleep") or "/bin/sleep"
ENV: Final = {"PATH": os.defpath}
KINDS: Final = (os.P_ALL, os.P_PID, os.P_PGID, linux.P_PIDFD)

Numbers = tuple[int, int, int]


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
