"""Room: tests -- the ctl socket over real ipc: who asked, what was answered, and when it left.

Knows:     arbiter.gateway and what it serves from; zmq.
Known by:  pytest.
Never:     starts a process; sleeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import zmq

from circus.arbiter.gateway import (
    BUSY,
    FAILING_DISK,
    REQUESTS_PER_WAKE,
    SLOW_QUESTIONS_MAX,
    Gateway,
    Promise,
    Services,
)
from circus.arbiter.outcomes import Outcomes
from circus.arbiter.projection import Projection
from circus.arbiter.queries import Sources
from circus.arbiter.reads import Reads
from circus.arbiter.verbs import Refusal
from circus.bus import commands, events
from circus.bus.bind import bind_ctl
from circus.bus.clock import SystemClock
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.publish import Head
from circus.bus.record import Body, Decision, Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.switchboard import Switchboard
from circus.bus.wire import Header, Request, decode_reply, encode_request

DEADLINE_MS: Final = 20_000
LOG_ID: Final = bytes(range(16))


class Platter:
    """Synced when the test says so."""

    def __init__(self) -> None:
        self.synced = 0
        self.wanted: list[int] = []

    def want(self, seq: int, /) -> None:
        self.wanted.append(seq)


class Options:
    """No validation: what was asked for comes back."""

    def check_core(self) -> None: ...

    def changes(self, options: Mapping[str, Any], current: WatcherSpec, /) -> dict[str, Any]:
        return dict(options)

    def addition(self, options: Mapping[str, Any], /) -> WatcherSpec:
        return WatcherSpec(name=options["name"], cmd=options["cmd"])

    def configuration(self) -> commands.ArbiterConfigure:
        raise Refusal("cannot reload the configuration: it came from a program, not a file")


class Silence:
    """An exchange and a publisher that carry nothing."""

    def send(self, host: str, items: object, /) -> None: ...
    def publish(self, frames: object, chains: object, first_seq: int, /) -> None: ...


class Stage:
    """A gateway with a real socket and a real ledger; the test is the arbiter."""

    def __init__(self, path: Path, grade: str = "group") -> None:
        clock = SystemClock()
        self.clock = clock
        self.ledger = Ledger.open(f"{path}/ledger", RealDisk(), log_id=LOG_ID, now=clock.now())
        self.records: list[Record] = []
        self.projection, self.outcomes, self.platter = Projection(), Outcomes(), Platter()
        silence = Silence()
        self.switchboard = Switchboard(self.ledger, clock, 1, exchange=silence, publisher=silence)
        self.switchboard.observers += [self.projection, self.outcomes, self]
        self.context: zmq.Context[Any] = zmq.Context()
        self.endpoint = f"ipc://{path}/run/ctl.sock"
        self.router = bind_ctl(self.context, [self.endpoint])
        self.reads = Reads(self.ledger, clock)
        self.blind = False
        self.slow: list[Callable[[], None]] | None = None
        self.gateway = Gateway(self.router, self.services(grade))
        self.dealers: list[Any] = []
        self.dealer = self.client()
        self.say(events.WatcherAdded(to_data(WatcherSpec(name="web", cmd="x")), "d"), "arbiter")
        self.platter.synced = self.ledger.head

    def services(self, grade: str) -> Services:
        sources = Sources(
            self.projection, {"endpoint": "e"}, self.probe, lambda _, value: value, 42
        )
        return Services(
            lambda decision, on=None: self.switchboard.submit(decision, on or (lambda _: None)),
            sources, Options(), self.outcomes, self.reads,
            Promise(grade, self.ledger, self.platter), self.clock, self.header,
            self.aside,
        )  # fmt: skip

    def probe(self, _pid: int, /) -> Mapping[str, Any]:
        if self.blind:
            raise OSError(24, "no more files")
        return {"cpu": 1}

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None], /) -> None:
        """A slow question: answered now, or, while `slow` is a list, when the test says so."""
        if self.slow is None:
            done(work())
        else:
            self.slow.append(lambda: done(work()))

    def header(self) -> Header:
        ledger: Head = self.ledger
        now = self.clock.now()
        return Header(ledger.log_id, 1, 1, ledger.head, ledger.chain[:8], now.wall, now.boot)

    def observe(self, record: Record, /) -> None:
        self.records.append(record)

    def client(self) -> Any:
        dealer = self.context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(self.endpoint)
        self.dealers.append(dealer)
        return dealer

    def say(self, body: Body, actor: str = "watcher:web#1", cause: int = 0) -> int:
        self.switchboard.submit(Decision(actor, cause, (Draft(body),)), lambda _: None)
        self.switchboard.flush()
        return self.ledger.head

    def send(self, command: str, identity: bytes = bytes(16), /, **properties: Any) -> None:
        self.raw(encode_request(Request(identity, command, properties)))

    def raw(self, *frames: bytes, dealer: Any = None) -> None:
        (dealer or self.dealer).send_multipart(frames)
        assert self.router.poll(DEADLINE_MS)
        self.gateway.receive()
        self.switchboard.flush()

    def answered(self, dealer: Any = None) -> bool:
        return bool((dealer or self.dealer).poll(0))

    def reply(self, dealer: Any = None) -> Mapping[str, Any]:
        dealer = dealer or self.dealer
        assert dealer.poll(DEADLINE_MS), "no answer"
        return decode_reply(dealer.recv_multipart()).body

    def ask(self, command: str, identity: bytes = bytes(16), /, **properties: Any) -> Any:
        self.send(command, identity, **properties)
        return self.reply()

    def close(self) -> None:
        for dealer in self.dealers:
            dealer.close(0)
        self.gateway.close()
        self.context.term()
        self.ledger.close()


Open = Callable[..., Stage]


@pytest.fixture
def opened(state_dir: Path) -> Iterator[Open]:
    stages: list[Stage] = []

    def make(grade: str = "group") -> Stage:
        stages.append(Stage(state_dir, grade))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(opened: Open) -> Stage:
    return opened()


def test_a_command_is_recorded_with_the_kernels_word_for_who_sent_it(stage: Stage) -> None:
    """
    uid, gid and pid of the ipc peer, the client's id, the deadline as a moment.
    """
    request = Request(b"i" * 16, "signal", {"name": "web", "signum": "hup"}, 2**64 - 1)
    stage.raw(encode_request(request))

    record = stage.records[-1]
    assert {"uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid()} == record.peer
    assert (b"i" * 16, "client", "watcher:web#1") == (record.id, record.actor, record.to)
    assert commands.WatcherSignal(1) == record.body
    assert record.deadline == 2**64 - 1


def test_an_answer_about_desired_state_leaves_when_it_is_on_the_platter(stage: Stage) -> None:
    """
    I-ACKDUR; the sync is asked for, the sequencer does not wait.
    """
    stage.send("incr", name="web")
    command = stage.ledger.head
    seq = stage.say(events.CommandAccepted(command))
    assert not stage.answered()
    stage.gateway.release()
    assert not stage.answered()
    assert [seq] == stage.platter.wanted

    stage.platter.synced = seq
    stage.gateway.release()
    stage.gateway.release()
    assert command == stage.reply()["seq"]


def test_a_signal_is_answered_at_once(stage: Stage) -> None:
    """
    It changes nothing that anybody wants to find after a power cut.
    """
    stage.send("signal", name="web", signum=1)
    stage.say(events.CommandAccepted(stage.ledger.head))

    assert stage.reply()["status"] == "ok"


def test_waiting_hears_the_end_with_the_addressees_words(stage: Stage) -> None:
    """
    `waiting` is answered by `finished`: its reply, or why it failed.
    """
    stage.send("incr", name="web", nb=2, waiting=True)
    command = stage.ledger.head
    stage.say(events.CommandAccepted(command))
    stage.platter.synced = 99
    assert not stage.answered()
    stage.say(events.CommandFinished(command, reply={"numprocesses": 3}))
    body = stage.reply()
    assert (3, command) == (body["numprocesses"], body["seq"])

    for reply, reason in ((None, "cannot carry out: failed"), ({"reason": "gone"}, "gone")):
        stage.send("incr", os.urandom(16), name="web", waiting=True)
        stage.say(events.CommandFinished(stage.ledger.head, "failed", reply))
        body = stage.reply()
        assert ("error", reason, 5) == (body["status"], body["reason"], body["errno"])


def test_what_the_addressee_refuses_is_told_with_its_number(stage: Stage) -> None:
    """
    The reason and Circus's errno.
    """
    stage.platter.synced = 99
    stage.send("incr", name="web")
    stage.say(events.CommandRefused(stage.ledger.head, "cannot: no", 5))
    body = stage.reply()
    assert ("cannot: no", 5) == (body["reason"], body["errno"])


def test_a_retry_gets_the_stored_outcome_whatever_it_would_mean_now(stage: Stage) -> None:
    """
    The watcher is gone, the answer is not; nothing is recorded twice.
    """
    stage.platter.synced = 99
    stage.send("rm", b"r" * 16, name="web")
    command = stage.ledger.head
    stage.say(events.CommandAccepted(command), "arbiter")
    assert stage.reply()["seq"] == command
    stage.say(events.WatcherRemoved("watcher:web#1"))
    before = stage.ledger.head

    assert stage.ask("rm", b"r" * 16, name="web")["seq"] == command
    assert before == stage.ledger.head


def test_a_retry_that_overtakes_its_own_record_is_no_second_command(stage: Stage) -> None:
    """
    Both are in one wake-up; one command, two answers.
    """
    stage.platter.synced = 99
    request = encode_request(Request(b"t" * 16, "incr", {"name": "web"}))
    other = stage.client()
    stage.dealer.send(request)
    other.send(request)
    before = stage.ledger.head
    while len(stage.gateway._under_way.get((os.getuid(), b"t" * 16), [])) < 2:
        assert stage.router.poll(DEADLINE_MS)
        stage.gateway.receive()
    stage.switchboard.flush()
    assert stage.ledger.head == before + 1
    stage.say(events.CommandAccepted(before + 1))

    assert stage.reply()["seq"] == stage.reply(other)["seq"] == before + 1


def test_while_the_disk_fails_nothing_durable_is_accepted(stage: Stage) -> None:
    """
    ESTORAGE, with Circus's number for the operating system; questions and signals go on.
    """
    stage.ledger.degrade(OSError(28, "No space left on device"))
    head = stage.ledger.head

    body = stage.ask("incr", name="web")
    assert (FAILING_DISK, 4) == (body["reason"], body["errno"])
    assert head == stage.ledger.head
    assert stage.ask("numwatchers")["numwatchers"] == 1
    stage.send("signal", os.urandom(16), name="web", signum=1)
    stage.say(events.CommandAccepted(stage.ledger.head))
    assert stage.reply()["status"] == "ok"


def test_none_waits_for_nothing(opened: Open) -> None:
    """
    `durability = none`.
    """
    stage = opened("none")
    stage.send("incr", name="web")
    stage.say(events.CommandAccepted(stage.ledger.head))

    assert stage.reply()["status"] == "ok"
    assert [] == stage.platter.wanted


def test_always_waits_with_every_answer(opened: Open) -> None:
    """
    `durability = always`: a question tells only of what cannot be taken back.
    """
    stage = opened("always")
    stage.say(events.WatcherStarting())
    stage.send("status")
    assert not stage.answered()
    assert [stage.ledger.head] == stage.platter.wanted

    stage.platter.synced = stage.ledger.head
    stage.gateway.release()
    assert stage.reply()["statuses"] == {"web": "starting"}


def test_always_answers_questions_while_the_disk_fails(opened: Open) -> None:
    """
    An operator has to see what is wrong.
    """
    stage = opened("always")
    stage.say(events.WatcherStarting())
    stage.send("status")
    stage.ledger.degrade(OSError(5, "Input/output error"))
    stage.gateway.release()
    assert stage.reply()["statuses"] == {"web": "starting"}


MALFORMED: Final[Mapping[str, tuple[bytes, ...]]] = {
    "no msgpack": (b"\xc1",),
    "two frames": (b"a", b"b"),
    "no map": (b"\x01",),
    "keys that are bytes beside text": (b"\x82\xc4\x01a\x01\xa1b\x02",),
    "an id of another length": (msgpack.packb({"id": b"x", "command": "list"}),),
    "too deep": (b"\x91" * 100 + b"\x01",),
}


@pytest.mark.parametrize("frames", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_read_is_answered_with_the_fault(
    stage: Stage, frames: tuple[bytes, ...]
) -> None:
    """
    errno 1, no effect, the daemon alive.
    """
    head = stage.ledger.head
    stage.raw(*frames)
    body = stage.reply()
    assert ("error", 1, None) == (body["status"], body["errno"], body["id"])
    assert body["reason"].startswith("cannot")
    assert head == stage.ledger.head
    assert stage.ask("list")["watchers"] == ("web",)


WRONG: Final[Mapping[str, tuple[str, dict[str, Any], int]]] = {
    "no such command": ("dance", {}, 2),
    "no such watcher": ("incr", {"name": "nobody"}, 3),
    "no name": ("incr", {}, 3),
    "a name that is nothing": ("rm", {"name": None}, 3),
    "options that are nothing": ("set", {"name": "web", "options": None}, 3),
    "a name that is a map": ("options", {"name": {"a": 1}}, 3),
    "an option that is a map": ("globaloptions", {"option": {"a": 1}}, 3),
    "a key that is a list": ("get", {"name": "web", "keys": [[1]]}, 3),
    "a wrong property of a question": ("list", {"colour": "red"}, 3),
    "a wrong property of a command": ("stop", {"colour": "red"}, 3),
    "waiting that is no flag": ("stop", {"waiting": "yes"}, 3),
    "an expression without end": ("stop", {"name": "a{99999999999999}", "match": "regex"}, 3),
    "a broken expression": ("stop", {"name": "(", "match": "regex"}, 3),
    "an unknown way to match": ("stop", {"name": "w*", "match": "taste"}, 3),
    "too many": ("incr", {"name": "web", "nb": 2**63}, 3),
    "a signal of five thousand digits": ("signal", {"name": "web", "signum": "9" * 5000}, 3),
    "seconds without end": ("quit", {"graceful_timeout": 1e300}, 3),
    "a child without its parent": ("signal", {"name": "web", "signum": 1, "childpid": 5}, 5),
    "a name that is taken": ("add", {"name": "WEB", "cmd": "x"}, 5),
    "a configuration that is no file": ("reloadconfig", {}, 3),
    "a process that is not there": ("stats", {"name": "web", "process": 1}, 3),
    "a read that breaks the page": ("read", {"after": -1}, 1),
}


@pytest.mark.parametrize(("command", "properties", "errno"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_done_is_refused_and_not_recorded(
    stage: Stage, command: str, properties: dict[str, Any], errno: int
) -> None:
    """
    The fault is named, nothing happened, the next request is served.
    """
    head = stage.ledger.head
    body = stage.ask(command, **properties)
    assert ("error", errno) == (body["status"], body["errno"]), body
    assert body["reason"]
    assert body["id"] == bytes(16)
    assert head == stage.ledger.head
    assert stage.ask("list")["watchers"] == ("web",)


def test_stats_come_from_a_thread_and_are_told_by_the_loop(stage: Stage) -> None:
    """
    Of all watchers, of one, of the daemon.
    """
    assert stage.ask("stats")["infos"] == {"web": {}}
    assert stage.ask("dstats")["info"] == {"cpu": 1, "children": ()}


def test_what_cannot_be_looked_at_is_an_error_of_the_question(stage: Stage) -> None:
    """
    No descriptor left for /proc: the asker is told, the core goes on.
    """
    stage.blind = True
    body = stage.ask("dstats")
    assert ("error", 4) == (body["status"], body["errno"])
    assert "cannot look at process 42: no more files; try again" == body["reason"]
    stage.blind = False
    assert "ok" == stage.ask("dstats")["status"]


def test_so_many_slow_questions_may_wait(stage: Stage) -> None:
    """
    One more is told to try again, at once; quick questions are not concerned.
    """
    stage.slow = []
    for _ in range(SLOW_QUESTIONS_MAX):
        stage.send("stats")
    assert not stage.answered()
    body = stage.ask("dstats")
    assert ("error", BUSY, 5) == (body["status"], body["reason"], body["errno"])
    assert stage.ask("list")["watchers"] == ("web",)

    slow, stage.slow = stage.slow, None
    for answer in slow:
        answer()
    assert ["ok"] * SLOW_QUESTIONS_MAX == [stage.reply()["status"] for _ in slow]
    assert "ok" == stage.ask("stats")["status"]


def test_a_connection_that_reads_twice_is_answered_the_first_time(stage: Stage) -> None:
    """
    One parked READ for each connection: the earlier one ends without news.
    """
    head = stage.ledger.head
    other = stage.client()
    stage.send("read", b"1" * 16, after=head, wait_ms=30_000)
    stage.raw(
        encode_request(Request(b"2" * 16, "read", {"after": head, "wait_ms": 30_000})), dealer=other
    )
    assert not stage.answered()
    stage.send("read", b"3" * 16, after=head, wait_ms=30_000)
    body = stage.reply()
    assert (b"1" * 16, "nothing") == (body["id"], body["result"])
    assert not stage.answered(other)


def test_singletons_are_answered_without_a_record(stage: Stage) -> None:
    """
    Circus's special reply.
    """
    spec = WatcherSpec(name="one", cmd="x", singleton=True)
    stage.say(events.WatcherAdded(to_data(spec), "d"), "arbiter")
    head = stage.ledger.head
    body = stage.ask("incr", name="one")
    assert (1, True, head) == (body["numprocesses"], body["singleton"], stage.ledger.head)


def test_frames_are_read_as_they_stand(stage: Stage) -> None:
    """
    READ over the socket, with the raw bytes in the third frame.
    """
    stage.send("read", after=0)
    assert stage.dealer.poll(DEADLINE_MS)
    reply = decode_reply(stage.dealer.recv_multipart())
    assert ("events", 1) == (reply.body["result"], reply.body["first_seq"])
    assert reply.raw == stage.ledger.read_raw(0, 1 << 20).data


def test_one_wake_up_serves_a_bounded_number(stage: Stage) -> None:
    """
    Workers have their turn between; the rest is served by the next one.
    """
    for _ in range(REQUESTS_PER_WAKE + 5):
        stage.dealer.send(encode_request(Request(bytes(16), "list", {})))
    served = 0
    poller = zmq.Poller()
    poller.register(stage.router, zmq.POLLIN)
    poller.register(stage.dealer, zmq.POLLIN)
    while served < REQUESTS_PER_WAKE + 5:
        assert poller.poll(DEADLINE_MS)
        stage.gateway.receive()
        while stage.dealer.poll(0):
            assert stage.reply()["watchers"] == ("web",)
            served += 1


def test_a_client_that_has_gone_is_nobodys_problem(stage: Stage) -> None:
    """
    Its retry, with the same id, gets the stored outcome.
    """
    other = stage.client()
    stage.platter.synced = 99
    stage.raw(encode_request(Request(b"g" * 16, "incr", {"name": "web"})), dealer=other)
    other.close(0)
    stage.ask("list")
    command = stage.ledger.head
    stage.say(events.CommandAccepted(command))

    assert stage.ask("incr", b"g" * 16, name="web")["seq"] == command


def test_tcp_peers_are_known_by_their_address(stage: Stage) -> None:
    """
    There is no uid behind a port.
    """
    router = bind_ctl(stage.context, ["tcp://127.0.0.1:*"])
    stage.gateway._router, own = router, stage.router
    dealer = stage.context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    endpoint = router.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    dealer.connect(endpoint.rstrip(b"\0").decode())
    dealer.send(encode_request(Request(bytes(16), "signal", {"name": "web", "signum": 1})))
    assert router.poll(DEADLINE_MS)
    stage.gateway.receive()
    stage.switchboard.flush()
    assert stage.records[-1].peer == {"address": "127.0.0.1"}
    dealer.close(0)
    router.close(0)
    stage.gateway._router = own
