"""F8, F9, F10, F13: subscribers that stall, come and go; commands said twice; leaks."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import threading
import zlib
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import zmq

from campaign.churn import CHURN, Churn, Lives, churning
from campaign.listener import state_of, text_of
from campaign.listening import Listener, mark_of
from campaign.stage import NotHere, Stage, boot_ns, percentile
from campaign.supervised import Supervised, has_ended
from campaign.yardstick import NS_PER_MS, expect_within, measure
from circus.arbiter.projection import Projection
from circus.bus.dial import dial_ctl
from circus.bus.record import Record
from circus.bus.wire import Request, decode_reply, encode_request

# --- F8 -------------------------------------------------------------------------------------------

STALLED: Final = 1000
SLOW: Final = 50
SLOW_IN_CI: Final = 10  # each reads everything, and CI has two processors
MANY_RECORDS: Final = 100_000
HEALTHY: Final = 5
GROWTH_MIB_MAX: Final = 200
LATE_MS: Final = 50.0
LATE_TIMES: Final = 4  # beside a thousand stalled ones, as against before they came
ALONE_SHARE: Final = 0.2  # of the records come before them


def f8(stage: Stage) -> None:
    """A thousand that never read; some that are slow; the healthy miss nothing."""
    _may_open(STALLED * 2 + 500)
    slow = SLOW if stage.task.wanted >= MANY_RECORDS else SLOW_IN_CI
    with churning(stage, Lives(12, "0.03")) as churn, ExitStack() as held:
        state = churn.daemon.state
        healthy = [held.enter_context(Listener("hear", state)) for _ in range(HEALTHY)]
        all_slow = held.enter_context(Listener("slow", state, str(slow)))
        core = churn.daemon.core_pid()
        before, begun = _rss_mib(core), boot_ns()
        _hear(stage, churn, ALONE_SHARE)
        joined = boot_ns()
        held.callback(_stalled(state).destroy, 0)
        _hear(stage, churn, 1)
        grown = _rss_mib(core) - before
        took = boot_ns() - begun
        stage.expect(core == churn.daemon.core_pid(), "the core is another one now")
        churn.mark([*healthy, all_slow])
        records = churn.end()
    for listener in (*healthy, all_slow):
        listener.judge(stage, records)
    _judge_late(stage, healthy, joined)
    stage.expect(grown <= GROWTH_MIB_MAX, f"the core has grown by {grown:.0f} MiB")
    stage.figures |= {
        "stalled": f"{STALLED:,}", "slow": str(slow), "healthy": str(HEALTHY),
        "core grew by": f"{grown:.0f} MiB",
        "records/s": f"{stage.done * 1000 * NS_PER_MS // took:,}",
    }  # fmt: skip


def _hear(stage: Stage, churn: Churn, share: float) -> None:
    """Until there were so many records, or the time for them is over."""
    ear, wanted = churn.daemon.ear, stage.task.wanted * share
    until = stage.left() * (1 - share)
    while stage.going() and stage.done < wanted and stage.left() > until:
        churn.wait_exits()
        stage.did(ear.last_seq - stage.done)


def _judge_late(stage: Stage, healthy: list[Listener], joined: int) -> None:
    """Of records that came before the stalled ones, and of those that came after."""
    names = ("late alone", "late beside them")
    for listener in healthy:
        for line in listener.said():
            if isinstance(line, list):
                stage.times[names[line[0] > joined]].append(line[1])
    alone, beside = (percentile(stage.times[name], 0.99) for name in names)
    stage.expect(stage.times[names[1]], "no healthy subscriber was live beside the stalled ones")
    stage.expect(
        beside <= max(LATE_MS, LATE_TIMES * alone),
        f"healthy p99: {beside:.0f} ms late, the limit is {LATE_MS:.0f} ms; alone {alone:.0f} ms",
    )


def _may_open(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise NotHere(f"{count:,} descriptors: at most {hard:,} are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _stalled(state: Path) -> zmq.Context[Any]:
    """Those that never read."""
    context: zmq.Context[Any] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, STALLED + 100)
    for _ in range(STALLED):
        stalled = context.socket(zmq.SUB)
        stalled.setsockopt(zmq.RCVHWM, 1)
        stalled.subscribe(b"")
        stalled.connect(f"ipc://{os.path.realpath(state / 'run')}/events.sock")
    return context


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize() / 2**20


# --- F9 -------------------------------------------------------------------------------------------

JOINERS: Final = 4
JOINS_PER_KILL: Final = 2
STRIKE_SECONDS: Final = 0.2


def f9(stage: Stage) -> None:
    """They leave and come back with their cursors, the core dies: one history for all, and what
    they fold to is what the daemon answers."""
    with churning(stage, Lives(10, "0.05")) as churn, ExitStack() as held:
        seeds = [str(stage.dice.getrandbits(30)) for _ in range(JOINERS)]
        state = churn.daemon.state
        joining = [held.enter_context(Listener("join", state, seed)) for seed in seeds]
        while stage.going():
            stage.pause(0, STRIKE_SECONDS)
            churn.daemon.ear.wait_ready(churn.daemon.strike_core())
            retries = stage.dice.randrange(100)
            churn.daemon.call("set", name="mark", options={"max_retry": retries})
            stage.did()
        churn.daemon.call("stop", name=CHURN, waiting=True)  # so that nothing moves any more
        churn.mark(joining)
        answered = _answered(churn.daemon)
        records = churn.end()
    for listener in joining:
        _judge_fold(stage, listener, records, answered)
    _expect_joins(stage)


def _answered(daemon: Supervised) -> dict[str, Any]:
    """The state of all watchers, as the daemon's answers have it."""
    statuses = daemon.call("status")["statuses"]
    keys = ["numprocesses", "max_retry"]
    options = {one: daemon.call("get", name=one, keys=keys)["options"] for one in statuses}
    return {
        name: [status, daemon.pids(name), *(options[name][key] for key in keys)]
        for name, status in statuses.items()
    }


