"""Room: process -- what one start needs, worked out from a watcher's spec; data, no system call.

Knows:     shlex and re; the shape of bus.spec.WatcherSpec (types only: the keeper loads this file).
Known by:  the reaper (resolves, sends), the link (as a map), process.spawn (carries out).
Never:     looks up a user, a file or the environment: they are arguments, or the keeper's business.

`cmd` is split as a shell splits words and `$(circus.…)` is filled in, once. With `shell = true` the
text goes to `sh -c` as it was written: Circus quotes every word first, so that neither a pipe nor
a variable works there; that is a wart, not a feature (ADR-0020).
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from circus.bus.spec import WatcherSpec

SHELL: Final = "/bin/sh"
PATH_DEFAULT: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REFERENCE: Final = re.compile(r"\$\(circus\.([\w.-]+)\)|\(\(circus\.([\w.-]+)\)\)", re.IGNORECASE)


class Plan(NamedTuple):
    """How to stop a process when no core is there to say it; travels with every spawn."""

    stop_signal: int = 15
    grace: int = 30_000_000_000
    priority: int = 0
    stop_children: bool = False
    leftovers: bool = False  # kill what remains of its group when it exits

    @property
    def last_scope(self) -> str:
        """Whom the SIGKILL at the end of the grace is for."""
        return "tree" if self.leftovers or self.stop_children else "process"


class Launch:
    """One way to start a program: equal launches have equal maps and one digest.

    `uid` and `gid` are names or numbers, resolved where the process is started. `limits` maps the
    names of resource limits, such as `nofile`, to (soft, hard). A closed stream is /dev/null.
    `streams` maps those of stdout and stderr that are captured to their sinks, `sockets` the names
    of the sockets that it inherits, as descriptors from 3 in the order of their names, to their
    terms.
    """

    __slots__ = (
        "_digest", "argv", "by_slot", "close_stderr", "close_stdin", "close_stdout", "cwd", "env",
        "gid", "limits", "plan", "program", "ready", "sockets", "streams", "uid", "umask",
    )  # fmt: skip

    def __init__(self, argv: tuple[str, ...], env: Mapping[str, str], **rest: Any) -> None:
        self.argv = argv
        self.env = env
        self.cwd: str | None = rest.pop("cwd", None)
        self.uid: int | str | None = rest.pop("uid", None)
        self.gid: int | str | None = rest.pop("gid", None)
        self.umask: int | None = rest.pop("umask", None)
        self.close_stdin: bool = rest.pop("close_stdin", True)
        self.close_stdout: bool = rest.pop("close_stdout", False)
        self.close_stderr: bool = rest.pop("close_stderr", False)
        self.limits: Mapping[str, tuple[int, int]] = rest.pop("limits", {})
        self.streams: Mapping[str, Mapping[str, Any]] = rest.pop("streams", {})
        self.sockets: Mapping[str, Mapping[str, Any]] = rest.pop("sockets", {})
        self.plan: Plan = rest.pop("plan", Plan())
        self.by_slot: bool = rest.pop("by_slot", False)  # another slot, another launch
        self.program: str = rest.pop("program", "")  # what sentences call it, if not argv[0]
        self.ready: Any = None  # process.spawn keeps here what it has encoded once
        self._digest: str | None = None
        if rest:
            raise TypeError(f"cannot make a launch: unknown fields {sorted(rest)}")

    def to_map(self) -> dict[str, Any]:
        """For the link. The plan is not part of it: it goes with each spawn."""
        fittings = {name: found for name in FITTINGS if (found := getattr(self, name))}
        return {**{name: getattr(self, name) for name in WIRE_NAMES}, **fittings}

    @property
    def digest(self) -> str:
        """Names this launch on the link; 32 hex digits."""
        if self._digest is None:
            self._digest = _digest(self)
        return self._digest


WIRE_NAMES: Final = (
    "argv", "env", "cwd", "uid", "gid", "umask", "close_stdin", "close_stdout", "close_stderr",
    "limits",
)  # fmt: skip
# Of few launches: what the keeper holds for them.
FITTINGS: Final = ("streams", "sockets")
FIRST_SOCKET: Final = 3


def from_map(data: Mapping[str, Any]) -> Launch:
    """Back from the link."""
    return Launch(**data)


def resolve(
    spec: WatcherSpec,
    slot: int,
    *,
    secrets: Callable[[str], str],
    environ: Mapping[str, str],
) -> Launch:
    """How to start the process in `slot`.

    `secrets` gives the value of an env variable for the keyed hash in the spec; `environ` is the
    daemon's environment, copied only where the spec says `copy_env`. Raises ValueError where
    `cmd` cannot be split (an open quote).
    """
    own = {name: secrets(hashed) for name, hashed in spec.env.items()}
    env = {**environ, **own} if spec.copy_env else own
    fill = _filler(spec, slot, env)
    return Launch(
        tuple(_argv(spec, fill)),
        env,
        cwd=spec.working_dir,
        uid=spec.uid,
        gid=spec.gid,
        close_stdin=spec.close_child_stdin,
        close_stdout=spec.close_child_stdout,
        close_stderr=spec.close_child_stderr,
        streams=_streams(spec, fill),
        sockets=spec.sockets,
        plan=plan_of(spec),
        by_slot=_names_slot(spec),
        program=_as_written(spec),
    )


def _streams(spec: WatcherSpec, fill: Callable[[str], str]) -> dict[str, Mapping[str, Any]]:
    """The sinks of what is captured; a file belongs to the user whose worker writes to it."""
    user = {} if spec.uid is None and spec.gid is None else {"uid": spec.uid, "gid": spec.gid}
    return {
        name: {**sink, **user, "filename": fill(sink["filename"])} if "filename" in sink else sink
        for name, sink in (("stdout", spec.stdout_stream), ("stderr", spec.stderr_stream))
        if sink
    }


def _names_slot(spec: WatcherSpec) -> bool:
    sinks = (spec.stdout_stream.get("filename", ""), spec.stderr_stream.get("filename", ""))
    texts = (spec.cmd, *spec.args, *spec.shell_args, *sinks)
    return any("circus.wid" in text.lower() for text in texts)


def _as_written(spec: WatcherSpec) -> str:
    """The program before it was filled in: a variable's value may be secret, and sentences about a
    spawn that failed are on record."""
    return shlex.split(spec.cmd)[0] if not spec.shell and "circus.env." in spec.cmd.lower() else ""


def plan_of(spec: WatcherSpec) -> Plan:
    """The stop plan in a spec."""
    kill = spec.leftovers == "kill" or spec.stop_children
    return Plan(spec.stop_signal, spec.graceful_timeout, spec.priority, spec.stop_children, kill)


def executables(launch: Launch) -> tuple[str, ...]:
    """Where the program may be, in order: argv[0] itself or in the child's own PATH."""
    program = launch.argv[0]
    if "/" in program:
        return (program,)
    path = launch.env.get("PATH") or PATH_DEFAULT
    return tuple(f"{place}/{program}" if place else program for place in path.split(":"))


