"""Room: process -- where captured output goes: a file that is appended to and rotated, or stdout.

Knows:     the system's files; process.identity, where a file belongs to a worker's user.
Known by:  process.scribe.
Never:     loses what it could not write: the rest is handed back; follows a symbolic link.

A file is opened at its first write and looked at before each one: whoever moves it away, a log
rotator or another scribe, finds that the next line is in a new file of the old name.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from circus.process.fast_road import SpawnFailed
from circus.process.identity import Identity, find

STDOUT: Final = 1
FLAGS: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    | os.O_NONBLOCK  # a pipe without a reader would hold us up; a file does not care
)  # fmt: skip
MODE: Final = 0o640
NEWLINE: Final = b"\n"
# A line that makes a file so many times as large as it may be is none, and is cut.
LONG_LINE: Final = 2


class Stuck(Exception):
    """Not all could be written: `rest` remains, `reason` is a sentence."""

    def __init__(self, rest: bytes, reason: str) -> None:
        super().__init__(reason)
        self.rest = rest
        self.reason = reason


class Sink(Protocol):
    """Where the output of one or more workers goes."""

    def shape(self, data: bytes, pid: int) -> bytes:
        """What is to be written for what was read."""
        ...

    def write(self, data: bytes) -> None:
        """All of it; raises Stuck."""
        ...

    def close(self) -> None:
        """Nobody writes here any more."""
        ...


class StdoutSink:
    """circusd's own standard output, which is ours too."""

    def shape(self, data: bytes, pid: int) -> bytes:
        return data

    def write(self, data: bytes) -> None:
        _write_all(STDOUT, data, "standard output")

    def close(self) -> None:
        """It is not ours alone."""


class FileSink:
    """One file. `max_bytes` and `backup_count` rotate it, between two lines, if both are given;
    `time_format` puts the time and the pid in front of each line; `uid` and `gid` say whose."""

    __slots__ = ("_fd", "_mid_line", "_path", "_seen", "_shaped", "_sink", "_user")

    def __init__(self, sink: Mapping[str, Any]) -> None:
        self._sink = sink
        self._path: str = sink["filename"]
        self._user: Identity | None = None  # whose file it is, if not ours
        self._fd = -1
        self._seen: tuple[int, int] = (0, 0)
        self._mid_line = False  # the last byte in it is no newline
        self._shaped: int | None = None  # whose line is not at its end

    def shape(self, data: bytes, pid: int) -> bytes:
        time_format = self._sink.get("time_format")
        if not time_format:
            return data
        mark = os.fsencode(f"{time.strftime(time_format)} [{pid}] | ")
        body = data[:-1].replace(NEWLINE, NEWLINE + mark) + data[-1:]
        goes_on, self._shaped = self._shaped, None if data.endswith(NEWLINE) else pid
        if goes_on == pid:
            return body
        return mark + body if goes_on is None else NEWLINE + mark + body

    def write(self, data: bytes) -> None:
        max_bytes = self._sink.get("max_bytes", 0)
        rotates = max_bytes > 0 and self._sink.get("backup_count", 0) > 0
        while data:
            size = self._opened(data)
            part = len(data)
            if rotates and size + len(data) > max_bytes:
                goes_on = (self._mid_line or size == 0) and size < LONG_LINE * max_bytes
                part = _room(data, max_bytes - size, goes_on=goes_on)
            self._append(data, part)
            data = data[part:]
            if data:
                self._rotate(data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, data: bytes, part: int) -> None:
        try:
            _write_all(self._fd, data[:part], self._path)
        except Stuck as stuck:
            raise Stuck(stuck.rest + data[part:], stuck.reason) from stuck
        if part:
            self._mid_line = data[part - 1 : part] != NEWLINE

    def _opened(self, data: bytes) -> int:
        """The file of this name is open; its size."""
        try:
            if self._fd >= 0:
                there = os.stat(self._path, follow_symlinks=False)
                if (there.st_dev, there.st_ino) == self._seen:
                    return there.st_size
        except FileNotFoundError:
            pass  # Moved away, or deleted: the name is free for a new one.
        except OSError as error:
            raise Stuck(data, _sentence(self._path, error)) from error
        return self._open(data)

    def _open(self, data: bytes) -> int:
        self.close()
        try:
            self._user = find(self._sink.get("uid"), self._sink.get("gid"))
            with _as_user(self._user):
                fd = os.open(self._path, FLAGS, MODE)
        except SpawnFailed as error:
            whom = "user" if error.step == "user" else "group"
            raise Stuck(data, f"cannot write {self._path}: unknown {whom}") from error
        except OSError as error:
            raise Stuck(data, _sentence(self._path, error)) from error
        found = os.fstat(fd)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISCHR(found.st_mode)):
            os.close(fd)
            raise Stuck(data, f"cannot write {self._path}: it is no file; name another one")
        self._fd, self._seen, self._mid_line = fd, (found.st_dev, found.st_ino), False
        return found.st_size

    def _rotate(self, data: bytes) -> None:
        """The file becomes `.1`, each `.N` the next, and the last one goes."""
        try:
            with _as_user(self._user):
                for number in range(self._sink["backup_count"] - 1, 0, -1):
                    _move(f"{self._path}.{number}", f"{self._path}.{number + 1}")
                _move(self._path, f"{self._path}.1")
        except OSError as error:
            raise Stuck(data, _sentence(self._path, error)) from error


def sink_of(sink: Mapping[str, Any]) -> Sink:
    """What the configuration (arbiter.config_streams) describes."""
    return StdoutSink() if sink["class"] == "StdoutStream" else FileSink(sink)


def _room(data: bytes, room: int, *, goes_on: bool) -> int:
    """How much of it, in whole lines, goes into a file with so much room.

    0: all of it belongs into the next one. A line that has begun there, or that no file has room
    for, is in one file all the same (`goes_on`).
    """
    end = data.rfind(NEWLINE, 0, max(0, room)) + 1
    if end or not goes_on:
        return end
    return data.find(NEWLINE) + 1 or len(data)


def _write_all(fd: int, data: bytes, what: str) -> None:
    """Raises Stuck with what is left."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError as error:
        raise Stuck(bytes(rest), _sentence(what, error)) from error


def _sentence(what: str, error: OSError) -> str:
    return f"cannot write {what}: {(error.strerror or str(error)).lower()}; it is tried again"


def _move(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        return  # There have not been so many yet.


@contextmanager
def _as_user(user: Identity | None) -> Generator[None]:
    """A file named by a watcher is opened with the rights of its worker, not with ours."""
    if user is None or os.geteuid() != 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
