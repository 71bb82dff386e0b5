"""F8, F9, F10, F13: subscribers that stall, come and go; commands said twice; leaks."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import zmq

from campaign.judge import judge_lives, judged
from campaign.stage import NS, NotHere, Stage, boot_ns, percentile
from campaign.supervised import DEADLINE_SECONDS, Supervised, running, state_of, until
from campaign.truth import worker
from circus.bus.dial import dial_ctl
from circus.bus.record import Record, fields_of
from circus.bus.wire import Request, decode_reply, encode_request

CHURN: Final = """
[circus]
loglevel = "error"
[watcher.churn]
cmd = "{worker} {truth} $(circus.wid) {seconds}"
numprocesses = {workers}
backoff = 0
give_up = 0
min_uptime = 0
[watcher.calm]
cmd = "sleep 100000"
[watcher.sleeping]
cmd = "sleep 100000"
numprocesses = 0
autostart = false
"""


def _churn(stage: Stage, workers: int, seconds: float) -> tuple[str, Path]:
    truth = stage.folder / "truth"
    program = worker(stage.folder)
    return CHURN.format(worker=program, truth=truth, workers=workers, seconds=seconds), truth


# --- F8 -------------------------------------------------------------------------------------------

STALLED: Final = 1000
SLOW: Final = 50
HEALTHY: Final = 5
# Each line: the last seq, how many records, holes, and how late the record was (ms).
LISTEN: Final = """
import sys, time, circus
pause = float(sys.argv[2])
last = late = count = holes = 0
for record in circus.subscribe(sys.argv[1], after=0):
    count += 1
    holes += record.seq != last + 1
    last = record.seq
    age = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - record.boot) / 1e6
    if pause and count % 20 == 0 and count < 1000:
        time.sleep(pause)
    if record.name == "watcher.stopped" and record.watcher == "calm":
        break
    if count % 50 == 0:
        print(f"{age:.1f}")
print(f"end {count} {last} {holes}", flush=True)
"""
GROWTH_MIB_MAX: Final = 200


def f8(stage: Stage) -> None:
    """A thousand that never read; some that are slow; the healthy miss nothing."""
    _may_open(STALLED * 2 + 500)
    config, truth = _churn(stage, 10, 0.02)
    stalled_count = min(STALLED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
    context: zmq.Context[Any] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, stalled_count + 100)
    with running(stage, config) as daemon:
        core = daemon.core_pid()
        before = _rss_mib(core)
        for _ in range(stalled_count):
            _stalled(context, daemon.state)
        listening = [_listening(daemon, pause) for pause in [0.0] * HEALTHY + [0.2] * 2]
        while stage.going():
            stage.did(daemon.ear.last_seq - stage.done)
            time.sleep(0.1)
        grown = _rss_mib(core) - before
        stage.expect(core == daemon.core_pid(), "the core is another one now")
        daemon.call("stop", name="calm", waiting=True)  # what all of them wait for
        heard = [_heard(one).split("\n") for one in listening]
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    context.destroy(0)
    records = judged(stage, daemon.state)
    judge_lives(stage, records, truth)
    mark = _mark(records)
    want = f"end {mark} {mark} 0"
    for lines in heard:
        stage.expect(want in lines, f"a subscriber heard {lines[-2:]}, not {want}")
    late = [float(line) for lines in heard[:HEALTHY] for line in lines if line and line[0] != "e"]
    stage.expect(grown <= GROWTH_MIB_MAX, f"the core has grown by {grown:.0f} MiB")
    stage.figures |= {
        "stalled": str(stalled_count), "core grew by": f"{grown:.0f} MiB",
        "healthy p99": f"{percentile(late, 0.99):.0f} ms late",
    }  # fmt: skip


def _mark(records: list[Record]) -> int:
    """The seq up to which subscribers have listened."""
    return next(
        record.seq for record in records
        if record.name == "watcher.stopped" and record.watcher == "calm"
    )  # fmt: skip


def _may_open(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _stalled(context: zmq.Context[Any], state: Path) -> None:
    stalled = context.socket(zmq.SUB)
    stalled.setsockopt(zmq.RCVHWM, 1)
    stalled.subscribe(b"")
    stalled.connect(f"ipc://{os.path.realpath(state / 'run')}/events.sock")


def _heard(listening: subprocess.Popen[str]) -> str:
    """All that it has said; it is ended where it does not end."""
    try:
        return listening.communicate(timeout=DEADLINE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        listening.kill()
        return listening.communicate()[0]


def _listening(daemon: Supervised, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LISTEN, str(daemon.state), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize() / 2**20


# --- F9 -------------------------------------------------------------------------------------------

JOINERS: Final = 4
KILL_EVERY_SECONDS: Final = 1.5
JOIN: Final = """
import sys, json, random, zlib, circus
from circus.bus.record import Record, fields_of
state, seed = sys.argv[1], int(sys.argv[2])
dice = random.Random(seed)
cursor, digest, count, over = 0, 0, 0, False
while not over:
    with circus.subscribe(state, after=cursor) as records:
        stay = dice.randrange(1, 400)
        for record in records:
            text = f"{record.seq} {record.name} {record.actor} {sorted(fields_of(record.body))}"
            digest = zlib.crc32(text.encode(), digest)
            count += 1
            stay -= 1
            over = record.name == "watcher.stopped" and record.watcher == "calm"
            if over or not stay:
                break
        cursor = records.cursor
    print(json.dumps([count, digest]), flush=True)
