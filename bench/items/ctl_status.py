"""The whole process of `circusctl status`, from exec to exit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Final

from bench import ours, peers
from bench.contestants import Circus, Contestant, Ours, plain_environ, running
from bench.stage import Figures, Item, Stage, Target, percentile

CALLS: Final = 20
NS_PER_MS: Final = 1e6


def _timed(argv: list[str]) -> float:
    begun = time.monotonic_ns()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=plain_environ())
    return (time.monotonic_ns() - begun) / NS_PER_MS


def _against_imports(
    stage: Stage, kind: type[Contestant], command: Callable[[Contestant], list[str]], python: str
) -> Figures:
    """The command and the bare imports of the same environment, in turn."""
    imports = [python, "-c", "import zmq, msgpack" if kind is Ours else "import zmq"]
    whole: list[float] = []
    bare: list[float] = []
    with running(kind, stage, stage.sized(10, 2)) as started:
        started.wait_born()
        argv = command(started)
        _timed(argv)
        for _ in range(stage.sized(CALLS, 2)):
            bare.append(_timed(imports))
            whole.append(_timed(argv))
    figures = {"p50 ms": percentile(whole, 0.5), "imports p50 ms": percentile(bare, 0.5)}
    return {**figures, "× imports": figures["p50 ms"] / figures["imports p50 ms"]}


def _ours(stage: Stage) -> Figures:
    def command(started: Contestant) -> list[str]:
        return [ours.program("circusctl"), "--state-dir", str(started.state), "status"]

    return _against_imports(stage, Ours, command, ours.program("python"))


def _circus(stage: Stage) -> Figures:
    def command(started: Contestant) -> list[str]:
        endpoint = f"ipc://{stage.folder}/ctl.sock"
        return [str(peers.program("circus", "circusctl")), "--endpoint", endpoint, "status"]

    return _against_imports(stage, Circus, command, str(peers.program("circus", "python")))


ITEMS: Final = (
    Item(
        "ctl_status", "`circusctl status`, the whole process",
        {"ours": _ours, "circus": _circus},
        (Target("p50 ms", "value", "at most", 75),),
        ratios=False,
        about="In turn with `python -c 'import zmq, msgpack'` (circus: its own environment's "
        "`import zmq`), which no client of ZeroMQ can undercut.",
    ),
)  # fmt: skip
