"""F2, F12, F16: the keeper is killed; spawns fail because nobody may fork; somebody is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from campaign.judge import judge_lives, judged
from campaign.stage import NotHere, Stage
from campaign.supervised import Supervised, children, kill, running, send, state_of, until
from campaign.truth import compare, lives, told, worker
from circus.bus.record import Record

CONFIG: Final = """
[circus]
loglevel = "error"
[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) {seconds}"
numprocesses = {workers}
max_retry = -1
backoff = {backoff}
backoff_max = 1
give_up = 0
min_uptime = 0
[watcher.calm]
cmd = "sleep 100000"
numprocesses = 2
{more}
"""
CALM: Final = 2


def _config(stage: Stage, truth: Path, *, bomb: bool = False) -> str:
    """Beside a bomb the workers must not want to fork themselves, and pause a little."""
    program, more = worker(stage.folder), BOMB if bomb else ""
    backoff, seconds = (0.05, 0) if bomb else (0, 0.1)
    return CONFIG.format(
        worker=program, truth=truth, workers=5, backoff=backoff, seconds=seconds, more=more
    )


def _wait_more(daemon: Supervised, name: str, than: int, text: str) -> None:
    until(lambda: daemon.ear.counts[name] > than, text)


def _wait_calm(daemon: Supervised) -> list[int]:
    until(lambda: len(daemon.pids("calm")) == CALM, "the calm workers did not run")
    return sorted(daemon.pids("calm"))


def _wait_gone(core: int) -> None:
    until(lambda: state_of(core) in {"", "Z", "X"}, "the core ran on")


# --- F2 -------------------------------------------------------------------------------------------


def f2(stage: Stage) -> None:
    """The parent of everything is gone: each of its processes is accounted for by the next."""
    ran_on = lost = unseen = 0
    while stage.going():
        truth = stage.folder / f"truth{stage.done}"
        config = _config(stage, truth)
        with running(stage, config, name=f"state{stage.done}") as daemon:
            calm = _wait_calm(daemon)
            stage.pause(0, 0.5)
            core = daemon.core_pid()
            own = [pid for pid in children(daemon.pid) if pid != core]
            kill(daemon.pid)
            daemon.wait()
            _wait_gone(core)
            ran_on += len([pid for pid in own if state_of(pid) not in {"", "Z", "X"}])
            daemon.start()
            daemon.ear.wait_ready(daemon.ear.ready_at)
            new = _wait_calm(daemon)
            stage.expect(len(set(calm) | set(new)) >= CALM, "there are fewer than were wanted")
            stage.expect(daemon.stop() == 0, "circusd did not end with 0")
        for pid in own:
            if state_of(pid) not in {"", "Z", "X"}:
                kill(pid)
        records = judged(stage, daemon.state)
        unseen += _judge_lost(stage, records, truth)
        lost += sum(record.name == "process.lost" for record in records)
        stage.did()
    stage.figures |= {"ran on without a parent": str(ran_on), "on record as lost": str(lost)}
    stage.figures["started, but not seen by any core"] = str(unseen)


def _judge_lost(stage: Stage, records: list[Record], truth: Path) -> int:
    """How many were started in the keeper's last moment: nobody was told of their births.

    The next core finds no keeper that knows of them, and says `process.never_run` for each.
    """
    wrongs = compare(lives(truth), told(records, ["churn"]), may_lose=True)
    unseen = [wrong for wrong in wrongs if wrong.startswith("lived without a record")]
    never = sum(record.name == "process.never_run" for record in records)
    stage.expect_none([wrong for wrong in wrongs if wrong not in unseen])
    stage.expect(len(unseen) <= never, f"{len(unseen)} lived without a record: {unseen[:2]}")
    return len(unseen)


# --- F12 ------------------------------------------------------------------------------------------

PIDS_MAX: Final = 80
BOMB: Final = """
[watcher.bomb]
cmd = "sh -c 'while :; do sleep 1000 & done'"
autostart = false
graceful_timeout = 0.2
leftovers = "kill"
"""
GROUPS: Final = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


@contextmanager
def _limited(most: int) -> Generator[Path]:
    """A cgroup in which there can be so many processes."""
    root = next((one for one in GROUPS if (one / "cgroup.procs").exists()), None)
    if root is None or os.geteuid() != 0:
        raise NotHere("a cgroup with a limit of processes: needs root and cgroups")
    group = root / f"circus-campaign-{os.getpid()}"
    try:
        group.mkdir()
        (group / "pids.max").write_text(str(most), encoding="ascii")
    except OSError as error:
        raise NotHere(f"a cgroup with a limit of processes: {error}") from error
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
            kill(int(pid))
        group.rmdir()


def f12(stage: Stage) -> None:
    """A worker forks till nothing goes any more; when it is stopped, all is as before."""
    truth = stage.folder / "truth"
    config = _config(stage, truth, bomb=True)
    refused = 0
    with _limited(PIDS_MAX) as group, running(stage, config, group=group) as daemon:
        calm = _wait_calm(daemon)
        files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        while stage.going():
            failed = daemon.ear.counts["process.spawn_failed"]
            daemon.call("start", name="bomb")
            _wait_more(
                daemon, "process.spawn_failed", failed,
                "the bomb did not keep anybody from being spawned",
            )  # fmt: skip
            daemon.call("stop", name="bomb", waiting=True)
            refused = daemon.ear.counts["process.spawn_failed"]
            seen = daemon.ear.counts["process.exited"]
            _wait_more(
                daemon, "process.exited", seen + 5, "after the bomb the others did not go on"
            )
            stage.expect(calm == sorted(daemon.pids("calm")), "others were affected")
            stage.did()
        grown = len(os.listdir(f"/proc/{daemon.pid}/fd")) - files
        stage.expect(grown < 2 * CALM + 10, f"the keeper has {grown} descriptors more")
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    judge_lives(stage, judged(stage, daemon.state), truth)
    stage.figures["spawns that failed"] = str(refused)


# --- F16 ------------------------------------------------------------------------------------------

SHORT_SECONDS: Final = (0.05, 1.0)
LONG_SECONDS: Final = (1.0, 120.0)
MANY: Final = 500
WATCHDOG_SECONDS: Final = 28.0  # the keeper gives a core 30


def f16(stage: Stage) -> None:
    """STOP and CONT to core and keeper: slow is not dead, and what hangs is replaced."""
    truth = stage.folder / "truth"
    longest = 0.0
    with running(stage, _config(stage, truth)) as daemon:
        calm = _wait_calm(daemon)
        while stage.going():
            seconds = stage.dice.uniform(*LONG_SECONDS if stage.wanted > MANY else SHORT_SECONDS)
            core = daemon.core_pid()
            whom = stage.dice.choice([core, core, daemon.pid])
            send(whom, signal.SIGSTOP)
            time.sleep(min(seconds, max(stage.left(), 0.05)))
            send(whom, signal.SIGCONT)
            seen = daemon.ear.counts["process.exited"]
            _wait_more(daemon, "process.exited", seen, "after a stop nothing was on record")
            if whom == core and seconds < WATCHDOG_SECONDS:
                stage.expect(
                    core == daemon.core_pid(), f"a core was replaced after {seconds:.1f} s"
                )
            longest = max(longest, seconds)
            stage.did()
        stage.expect(calm == sorted(daemon.pids("calm")), "workers are others now")
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    judge_lives(stage, judged(stage, daemon.state), truth)
    stage.figures["the longest stop"] = f"{longest:.1f} s"
