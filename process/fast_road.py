"""Room: process -- the fast road: CPython's own vfork and exec, in the one place that knows it.

Knows:     nothing of the project.
Known by:  process.spawn.
Never:     runs a line of Python between fork and exec.

`_posixsubprocess.fork_exec` is private: its signature is tried on every Python that we support, and
where it differs `subprocess.Popen` does the same, more slowly.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, NamedTuple

fork_exec: Callable[..., int] | None
try:
    import _posixsubprocess
except ImportError:
    # Another Python; the fallback is slower and does the same.
    fork_exec = None
else:
    fork_exec = getattr(_posixsubprocess, "fork_exec", None)

MISSING_PROGRAMS: Final = 500
REPORT_BYTES_MAX: Final = 4096
INHERIT: Final = (-1, -1, -1)


class SpawnFailed(Exception):
    """Not one instruction of the program ran: `step` and `errno` say what refused."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.errno = number


class Prepared(NamedTuple):
    """A launch in the form that the system calls want, encoded once."""

    argv: list[bytes]
    env: list[bytes]
    programs: tuple[bytes, ...]
    cwd: bytes | None
    umask: int
    group: str = ""  # the cgroup to begin in, for which it takes the full road


class Pipe:
    """Carries the error of an exec. Shared: never closed in between, and read without waiting."""

    __slots__ = ("_read", "_shared", "_write")

    def __init__(self, *, shared: bool) -> None:
        flags = os.O_CLOEXEC | (os.O_NONBLOCK if shared else 0)
        try:
            self._read, self._write = os.pipe2(flags)
        except OSError as error:
            raise SpawnFailed("fork", error.errno or errno.EMFILE) from error
        self._shared = shared

    @property
    def ends(self) -> tuple[int, int]:
        """For the child: where it reads nothing, and where it writes."""
        return self._read, self._write

    def report(self) -> bytes:
        """What the child had to say; nothing if it runs its program."""
        if not self._shared:
            os.close(self._write)
            self._write = -1
        try:
            return os.read(self._read, REPORT_BYTES_MAX)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for end in (self._read, self._write):
            if end >= 0:
                os.close(end)


def shared_pipe() -> Pipe | None:
    """A pipe for all spawns, if a child that fails after long has said so when the call returns."""
    missing = tuple(b"/nonexistent/%d" % number for number in range(MISSING_PROGRAMS))
    pipe = Pipe(shared=True)
    try:
        probe = Prepared([b"x"], [], missing, None, -1)
        late = by_fork_exec(probe, INHERIT, close=False, pipe=pipe)
        os.waitpid(late, 0)
    except SpawnFailed as error:
        if error.step == "exec":
            return pipe
    except TypeError:
        pass  # The private signature has changed: the first real spawn finds that out too.
    pipe.close()
    return None


def by_fork_exec(
    prepared: Prepared, streams: tuple[int, int, int], *, close: bool, pipe: Pipe | None
) -> int:
    """The one place that knows the private signature (the same in CPython 3.11, 3.12, 3.13)."""
    assert fork_exec is not None
    errors = pipe or Pipe(shared=False)
    read, write = errors.ends
    stdin, stdout, stderr = streams
    try:
        pid = fork_exec(
            prepared.argv, prepared.programs,
            close, (write,), prepared.cwd, prepared.env,
            stdin, -1, -1, stdout, -1, stderr, read, write,
            True, True, -1, None, None, None, prepared.umask, None, True,
        )  # fmt: skip
        report = errors.report()
    except OSError as error:
        raise SpawnFailed("fork", error.errno or errno.EAGAIN) from error
    finally:
        if errors is not pipe:
            errors.close()
    if report:
        os.waitpid(pid, 0)
        raise _meaning(report, prepared)
    return int(pid)


def _meaning(report: bytes, prepared: Prepared) -> SpawnFailed:
    """What fork_exec's child wrote: `OSError:<errno in hex>:<noexec…, unless exec refused>`."""
    kind, number, words = (*report.split(b":", 2), b"", b"")[:3]
    if kind != b"OSError":
        return SpawnFailed("fork", errno.EAGAIN)
    if words.startswith(b"noexec"):
        return SpawnFailed("chdir" if prepared.cwd is not None else "stdio", int(number, 16))
    return SpawnFailed("exec", int(number, 16))


def by_popen(
    prepared: Prepared, streams: tuple[int, int, int], *, close: bool, pipe: Pipe | None
) -> int:
    """The same with the public interface: tries each place by itself, as exec would."""
    from subprocess import Popen, SubprocessError

    env = dict(pair.split(b"=", 1) for pair in prepared.env)
    found = errno.ENOENT
    stdin, stdout, stderr = (None if fd < 0 else fd for fd in streams)
    for program in prepared.programs:
        try:
            child = Popen(
                prepared.argv, executable=program, cwd=prepared.cwd, env=env,
                stdin=stdin, stdout=stdout, stderr=stderr,
                close_fds=close, start_new_session=True, umask=prepared.umask,
            )  # fmt: skip
        except SubprocessError as error:
            raise SpawnFailed("fork", errno.EAGAIN) from error
        except OSError as error:
            if prepared.cwd is not None and error.filename == prepared.cwd:
                raise SpawnFailed("chdir", error.errno or 0) from error
            found = worse(found, error.errno or 0)
            continue
        # We reap by pidfd; the object must not do it when it is collected.
        child.returncode = 0
        return child.pid
    raise SpawnFailed("exec", found)


def worse(found: int, number: int) -> int:
    """Of several places that refused, the errno that says most: "not here" says least."""
    return found if number in (errno.ENOENT, errno.ENOTDIR) else number
