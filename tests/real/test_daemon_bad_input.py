"""What nobody should send, give or do: refused with a sentence, no effect, the daemon alive."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import zmq

from circus.bus.codec import OUTSIDE_BYTES_MAX
from circus.bus.dial import dial_ctl
from circus.bus.record import fields_of
from circus.bus.wire import CTL_BYTES_MAX, decode_reply

Launch = Callable[..., Any]

SIMPLE: Final = '[watcher.one]\ncmd = "sleep 1000"\n'
NOISE: Final = 2_000


def request(command: Any, properties: Any = None, **more: Any) -> bytes:
    whole = {"id": os.urandom(16), "command": command, "properties": properties or {}, **more}
    packed: bytes = msgpack.packb(whole)
    return packed


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# What is sent, and a word that the answer must have.
WRONG: Final[dict[str, tuple[bytes, str]]] = {
    "no msgpack": (b"\xc1\xff", "cannot decode"),
    "nothing": (b"", "cannot decode"),
    "cut short": (request("list")[:-3], "cannot decode"),
    "more behind": (request("list") + b"\0", "cannot decode"),
    "no map": (msgpack.packb([1, 2]), "not a map"),
    "short id": (msgpack.packb({"id": b"1", "command": "list"}), "id must be 16 bytes"),
    "no command": (msgpack.packb({"id": bytes(16)}), "command"),
    "unknown key": (request("list", extra=1), "unknown key 'extra'"),
    "unknown command": (request("frobnicate"), "unknown command"),
    "unknown property": (request("incr", {"name": "one", "colour": 1}), "colour"),
    "missing property": (request("incr"), "name"),
    "number as name": (request("stop", {"name": 7}), "name must be str"),
    "text as number": (request("incr", {"name": "one", "nb": "many"}), "nb must be int"),
    "negative number": (request("incr", {"name": "one", "nb": -2}), "nb"),
    "no such watcher": (request("stop", {"name": "nosuch"}), "not found"),
    "no such option": (request("set", {"name": "one", "options": {"nosuch": 1}}), "nosuch"),
    "wrong option": (request("set", {"name": "one", "options": {"numprocesses": "x"}}), "numproc"),
    "too deep": (request("list", {"name": deep(20)}), "deeper"),
    "much too deep": (request("list", {"name": 1})[:-1] + b"\x91" * 5_000 + b"\xc0", "cannot"),
    "no number of seconds": (request("quit", {"graceful_timeout": float("nan")}), "seconds"),
    "too long": (request("list", {"name": "x" * OUTSIDE_BYTES_MAX}), "at most 262144"),
    "as long as can be": (bytes(CTL_BYTES_MAX), "at most 262144"),
    "bad signal": (request("signal", {"name": "one", "signum": 999}), "signal invalid"),
    "deadline of text": (request("list", deadline_ns="soon"), "deadline_ns"),
}


def test_what_is_wrong_is_answered_with_the_fault_and_has_no_effect(launch: Launch) -> None:
    """Each wrong request gets one error reply; afterwards the record has not grown."""
    daemon = launch(SIMPLE).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    pids = daemon.pids("one")
    head = daemon.head()
    for name, (message, word) in WRONG.items():
        answer = daemon.raw([message])
        assert answer, f"no answer to {name}"
        reply = decode_reply(answer).body
        assert "error" == reply["status"], (name, reply)
        assert word in reply["reason"], (name, reply["reason"])
        assert reply["tb"] is None
    # libzmq hangs up on a longer one before anybody has to read it (docs/wire.md).
    assert [] == daemon.raw([request("list", {"name": "x" * CTL_BYTES_MAX})], seconds=1)
    for frames in ([b"", request("list")], [request("list"), b"more"], [b"", b"", b""]):
        assert "error" == decode_reply(daemon.raw(frames)).body["status"]
    assert pids == daemon.pids("one")
    assert head == daemon.head()
    assert 0 == daemon.stop()
    daemon.judge()


def test_noise_on_both_sockets_changes_nothing(launch: Launch) -> None:
    """Random bytes, mutated requests, garbage subscriptions and raw bytes to the socket."""
    daemon = launch(SIMPLE).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    (pid,) = daemon.pids("one")
    head = daemon.head()
    dice = random.Random(20)
    context: zmq.Context[Any] = zmq.Context()
    dialled = dial_ctl(context, daemon.client().endpoint)
    good = request("incr", {"name": "one", "nb": 1})
    answered = 0
    try:
        for number in range(NOISE):
            message = _mutated(good, dice) if number % 2 else dice.randbytes(1 + number % 199)
            dialled.send(message)
            if number % 50 == 0:
                answered += _drained(dialled)
    finally:
        dialled.close(0)
        context.term()
    _shout_at(daemon, dice)
    assert answered > 0
    assert (pid,) == tuple(daemon.pids("one"))
    assert head == daemon.head()
    assert 1 == daemon.ask("status")["core"]["incarnation"]
    assert 0 == daemon.stop()
    daemon.judge()


def _mutated(good: bytes, dice: random.Random) -> bytes:
    """Another byte before the id: no such message is a good request."""
    place = dice.randrange(1, 6)
    other = (good[place] + dice.randrange(1, 256)) % 256
    return good[:place] + bytes([other]) + good[place + 1 :]


def _drained(dialled: Any) -> int:
    count = 0
    while dialled.poll(200 if not count else 0):
        assert decode_reply(dialled.recv_multipart()).body["status"] in {"error", "ok"}
        count += 1
    return count


def _shout_at(daemon: Any, dice: random.Random) -> None:
    """Bytes that are not even ZMTP, at both sockets."""
    for name in ("ctl.sock", "events.sock"):
        for _ in range(5):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
                raw.connect(str(daemon.state_dir / "run" / name))
                raw.sendall(dice.randbytes(64) + struct.pack("<Q", 2**63))


BAD_FILES: Final[dict[str, tuple[str, int, list[str]]]] = {
    "several": (
        '[circus]\nhttpd = true\n[watcher.a]\ncmd = "x"\nnumprocess = 1\n'
        '[watcher.b]\ncmd = "x"\nnumprocesses = "many"\n[watcher.c]\n',
        78, ["httpd", "numprocess", "numprocesses", "cmd"],
    ),
    "no toml": ("[watcher.a\n", 78, ["under-test.toml"]),
    "missing include": ('[circus]\ninclude = ["nosuch.toml"]\n', 66, ["nosuch.toml"]),
    "plain tcp": ('[circus]\nendpoint = "tcp://127.0.0.1:5555"\n', 78, ["insecure-tcp"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_configuration_starts_nothing_and_says_all(launch: Launch, name: str) -> None:
    """One line for each problem, sysexits' code, the same for --check; no ledger is begun."""
    text, code, words = BAD_FILES[name]
    daemon = launch(text)
    for extra in ((), ("--check",)):
        daemon.log.write_bytes(b"")
        daemon.start(*extra)
        assert code == daemon.wait(), daemon.text()
        for word in words:
            assert word in daemon.text()
        assert "Traceback" not in daemon.text()
    assert not list((daemon.state_dir).glob("ledger/*.evl"))