def _judge_fold(
    stage: Stage, listener: Listener, records: list[Record], answered: dict[str, Any]
) -> None:
    """What it heard is what the ledger holds; what it folds to, what the daemon has answered."""
    digest, projection = 0, Projection()
    for record in records[: mark_of(records)]:
        digest = zlib.crc32(text_of(record), digest)
        projection.observe(record)
    stage.expect(state_of(projection) == answered, f"the ledger folds to {state_of(projection)}")
    said = listener.said()
    last = said[-1] if said else None
    good = {"count": mark_of(records), "digest": digest, "state": answered}
    stage.expect(last == good, f"a subscriber folded to {last}, not {good}")
    stage.counts["joins"] += len(said)


def _expect_joins(stage: Stage) -> None:
    """They did come and go."""
    joins, wanted = stage.counts["joins"], JOINS_PER_KILL * stage.done
    stage.expect(joins >= wanted, f"{joins} joins over {stage.done} kills, not {wanted}")


# --- F10 ------------------------------------------------------------------------------------------

ASKERS: Final = 4
PATIENCE_MS: Final = 400
SLEEPING: Final = """
[watcher.sleeping]
cmd = "sleep 100000"
numprocesses = 0
autostart = false
"""


def f10(stage: Stage) -> None:
    """The same wish with the same id, again and again, over deaths of the core: done once."""
    wished: list[bytes] = []
    with churning(stage, Lives(1, "0.5", more=SLEEPING)) as churn:
        daemon, over = churn.daemon, threading.Event()
        insist = partial(_insist, stage, daemon.state, wished, over)
        askers = [threading.Thread(target=insist, args=(number,)) for number in range(ASKERS)]
        for asker in askers:
            asker.start()
        while stage.going():
            stage.pause(0, STRIKE_SECONDS)
            daemon.ear.wait_ready(daemon.strike_core())
            stage.counts["cores killed"] += 1
        over.set()
        for asker in askers:
            asker.join()
        found = daemon.call("get", name="sleeping", keys=["numprocesses"])["options"]
        records = churn.end()
    wanted = {"numprocesses": len(wished)}
    stage.expect(found == wanted, f"wished for: {wanted}, carried out: {found}")
    ids = Counter(record.id for record in records if record.actor == "client")
    stage.expect(max(ids.values(), default=0) == 1, "an id is on record twice")
    stage.expect(set(wished) <= set(ids), "a wish that was answered is not on record")
    stage.counts["wishes"] = len(wished)


def _insist(
    stage: Stage, state: Path, wished: list[bytes], over: threading.Event, number: int
) -> None:
    """One caller: a wish until it is answered, and then once or twice more: the same answer."""
    dice = random.Random(stage.task.seed + number)
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
BACK: Final = "answered again"
BACK_MS_MAX: Final = 1000.0
LEAK: Final = """
import os, socket, sys
if len(sys.argv) > 3: os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
held, refused = [], 0
for _ in range(int(sys.argv[2])):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(0.2)
    try:
        one.connect(sys.argv[1]); one.send(b"\\xff" + bytes(8) + b"\\x7f"); held.append(one)
    except OSError:
        refused += 1
print(len(held), flush=True)
sys.stdin.readline()
"""


def f13(stage: Stage) -> None:
    """Connections without end, from somebody else and from the same user."""
    if os.geteuid() != 0:
        raise NotHere("another user to connect as: needs root")
    with churning(stage, Lives(5, "0.1"), files=FILES) as churn:
        daemon = churn.daemon
        while stage.going():
            measure(stage)
            core = daemon.core_pid()
            _squeeze(stage, churn, "another user")
            stage.expect(core == daemon.core_pid(), "another user has ended the core")
            _squeeze(stage, churn, "the same user")
            stage.counts["cores lost"] += core != daemon.core_pid()
            stage.did()
        stage.expect(not any(map(has_ended, churn.calm)), "a worker died of it")
        churn.end()
    expect_within(stage, BACK, 0.5, BACK_MS_MAX)


def _squeeze(stage: Stage, churn: Churn, who: str) -> None:
    """Leak, and see how long it takes until there is an answer again."""
    run = os.path.realpath(churn.daemon.state / "run")
    more = [str(STRANGER)] if who == "another user" else []
    command = [sys.executable, "-S", "-c", LEAK, f"{run}/ctl.sock", str(LEAKS), *more]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as leaking:
        assert leaking.stdout is not None
        assert leaking.stdin is not None
        held = leaking.stdout.readline().strip()
        churn.wait_exits()  # the core goes on with them
        leaking.stdin.close()
    stage.figures[f"held by {who}"] = f"{held or 0} of {LEAKS}"
    begun = boot_ns()
    stage.expect(churn.is_calm(), "the calm ones are others now")
    stage.times[BACK].append((boot_ns() - begun) / NS_PER_MS)
