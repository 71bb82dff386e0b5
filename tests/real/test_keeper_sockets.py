"""Room: tests -- the keeper's sockets, seen from a core: bound once, changed in place, inherited.

Knows:     tests/real/keepers.py, process.sockets; the loopback.
Known by:  nobody.
Never:     sleeps; leaves a process or a path behind.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import Embedded, held_by, mark_of

from circus.arbiter.config_sockets import TERMS

pytestmark = pytest.mark.real

SECONDS = 20
LOOPBACK = {**TERMS, "host": "127.0.0.1", "port": 0}
# Says which sockets it has, then answers everybody on the first with its pid.
SERVER = """
import os, socket, sys
found = [fd for fd in range(3, 20) if os.path.exists(f"/proc/self/fd/{fd}")]
sockets = [socket.socket(fileno=fd) for fd in found[:int(sys.argv[1])]]
for one in sockets:
    one.setblocking(True)
while True:
    accepted, _ = sockets[0].accept()
    accepted.sendall(repr((os.getpid(), [s.fileno() for s in sockets])).encode())
    accepted.close()
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Nothing that carries it is left by a test."""
    yield from mark_of(tmp_path)


@pytest.fixture
def keeper(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    yield from held_by(tmp_path, mark)


def _unix(path: Path, **more: Any) -> dict[str, Any]:
    return {**TERMS, "family": "AF_UNIX", "host": "", "port": 0, "path": str(path), **more}


def _settle(keeper: Embedded, **sockets: dict[str, Any]) -> None:
    keeper.ask(("settings", {"sockets": sockets}))


def _bound(keeper: Embedded, count: int = 1) -> dict[str, tuple[str, int]]:
    """Where the next `count` sockets are bound, by name."""
    found = keeper.wait("socket_bound", count)
    parts = {name: address.rpartition(":") for _, name, address in found}
    return {name: (host, int(port)) for name, (host, _, port) in parts.items()}


def _serve(keeper: Embedded, **sockets: dict[str, Any]) -> int:
    """The pid of a server that has these."""
    argv = (sys.executable, "-S", "-c", SERVER, str(len(sockets)))
    keeper.spawn(keeper.launch(*argv, sockets=sockets))
    pid: int = keeper.wait("spawned")[0][3]
    return pid


def _ask(address: Any) -> tuple[int, list[int]]:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(SECONDS)
        client.connect(address)
        answer: tuple[int, list[int]] = literal_eval(client.recv(1000).decode())
        return answer


def test_a_worker_has_its_sockets_from_three_on_in_the_order_of_their_names(
    keeper: Embedded, tmp_path: Path
) -> None:
    """Whatever numbers they have with the keeper, and nothing else of his."""
    sockets = {"b": LOOPBACK, "c": _unix(tmp_path / "c"), "a": LOOPBACK}
    _settle(keeper, **sockets)
    addresses = {name: where for _, name, where in keeper.wait("socket_bound", 3)}
    assert {"a", "b", "c"} == set(addresses)
    pid = _serve(keeper, **sockets)
    host, _, port = addresses["a"].rpartition(":")
    assert (pid, [3, 4, 5]) == _ask((host, int(port)))


def test_what_is_bound_stays_bound_over_cores_and_replacements(
    keeper: Embedded, tmp_path: Path
) -> None:
    """The same terms again change nothing; the new keeper holds what the old one held."""
    sockets = {"web": LOOPBACK, "api": _unix(tmp_path / "api")}
    _settle(keeper, **sockets)
    before = {name: where for _, name, where in keeper.wait("socket_bound", 2)}
    _settle(keeper, **sockets)
    pid = _serve(keeper, **sockets)
    for number in range(3):
        keeper.ask(("reexec", number, ""))
        keeper.wait("reexeced")
        _settle(keeper, **sockets)
        assert pid == _ask(before["api"])[0]
    _settle(keeper)
    closed = {name: where for _, name, where in keeper.wait("socket_closed", 2)}
    assert before == closed
    assert not (tmp_path / "api").exists()


def test_another_backlog_is_no_other_socket(keeper: Embedded) -> None:
    """It listens again on the same descriptor; another address is bound before the old one goes."""
    _settle(keeper, web=LOOPBACK)
    old = _bound(keeper)["web"]
    _settle(keeper, web={**LOOPBACK, "backlog": 5, "blocking": True})
    _settle(keeper, web={**LOOPBACK, "host": "127.0.0.2"})
    seen = keeper.until(lambda seen: any(report[0] == "socket_bound" for report in seen))
    assert ["socket_closed", "socket_bound"] == [report[0] for report in seen]
    with pytest.raises(ConnectionRefusedError):
        _ask(old)


def test_a_failed_bind_changes_nothing_and_is_tried_again_by_a_spawn(keeper: Embedded) -> None:
    """The old address is served on; a spawn that has nothing says why, once it may it works."""
    _settle(keeper, web=LOOPBACK)
    old = _bound(keeper)["web"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = {**LOOPBACK, "port": port}
        _settle(keeper, web=wanted, api=wanted)
        failed = {report[1:] for report in keeper.wait("socket_failed", 2)}
        reason = os.strerror(errno.EADDRINUSE).lower()
        assert {(name, f"127.0.0.1:{port}", reason) for name in ("web", "api")} == failed
        assert _serve(keeper, web=wanted) == _ask(old)[0]
        keeper.spawn(keeper.launch("true", sockets={"api": wanted}))
        (refused,) = keeper.wait("failed")
        assert ("socket api", errno.EADDRINUSE) == refused[3:]
    pid = _serve(keeper, api=wanted)
    assert (pid, [3]) == _ask(("127.0.0.1", port))


def test_each_worker_may_have_a_socket_of_its_own_at_one_port(keeper: Embedded) -> None:
    """so_reuseport: the kernel shares connections out; when the last one is gone nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    terms = {**LOOPBACK, "port": port, "so_reuseport": True}
    _settle(keeper, web=terms)
    pids = {_serve(keeper, web=terms), _serve(keeper, web=terms)}
    seen: set[int] = set()
    while seen != pids:
        seen.add(_ask(("127.0.0.1", port))[0])
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    keeper.wait("exited", 2)
    with pytest.raises(ConnectionRefusedError):
        _ask(("127.0.0.1", port))


