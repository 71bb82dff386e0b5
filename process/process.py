"""Room: process -- the standalone Process of Circus's library: one child, no keeper, no ledger.

Knows:     process.core (the same life), spawn, kernel, launch, probe; bus.clock.
Known by:  library users, the public Watcher.
Never:     waits for any pid but its own; loads zmq; reaps before it is asked how the child is.

The child is started on construction, as Circus documents it, in its own session. Its end is not
collected before `stop`, `wait`, `poll`, `is_alive` or `returncode`: until then it is a zombie and
`status` is DEAD_OR_ZOMBIE. What happened is in `records`, in the form of the ledger.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import IO, Any, Final

from circus.bus.clock import SystemClock
from circus.bus.codec import Stamp, stamped
from circus.bus.commands import ProcessSpawn
from circus.bus.events import (
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
)  # fmt: skip
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import WatcherSpec
from circus.process import linux
from circus.process.core import Life, decide, evolve
from circus.process.fast_road import SpawnFailed
from circus.process.kernel import children_of, descendants_of, send
from circus.process.launch import Launch, resolve, spawn_failure
from circus.process.probe import GONE, Info, sample
from circus.process.spawn import Spawner

RUNNING: Final = 0
DEAD_OR_ZOMBIE: Final = 1
UNEXISTING: Final = 2
OTHER: Final = 3
STOP_SECONDS: Final = 1.0
KILL_SECONDS: Final = 30.0
ACTOR: Final = "process"


class NoSuchProcess(ProcessLookupError):
    """The process, or the child of it that was meant, does not exist."""


class Process:
    """One running program.

    `Process(name, cmd, …)` as documented, and `Process(name, wid, cmd, …)` as Circus's code has it
    (`wid` an int), are both accepted. Options: args, working_dir, shell, uid, gid, env (just what
    the child gets, plus PATH of this program if `env` is None), rlimits, pipe_stdout, pipe_stderr,
    close_child_stdin, close_child_stdout, close_child_stderr, spawn, watcher.

    Raises OSError with a full sentence where the program cannot be started.
    """

    def __init__(self, name: str, *words: Any, **options: Any) -> None:
        self.name = name
        self._options = _options(words, options)
        self._launch = _launch(name, self._options)
        self._life = Life()
        self._pidfd = -1
        self.records: list[Record] = []
        self.started = 0.0
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        if self._options["spawn"]:
            self.spawn()

    def __getattr__(self, name: str) -> Any:
        """wid, cmd, args, env, watcher …: the options it was made with."""
        if name.startswith("_") or name not in self._options:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return self._options[name]

    def spawn(self) -> None:
        """Start the program: recorded as `process.spawn`, then what became of it."""
        if self._pidfd >= 0:
            raise RuntimeError(f"cannot spawn {self.name}: it runs already; stop it first")
        self._life = Life()
        self._record(ProcessSpawn(""), believe=False)
        self.started = time.time()
        spawner = Spawner(strange=True)
        try:
            with _pipes(self._options) as (ours, theirs):
                pid = spawner.spawn(self._launch, theirs)
                self.stdout, self.stderr = ours()
        except SpawnFailed as error:
            reason = spawn_failure(self._launch, error.step, error.errno)
            self._record(ProcessSpawnFailed(error.step, error.errno, reason))
            raise OSError(error.errno, reason) from error
        finally:
            spawner.close()
        self._pidfd = os.pidfd_open(pid)
        self._record(ProcessSpawned(pid, SystemClock().now().boot))

    @property
    def pid(self) -> int | None:
        """Its pid, also after its end; None before it was started."""
        return self._life.pid or None

    @property
    def status(self) -> int:
        """RUNNING, DEAD_OR_ZOMBIE (ended, not collected yet) or UNEXISTING; looks, never reaps."""
        if self._pidfd < 0:
            return UNEXISTING
        return RUNNING if self._peek() is None else DEAD_OR_ZOMBIE

    def age(self) -> float:
        """Seconds since it was started."""
        return time.time() - self.started

    def info(self) -> Info | str:
        """Circus's info object; the string "No such process (stopped?)" once it is gone."""
        values = sample(self._life.pid) if self._pidfd >= 0 else None
        return GONE if values is None else Info(self.name, values)

    def children(self, recursive: bool = False) -> list[int]:
        """The pids of its children, or of all its descendants."""
        if self._pidfd < 0:
            return []
        return descendants_of(self._life.pid) if recursive else children_of(self._life.pid)

    def is_child(self, pid: int) -> bool:
        """Is `pid` a direct child of it?"""
        return pid in self.children()

    def send_signal(self, sig: int) -> None:
        """Send a signal; NoSuchProcess once it is gone. Recorded as `process.signalled`."""
        self._signal(sig, "process", None)

    def send_signal_child(self, pid: int, signum: int) -> None:
        """Send a signal to one direct child; NoSuchProcess where it is none."""
        self._signal(signum, "children", pid)

    def send_signal_children(self, signum: int, recursive: bool = False) -> None:
        """Send a signal to its children, or to all its descendants; the gone are passed."""
        if self._pidfd >= 0:
            self._signal(signum, "descendants" if recursive else "children", None)

    def stop(self) -> None:
        """TERM, up to 1 s, KILL; collected when it returns (status UNEXISTING). Idempotent."""
        if self._pidfd >= 0 and self._peek() is None:
            self._signal(signal.SIGTERM, "process", None)
            if not self._ended_within(STOP_SECONDS):
                self._signal(signal.SIGKILL, "process", None)
                self._ended_within(KILL_SECONDS)
        self.poll()
        self.close_output_channels()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it ends and collect it; TimeoutError after `timeout` seconds."""
        if self._pidfd >= 0 and not self._ended_within(timeout):
            raise TimeoutError(f"{self.name} ({self.pid}) still runs after {timeout} s")
        self.poll()

    def poll(self) -> int | None:
        """Collect it if it has ended: its code, or minus the signal; None while it runs."""
        if self._pidfd >= 0 and self._peek() is not None:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            os.close(self._pidfd)
            self._pidfd = -1
            self._record(ProcessReaped(self._life.pid))
        return self._code() if self._pidfd < 0 else None

    def is_alive(self) -> bool:
        """Does it run? Collects it if not, as Circus's does."""
        self.poll()
        return self._pidfd >= 0

    def returncode(self) -> int | None:
        """A method, as in Circus: the code, or minus the signal; None while it runs."""
        return self.poll()

    def close_output_channels(self) -> None:
        """Close our ends of its stdout and stderr."""
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def __lt__(self, other: Process) -> bool:
        return self.started < other.started

    def __gt__(self, other: Process) -> bool:
        return self.started > other.started

    def __repr__(self) -> str:
        return f"<Process {self.name} pid={self.pid}>"

    def _ended_within(self, seconds: float | None) -> bool:
        """Wait on the pidfd; no signal handler, no thread, no other child is touched."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        poller.poll(None if seconds is None else max(0, round(seconds * 1000)))
        return self._peek() is not None

    def _peek(self) -> linux.Ending | None:
        ending = linux.peek(self._pidfd)
        if ending is not None:
            now = SystemClock().now()
            self._record(ProcessExited(self._life.pid, *ending, now.wall, now.boot))
        return ending

    def _signal(self, signum: int, scope: str, child_pid: int | None) -> None:
        if self._pidfd < 0:
            raise NoSuchProcess(f"{self.name} ({self.pid}) is gone")
        pids, number = send(self._life.pid, self._pidfd, signum, scope, child_pid)
        self._record(ProcessSignalled(0, int(signum), pids, number))
        if number and (scope == "process" or child_pid is not None):
            what = child_pid if child_pid is not None else self.pid
            if number == NO_SUCH_PROCESS:
                raise NoSuchProcess(number, f"no process {what}")
            raise OSError(number, os.strerror(number))

    def _code(self) -> int | None:
        for record in reversed(self.records):
            if isinstance(record.body, ProcessExited):
                body = record.body
                return body.code if body.signal is None else -body.signal
        return None

    def _record(self, body: Body, *, believe: bool = True) -> None:
        """The same decide and evolve as in the daemon: what is no news is not recorded."""
        if believe and not decide(self._life, body):
            return
        seq = len(self.records) + 1
        starts = [r.seq for r in self.records if isinstance(r.body, ProcessSpawn)]
        spawn_id = seq if isinstance(body, ProcessSpawn) else starts[-1]
        cause = 0 if spawn_id == seq else spawn_id
        draft = Draft(body, watcher=self.name, slot=self._options["wid"], spawn_id=spawn_id)
        stamp = Stamp(seq, cause, ACTOR, SystemClock().now(), 0)
        self.records.append(stamped(stamp, draft))
        if believe:
            self._life = evolve(self._life, body)


NO_SUCH_PROCESS: Final = 3

DEFAULTS: Final[Mapping[str, Any]] = {
    "args": None, "working_dir": None, "shell": False, "uid": None, "gid": None, "env": None,
    "rlimits": None, "executable": None, "use_fds": False, "watcher": None, "spawn": True,
    "pipe_stdout": True, "pipe_stderr": True, "close_child_stdin": True,
    "close_child_stdout": False, "close_child_stderr": False,
}  # fmt: skip
# What Circus's own code sets on a process and users read; plain attributes once assigned.
MARKS: Final[Mapping[str, Any]] = {"stopping": False, "redirected": False}


def _options(words: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Both documented forms: (cmd, args, …) and (wid, cmd, args, …)."""
    first = bool(words) and isinstance(words[0], int)
    names = [*(["wid"] if first else []), "cmd", *DEFAULTS]
    if len(words) > len(names):
        raise TypeError(f"Process takes at most {len(names)} options by position")
    positional = dict(zip(names, words, strict=False))
    twice = positional.keys() & given.keys()
    unknown = given.keys() - {"wid", "cmd", *DEFAULTS}
    if twice or unknown:
        wrong = ", ".join(sorted(twice | unknown))
        raise TypeError(f"Process got unknown or repeated options: {wrong}")
    whole = {"wid": 0, **MARKS, **DEFAULTS, **positional, **given}
    cmd: object = whole.get("cmd")
    if not isinstance(cmd, str) or not cmd.strip():
        raise TypeError("Process needs a cmd: the program and its arguments")
    return whole


