"""A `list` over ipc against a raw ROUTER that echoes msgpack of the same sizes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from bench.contestants import Circus, Ours, running
from bench.peers import circus_ask
from bench.stage import Figures, Item, Stage, Target, percentile
from circus.bus.dial import dial_ctl, doors_of
from circus.bus.wire import Request, decode_reply, encode_request

CALLS: Final = 2000
WARM_CALLS: Final = 100
PEER_SECONDS: Final = 10.0
NS_PER_US: Final = 1e3
# The sizes of the answer's frames are given, so that both carry the same bytes.
ECHO: Final = """
import sys, msgpack, zmq
router = zmq.Context().socket(zmq.ROUTER)
router.bind(sys.argv[1])
header, body = bytes.fromhex(sys.argv[2]), msgpack.unpackb(bytes.fromhex(sys.argv[3]))
print("bound", flush=True)
while True:
    name, request = router.recv_multipart()
    body["id"] = msgpack.unpackb(request)["id"]
    router.send_multipart((name, header, msgpack.packb(body)))
"""


def _ask(dealer: Any) -> float:
    """One `list`, there and back, decoded; µs."""
    begun = time.perf_counter_ns()
    dealer.send(encode_request(Request(os.urandom(16), "list", {})))
    decode_reply(dealer.recv_multipart())
    return (time.perf_counter_ns() - begun) / NS_PER_US


def _both(stage: Stage) -> tuple[list[float], list[float]]:
    """Echo and ours in turn, A B A B, in this process."""
    context: zmq.Context[Any] = zmq.Context()
    with running(Ours, stage, stage.sized(10, 2)) as started:
        started.wait_born()
        ours = dial_ctl(context, doors_of(str(started.state)).ctl)
        ours.send(encode_request(Request(os.urandom(16), "list", {})))
        header, body = ours.recv_multipart()
        endpoint = f"ipc://{stage.folder}/echo.sock"
        argv = [sys.executable, "-c", ECHO, endpoint, header.hex(), body.hex()]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as echo:
            try:
                assert echo.stdout is not None
                echo.stdout.readline()
                bare = dial_ctl(context, endpoint)
                taken = _in_turn(stage, lambda: _ask(bare), lambda: _ask(ours))
            finally:
                echo.kill()
                context.destroy(0)
    return taken


def _in_turn(
    stage: Stage, first: Callable[[], float], second: Callable[[], float]
) -> tuple[list[float], list[float]]:
    a: list[float] = []
    b: list[float] = []
    for _ in range(stage.sized(CALLS, 20) + WARM_CALLS):
        a.append(first())
        b.append(second())
    return a[WARM_CALLS:], b[WARM_CALLS:]


def _figures(taken: list[float]) -> dict[str, float]:
    return {"p50 µs": percentile(taken, 0.5), "p99 µs": percentile(taken, 0.99)}


def _ours(stage: Stage) -> Figures:
    bare, ours = _both(stage)
    paired = {f"echo {name}": value for name, value in _figures(bare).items()}
    figures = _figures(ours)
    return {**figures, **paired, "× echo": figures["p50 µs"] / paired["echo p50 µs"]}


def _circus(stage: Stage) -> Figures:
    context: zmq.Context[Any] = zmq.Context()
    with running(Circus, stage, stage.sized(10, 2)) as started:
        started.wait_born()
        dealer = context.socket(zmq.DEALER)
        dealer.connect(f"ipc://{stage.folder}/ctl.sock")
        circus_ask(dealer, "list", PEER_SECONDS, {})
        taken = []
        for _ in range(stage.sized(CALLS // 2, 10)):
            begun = time.perf_counter_ns()
            circus_ask(dealer, "list", PEER_SECONDS, {})
            taken.append((time.perf_counter_ns() - begun) / NS_PER_US)
        context.destroy(0)
    return _figures(taken)


ITEMS: Final = (
    Item(
        "round_trip", "`list` over ipc, one caller",
        {"ours": _ours, "circus": _circus},
        (Target("× echo", "value", "at most", 1.3),),
        ratios=False,
        about="Ours and a raw echo (ROUTER, msgpack decoded and encoded, the same bytes) are asked "
        "in turn by one process, 2,000 times each; both sides of a call are decoded.",
    ),
)  # fmt: skip