def _argv(spec: WatcherSpec, fill: Callable[[str], str]) -> list[str]:
    cmd = fill(spec.cmd)
    args = [fill(word) for word in spec.args]
    if spec.shell:
        text = " ".join((cmd, *args))
        return [SHELL, "-c", text, *(fill(word) for word in spec.shell_args)]
    return shlex.split(cmd) + args


def _filler(spec: WatcherSpec, slot: int, env: Mapping[str, str]) -> Callable[[str], str]:
    """A single pass: what was filled in is not looked at again; unknown references stay."""
    names = {name.lower(): value for name, value in env.items()}
    sockets = {name: str(fd) for fd, name in enumerate(sorted(spec.sockets), FIRST_SOCKET)}

    def value_of(match: re.Match[str]) -> str:
        name = (match[1] or match[2]).lower()
        if name == "wid":
            return str(slot)
        if name.startswith("env."):
            return names.get(name[4:], match[0])
        if name.startswith("sockets."):
            return sockets.get(name[8:], match[0])
        return _option_text(spec, name, match[0])

    return lambda text: REFERENCE.sub(value_of, text) if "circus." in text.lower() else text


def _option_text(spec: WatcherSpec, name: str, otherwise: str) -> str:
    value = getattr(spec, name, None)
    if value is None or name.startswith("_") or isinstance(value, Mapping) or callable(value):
        return otherwise
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _digest(launch: Launch) -> str:
    from circus.bus.blake import blake2b

    whole = launch.to_map()
    whole["env"] = sorted(launch.env.items())
    whole["limits"] = sorted(launch.limits.items())
    return blake2b(repr(whole).encode(), digest_size=16).hexdigest()


def spawn_failure(launch: Launch | None, step: str, number: int) -> str:
    """A full sentence for `process.spawn_failed`."""
    if launch is None:
        return f"cannot start: {step} failed: {os.strerror(number)}"
    if step == "exec":
        return _exec(launch, number)
    if step == "chdir":
        return _chdir(launch, number)
    if step == "user":
        return f"unknown user {launch.uid}"
    if step == "groups" and number == errno.ENOENT:
        return f"unknown group {launch.gid}"
    if step in ("groups", "gid", "uid"):
        return f"no permission to become user {launch.uid} group {launch.gid}: run circusd as root"
    return _other(launch, step, os.strerror(number))


def _other(launch: Launch, step: str, reason: str) -> str:
    if step.startswith("socket "):
        return f"cannot bind {step}: {reason.lower()}"
    if step == "fork":
        return f"no process could be started: {reason}"
    return f"cannot start {_program(launch)}: {step} failed: {reason}"


def _program(launch: Launch) -> str:
    return launch.program or (launch.argv[0] if launch.argv else "")


def _exec(launch: Launch, number: int) -> str:
    program = _program(launch)
    if not program:
        return "command not found: cmd is empty"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"command not found: {program}"
    if number == errno.EACCES:
        return f"no permission to execute {program}"
    if number == errno.ENOEXEC:
        return f"{program} is not a program: it has no #! line and is no binary for this machine"
    if number == errno.E2BIG:
        return f"the arguments and environment of {program} are too long"
    return f"cannot execute {program}: {os.strerror(number)}"


def _chdir(launch: Launch, number: int) -> str:
    if number == errno.ENOENT:
        return f"working directory {launch.cwd} does not exist"
    if number == errno.ENOTDIR:
        return f"working directory {launch.cwd} is not a directory"
    if number == errno.EACCES:
        return f"no permission to enter working directory {launch.cwd}"
    return f"cannot enter working directory {launch.cwd}: {os.strerror(number)}"
