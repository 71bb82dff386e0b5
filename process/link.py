"""Room: process -- the link between core and keeper: whole messages, never blocking, strictly read.

Knows:     msgpack, socket.
Known by:  process.keeper_loop (one end), process.reaper (the other), the daemon (opens it).
Never:     interprets what it carries; loses or reorders; waits.

One SOCK_SEQPACKET message is a msgpack array of items (operations towards the keeper, reports
towards the core), each an array whose first element is its name (docs/architecture.md has the
table). A body over 64 KiB does not fit the socket's buffer for certain: it travels in a memfd by
SCM_RIGHTS, and the message itself is then MARK and the length.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgpack

Item: TypeAlias = Sequence[Any]

VERSION: Final = 3
MESSAGE_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
# Operations may come in batches of any size; 256 of them fill about a quarter of a message.
OPERATIONS_PER_MESSAGE: Final = 256
# One message per report costs 20 % of a mass start, one for all makes the core wait for the last.
REPORTS_PER_MESSAGE: Final = 16
MESSAGES_PER_RECEIVE_MAX: Final = 64
# A lone death makes messages of one item (its end) and of two (what follows); a crowd makes more.
ITEMS_OF_ONE_REACTION: Final = 2
# Both directions together hold this much before a slow reader makes the writer keep its items.
SOCKET_BUFFER_BYTES: Final = 1024 * 1024
MARK: Final = b"\xc1"  # the one byte that msgpack never uses
_LENGTH: Final = struct.Struct("<Q")
_FD_BYTES: Final = array.array("i").itemsize
_ROOM_FOR_FD: Final = socket.CMSG_SPACE(_FD_BYTES)
# As plain numbers: two flags of an enumeration joined cost as much as receiving a message.
_CLOEXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
_CUT: Final = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)
encode: Final = msgpack.Packer(use_bin_type=True, autoreset=True).pack

# What each item carries after its name. `None` stands for "may be nil".
OPTIONAL_INT: Final = (int, type(None))
OPERATIONS: Final[Mapping[str, tuple[Any, ...]]] = {
    "settings": (dict,),
    "adopt": (tuple,),
    "list": (int,),
    "spec": (str, dict),
    "spawn": (int, str, str, tuple),
    "signal": (int, int, int, str, OPTIONAL_INT),
    "ack": (tuple,),
    "ready": (int, int),
    "ping": (int,),
    "stopping": (int,),
    "reexec": (int, str),
    "heard": (int,),
}
REPORTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "hello": (int, int, tuple, int),
    "held": (bool, tuple),
    "spawned": (int, str, int, int, int),
    "failed": (int, str, str, int),
    "exited": (int, str, int, OPTIONAL_INT, OPTIONAL_INT, bool, dict, int, int),
    "signalled": (int, int, int, tuple, int),
    "reaped": (int, int, tuple),
    "orphan": (int, OPTIONAL_INT, OPTIONAL_INT),
    "os_signal": (int,),
    "pong": (int,),
    "lost": (int, int),
    "reexeced": (int, str),
    "reexec_refused": (int, str),
    "scribe_started": (int,),
    "scribe_lost": (int, OPTIONAL_INT, OPTIONAL_INT),
    "output_uncertain": (int, str, str, int),
    "output_failed": (int, str, str, str),
    "output_resumed": (int, str, str),
    "socket_bound": (str, str),
    "socket_failed": (str, str, str),
    "socket_closed": (str, str),
}


class LinkClosed(Exception):
    """The other end is gone."""


class LinkGarbled(Exception):
    """The other end sent what no version of this program sends."""


class Link:
    """One end. Items given to `send` leave in order, as soon as `flush` finds room for them."""

    __slots__ = ("_early", "_per_message", "_queue", "_ready", "_schema", "_socket", "watched")

    def __init__(
        self, sock: socket.socket, schema: Mapping[str, tuple[Any, ...]], *, per_message: int
    ) -> None:
        self._socket = sock
        self._schema = schema
        self._per_message = per_message
        self._early: list[Item] = []  # received, not asked for yet
        self._queue: deque[Item] = deque()
        self._ready: bytes | None = None  # encoded, not yet taken
        self.watched = False  # its owner's poll waits for room to write

    @classmethod
    def core_end(cls, fd: int) -> Link:
        """Of the core: sends operations, receives reports. Takes the descriptor over."""
        return cls(_adopted(fd), REPORTS, per_message=OPERATIONS_PER_MESSAGE)

    @classmethod
    def keeper_end(cls, fd: int) -> Link:
        """Of the keeper: sends reports, receives operations. Takes the descriptor over."""
        return cls(_adopted(fd), OPERATIONS, per_message=REPORTS_PER_MESSAGE)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Something waits for the socket to become writable."""
        return self._ready is not None or bool(self._queue)

    def send(self, items: Iterable[Item]) -> None:
        """Queue items behind those before them; nothing leaves before `flush`."""
        self._queue.extend(items)

    def flush(self) -> bool:
        """Send what the socket takes now; True when nothing is left. Raises LinkClosed."""
        queue = self._queue
        while self._ready is not None or queue:
            body = self._ready or encode(self._next_batch())
            if not self._send(body):
                self._ready = body
                return False
            self._ready = None
        return True

    def _next_batch(self) -> list[Item]:
        queue = self._queue
        if len(queue) > self._per_message:
            return [queue.popleft() for _ in range(self._per_message)]
        batch = list(queue)
        queue.clear()
        return batch

    def receive(self) -> list[Item]:
        """All that has arrived. Raises LinkClosed after the last, LinkGarbled for nonsense."""
        items, self._early = self._early, []
        for _ in range(MESSAGES_PER_RECEIVE_MAX):
            body = self._receive()
            if body is None:
                break
            if not body:
                if items:
                    break
                raise LinkClosed
            received = decode(body, self._schema)
            items.extend(received)
            if len(received) <= ITEMS_OF_ONE_REACTION:
                break  # Hardly more to come, and if there is, the poll loop comes back for it.
        return items

    def first(self) -> Item:
        """Wait for what the other end says first; it is received like everything else.

        A keeper greets before it does anything else, so this hardly ever waits.
        """
        self._socket.setblocking(True)
        try:
            self._early = self.receive_one()
        finally:
            self._socket.setblocking(False)
        return self._early[0]

    def receive_one(self) -> list[Item]:
        """The items of one message."""
        body = self._receive()
        if not body:
            raise LinkClosed
        return decode(body, self._schema)

    def close(self) -> None:
        self._socket.close()

    def _send(self, body: bytes) -> bool:
        try:
            if len(body) <= MESSAGE_BYTES_MAX:
                self._socket.send(body)
            else:
                _send_in_memfd(self._socket, body)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LinkClosed from error
        return True

    def _receive(self) -> bytes | None:
        try:
            body, extra, flags, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, _ROOM_FOR_FD, _CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""
        if not extra and not flags & _CUT:
            return body
        fds = _fds_in(extra)
        if flags & _CUT or len(fds) > 1:
            _close_all(fds)
            raise LinkGarbled("cannot read: a message was cut")
        if fds:
            return _read_memfd(fds[0], body)
        return body