def test_a_path_that_is_served_is_not_taken_unless_it_is_said(
    keeper: Embedded, tmp_path: Path
) -> None:
    """`replace` takes it from whoever has it; the mode of its file is what `umask` leaves."""
    path = tmp_path / "api"
    with socket.socket(socket.AF_UNIX) as somebody:
        somebody.bind(str(path))
        somebody.listen()
        _settle(keeper, api=_unix(path))
        assert str(path) == keeper.wait("socket_failed")[0][2]
        _settle(keeper, api=_unix(path, replace=True, umask=0o117))
        keeper.wait("socket_bound")
    assert 0o660 == path.stat().st_mode & 0o777
    pid = _serve(keeper, api=_unix(path))
    assert pid == _ask(str(path))[0]


def test_a_datagram_socket_is_bound_and_does_not_listen(keeper: Embedded, tmp_path: Path) -> None:
    """What is sent while nobody reads waits there, too."""
    path = tmp_path / "log"
    _settle(keeper, log=_unix(path, type="SOCK_DGRAM"))
    keeper.wait("socket_bound")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"early", str(path))
    reader = "import socket, sys; print(socket.socket(fileno=3).recv(9).decode(), flush=True)"
    out = tmp_path / "out"
    argv = ("sh", "-c", f'exec {sys.executable} -S -c "{reader}" >{out}')
    keeper.spawn(keeper.launch(*argv, sockets={"log": _unix(path, type="SOCK_DGRAM")}))
    keeper.wait("exited")
    assert "early\n" == out.read_text("ascii")
