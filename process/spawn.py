"""Room: process -- two roads from a launch to a running program.

Knows:     process.launch, process.identity (when somebody else is asked for).
Known by:  process.kernel, process.process (standalone), process.keeper (to start the core).
Never:     waits for a program to end; leaks anything of this process into the child.

Fast: `_posixsubprocess.fork_exec`, which vforks, so that its cost does not grow with our memory.
It is CPython's own and private: it is called in one place, its signature is tried on every Python
that we support, and where it differs we fall back to `subprocess.Popen`.
Full: `os.fork` and one step after another in Python, for what the fast road cannot do: another
user or group, resource limits, sockets at their numbers, a reset of ignored or blocked signals. A
step that fails ends the child and comes back as (step, errno) through a close-on-exec pipe, whose
end of file says that the program runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from circus.process.cgroups import enter, fork_into
from circus.process.fast_road import (
    INHERIT,
    REPORT_BYTES_MAX,
    Pipe,
    Prepared,
    SpawnFailed,
    by_fork_exec,
    by_popen,
    fork_exec,
    shared_pipe,
    worse,
)
from circus.process.launch import FIRST_SOCKET, Launch, executables
from circus.process.marks import VARIABLE

if TYPE_CHECKING:
    from circus.process.identity import Identity

DEVNULL: Final = "/dev/null"
# Python itself ignores these in every process of its own, and fork_exec restores them.
PYTHON_IGNORES: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
CHILD_FAILED: Final = 255


class Around(NamedTuple):
    """What a child on the full road knows beside its launch: where it says what failed, the limit
    of open files that it gets back, whether our descriptors may leak, and its sockets."""

    write: int
    nofile: tuple[int, int] | None
    strange: bool
    sockets: Sequence[int]


class Spawner:
    """Starts programs. `nofile` is the soft limit that children get back if ours was raised.

    `strange` says that this process belongs to somebody else (a program that uses the library): its
    descriptors may be inheritable and its signals ignored or blocked, so both are looked at.
    """

    __slots__ = ("_devnull", "_fast", "_nofile", "_pipe", "_strange")

    def __init__(self, *, nofile: tuple[int, int] | None = None, strange: bool = False) -> None:
        self._devnull = -1
        self._nofile = nofile
        self._strange = strange
        self._fast = by_popen if fork_exec is None else by_fork_exec
        self._pipe: Pipe | None = None

    @property
    def nofile(self) -> tuple[int, int] | None:
        """The limit of open files that children get back."""
        return self._nofile

    def learn(self) -> None:
        """Look whether this machine's vfork really lets us wait for the exec (about 1 ms).

        If so, all spawns share one pipe for errors, which need not be read to its end: what the
        child had to say is there when the call returns. To wait for the end of a pipe of its own
        costs as much again as the spawn itself, because the child closes it late in its exec.
        """
        if self._pipe is None and self._fast is by_fork_exec and not self._strange:
            self._pipe = shared_pipe()

    def spawn(
        self,
        launch: Launch,
        stdio: tuple[int, int, int] = INHERIT,
        *,
        mark: bytes = b"",
        sockets: Sequence[int] = (),
        group: str = "",
    ) -> int:
        """The pid of the program, which runs; raises SpawnFailed and leaves nothing.

        It finds `sockets` as its descriptors from 3 on, and itself in the cgroup `group`.
        """
        prepared: Prepared = launch.ready or prepare(launch)
        if mark:
            prepared = prepared._replace(env=[*prepared.env, mark])
        if group:
            prepared = prepared._replace(group=group)
        streams = self._streams(launch, stdio)
        identity = identity_of(launch)
        if identity or launch.limits or sockets or group or (self._strange and _signals_leak()):
            return self._spawn_full(launch, prepared, streams, identity, sockets)
        return self._spawn_fast(prepared, streams)

    def spawn_aside(self, launch: Launch) -> int:
        """A process in our own service: of ours it gets the standard streams and nothing else."""
        prepared = launch.ready or prepare(launch)
        try:
            return self._fast(prepared, INHERIT, close=True, pipe=None)
        except TypeError:
            self._fast = by_popen
            return by_popen(prepared, INHERIT, close=True, pipe=None)

    def close(self) -> None:
        if self._devnull >= 0:
            os.close(self._devnull)
            self._devnull = -1
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _streams(self, launch: Launch, stdio: tuple[int, int, int]) -> tuple[int, int, int]:
        closed = (launch.close_stdin, launch.close_stdout, launch.close_stderr)
        if True not in closed:
            return stdio
        if self._devnull < 0:
            self._devnull = _open_devnull()
        stdin, stdout, stderr = (
            self._devnull if close else fd for close, fd in zip(closed, stdio, strict=True)
        )
        return stdin, stdout, stderr

    def _spawn_fast(self, prepared: Prepared, streams: tuple[int, int, int]) -> int:
        if self._nofile is None:
            return self._try_fast(prepared, streams)
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, self._nofile)
        try:
            return self._try_fast(prepared, streams)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, raised)

    def _try_fast(self, prepared: Prepared, streams: tuple[int, int, int]) -> int:
        try:
            return self._fast(prepared, streams, close=self._strange, pipe=self._pipe)
        except TypeError:
            # The private signature has changed.
            self._fast = by_popen
            return by_popen(prepared, streams, close=self._strange, pipe=None)

    def _spawn_full(
        self, launch: Launch, prepared: Prepared, streams: tuple[int, int, int],
        identity: Identity | None, sockets: Sequence[int],
    ) -> int:  # fmt: skip
        read, write = _error_pipe(len(sockets))
        around = Around(write, self._nofile, self._strange, sockets)
        # A signal between fork and the reset below would write to our own wake-up pipe and be
        # taken for ours. The mask lasts for one fork and the child clears it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = fork_into(prepared.group) if prepared.group else os.fork()
            if pid == 0:
                _become(launch, prepared, streams, identity, around)
        except OSError as error:
            os.close(read)
            raise SpawnFailed("fork", error.errno or errno.EAGAIN) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(write)
        report = _read_report(read)
        if report:
            os.waitpid(pid, 0)
            step, _, number = report.decode("ascii").partition(":")
            raise SpawnFailed(step, int(number))
        return pid


def prepare(launch: Launch) -> Prepared:
    """Encode a launch once; it keeps the result. Raises SpawnFailed for what exec forbids."""
    words = [*launch.argv, *launch.env, *launch.env.values(), launch.cwd or ""]
    if not launch.argv or not launch.argv[0]:
        raise SpawnFailed("exec", errno.ENOENT)
    if any("\0" in word for word in words) or any("=" in name or not name for name in launch.env):
        raise SpawnFailed("exec", errno.EINVAL)
    prepared = Prepared(
        [os.fsencode(word) for word in launch.argv],
        [os.fsencode(f"{n}={value}") for n, value in launch.env.items() if n != VARIABLE],
        tuple(os.fsencode(place) for place in executables(launch)),
        None if launch.cwd is None else os.fsencode(launch.cwd),
        -1 if launch.umask is None else launch.umask,
    )
    launch.ready = prepared
    return prepared


def identity_of(launch: Launch) -> Identity | None:
    """Whom the launch asks for, or None where that is nobody else. Raises SpawnFailed."""
    if launch.uid is None and launch.gid is None:
        return None
    from circus.process.identity import find

    return find(launch.uid, launch.gid)


def _become(
    launch: Launch,
    prepared: Prepared,
    streams: tuple[int, int, int],
    identity: Identity | None,
    around: Around,
) -> NoReturn:
    """In the child: every step in the order of docs/adr/0021; never returns."""
    write = around.write
    step = "signals"
    try:
        for name, act in _steps(launch, prepared, streams, identity, around):
            step = name
            act()
        step = "exec"
        if around.strange:
            _close_on_exec()
        _exec(prepared.programs, prepared.argv, dict(p.split(b"=", 1) for p in prepared.env))
    except OSError as error:
        os.write(write, f"{step}:{error.errno or 0}".encode("ascii"))
    except (ValueError, OverflowError):
        os.write(write, f"{step}:{errno.EINVAL}".encode("ascii"))
    finally:
        os._exit(CHILD_FAILED)


def _steps(
    launch: Launch,
    prepared: Prepared,
    streams: tuple[int, int, int],
    identity: Identity | None,
    around: Around,
) -> list[tuple[str, Callable[[], Any]]]:
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("signals", _reset_signals),
        ("setsid", os.setsid),
        ("rlimits", lambda: _limit(launch, around.nofile)),
    ]
    if prepared.group:
        steps.append(("cgroup", lambda: enter(prepared.group)))
    if prepared.umask >= 0:
        steps.append(("umask", lambda: os.umask(prepared.umask)))
    steps.append(("stdio", lambda: _redirect(streams)))
    if around.sockets:
        steps.append(("sockets", lambda: _place(around.sockets)))
    if prepared.cwd is not None:
        cwd = prepared.cwd
        steps.append(("chdir", lambda: os.chdir(cwd)))
    if identity is not None:
        uid, gid, groups = identity
        steps += [
            ("groups", lambda: os.setgroups(groups)),
            ("gid", lambda: os.setresgid(gid, gid, gid)),
            ("uid", lambda: os.setresuid(uid, uid, uid)),
            ("uid", lambda: _verify(uid)),
        ]
    return steps


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals():
        if signum not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _limit(launch: Launch, nofile: tuple[int, int] | None) -> None:
    if nofile is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
    for name, (soft, hard) in launch.limits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise ValueError(name)
        resource.setrlimit(number, (soft, hard))


def _redirect(streams: tuple[int, int, int]) -> None:
    for target, fd in enumerate(streams):
        if fd >= 0:
            os.dup2(fd, target)


def _place(sockets: Sequence[int]) -> None:
    """Out of each other's way first: one may have the number that another one is to get."""
    behind = FIRST_SOCKET + len(sockets)
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, behind) for fd in sockets]
    for number, fd in enumerate(copies, FIRST_SOCKET):
        os.dup2(fd, number)


