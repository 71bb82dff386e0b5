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
from collections import Counter
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from campaign.churn import CHURN, Churn, Lives, churning
from campaign.stage import NOT_RUN, NotHere, Stage, Wrong
from campaign.supervised import (
    Seen,
    Supervised,
    children,
    comm,
    descendants,
    kill,
    seen,
    send,
    until,
)
from circus.bus import events

# --- F14 ------------------------------------------------------------------------------------------


PID_MAX: Final = 400
PID_MAX_FILE: Final = Path("/proc/sys/kernel/pid_max")


def f14(stage: Stage) -> None:
    """Short lives in a namespace with 400 pids: each number has a new owner every second."""
    before = PID_MAX_FILE.read_text(encoding="ascii")
    if before.strip() == str(PID_MAX):
        _churn(stage)
        return
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotHere("a PID namespace with its own pid_max: there is no unshare here")
    limit = f'echo {PID_MAX} > {PID_MAX_FILE} && exec "$@"'
    task = stage.task._replace(seconds=stage.left())
    own = [sys.executable, "-m", "campaign", "--row", "F14", *map(str, task)]
    command = [
        unshare, "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", limit, "sh", *own,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if before != PID_MAX_FILE.read_text(encoding="ascii"):
        PID_MAX_FILE.write_text(before, encoding="ascii")
        raise NotHere("this kernel has one pid_max for all namespaces (older than 6.14)")
    _take_over(stage, done)


def _take_over(stage: Stage, done: subprocess.CompletedProcess[str]) -> None:
    """The outcome of the one inside is ours."""
    lines = done.stdout.splitlines()
    if not lines or "status" not in (last := json.loads(lines[-1])):
        raise NotHere(f"a PID namespace with its own pid_max: {done.stderr.strip()[-200:]}")
    if last["status"] == NOT_RUN:
        raise NotHere(last["wrongs"][0])
    stage.did(last["done"])
    stage.expect_none(last["wrongs"])
    stage.counts.update(last["counts"])


def _churn(stage: Stage) -> None:
    with churning(stage, Lives(20, "0")) as churn:
        while stage.going() or stage.done < PID_MAX:
            churn.wait_exits(10)
            stage.did(churn.daemon.ear.counts[f"process.exited {CHURN}"] - stage.done)
        records = churn.end()
    pids = Counter(
        record.body.pid for record in records if isinstance(record.body, events.ProcessSpawned)
    )
    stage.counts["came again"] += pids.total() - len(pids)
    if not stage.counts["came again"]:
        raise NotHere("there was no time for any pid to come again")


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
            os.write(1, (b"x" * 63 + b"\\n") * 1024)
        """,
}
# What it writes goes through the scribe, and no further than this.
CAPTURED: Final = """
stdout_stream.filename = "{up}.out"
stdout_stream.max_bytes = 16777216
stdout_stream.backup_count = 1
"""
BEGIN: Final = """
import os, signal, sys, time
def up(): open(sys.argv[1], "a").write("x")
def wait():
    while True: time.sleep(1000)
"""
# They all end at the same moment: when nobody holds the other end of the pipe any more.
CROWD_SIZE: Final = 200
CROWD: Final = """
[watcher.crowd]
cmd = "sh -c 'exec < {pipe}; echo >> {pipe}.up; read word'"
numprocesses = {count}
autostart = false
respawn = false
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
    """All animals at once; somebody stops, restarts and kills them; a core and a scribe die."""
    while stage.going():
        folder = stage.folder / f"zoo{stage.done}"
        folder.mkdir()
        _visit(stage, folder)
        stage.did()


def _visit(stage: Stage, folder: Path) -> None:
    lives = Lives(
        10, "0", more=_cages(folder) + CROWD.format(pipe=folder / "pipe", count=CROWD_SIZE)
    )
    os.mkfifo(folder / "pipe")
    with churning(stage, lives, name=f"state{stage.done}") as churn:
        daemon = churn.daemon
        for animal in ANIMALS:
            until((folder / animal).exists, f"{animal} did not come up")
        _annoy(stage, churn, folder)
        _let_go(churn, folder / "pipe")
        _strike_scribe(daemon)
        daemon.ear.wait_ready(daemon.strike_core())
        core = daemon.core_pid()
        below = {one: _session(one.pid) for one in seen(descendants(daemon.pid)) if one.pid != core}
        own = {pid for animal in ANIMALS for pid in daemon.pids(animal)}
        begun = time.monotonic()
        churn.end()
        took = time.monotonic() - begun
    stage.expect(took < BUDGET_SECONDS, f"the stop took {took:.1f} s")
    stage.times["stop of all"].append(took * 1000)
    stage.counts["descendants"] += len(below)
    _judge_left(stage, below, own)


def _cages(folder: Path) -> str:
    cages: list[str] = []
    for name, text in ANIMALS.items():
        script = folder / f"{name}.py"
        script.write_text(BEGIN + textwrap.dedent(text), encoding="ascii")
        words = {"name": name, "python": sys.executable, "script": script, "up": folder / name}
        cages.append((CAGE + CAPTURED * (name == "floods")).format(**words))
    return "".join(cages)


def _annoy(stage: Stage, churn: Churn, folder: Path) -> None:
    """One animal each way."""
    daemon = churn.daemon
    one, two, three = stage.dice.sample([*ANIMALS], 3)
    daemon.call("restart", name=one, waiting=True)
    until(lambda: (folder / one).stat().st_size > 1, f"{one} did not come up again")
    for pid in daemon.pids(two):
        send(pid, signal.SIGKILL)
    until(lambda: (folder / two).stat().st_size > 1, f"{two} did not come up again")
    daemon.call("stop", name=three, waiting=True)
    stage.expect(daemon.pids(three) == [], f"{three} is stopped, and runs")


def _let_go(churn: Churn, pipe: Path) -> None:
    """Two hundred end at once, whose SIGCHLD the kernel makes one of: each end is on record."""
    holding = os.open(pipe, os.O_RDWR)
    churn.daemon.call("start", name="crowd", waiting=True)
    up = Path(f"{pipe}.up")
    until(lambda: up.exists() and up.stat().st_size == CROWD_SIZE, "the crowd did not come up")
    os.close(holding)
    ear = churn.daemon.ear
    ear.wait(lambda: not ear.pids("crowd"), "some of a crowd that has ended are not on record")


def _strike_scribe(daemon: Supervised) -> None:
    """KILL to it in the flood: another one reads on."""
    scribe = next(pid for pid in children(daemon.pid) if comm(pid) == "circus-scribe")
    started, lost = (daemon.ear.counts[f"scribe.{name}"] for name in ("started", "lost"))
    kill(scribe)
    daemon.ear.wait_more("scribe.started", than=started)
    daemon.ear.wait_more("scribe.lost", than=lost)


def _judge_left(stage: Stage, below: Mapping[Seen, int], own: Container[int]) -> None:
    """Who has made a session of his own has left: without a cgroup nobody can tell whose he was."""
    away = {one for one, session in below.items() if session not in own}

    def left() -> list[Seen]:
        return [one for one in below if not one.has_ended]

    with suppress(Wrong):  # what was killed last is dying for a moment
        until(lambda: not set(left()) - away, "they live on", DYING_SECONDS)
    theirs = [f"{one.pid} {comm(one.pid)}" for one in left() if one not in away]
    stage.counts["gone away by setsid"] += len(left()) - len(theirs)
    for one in left():
        one.end()
    stage.expect(not theirs, f"{len(theirs)} processes are left of the zoo: {theirs[:5]}")


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
