"""Room: front -- the pid file, by Circus's rules: only a live stranger's is respected.

Knows:     nothing but the standard library: the keeper loads this.
Known by:  circusd, programs that have a daemon of their own.
Never:     waits, signals anybody (signal 0 only asks).
"""

from __future__ import annotations

import os


class Pidfile:
    """A file with the pid of a daemon, mode 0644."""

    def __init__(self, fname: str) -> None:
        self.fname = fname
        self.pid: int | None = None

    def create(self, pid: int) -> None:
        """Write `pid`; RuntimeError if another live process is in the file already."""
        owner = self.validate()
        if owner is not None and owner != pid:
            raise RuntimeError(f"pid file {self.fname!r} is stale, current pid {owner}")
        fresh = f"{self.fname}.{pid}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o644)
        with open(fd, "w", encoding="ascii") as file:
            os.fchmod(fd, 0o644)  # whatever the umask is: others read this file
            file.write(f"{pid}\n")
        os.rename(fresh, self.fname)
        self.pid = pid

    def unlink(self) -> None:
        """Remove the file if it is still ours."""
        if self.pid is not None and self._content() == self.pid:
            os.unlink(self.fname)

    def leave(self) -> None:
        """Not ours to remove any more: the next core of the same keeper says the same."""
        self.pid = None

    def validate(self) -> int | None:
        """The live process that the file names; None for no file, no number, nobody."""
        pid = self._content()
        if pid is None or pid <= 0:
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        return pid

    def _content(self) -> int | None:
        try:
            with open(self.fname, encoding="ascii") as file:
                return int(file.read(32))
        except (FileNotFoundError, ValueError):
            return None
