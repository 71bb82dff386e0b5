"""F14, F15: pids that come again at once; the zoo of processes that behave badly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from campaign.judge import judge_lives, judged
from campaign.stage import NotHere, Stage, Wrong
from campaign.supervised import Supervised, children, kill, running, send, state_of, until
from campaign.truth import worker
from circus.bus import events

PID_MAX: Final = 400
CHURN: Final = """
[circus]
loglevel = "error"
[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) 0"
numprocesses = 20
backoff = 0
give_up = 0
min_uptime = 0
"""


# --- F14 ------------------------------------------------------------------------------------------


def f14(stage: Stage) -> None:
    """Short lives in a namespace with 400 pids: each number has a new owner every second."""
    if Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii").strip() == str(PID_MAX):
        _churn(stage)
        return
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotHere("a PID namespace with its own pid_max: there is no unshare here")
    limit = f'echo {PID_MAX} > /proc/sys/kernel/pid_max && exec "$@"'
    own = [sys.executable, "-m", "campaign", "--row", "F14", str(stage.wanted), str(stage.left())]
    shell = ["sh", "-c", limit, "sh", *own]
    command = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child", *shell]
    before = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if before != Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"):
        Path("/proc/sys/kernel/pid_max").write_text(before, encoding="ascii")
        raise NotHere("this kernel has one pid_max for all namespaces (older than 6.14)")
    _take_over(stage, done)


def _take_over(stage: Stage, done: subprocess.CompletedProcess[str]) -> None:
    """The outcome of the one inside is ours."""
    lines = done.stdout.splitlines()
    if not lines or "status" not in (last := json.loads(lines[-1])):
        raise NotHere(f"a PID namespace with its own pid_max: {done.stderr.strip()[-200:]}")
    stage.did(last["done"])
    stage.expect_none(last["wrongs"])
    stage.figures |= last["figures"]


def _churn(stage: Stage) -> None:
    truth = stage.folder / "truth"
    with running(stage, CHURN.format(worker=worker(stage.folder), truth=truth)) as daemon:
        while stage.going():
            seen = daemon.ear.counts.get("process.exited", 0)
            stage.did(seen - stage.done)
            time.sleep(0.1)
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    records = judged(stage, daemon.state)
    judge_lives(stage, records, truth)
    pids = {record.body.pid for record in records if isinstance(record.body, events.ProcessSpawned)}
    stage.figures["different pids"] = str(len(pids))


# --- F15 ------------------------------------------------------------------------------------------

# Each is a Python program; `up()` says that it has done what it is there for.
ANIMALS: Final = {
    "ignores_term": "signal.signal(signal.SIGTERM, signal.SIG_IGN); up(); wait()",
    "stops_itself": "up(); os.kill(os.getpid(), signal.SIGSTOP); wait()",
    "double_forks": """
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid(); up(); wait()
            os._exit(0)
        os.wait(); wait()
        """,
    "is_traced": """
        import ctypes
        child = os.fork()
        if child == 0:
            wait()
        ctypes.CDLL(None).ptrace(16, child, 0, 0); up(); wait()
        """,
    "has_a_tree": """
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                for _ in range(4):
                    if os.fork() == 0:
                        wait()
                wait()
        up(); wait()
        """,
    "closes_stdio": "os.closerange(0, 3); up(); wait()",
    "floods": """
        signal.signal(signal.SIGALRM, lambda *_: up()); signal.alarm(1)
        while True:
            os.write(1, bytes(65536))
        """,
}
BEGIN: Final = """
import os, signal, sys, time
def up(): open(sys.argv[1], "a").write("x")
def wait():
    while True: time.sleep(1000)
"""
ZOO: Final = """
[circus]
loglevel = "error"
{cages}
[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) 0"
numprocesses = 10
backoff = 0
give_up = 0
min_uptime = 0
[watcher.calm]
cmd = "sleep 100000"
"""
CAGE: Final = """
[watcher.{name}]
cmd = "{python} -S {script} {up}"
graceful_timeout = 0.5
leftovers = "kill"
stop_children = true
"""
DYING_SECONDS: Final = 3.0
BUDGET_SECONDS: Final = 30.0  # for a stop of all of them, on a machine with other things to do


def f15(stage: Stage) -> None:
    """All animals at once; somebody stops, restarts and kills them; a core dies among them."""
    while stage.going():
        folder = stage.folder / f"zoo{stage.done}"
        folder.mkdir()
        _visit(stage, folder)
        stage.did()


def _visit(stage: Stage, folder: Path) -> None:
    truth = folder / "truth"
    cages: list[str] = []
    for name, text in ANIMALS.items():
        script = folder / f"{name}.py"
        script.write_text(BEGIN + textwrap.dedent(text), encoding="ascii")
        words = {"name": name, "python": sys.executable, "script": script, "up": folder / name}
        cages.append(CAGE.format(**words))
    config = ZOO.format(cages="".join(cages), worker=worker(folder), truth=truth)
    name = f"state{stage.done}"
    with running(stage, config, name=name) as daemon:
        for animal in ANIMALS:
            until((folder / animal).exists, f"{animal} did not come up")
        calm = daemon.pids("calm")
        _annoy(stage, daemon, folder)
        daemon.ear.wait_ready(daemon.strike_core())
        begun = time.monotonic()
        stage.expect(calm == daemon.pids("calm"), "the calm one is another one now")
        below = {pid: _session(pid) for pid in _below(daemon.pid) if pid != daemon.core_pid()}
        own = {pid for animal in ANIMALS for pid in daemon.pids(animal)}
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
        took = time.monotonic() - begun
    stage.expect(took < BUDGET_SECONDS, f"the stop took {took:.1f} s")
    stage.figures["stop of all"] = f"{took:.1f} s"
    # Who has made a session of his own has left: without a cgroup nobody can tell whose he was.
    away = {pid for pid, session in below.items() if session not in own}
    with suppress(Wrong):  # what was killed last is dying for a moment
        until(lambda: not set(_alive(below)) - away, "they live on", DYING_SECONDS)
    left = _alive(below)
    theirs = [f"{pid} {_words(pid)}" for pid in left if pid not in away]
    for pid in left:
        kill(pid)
    stage.figures["descendants"] = str(len(below))
    stage.figures["gone away by setsid"] = str(len(left) - len(theirs))
    stage.expect(not theirs, f"{len(theirs)} processes are left of the zoo: {theirs[:5]}")
    judge_lives(stage, judged(stage, daemon.state), truth)


def _annoy(stage: Stage, daemon: Supervised, folder: Path) -> None:
    """One animal each way."""
    one, two, three = stage.dice.sample([*ANIMALS], 3)
    daemon.call("restart", name=one, waiting=True)
    until(lambda: (folder / one).stat().st_size > 1, f"{one} did not come up again")
    for pid in daemon.pids(two):
        send(pid, signal.SIGKILL)
    until(lambda: (folder / two).stat().st_size > 1, f"{two} did not come up again")
    daemon.call("stop", name=three, waiting=True)
    stage.expect(daemon.pids(three) == [], f"{three} is stopped, and runs")


def _alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if state_of(pid) not in {"", "Z", "X"}]


def _words(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return f"({state_of(pid)}) {b' '.join(words[-3:]).decode(errors='replace')}"
    return ""


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _below(root: int) -> list[int]:
    found = children(root)
    for pid in found:
        found += children(pid)
    return found
