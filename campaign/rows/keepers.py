"""F2, F12, F16: the keeper is killed; spawns fail because nobody may fork; somebody is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from campaign.churn import CALM, CHURN, Churn, Lives, churning
from campaign.listening import Listener
from campaign.stage import NotHere, Stage, boot_ns
from campaign.supervised import Seen, children, has_ended, kill, seen, send, until
from campaign.truth import compare, lives, told
from circus.bus.record import Record

# --- F2 -------------------------------------------------------------------------------------------

BRIEF: Final = "0.1"
ORPHANS: Final = ("stop", "adopt", "leave")


def f2(stage: Stage) -> None:
    """The parent of everything is gone, perhaps the core too: each process is accounted for."""
    while stage.going():
        orphans = stage.dice.choice(ORPHANS)
        lives = Lives(5, BRIEF, settings=f'orphans = "{orphans}"')
        with churning(stage, lives, name=f"state{stage.done}") as churn:
            own = _strike(stage, churn, orphans)
            _come_back(stage, churn, own, orphans)
            records = churn.stop()
        for one in own:
            one.end()
        for name in ("process.lost", "process.adopted"):
            stage.counts[name] += sum(one.name == name for one in records)
        _judge_lost(stage, records, churn.truth)
        stage.did()


def _strike(stage: Stage, churn: Churn, orphans: str) -> list[Seen]:
    """KILL to the keeper, or to core and keeper at once; whom it had."""
    daemon = churn.daemon
    stage.pause(0, 0.2)
    core = daemon.core_pid()
    both = stage.dice.random() < 0.5
    if both:
        send(daemon.pid, signal.SIGSTOP)  # so that it does not see the core's end
    own = seen(pid for pid in children(daemon.pid) if pid != core)
    if both:
        kill(core, wait=False)
    kill(daemon.pid)
    daemon.wait()
    until(lambda: has_ended(core), "the core ran on")
    stage.counts[f"keeper{' and core' * both}, orphans = {orphans}"] += 1
    if orphans == "stop" and not both:
        _expect_ended(stage, own)
    return own


def _expect_ended(stage: Stage, own: Iterable[Seen]) -> None:
    """Also who was started in the keeper's last moment, of whom nobody was told: by his mark."""
    left = [one.pid for one in own if not one.has_ended]
    stage.expect(not left, f"these run on without a parent: {left}")


def _come_back(stage: Stage, churn: Churn, own: list[Seen], orphans: str) -> None:
    """Another circusd: what is to be stopped is stopped, and what is to be adopted is held, before
    it starts anything."""
    daemon, ear, old = churn.daemon, churn.daemon.ear, set(churn.calm)
    daemon.start()
    ear.wait_ready(ear.ready_at)
    stage.counts["ran on without a parent"] += sum(not one.has_ended for one in own)
    if orphans == "stop":
        _expect_ended(stage, own)
    if orphans == "adopt":
        stage.expect(churn.is_calm(), "the calm ones were not adopted")
    else:
        ear.wait(
            lambda: len(set(ear.pids(CALM)) - old) == len(old),
            "the calm workers did not come again",
        )


def _judge_lost(stage: Stage, records: list[Record], truth: Path) -> None:
    """Some were started in the keeper's last moment: nobody was told of their births.

    The next core finds no keeper that knows of them, and says `process.never_run` for each.
    """
    wrongs = compare(lives(truth), told(records, [CHURN]), may_lose=True)
    unseen = [wrong for wrong in wrongs if wrong.startswith("lived without a record")]
    never = sum(record.name == "process.never_run" for record in records)
    stage.expect_none([wrong for wrong in wrongs if wrong not in unseen])
    stage.expect(len(unseen) <= never, f"{len(unseen)} lived without a record: {unseen[:2]}")
    stage.counts["started, but not seen by any core"] += len(unseen)


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
GROWN_MAX: Final = 10
REFUSED: Final = "process.spawn_failed"


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
    bombed = Lives(5, "0.05", more=BOMB)
    with _limited(PIDS_MAX) as group, churning(stage, bombed, group=group) as churn:
        daemon, ear = churn.daemon, churn.daemon.ear
        files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        while stage.going():
            refused = ear.counts[REFUSED]
            daemon.call("start", name="bomb")
            ear.wait_more(REFUSED, than=refused)
            daemon.call("stop", name="bomb", waiting=True)
            churn.wait_exits(5)
            stage.did()
        stage.counts["spawns that failed"] = ear.counts[REFUSED]
        grown = len(os.listdir(f"/proc/{daemon.pid}/fd")) - files
        stage.expect(grown < GROWN_MAX, f"the keeper has {grown} descriptors more")
        churn.end()


# --- F16 ------------------------------------------------------------------------------------------

WATCHDOG_SECONDS: Final = 2.0
SHORT_SECONDS: Final = (0.05, 0.3 * WATCHDOG_SECONDS)
LONG_SHARE: Final = 0.15
ONCE: Final = 3  # of the first stops one is long, so that no run is without


def f16(stage: Stage) -> None:
    """STOP and CONT to core, keeper and a subscriber: slow is not dead, what hangs is replaced."""
    lives = Lives(5, BRIEF, settings=f"watchdog = {WATCHDOG_SECONDS}")
    with churning(stage, lives) as churn, Listener("hear", churn.daemon.state) as listener:
        while stage.going():
            is_long = stage.done == ONCE or stage.dice.random() < LONG_SHARE
            _stop_somebody(stage, churn, listener, is_long=is_long)
            churn.wait_exits()
            stage.did()
        churn.mark([listener])
        records = churn.end()
    listener.judge(stage, records)


def _stop_somebody(stage: Stage, churn: Churn, listener: Listener, *, is_long: bool) -> None:
    daemon = churn.daemon
    core = daemon.core_pid()
    who = stage.dice.choice(("core", "keeper", "subscriber"))
    whom = {"core": core, "keeper": daemon.pid, "subscriber": listener.pid}[who]
    at = boot_ns()
    send(whom, signal.SIGSTOP)
    if not is_long or who == "subscriber":
        stage.pause(*SHORT_SECONDS)
    elif who == "core":
        daemon.ear.wait_ready(at)
    else:
        daemon.ear.wait_more("keeper.silent")
    send(whom, signal.SIGCONT)
    if is_long and who == "keeper":
        answered = daemon.ear.counts["keeper.silent"]
        daemon.ear.wait(
            lambda: daemon.ear.counts["keeper.answered"] >= answered, "the keeper did not answer"
        )
    replaced = is_long and who == "core"
    stage.expect(replaced == (core != daemon.core_pid()), f"{who} stopped: the core is wrong")
    stage.counts[f"{who} {'for long' if is_long else 'shortly'}"] += 1
