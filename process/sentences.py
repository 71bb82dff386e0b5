"""Room: process -- why a spawn failed, in words that name the command, the directory or the user.

Knows:     process.launch.
Known by:  process.reaper, process.process.
Never:     looks at the world: the step and the errno say all.
"""

from __future__ import annotations

import errno
import os

from circus.process.launch import Launch


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
    if step == "fork":
        return f"no process could be started: {os.strerror(number)}"
    return f"cannot start {_program(launch)}: {step} failed: {os.strerror(number)}"


def _program(launch: Launch) -> str:
    return launch.argv[0] if launch.argv else ""


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
