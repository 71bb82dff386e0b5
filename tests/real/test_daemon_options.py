"""Every option of a watcher has its effect on real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from circus.bus.record import fields_of

Launch = Callable[..., Any]

# Each writes what it has been given to DIR/<watcher>.<wid>, then lives on.
TELL: Final = (
    "python3 -c 'import os, sys, json, time; "
    'path = sys.argv[1]; tmp = path + ".new"; '
    "mine = dict(env=dict(os.environ), cwd=os.getcwd(), ids=os.getresuid() + os.getresgid(), "
    'argv=sys.argv[1:], groups=os.getgroups(), fds=len(os.listdir("/proc/self/fd"))); '
    'open(tmp, "w").write(json.dumps(mine)); os.rename(tmp, path); time.sleep(1000)\' '
)


def _given(tmp_path: Path) -> str:
    return f'''
[circus]
no_new_privs = false

[watcher.given]
cmd = """{TELL} {tmp_path}/given.$(circus.wid)"""
args = ["wid=$(circus.wid)", "two words", "$(circus.env.COLOUR)"]
numprocesses = 2
working_dir = "/usr"
[watcher.given.env]
COLOUR = "grey-secret-value"

[watcher.bare]
cmd = """{TELL} {tmp_path}/bare.1"""
copy_env = false
uid = "nobody"
gid = "nogroup"

[watcher.shelled]
cmd = "cd {tmp_path}; echo one $((1+1)) > new; mv new shelled.1; exec sleep 1000"
shell = true
'''


def test_what_a_worker_is_given_is_what_the_options_say(
    launch: Launch, tmp_path: Path, written: Any
) -> None:
    """env, copy_env, working_dir, uid, gid, args with variables, shell; values stay secret."""
    tmp_path.chmod(0o777)
    for parent in [one for one in tmp_path.parents if one.name.startswith(("pytest-", "popen-"))]:
        parent.chmod(0o755)
    daemon = launch(_given(tmp_path)).start(env={"FROM_OUTSIDE": "outside-secret-value"})
    tale = daemon.tale()
    tale.next("arbiter.started")
    first, second = (json.loads(written(tmp_path / f"given.{wid}")) for wid in (1, 2))
    assert ("/usr", "grey-secret-value", "outside-secret-value") == (
        first["cwd"], first["env"]["COLOUR"], first["env"]["FROM_OUTSIDE"],
    )  # fmt: skip
    assert ["wid=1", "two words", "grey-secret-value"] == first["argv"][1:]
    assert "wid=2" == second["argv"][1]
    bare = json.loads(written(tmp_path / "bare.1"))
    assert "FROM_OUTSIDE" not in bare["env"]
    assert [65534] * 6 == bare["ids"]
    assert {65534} >= set(bare["groups"])
    assert 4 >= bare["fds"]
    assert "one 2\n" == written(tmp_path / "shelled.1")
    assert ("COLOUR",) == daemon.ask("get", name="given", keys=["env"])["options"]["env"]
    line = ("set", "given", "env", "COLOUR=blue-secret-value", "--waiting")
    assert 0 == daemon.ctl(*line).returncode
    assert "secret-value" not in daemon.ctl("options", "given").stdout
    assert 0 == daemon.stop()
    daemon.judge()
    for segment in (daemon.state_dir / "ledger").iterdir():
        if segment.is_file():
            assert b"secret-value" not in segment.read_bytes()
    assert "secret-value" not in daemon.text()


ORDER: Final = """
[circus]
warmup_delay = 0.05

[watcher.low]
cmd = "sleep 1000"
numprocesses = 3
warmup_delay = 0.05
priority = 1

[watcher.high]
cmd = "sleep 1000"
priority = 10

[watcher.middle]
cmd = "sleep 1000"
priority = 5
singleton = true

[watcher.asleep]
cmd = "sleep 1000"
autostart = false

[watcher.once]
cmd = "true"
respawn = false
numprocesses = 2
"""


def test_priorities_pauses_and_who_starts_at_all(launch: Launch) -> None:
    """Higher priorities first, and last to stop; warm-up between spawns; respawn off ends it."""
    daemon = launch(ORDER).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    tale.next("watcher.stopped", "once")
    order = [r.watcher for r in tale.of("watcher.starting")]
    assert ["high", "middle", "low", "once"] == order
    spawns = [r for r in tale.of("process.spawn") if r.watcher == "low"]
    if len(spawns) < 3:
        spawns += tale.some(3 - len(spawns), "process.spawn", "low")
    gaps = [b.boot - a.boot for a, b in pairwise(spawns)]
    assert all(gap >= 50_000_000 for gap in gaps), gaps
    assert 2 == len(tale.of("process.spawn", "once"))
    assert "stopped" == daemon.ask("status", name="asleep")["status"]
    assert daemon.do("incr", name="middle")["singleton"]
    assert 1 == len(daemon.pids("middle"))
    reason = daemon.refused("set", name="middle", options={"numprocesses": 2})["reason"]
    assert "singleton" in reason
    assert 0 == daemon.ctl("quit", "--waiting").returncode
    assert 0 == daemon.wait()
    records = daemon.judge()
    stops = [r.watcher for r in records if r.name == "watcher.stop" and r.actor == "arbiter"]
    assert ["once", "low", "middle", "high"] == [s for s in stops if s != "asleep"]


STOPS: Final = """
[watcher.stubborn]
cmd = '''sh -c 'trap "" TERM; echo > %(dir)s/up; while :; do sleep 1000; done' '''
graceful_timeout = 0.2
leftovers = "kill"