"""


def f9(stage: Stage) -> None:
    """They leave and come back with their cursors, the core dies: one history for all."""
    config, truth = _churn(stage, 10, 0.05)
    with running(stage, config) as daemon:
        joining = [
            subprocess.Popen(
                [sys.executable, "-c", JOIN, str(daemon.state), str(stage.dice.getrandbits(30))],
                stdout=subprocess.PIPE, text=True,
            )
            for _ in range(JOINERS)
        ]  # fmt: skip
        told: list[list[list[int]]] = [[] for _ in joining]
        readers = [
            threading.Thread(target=_collect, args=(one, into, stage))
            for one, into in zip(joining, told, strict=True)
        ]
        for reader in readers:
            reader.start()
        kills = 0
        while stage.going():
            stage.pause(0.2, KILL_EVERY_SECONDS)
            daemon.ear.wait_ready(daemon.strike_core())
            kills += 1
        daemon.call("stop", name="calm", waiting=True)  # what all of them wait for
        for one, reader in zip(joining, readers, strict=True):
            with suppress(subprocess.TimeoutExpired):
                one.wait(DEADLINE_SECONDS)
            one.kill()
            reader.join()
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    records = judged(stage, daemon.state)
    judge_lives(stage, records, truth)
    digest, mark = 0, _mark(records)
    for record in records[:mark]:
        text = f"{record.seq} {record.name} {record.actor} {sorted(fields_of(record.body))}"
        digest = zlib.crc32(text.encode(), digest)
    for into in told:
        found = into[-1] if into else None
        stage.expect(found == [mark, digest], f"a subscriber folded to {found}")
    stage.figures["cores killed"] = str(kills)


def _collect(process: subprocess.Popen[str], into: list[list[int]], stage: Stage) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        into.append(json.loads(line))
        stage.did()


# --- F10 ------------------------------------------------------------------------------------------

ASKERS: Final = 4
PATIENCE_MS: Final = 400


def f10(stage: Stage) -> None:
    """The same wish with the same id, again and again, over deaths of the core: done once."""
    config, _ = _churn(stage, 1, 0.5)
    wished: list[bytes] = []
    with running(stage, config) as daemon:
        over = threading.Event()
        askers = [
            threading.Thread(target=_insist, args=(stage, daemon.state, wished, over, number))
            for number in range(ASKERS)
        ]
        for asker in askers:
            asker.start()
        kills = 0
        while stage.going():
            stage.pause(0.1, KILL_EVERY_SECONDS)
            daemon.ear.wait_ready(daemon.strike_core())
            kills += 1
        over.set()
        for asker in askers:
            asker.join()
        options = daemon.call("get", name="sleeping", keys=["numprocesses"])["options"]
        found = options["numprocesses"]
        stage.expect(found == len(wished), f"{len(wished)} wishes, {found} carried out")
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    ids = Counter(r.id for r in judged(stage, daemon.state) if r.actor == "client")
    stage.expect(max(ids.values(), default=0) == 1, "an id is on record twice")
    stage.expect(set(wished) <= set(ids), "a wish that was answered is not on record")
    stage.figures |= {"wishes": f"{len(wished):,}", "cores killed": str(kills)}


def _insist(
    stage: Stage, state: Path, wished: list[bytes], over: threading.Event, number: int
) -> None:
    """One caller: a wish until it is answered, and then once or twice more: the same answer."""
    dice = random.Random(number)
    context: zmq.Context[Any] = zmq.Context()
    dealer = dial_ctl(context, f"ipc://{os.path.realpath(state / 'run')}/ctl.sock")
    while not over.is_set():
        wish = Request(os.urandom(16), "incr", {"name": "sleeping", "nb": 1})
        answers: list[dict[str, Any]] = []
        times = 1 + dice.randrange(3)
        while len(answers) < times:
            stage.did()
            answer = _asked(dealer, wish)
            if answer is not None:
                # Once it is finished the answer says more: what came of it.
                answers.append({key: answer.get(key) for key in ("status", "seq")})
        stage.expect(answers[0]["status"] == "ok", f"a wish was refused: {answers[0]}")
        same = all(one == answers[0] for one in answers)
        stage.expect(same, f"the same id, another answer: {answers}")
        wished.append(wish.id)
    dealer.close(0)
    context.term()


def _asked(dealer: Any, wish: Request) -> dict[str, Any] | None:
    """One try; an answer to an earlier try of the same wish is as good."""
    with suppress(zmq.Again):
        dealer.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        dealer.send(encode_request(wish))
    while dealer.poll(PATIENCE_MS):
        body = dict(decode_reply(dealer.recv_multipart()).body)
        if body.get("id") == wish.id:
            return body
    return None


# --- F13 ------------------------------------------------------------------------------------------

FILES: Final = 256
LEAKS: Final = 300
STRANGER: Final = 65533
LEAK: Final = """
import os, socket, sys, time
if len(sys.argv) > 3: os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
held, refused = [], 0
for _ in range(int(sys.argv[2])):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(0.2)
    try:
        one.connect(sys.argv[1]); one.send(b"\\xff" + bytes(8) + b"\\x7f"); held.append(one)
    except OSError:
        refused += 1