def _launch(name: str, options: Mapping[str, Any]) -> Launch:
    given = options["env"]
    env = {"PATH": os.environ.get("PATH", os.defpath)} if given is None else dict(given)
    spec = WatcherSpec(
        name=name,
        cmd=options["cmd"],
        args=_words(options["args"]),
        working_dir=options["working_dir"],
        shell=bool(options["shell"]),
        uid=options["uid"],
        gid=options["gid"],
        env=env,
        close_child_stdin=options["close_child_stdin"],
        close_child_stdout=options["close_child_stdout"],
        close_child_stderr=options["close_child_stderr"],
    )
    launch = resolve(spec, options["wid"], secrets=lambda value: value, environ={})
    launch.limits = {key: (value, value) for key, value in (options["rlimits"] or {}).items()}
    return launch


def _words(args: str | Iterable[Any] | None) -> tuple[str, ...]:
    if args is None:
        return ()
    return tuple(shlex.split(args)) if isinstance(args, str) else tuple(map(str, args))


@contextlib.contextmanager
def _pipes(options: Mapping[str, Any]) -> Generator[tuple[Any, tuple[int, int, int]], None, None]:
    """Pipes for stdout and stderr as Circus makes them; our ends are closed where nobody runs."""
    reads: list[int] = []
    writes: list[int] = []
    wanted = (
        options["pipe_stdout"] and not options["close_child_stdout"],
        options["pipe_stderr"] and not options["close_child_stderr"],
    )
    for pipe in wanted:
        read, write = os.pipe2(os.O_CLOEXEC) if pipe else (-1, -1)
        reads.append(read)
        writes.append(write)

    def ours() -> list[IO[bytes] | None]:
        streams: list[IO[bytes] | None] = [os.fdopen(fd, "rb") if fd >= 0 else None for fd in reads]
        reads.clear()
        return streams

    try:
        yield ours, (-1, writes[0], writes[1])
    finally:
        for fd in (*reads, *writes):
            if fd >= 0:
                os.close(fd)