[watcher.polite]
cmd = '''sh -c 'trap "exit 7" INT; echo > %(dir)s/polite; sleep 1000 & wait' '''
stop_signal = "INT"
stop_children = true

[watcher.old]
cmd = "sleep 1000"
max_age = 1
max_age_variance = 0

[watcher.leaver]
cmd = '''sh -c 'sleep 1000 & echo $! > %(dir)s/left; exec sleep 1001' '''
leftovers = "leave"
"""


def test_stops_are_asked_for_then_forced_and_leftovers_end_or_stay(
    launch: Launch, tmp_path: Path, written: Any, grown: Any
) -> None:
    """stop_signal, stop_children, graceful_timeout, leftovers kill and leave, max_age."""
    daemon = launch(STOPS % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("arbiter.started")
    for name in ("up", "polite", "left"):
        written(tmp_path / name)
    for name in ("stubborn", "polite", "leaver"):
        if not tale.of("process.spawned", name):
            tale.next("process.spawned", name)  # a worker may speak before its start is on record
    (stubborn,) = daemon.pids("stubborn")
    (below,) = grown(stubborn, 1)
    daemon.do("stop", name="stubborn")
    exited = tale.next("process.exited", "stubborn")
    assert signal.SIGKILL == fields_of(exited.body)["signal"]
    reaped = tale.next("process.reaped", "stubborn")
    assert (below,) == fields_of(reaped.body)["leftovers"]
    grown.ended(below)
    asked = next(r for r in tale.heard if r.name == "process.signal" and r.watcher == "stubborn")
    assert 200_000_000 <= fields_of(exited.body)["observed"] - asked.boot
    (polite,) = daemon.pids("polite")
    (child,) = grown(polite, 1)
    daemon.do("stop", name="polite")
    exited = tale.next("process.exited", "polite")
    assert 7 == fields_of(exited.body)["code"]
    grown.ended(child)
    left = int(written(tmp_path / "left"))
    daemon.do("stop", name="leaver")
    tale.next("process.reaped", "leaver")
    assert os.path.exists(f"/proc/{left}")
    os.kill(left, signal.SIGKILL)
    stopping = (
        tale.next("slot.stopping", "old")
        if not tale.of("slot.stopping", "old")
        else (tale.of("slot.stopping", "old")[0])
    )
    assert "age" == fields_of(stopping.body)["reason"]
    assert 0 == daemon.stop()
    daemon.judge()


RETRIES: Final = """
[watcher.missing]
cmd = "/no/such/program --flag"
max_retry = 2
backoff = 0.01

[watcher.denied]
cmd = "/etc/passwd"
max_retry = 2

[watcher.nowhere]
cmd = "sleep 1000"
working_dir = "%(dir)s/gone"
max_retry = 2

[watcher.hasty]
cmd = "sh -c 'exit 3'"
backoff = 0.01
backoff_max = 0.04
give_up = 5
"""


def test_what_cannot_run_is_told_from_what_dies_at_once(launch: Launch, tmp_path: Path) -> None:
    """spawn_failed has step, errno and sentence, and max_retry; a short life has backoff and
    give_up and is never spawn_failed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    daemon = launch(RETRIES % {"dir": tmp_path})
    gone.rmdir()
    daemon.start()
    tale = daemon.tale()
    for _ in range(4):
        tale.next("watcher.failed")
    failures = {
        name: [fields_of(r.body) for r in tale.of("process.spawn_failed", name)]
        for name in ("missing", "denied", "nowhere", "hasty")
    }
    steps = {name: {(f["step"], f["errno"]) for f in found} for name, found in failures.items()}
    assert {
        "missing": {("exec", 2)}, "denied": {("exec", 13)}, "nowhere": {("chdir", 2)},
        "hasty": set(),
    } == steps  # fmt: skip
    assert "/no/such/program" in failures["missing"][0]["reason"]
    assert "/etc/passwd" in failures["denied"][0]["reason"]
    assert "gone" in failures["nowhere"][0]["reason"]
    assert {3} == {len(failures[name]) for name in ("missing", "denied", "nowhere")}
    assert 5 == len(tale.of("process.exited", "hasty"))
    delays = [fields_of(r.body)["delay"] for r in tale.of("slot.waiting", "hasty")]
    assert delays == sorted(delays)
    assert {"failed"} == set(daemon.ask("status")["statuses"].values())
    lines = daemon.ctl("status").stdout.splitlines()
    assert all("failed (" in line for line in lines), lines
    assert "/no/such/program" in daemon.ctl("status", "missing").stdout
    assert "/no/such/program" in daemon.ctl("why", "missing").stdout
    gone.mkdir()
    assert 0 == daemon.ctl("retry", "nowhere", "--waiting").returncode
    assert "active" == daemon.ask("status", name="nowhere")["status"]
    assert 1 == len(daemon.pids("nowhere"))
    daemon.do("set", name="denied", options={"cmd": "sleep 1000"})
    daemon.do("start", name="denied")
    assert "active" == daemon.ask("status", name="denied")["status"]
    assert 0 == daemon.stop()
    daemon.judge()
