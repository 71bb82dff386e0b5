"""Room: tests -- who sends ZeroMQ's own heartbeats, and who leaves that to the kernel.

Knows:     bus.dial, bus.bind, zmq.
Known by:  pytest.
Never:     waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from circus.bus.bind import bind_ctl, bind_events
from circus.bus.dial import HEARTBEAT_MS, dial_ctl, dial_events, heartbeats

LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(0)


def test_heartbeats_are_for_networks() -> None:
    """One endpoint beyond this machine's kernel is enough."""
    assert () == heartbeats(["ipc:///x", "ipc:///y"])
    assert HEARTBEAT_MS == dict(heartbeats(["ipc:///x", "tcp://127.0.0.1:1"]))[zmq.HEARTBEAT_IVL]


def interval(opened: Any) -> int:
    with opened:
        value: int = opened.getsockopt(zmq.HEARTBEAT_IVL)
        return value


@pytest.mark.parametrize("bind", [bind_ctl, bind_events])
def test_a_daemon_beats_where_it_listens_on_tcp(
    bind: Callable[..., Any], context: zmq.Context[Any], tmp_path: Path
) -> None:
    """Over ipc an idle second has no work of ZeroMQ's own in it."""
    ipc = f"ipc://{tmp_path}/s"
    assert 0 == interval(bind(context, [ipc]))
    assert HEARTBEAT_MS == interval(bind(context, [f"{ipc}2", LOOPBACK]))


@pytest.mark.parametrize("dial", [dial_ctl, dial_events])
def test_a_client_beats_over_tcp(
    dial: Callable[..., Any], context: zmq.Context[Any], tmp_path: Path
) -> None:
    """The same rule at the other end."""
    assert 0 == interval(dial(context, f"ipc://{tmp_path}/s"))
    assert HEARTBEAT_MS == interval(dial(context, "tcp://127.0.0.1:9"))


def test_only_who_sends_is_immediate(context: zmq.Context[Any], tmp_path: Path) -> None:
    """A subscriber that is would be aborted in the middle of a message (ADR-0118)."""
    for dial, wanted in ((dial_ctl, 1), (dial_events, 0)):
        with dial(context, f"ipc://{tmp_path}/s") as dialled:
            assert wanted == dialled.getsockopt(zmq.IMMEDIATE)
