"""The peers, each in a virtual environment of its own under .bench/, and how to ask them.

Both own names that ours has too (`circus`) or need older ways of speaking, so they are reached by
their sockets alone: Circus's JSON over ZeroMQ, supervisor's XML-RPC over a unix socket.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import venv
import xmlrpc.client
from pathlib import Path
from typing import Any, Final

import zmq

from bench.stage import KEPT

PACKAGES: Final = {
    "circus": ("circus==0.19.0",),
    "supervisor": ("supervisor==4.3.0", "setuptools<81"),
}


def program(peer: str, name: str) -> Path:
    """One of its console scripts."""
    return KEPT / peer / "bin" / name


DAEMONS: Final = {"circus": "circusd", "supervisor": "supervisord"}


def works(peer: str) -> bool:
    """Whether its daemon starts: one half installed, moved or gone stale would fail every run."""
    try:
        done = subprocess.run(
            [program(peer, DAEMONS[peer]), "--version"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except OSError:
        return False  # not there, or its interpreter is not
    return done.returncode == 0 and PACKAGES[peer][0].rpartition("=")[2] in done.stdout.decode()


def install(peer: str) -> bool:
    """Make its virtual environment where none works; False, with a word, if that cannot be done."""
    if works(peer):
        return True
    venv.create(KEPT / peer, with_pip=True, clear=True)
    pip = [str(KEPT / peer / "bin/python"), "-m", "pip", "install", "-q"]
    code = subprocess.call([*pip, "--disable-pip-version-check", *PACKAGES[peer]])
    if code:
        sys.stderr.write(f"cannot install {peer}: pip says {code}; it is left out\n")
        return False
    if not works(peer):
        sys.stderr.write(f"cannot start {peer} as installed; it is left out\n")
        return False
    return True


def circus_call(endpoint: str, command: str, seconds: float, **properties: Any) -> dict[str, Any]:
    """One command in Circus's JSON."""
    context: zmq.Context[Any] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    try:
        dealer.connect(endpoint)
        return circus_ask(dealer, command, seconds, properties)
    finally:
        dealer.close()
        context.term()


def circus_ask(
    dealer: Any, command: str, seconds: float, properties: dict[str, Any]
) -> dict[str, Any]:
    """The same on a socket that is there already."""
    request = {"id": "bench", "command": command, "properties": properties}
    dealer.send(json.dumps(request).encode())
    if not dealer.poll(round(seconds * 1000)):
        raise TimeoutError(f"circus did not answer {command} in {seconds} s")
    answer: dict[str, Any] = json.loads(dealer.recv())
    return answer


class _UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def supervisor_call(path: str, method: str) -> Any:
    """One call of supervisor's XML-RPC, without arguments."""
    connection = _UnixHTTP(path)
    try:
        body = xmlrpc.client.dumps((), method)
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        return xmlrpc.client.loads(connection.getresponse().read())[0][0]
    finally:
        connection.close()