def _error_pipe(sockets: int) -> tuple[int, int]:
    """Its end for the child is behind the numbers that the child's sockets get."""
    read, write = os.pipe2(os.O_CLOEXEC)
    if write >= FIRST_SOCKET + sockets:
        return read, write
    try:
        return read, fcntl.fcntl(write, fcntl.F_DUPFD_CLOEXEC, FIRST_SOCKET + sockets)
    finally:
        os.close(write)


def _verify(uid: int) -> None:
    """A dropped privilege that can be had back was not dropped."""
    if uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise PermissionError(errno.EPERM, "the privileges could be regained")


def _close_on_exec() -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                # The listing's own descriptor.
                continue


def _exec(programs: Sequence[bytes], argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    found = errno.ENOENT
    for program in programs:
        try:
            os.execve(program, argv, env)
        except OSError as error:
            found = worse(found, error.errno or 0)
    raise OSError(found, os.strerror(found))


def _signals_leak() -> bool:
    """Would a program that we exec now inherit ignored or blocked signals?"""
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return True
    return any(
        signal.getsignal(signum) is signal.SIG_IGN
        for signum in signal.valid_signals()
        if signum not in PYTHON_IGNORES
    )


def _read_report(read: int) -> bytes:
    try:
        return os.read(read, REPORT_BYTES_MAX)
    finally:
        os.close(read)


def _open_devnull() -> int:
    try:
        return os.open(DEVNULL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SpawnFailed("stdio", error.errno or errno.ENOENT) from error
