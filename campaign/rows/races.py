"""F17, F18: two daemons for one state directory; reloads that are many, wrong, and at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

from campaign.churn import HEAD
from campaign.ear import DEADLINE_SECONDS
from campaign.judge import judged
from campaign.stage import Stage, Wrong
from campaign.supervised import Supervised, freeze, kill, running, until
from circus.bus import events
from circus.client import Client

EX_CANTCREAT: Final = 73
CONTENDERS: Final = (2, 3)
ONE: Final = f'{HEAD}[watcher.one]\ncmd = "sleep 100000"\nnumprocesses = 2\n'


# --- F17 ------------------------------------------------------------------------------------------


def f17(stage: Stage) -> None:
    """Several start at the same moment: one runs, the others end with 73 and touch nothing."""
    while stage.going():
        daemon = Supervised(stage, ONE, name=f"race{stage.done}")
        racers = [daemon.another() for _ in range(stage.dice.choice(CONTENDERS))]
        try:
            stage.counts["refused"] += _race(stage, daemon, racers)
        finally:
            for racer in racers:
                _end(racer)
        stage.did()


def _race(stage: Stage, daemon: Supervised, racers: list[subprocess.Popen[bytes]]) -> int:
    until(lambda: sum(one.poll() is None for one in racers) <= 1, "more than one circusd ran")
    alive = [one for one in racers if one.poll() is None]
    codes = sorted(one.returncode for one in racers if one.poll() is not None)
    stage.expect(len(alive) == 1, f"none of them runs: {codes}")
    stage.expect(set(codes) == {EX_CANTCREAT}, f"the losers ended with {codes}")
    if stage.wrongs:
        raise Wrong(f"the log: {daemon.log.read_text(encoding='utf-8')[-300:]}")
    daemon.popen = alive[0]
    daemon.ear.wait_for("watcher.started", "one")
    stage.expect(len(daemon.pids("one")) == 2, "the winner's workers do not run")
    before = _sockets(daemon.state)
    late = daemon.another()  # and one that comes when everything stands
    code = late.wait(DEADLINE_SECONDS)
    stage.expect(code == EX_CANTCREAT, f"a second one ended with {code}")
    stage.expect(before == _sockets(daemon.state), "a second one touched the sockets")
    stage.expect(len(daemon.pids("one")) == 2, "the winner answers otherwise now")
    stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    spawned = [r for r in judged(stage, daemon.state) if r.name == "process.spawned"]
    stage.expect(len(spawned) == 2, f"{len(spawned)} processes were spawned, not 2")
    return len(codes) + 1


def _sockets(state: Path) -> list[tuple[int, int]]:
    stats = [os.stat(state / "run" / name) for name in ("ctl.sock", "events.sock", "pids")]
    return [(one.st_ino, one.st_mtime_ns) for one in stats]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        for pid in freeze(process.pid):
            kill(pid, wait=False)
    process.wait()


# --- F18 ------------------------------------------------------------------------------------------

CHANGING: Final = """
[watcher.steady]
cmd = "sleep 100000"
numprocesses = 2
[watcher.changing]
cmd = "sh -c 'echo {number} $VERSION >> {truth}; exec sleep 100000'"
numprocesses = {workers}
[watcher.changing.env]
VERSION = "{number}"
"""
BROKEN: Final = (
    "[watcher.changing]\ncmd = \n", "[watcher.changing]\nnumproceses = 2\n", "\x00\xff",
    '[watcher.a]\ncmd = "x"\n[watcher.A]\ncmd = "x"\n[watcher.a]\ncmd = "y"\n',
    '[circus]\ninclude = "nowhere.toml"\n[watcher.x]\ncmd = "x"\nnumprocesses = "many"\n',
)  # fmt: skip
BAD_SHARE: Final = 0.4
RACING: Final = 3


def f18(stage: Stage) -> None:
    """A good file, a bad one, a good one; asked for by commands and HUP, several at once."""
    truth = stage.folder / "truth"

    def good(number: int) -> str:
        return HEAD + CHANGING.format(number=number, truth=truth, workers=1 + number % 3)

    number = 0
    with running(stage, good(0)) as daemon:
        daemon.ear.wait_for("watcher.started", "steady")
        steady = sorted(daemon.pids("steady"))
        while stage.going():
            if stage.dice.random() < BAD_SHARE:
                _refused(stage, daemon)
                daemon.config.write_text(good(number), encoding="utf-8")
            else:
                number += 1
                _replace(daemon.config, good(number))
                _reload_at_once(stage, daemon)
                _wait_workers(daemon, 1 + number % 3, f"after reload {number}")
        stage.expect(steady == sorted(daemon.pids("steady")), "unchanged workers are others now")
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    records = judged(stage, daemon.state)
    mixed = [line for line in truth.read_text(encoding="ascii").splitlines()
             if len(set(line.split())) != 1]  # fmt: skip
    stage.expect(not mixed, f"half of one file and half of another: {mixed[:3]}")
    loads = sum(isinstance(record.body, events.ArbiterConfigured) for record in records)
    stage.counts.update({"versions": number, "on record": loads})


def _wait_workers(daemon: Supervised, wanted: int, when: str) -> None:
    ear = daemon.ear
    ear.wait(lambda: len(ear.pids("changing")) == wanted, f"{when} there were not {wanted} workers")


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _refused(stage: Stage, daemon: Supervised) -> None:
    """A file that is wrong changes nothing, whoever asks."""
    before = (sorted(daemon.pids("changing")), daemon.call("options", name="changing")["options"])
    daemon.config.write_text(stage.dice.choice(BROKEN), encoding="utf-8", errors="replace")
    with Client(daemon.state, timeout=DEADLINE_SECONDS) as client:
        reply = client.call("reloadconfig", waiting=True)
    after = (sorted(daemon.pids("changing")), daemon.call("options", name="changing")["options"])
    stage.expect(reply["status"] == "error", f"a wrong file was taken: {reply}")
    stage.expect(before == after, "a wrong file has changed something")
    stage.counts["refused"] += 1
    stage.did()


def _reload_at_once(stage: Stage, daemon: Supervised) -> None:
    """Several askers, and perhaps a HUP between them."""

    def ask() -> None:
        with Client(daemon.state, timeout=DEADLINE_SECONDS) as client:
            client.call("reloadconfig", waiting=True)

    asking = [threading.Thread(target=ask) for _ in range(stage.dice.randrange(1, RACING + 1))]
    for one in asking:
        one.start()
        if stage.dice.random() < 0.3:
            os.kill(daemon.pid, signal.SIGHUP)
            stage.did()
    for one in asking:
        one.join(DEADLINE_SECONDS)
    stage.did(len(asking))