def test_wrong_arguments_and_absent_files_have_their_exit_codes(launch: Launch) -> None:
    """64 for usage, 66 for a file that is not there."""
    daemon = launch(SIMPLE)
    daemon.start("--no-such-option")
    assert 64 == daemon.wait()
    daemon.config.unlink()
    daemon.start()
    assert 66 == daemon.wait()


def test_a_second_circusd_refuses_and_touches_nothing(launch: Launch) -> None:
    """73, one sentence, and the first one and its files are as they were."""
    daemon = launch(SIMPLE).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    head, before = daemon.head(), daemon.ask("status")
    second = subprocess.run(
        [sys.executable, "-m", "circus.circusd", "--state-dir", str(daemon.state_dir),
         str(daemon.config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 73 == second.returncode
    assert "another circusd runs on" in second.stderr
    after = daemon.ask("status")
    assert {**before, "time": 0, "id": 0} == {**after, "time": 0, "id": 0}
    assert head == daemon.head()
    assert 0 == daemon.stop()
    daemon.judge()


def segment_of(daemon: Any) -> Path:
    """The newest segment of the ledger."""
    newest: Path = max((daemon.state_dir / "ledger").glob("*.evl"))
    return newest


def test_a_torn_and_a_damaged_ledger_are_told_and_survived(launch: Launch) -> None:
    """Cut off a tail: log.tail_cut. Flip a byte: log.damaged. It starts both times."""
    daemon = launch(SIMPLE).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    assert 0 == daemon.stop()
    segment = segment_of(daemon)
    whole = segment.read_bytes()
    with segment.open("r+b") as file:
        file.truncate(len(whole) - 11)
    head = daemon.head()
    tale = daemon.tale(head)
    daemon.start()
    cut = tale.next("log.tail_cut")
    assert (2, segment.name) == (cut.incarnation, fields_of(cut.body)["segment"])
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    assert list((daemon.state_dir / "ledger" / "quarantine").iterdir())
    assert 0 == daemon.stop()
    daemon.judge()
    segment = segment_of(daemon)
    bytes_ = bytearray(segment.read_bytes())
    bytes_[len(bytes_) // 2] ^= 0x20
    segment.write_bytes(bytes_)
    daemon.start()
    daemon.logged("ledger damaged")
    daemon.do("start", name="one")
    assert "active" == daemon.ask("status", name="one")["status"]
    assert 1 == len(daemon.pids("one"))
    assert 0 == daemon.stop()


def test_the_example_of_make_run_runs_and_its_events_stream(launch: Launch) -> None:
    """examples/hello.toml, as `make run` starts it from the repository's root."""
    root = Path(__file__).parents[2]
    daemon = launch((root / "examples" / "hello.toml").read_text(encoding="utf-8"))
    daemon.start(cwd=root)
    tale = daemon.tale()
    tale.next("arbiter.started")
    for name in ("greeter", "counter", "unsteady"):
        if not tale.of("watcher.started", name):
            tale.next("watcher.started", name)
    command = [
        sys.executable, "-m", "circus.circusctl", "--state-dir", str(daemon.state_dir),
        "events", "--after", "0", "--follow",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        lines = [events.stdout.readline() for _ in range(20)]
        events.send_signal(signal.SIGINT)
    assert all(line.strip() for line in lines)
    assert any("process.spawned" in line for line in lines)
    assert 0 == daemon.stop()
    daemon.judge()
