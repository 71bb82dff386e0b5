"""Room: tests -- listening sockets: bound once, inherited by workers, held over every core.

Knows:     the `launch` fixture; sockets of this machine's loopback.
Known by:  pytest.
Never:     leaves the loopback; sleeps.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from daemon import end, pid_of

from circus.bus.record import fields_of

pytestmark = [pytest.mark.real, pytest.mark.slow]

SECONDS: Final = 20
# Answers each connection with its pid, on the descriptor that its argument names.
SERVER: Final = """
import os, socket, sys
listening = socket.socket(fileno=int(sys.argv[1]))
listening.setblocking(True)
while True:
    accepted, _ = listening.accept()
    accepted.sendall(b"%d %d" % (os.getpid(), int(sys.argv[1])))
    accepted.close()
"""
CONFIG: Final = """
[socket.api]
path = "{path}"
{more}

[socket.web]
host = "127.0.0.1"
port = 0

[watcher.server]
cmd = "{python} {server} $(circus.sockets.{name})"
use_sockets = true
{options}
"""


def _config(place: Path, name: str, *, more: str = "", options: str = "") -> str:
    server = place / "server.py"
    server.write_text(SERVER, encoding="ascii")
    return CONFIG.format(
        path=place / "api.sock", python=sys.executable, server=server, name=name, more=more,
        options=options,
    )  # fmt: skip


def _ask(address: Any) -> tuple[int, int]:
    """Pid and descriptor of whoever accepts there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(SECONDS)
        client.connect(address)
        pid, fd = client.recv(100).split()
        return int(pid), int(fd)


def test_a_socket_accepts_across_a_killed_core_and_a_restart_of_its_worker(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    """Who connects while neither core nor worker is there waits, and is served then."""
    daemon = launch(_config(tmp_path, "web")).start()
    tale = daemon.tale()
    where = {
        fields_of(r.body)["socket"]: fields_of(r.body)["address"]
        for r in tale.some(2, "socket.bound")
    }
    host, _, port = where["web"].rpartition(":")
    pid = pid_of(tale.next("process.spawned"))
    assert (pid, 4) == _ask((host, int(port)))
    end(pid_of(tale.of("core.started")[0]))
    assert pid == _ask((host, int(port)))[0]
    end(pid)  # Nobody respawns it before there is a core.
    served, _ = _ask((host, int(port)))
    assert served == pid_of(tale.next("process.spawned"))
    for verb in ("restart-core", "upgrade"):
        assert "ok" == daemon.ask(verb, waiting=True)["status"]
        assert served == _ask((host, int(port)))[0]
    daemon.stop()
    bound = [r for r in daemon.judge() if r.name.startswith("socket.")]
    assert ["socket.bound"] * 2 == [record.name for record in bound]
    assert not (tmp_path / "api.sock").exists()


def test_a_path_is_served_with_the_rights_of_its_user_alone(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    """A path that a killed daemon left is taken over; the file of it is 0600 by default."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "api.sock"))
    left.close()
    daemon = launch(_config(tmp_path, "api")).start()
    pid = pid_of(daemon.tale().next("process.spawned"))
    assert (pid, 3) == _ask(str(tmp_path / "api.sock"))
    assert 0o600 == (tmp_path / "api.sock").stat().st_mode & 0o777
    daemon.stop()


def test_a_socket_that_cannot_be_bound_fails_its_users_with_a_sentence(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    """Circus ended with code 0. Here the rest runs, and a later start tries again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = _config(tmp_path, "web").replace("port = 0", f"port = {port}")
        daemon = launch(config).start()
        tale = daemon.tale()
        failed = fields_of(tale.next("socket.failed").body)
        assert ("web", f"127.0.0.1:{port}", "address already in use") == tuple(failed.values())
        reason = fields_of(tale.next("watcher.failed").body)["reason"]
        assert "cannot bind socket web: address already in use" in reason
    daemon.do("start", name="server")
    pid = pid_of(tale.next("process.spawned"))
    assert pid == _ask(("127.0.0.1", port))[0]
    daemon.stop()


def test_another_address_is_bound_before_the_workers_are_reloaded(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    """A reload: the workers get the new socket, and the old address is given up."""
    daemon = launch(_config(tmp_path, "web")).start()
    tale = daemon.tale()
    first = tale.next("socket.bound", where=lambda r: fields_of(r.body)["socket"] == "web")
    old = pid_of(tale.next("process.spawned"))
    other = _config(tmp_path, "web").replace("127.0.0.1", "127.0.0.2")
    daemon.config.write_text(other, encoding="utf-8")
    daemon.do("reloadconfig")
    closed = fields_of(tale.next("socket.closed").body)
    assert fields_of(first.body) == closed
    host, _, port = fields_of(tale.next("socket.bound").body)["address"].rpartition(":")
    new = pid_of(tale.next("process.spawned"))
    assert "127.0.0.2" == host
    assert new != old
    assert new == _ask((host, int(port)))[0]
    daemon.stop()