def pair() -> tuple[int, int]:
    """Two connected ends as descriptors, close-on-exec and non-blocking."""
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    return one.detach(), other.detach()


def decode(body: bytes, schema: Mapping[str, tuple[Any, ...]]) -> list[Item]:
    """The items of one message; raises LinkGarbled for anything that the table does not have."""
    try:
        items = msgpack.unpackb(body, raw=False, use_list=False, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise LinkGarbled(f"cannot read: {str(error) or type(error).__name__}") from error
    if type(items) is not tuple:
        raise LinkGarbled("cannot read: not an array of items")
    for item in items:
        _check(item, schema)
    return list(items)


def _check(item: Any, schema: Mapping[str, tuple[Any, ...]]) -> None:
    if type(item) is not tuple or not item or type(item[0]) is not str:
        raise LinkGarbled("cannot read: an item is an array that begins with its name")
    fields = schema.get(item[0])
    if fields is None or len(item) != len(fields) + 1:
        raise LinkGarbled(f"cannot read {item[0]!r}: no such item with {len(item) - 1} fields")
    for value, wanted in zip(item[1:], fields, strict=True):
        if type(value) is not wanted and not (type(wanted) is tuple and type(value) in wanted):
            raise LinkGarbled(f"cannot read {item[0]!r}: {value!r} is not a {wanted}")


def _adopted(fd: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd)
    sock.setblocking(False)
    sock.set_inheritable(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    return sock


def _send_in_memfd(sock: socket.socket, body: bytes) -> None:
    fd = os.memfd_create("circus-link", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", buffering=0, closefd=False) as file:
            file.write(body)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        sock.sendmsg([MARK + _LENGTH.pack(len(body))], [rights])
    finally:
        os.close(fd)


def _read_memfd(fd: int, head: bytes) -> bytes:
    try:
        if len(head) != 1 + _LENGTH.size or head[:1] != MARK:
            raise LinkGarbled("cannot read: a descriptor without its mark")
        (length,) = _LENGTH.unpack_from(head, 1)
        if not 0 < length <= BODY_BYTES_MAX:
            raise LinkGarbled(f"cannot read: {length} bytes, at most {BODY_BYTES_MAX}")
        body = os.pread(fd, length, 0)
        if len(body) != length:
            raise LinkGarbled(f"cannot read: {len(body)} of {length} bytes")
        return body
    finally:
        os.close(fd)


def _fds_in(extra: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return list(fds)


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
