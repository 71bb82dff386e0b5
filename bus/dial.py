"""Room: bus -- the client's end of the sockets, their options in one place.

Knows:     zmq.
Known by:  circus.client, bus.subscribe, bus.subscribe_async.
Never:     binds, decodes, retries.

The options are those of RELIABILITY.md, 1.5: nothing lingers, a peer that has vanished from a
network is noticed in 6 s, and a request is queued only to a peer that is there (IMMEDIATE).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import zmq

HEARTBEAT_MS: Final = 2000
HEARTBEAT_TIMEOUT_MS: Final = 6000
HANDSHAKE_MS: Final = 2000
RECONNECT_MS: Final = 10
RECONNECT_MS_MAX: Final = 500
# A try on this machine costs microseconds, and a core that was killed is back in 200 ms.
RECONNECT_IPC_MS_MAX: Final = 40
SUBSCRIBER_MESSAGES_MAX: Final = 10_000
UNIX_PATH_BYTES_MAX: Final = 107


class Doors(NamedTuple):
    """The two endpoints of one daemon; `events` is None where the daemon must be asked."""

    ctl: str
    events: str | None
    state_dir: str | None = None


def doors_of(place: str | os.PathLike[str]) -> Doors:
    """From an endpoint of ctl, or from a state directory.

    An ipc endpoint has its event stream beside it, under the name `events.sock`.
    """
    text = os.fspath(place)
    if "://" not in text:
        # `run` may be a link, made because the real path is the shorter one.
        run = os.path.realpath(os.path.join(text, "run"))
        return Doors(f"ipc://{run}/ctl.sock", f"ipc://{run}/events.sock", text)
    if text.startswith("ipc://"):
        return Doors(text, text.rpartition("/")[0] + "/events.sock")
    return Doors(text, None)


def is_answered(endpoint: str) -> bool:
    """Whether somebody listens: known at once for ipc, assumed for the rest."""
    if not endpoint.startswith("ipc://"):
        return True
    path = endpoint.removeprefix("ipc://")
    check_path(path)
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:  # the backlog is full: very much alive
            return True
    return True


def check_path(path: str) -> None:
    """Say what is wrong before zmq says `Invalid argument`."""
    if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise ValueError(
            f"cannot connect to {path}: longer than {UNIX_PATH_BYTES_MAX} bytes; "
            "use a shorter state directory"
        )


def heartbeats(endpoints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """ZeroMQ's own, where a peer may vanish in silence; over ipc the kernel tells (ADR-0094)."""
    if all(one.startswith("ipc://") for one in endpoints):
        return ()
    return (
        (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
        (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
        (zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS),
    )


def dial_ctl(context: zmq.Context[Any], endpoint: str) -> Any:
    """A DEALER to ctl: one frame out, two or three in."""
    return _dialled(context.socket(zmq.DEALER), endpoint)


def dial_ctl_watched(context: zmq.Context[Any], endpoint: str) -> tuple[Any, Any]:
    """The same, and a socket that is readable once the connection has been lost: a request that
    was on its way is lost with it, and nobody else would say so."""
    dialled = context.socket(zmq.DEALER)
    monitor = dialled.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    return _dialled(dialled, endpoint), monitor


def dial_events(context: zmq.Context[Any], endpoint: str) -> Any:
    """A SUB to the event stream, with no subscription yet.

    Without IMMEDIATE: it is of no use to who sends nothing, and libzmq 4.3.5 aborts the process if
    the peer vanishes while a message of several frames is read (ADR-0118).
    """
    events = context.socket(zmq.SUB)
    events.setsockopt(zmq.RCVHWM, SUBSCRIBER_MESSAGES_MAX)
    return _dialled(events, endpoint, immediate=False)


def _dialled(dialled: Any, endpoint: str, *, immediate: bool = True) -> Any:
    pause_ms_max = RECONNECT_MS_MAX
    if endpoint.startswith("ipc://"):
        check_path(endpoint.removeprefix("ipc://"))
        pause_ms_max = RECONNECT_IPC_MS_MAX
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.IMMEDIATE, immediate),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.RECONNECT_IVL, RECONNECT_MS),
        (zmq.RECONNECT_IVL_MAX, pause_ms_max),
        *heartbeats([endpoint]),
    ):
        dialled.setsockopt(option, value)
    dialled.connect(endpoint)
    return dialled
