"""Room: bus -- messages of several parts, over the sockets that pyzmq's own class is built on.

Knows:     zmq.
Known by:  bus.publish, arbiter.gateway, arbiter.engine.
Never:     blocks, copies a part twice, knows what the parts mean.

What pyzmq's public class does for every part of a message (options as enumerations, deprecation
checks, copies of the list) is most of the price of a small one (`make bench ONLY=switchboard`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import zmq
from zmq.backend import Socket

_MORE: Final = int(zmq.SNDMORE) | int(zmq.DONTWAIT)
_LAST: Final = int(zmq.DONTWAIT)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_plain: Final[Any] = Socket


def send_parts(socket: zmq.Socket[bytes], parts: Sequence[bytes | memoryview]) -> None:
    """Send one message now, or raise what libzmq has against its first part (zmq.Again, …)."""
    send = _plain.send
    last = len(parts) - 1
    for part in parts[:last]:
        send(socket, part, _MORE)
    send(socket, parts[last], _LAST)


def receive_frames(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """The message that `readable` has promised; its frames know from whom they are."""
    receive = _plain.recv
    frames = [receive(socket, _LAST, False)]
    while frames[-1].more:
        frames.append(receive(socket, _LAST, False))
    return frames


def readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message is there. Clears the socket's descriptor when there is none."""
    return bool(_plain.get(socket, _EVENTS) & _POLLIN)
