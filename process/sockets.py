"""Room: process -- the listening sockets that the keeper holds for the workers.

Knows:     the system's sockets; how arbiter.config_sockets describes one.
Known by:  process.holdings.
Never:     accepts; waits; looks a name up; gives up what is bound before its successor is.

A socket is bound once and outlives every core, every worker and the keeper's own code: who connects
while nobody is there to accept waits in its backlog. What the configuration says counts, by name.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from circus.process.fast_road import SpawnFailed
from circus.process.launch import Launch

FAMILIES: Final = {
    "AF_INET": socket.AF_INET, "AF_INET6": socket.AF_INET6, "AF_UNIX": socket.AF_UNIX,
}  # fmt: skip
TYPES: Final = {
    "SOCK_STREAM": socket.SOCK_STREAM, "SOCK_DGRAM": socket.SOCK_DGRAM,
    "SOCK_SEQPACKET": socket.SOCK_SEQPACKET,
}  # fmt: skip
LISTENING: Final = ("SOCK_STREAM", "SOCK_SEQPACKET")
WHERE: Final = ("family", "type", "host", "port", "path")

Terms = Mapping[str, Any]
Tell = Callable[[Sequence[Any]], None]


class Bound:
    """One socket, and on what terms it is bound."""

    __slots__ = ("fd", "inode", "terms")

    def __init__(self, fd: int, terms: Terms, inode: int = 0) -> None:
        self.fd = fd
        self.terms = terms
        self.inode = inode  # of its path

    def is_at(self, terms: Terms) -> bool:
        """Whether these terms mean the same place."""
        return all(self.terms[key] == terms[key] for key in WHERE)

    def adjust(self, terms: Terms) -> None:
        """What can be changed of a socket that is bound: its backlog, and whether calls wait."""
        if terms["type"] in LISTENING and terms["backlog"] != self.terms["backlog"]:
            with socket.socket(fileno=os.dup(self.fd)) as sock:
                sock.listen(terms["backlog"])
        if terms["blocking"] != self.terms["blocking"]:
            # Only then: it is the workers' too, and they may have said otherwise.
            os.set_blocking(self.fd, terms["blocking"])
        self.terms = terms

    def close(self) -> None:
        """Give it up, with its path if that is still this one's."""
        os.close(self.fd)
        path = self.terms["path"]
        if path and _inode(path) == self.inode:
            os.unlink(path)


class Sockets:
    """All of them, by name."""

    __slots__ = ("_bound", "_tell")

    def __init__(self, tell: Tell) -> None:
        self._bound: dict[str, Bound] = {}
        self._tell = tell

    def settle(self, wanted: Mapping[str, Terms]) -> None:
        """The configuration has these and no others."""
        for name in self._bound.keys() - wanted.keys():
            self._close(name)
        for name, terms in wanted.items():
            if not terms["so_reuseport"]:
                self._settle(name, terms)
            elif name in self._bound:
                self._close(name)  # From now on every worker binds one of its own.

    def fds_for(self, launch: Launch) -> list[tuple[int, bool]]:
        """In the order of the names: descriptor, and whether it is for this spawn alone.

        Raises SpawnFailed: a socket that is not bound is tried once more.
        """
        fds: list[tuple[int, bool]] = []
        for name, terms in sorted(launch.sockets.items()):
            own: bool = terms["so_reuseport"]
            try:
                fds.append((_bind(terms) if own else self._of(name, terms).fd, own))
            except OSError as error:
                close_own(fds)
                raise SpawnFailed(f"socket {name}", error.errno or errno.EADDRINUSE) from error
        return fds

    @property
    def fds(self) -> list[int]:
        """What goes over an exec."""
        return [bound.fd for bound in self._bound.values()]

    def carry(self) -> list[Any]:
        """As plain data."""
        return [[name, b.fd, b.terms, b.inode] for name, b in self._bound.items()]

    def restore(self, carried: Iterable[Sequence[Any]]) -> None:
        """Hold what was held."""
        for name, fd, terms, inode in carried:
            self._bound[name] = Bound(fd, terms, inode)

    def close(self) -> None:
        """At the end of everything."""
        for bound in self._bound.values():
            bound.close()
        self._bound.clear()

    def _of(self, name: str, terms: Terms) -> Bound:
        if name not in self._bound:
            self._bind(name, terms)
        return self._bound[name]

    def _settle(self, name: str, terms: Terms) -> None:
        bound = self._bound.get(name)
        try:
            if bound is None or not bound.is_at(terms):
                self._bind(name, terms)
            else:
                bound.adjust(terms)
        except OSError as error:
            self._tell(("socket_failed", name, address_of(terms), reason_of(error)))

    def _bind(self, name: str, terms: Terms) -> None:
        """The new one first: if that fails, the old one stays."""
        fd = _bind(terms)
        old = self._bound.pop(name, None)
        if old is not None:
            self._give_up(name, old)
        inode = _inode(terms["path"]) if terms["path"] else 0
        self._bound[name] = Bound(fd, terms, inode)
        self._tell(("socket_bound", name, address_of(terms, fd)))

    def _close(self, name: str) -> None:
        self._give_up(name, self._bound.pop(name))

    def _give_up(self, name: str, bound: Bound) -> None:
        address = address_of(bound.terms, bound.fd)
        bound.close()
        self._tell(("socket_closed", name, address))


def close_own(fds: Iterable[tuple[int, bool]]) -> None:
    """Those that were bound for one spawn alone: the worker has them, or there is none."""
    for fd, own in fds:
        if own:
            os.close(fd)


def address_of(terms: Terms, fd: int = -1) -> str:
    """Where it listens, for people; with the port that the kernel chose, once it is bound."""
    if terms["path"]:
        return str(terms["path"])
    port = terms["port"]
    if fd >= 0 and port == 0:
        with socket.socket(fileno=os.dup(fd)) as sock:
            port = sock.getsockname()[1]
    host = terms["host"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: OSError) -> str:
    """Why it could not be bound."""
    return (error.strerror or str(error)).lower()


def _bind(terms: Terms) -> int:
    """A new socket on these terms, listening if that is what its kind does."""
    kind = TYPES[terms["type"]] | socket.SOCK_CLOEXEC
    sock = socket.socket(FAMILIES[terms["family"]], kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if terms["so_reuseport"]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if terms["path"]:
            _bind_path(sock, terms)
        else:
            sock.bind((terms["host"], terms["port"]))
        if terms["type"] in LISTENING:
            sock.listen(terms["backlog"])
        os.set_blocking(sock.fileno(), terms["blocking"])
    except BaseException:
        sock.close()
        raise
    return sock.detach()


def _bind_path(sock: socket.socket, terms: Terms) -> None:
    path = terms["path"]
    if _is_socket(path) and (terms["replace"] or not _is_served(path, terms["type"])):
        os.unlink(path)
    mask = os.umask(0o177 if terms["umask"] is None else terms["umask"])
    try:
        sock.bind(path)
    finally:
        os.umask(mask)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_served(path: str, kind: str) -> bool:
    """Whether anybody is behind it; a killed program leaves its path."""
    with socket.socket(socket.AF_UNIX, TYPES[kind] | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # EAGAIN: somebody is, and busy; EACCES: nobody of ours.
    return True


def _inode(path: str) -> int:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0