print(len(held), refused, flush=True)
sys.stdin.readline()
"""


def f13(stage: Stage) -> None:
    """Connections without end, from somebody else and from the same user."""
    if os.geteuid() != 0:
        raise NotHere("another user to connect as: needs root")
    config, truth = _churn(stage, 5, 0.1)
    with running(stage, config, files=FILES) as daemon:
        until(lambda: len(daemon.pids("calm")) == 1, "the calm one did not start")
        (calm,) = daemon.pids("calm")
        late: list[float] = []
        deaths = 0
        while stage.going():
            core = daemon.core_pid()
            late.append(_squeeze(stage, daemon, calm, stranger=True))
            stage.expect(core == daemon.core_pid(), "another user has ended the core")
            late.append(_squeeze(stage, daemon, calm, stranger=False))
            deaths += core != daemon.core_pid()
            stage.did()
        stage.expect(state_of(calm) in {"S", "R"}, "a worker died of it")
        stage.expect(daemon.stop() == 0, "circusd did not end with 0")
    judge_lives(stage, judged(stage, daemon.state), truth)
    stage.figures |= {
        "cores lost": str(deaths),
        "answered again within": f"{max(late, default=0):.1f} s",
    }


def _squeeze(stage: Stage, daemon: Supervised, calm: int, *, stranger: bool) -> float:
    """Leak, and see in how many seconds there is an answer again."""
    held = _leak(daemon, stranger=stranger)
    stage.figures["held by another user" if stranger else "by the same"] = held
    begun = boot_ns()
    answered = daemon.pids("calm")
    stage.expect(answered == [calm], f"the calm one was {calm} and is {answered}")
    return (boot_ns() - begun) / NS


def _leak(daemon: Supervised, *, stranger: bool) -> str:
    run = os.path.realpath(daemon.state / "run")
    more = [str(STRANGER)] if stranger else []
    command = [sys.executable, "-S", "-c", LEAK, f"{run}/ctl.sock", str(LEAKS), *more]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leaking:
        assert leaking.stdout is not None
        words = leaking.stdout.readline().split()
        time.sleep(0.2)
        if leaking.stdin is not None:
            leaking.stdin.close()
    return f"{words[0]} of {LEAKS}" if words else "none"
