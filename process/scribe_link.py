"""Room: process -- what keeper and scribe say to each other, and the descriptors that go with it.

Knows:     process.link (encoding, strict reading).
Known by:  process.scribe_child (the keeper's end), process.scribe (the other).
Never:     waits; carries a byte of output.

One SOCK_SEQPACKET message is one item. A `stream` brings the read end of a worker's pipe by
SCM_RIGHTS; both sides name it by the number that it has with the keeper, which is unique for as
long as he holds it. The MARKS, a byte for each of these numbers in memory that both have mapped,
say between which reads and writes the scribe is: they are all that is left of one that was killed.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from circus.process.link import MESSAGE_BYTES_MAX, Item, LinkClosed, LinkGarbled, decode, encode

# What is read at once, and so the most that the end of a scribe can cost one stream.
READ_BYTES: Final = 64 * 1024
# As many as there can be descriptors (fs.nr_open); a page of it exists once it is used.
MARKS: Final = 1 << 20
# Behind them, whether this scribe has written anything at all.
USEFUL: Final = MARKS
MEMORY_BYTES: Final = MARKS + 1
IDLE: Final = 0
IN_HAND: Final = 1  # being read, or read and not yet written

TO_SCRIBE: Final[Mapping[str, tuple[Any, ...]]] = {
    "stream": (int, int, str, dict),  # number, the worker's pid, stdout or stderr, its sink
    "leave": (),  # write what is read, and end: another one goes on
    "finish": (),  # write all that is in the pipes, and end
}
FROM_SCRIBE: Final[Mapping[str, tuple[Any, ...]]] = {
    "eof": (int,),  # all is written, and nobody can write to it any more
    "failed": (int, str),  # cannot be written, for this reason; tried again
    "resumed": (int,),
}
_MANY: Final = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)


def put(sock: socket.socket, item: Sequence[Any], fd: int = -1) -> bool:
    """Send one item; False if there is no room for it now. Raises LinkClosed."""
    try:
        socket.send_fds(sock, [encode([item])], [] if fd < 0 else [fd])
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError) as error:
        raise LinkClosed from error
    return True


def take(sock: socket.socket, schema: Mapping[str, tuple[Any, ...]]) -> tuple[Item, int] | None:
    """The next item, and its descriptor or -1; None: nothing is there. Raises LinkClosed."""
    try:
        body, fds, flags, _ = socket.recv_fds(sock, MESSAGE_BYTES_MAX, 1, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return None
    except ConnectionResetError as error:
        raise LinkClosed from error
    if not body:
        raise LinkClosed
    if flags & _MANY:
        raise LinkGarbled("cannot read: a message was cut")
    (item,) = decode(body, schema)
    return item, fds[0] if fds else -1
