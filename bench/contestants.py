"""Who is compared: the bare loop, ours on each transport and road, PyPI's circus and supervisor.

All are driven alike: start with so many workers, stop the workers and say so, end. A contestant
belongs to one run and is ended, by its pid, whatever happens.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import births, ours, peers, proc, readback
from bench.births import STAY, boot_ns
from bench.stage import START_SECONDS, Stage
from circus.client import CallError, Client

END_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.002


# What a core does with its configuration before anything else.
COMPILE: Final = """
import os, sys
from circus.arbiter.config_cache import load_cached
from circus.bus.vault import Vault
from circus.places import prepare
state, config = sys.argv[1:]
places = prepare(state, config, os.environ)
vault = Vault.open(places.vault)
load_cached(config, os.environ, vault=vault, cache=f"{places.state}/configuration")
vault.save()
"""


class CannotMeasure(Exception):
    """A contestant did not do what was asked of it in time."""


class Contestant(ABC):
    """One supervisor, running."""

    speaks = False  # on its standard output, to us

    def __init__(self, stage: Stage, workers: int, action: str = STAY) -> None:
        self.stage = stage
        self.workers = workers
        self.argv = [str(stage.program), str(stage.births.path), action]
        self.state = stage.folder / "state"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0

    @abstractmethod
    def command(self) -> list[str]:
        """What to exec; configuration files are written before."""

    @abstractmethod
    def stop_workers(self) -> None:
        """Ask that all workers stop; return when it says that they have."""

    def start(self) -> None:
        """Exec it, noting when."""
        command = self.command()
        output = (self.stage.folder / "output").open("ab")
        with output:
            self.started = boot_ns()
            # A pipe that nobody reads would stop a talkative peer.
            told = subprocess.PIPE if self.speaks else output
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=told, stderr=output, env=plain_environ()
            )

    def wait_born(self, total: int | None = None, seconds: float = START_SECONDS) -> None:
        """Until all workers have spoken."""
        wanted = self.workers if total is None else total
        if not self.stage.births.reach(wanted, seconds):
            heard = len(self.stage.births.heard)
            output = (self.stage.folder / "output").read_text(encoding="utf-8", errors="replace")
            raise CannotMeasure(f"{heard} of {wanted} workers born in {seconds} s; {output[-800:]}")

    def processes(self) -> list[int]:
        """The supervisor's own processes."""
        assert self.process is not None
        return [self.process.pid]

    def end(self) -> None:
        """TERM, wait, and KILL where that does not help."""
        if self.process is None:
            return
        self.process.terminate()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in reversed(self.processes()):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def check(self) -> bool:
        """After the end: does its record add up? False where none is kept."""
        return False


class Bare(Contestant):
    """The loop of bare_parent.py."""

    kind = "spawn"
    speaks = True

    def command(self) -> list[str]:
        script = str(Path(__file__).with_name("bare_parent.py"))
        return [sys.executable, script, self.kind, str(self.workers), *self.argv]

    def stop_workers(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.terminate()
        self.process.stdout.readline()


class BarePopen(Bare):
    """Popen in a loop: nobody is replaced."""

    kind = "popen"


class BareFull(Bare):
    """The same loop on the full road."""

    kind = "full"


class BarePair(Bare):
    """The floor: two bare processes that make the system calls of keeper and core."""

    kind = "plain"

    def command(self) -> list[str]:
        script = str(Path(__file__).with_name("bare_pair.py"))
        place = str(self.stage.folder)
        return [ours.program("python"), script, self.kind, str(self.workers), place, *self.argv]

    def processes(self) -> list[int]:
        return with_own(self.process, "bare-")


class BarePairHops(BarePair):
    """The same, with what ZeroMQ carries between the actors of the second process."""

    kind = "hops"


class BarePairBeat(BarePair):
    """The same as the first, with a heartbeat a second from a real XPUB."""

    kind = "beat"


class Ours(Contestant):
    """circusd: ZeroMQ between the actors, the fast spawn road."""

    transport = "zmq"
    more = ""

    def command(self) -> list[str]:
        config = self.stage.folder / "bench.toml"
        words = " ".join(self.argv)
        config.write_text(
            f'[circus]\ntransport = "{self.transport}"\nlogoutput = "{self.stage.folder}/log"\n'
            f'loglevel = "error"\n[watcher.w]\ncmd = "{words}"\nnumprocesses = {self.workers}\n'
            f"backoff = 0\ngive_up = 0\nmin_uptime = 0\n{self.more}",
            encoding="utf-8",
        )
        return [ours.program("circusd"), "--state-dir", str(self.state), str(config)]

    def stop_workers(self) -> None:
        try:
            with Client(str(self.state), timeout=END_SECONDS) as client:
                reply = client.call("stop", waiting=True)
        except CallError as error:
            raise CannotMeasure(str(error)) from error
        if reply["status"] != "ok":
            raise CannotMeasure(f"stop answered {reply}")

    def processes(self) -> list[int]:
        return with_own(self.process, "circus-")

    def check(self) -> bool:
        self.stage.births.drain()
        self.stage.notes.append(readback.check_story(self.state, self.stage.births.heard))
        return True


class OursAgain(Ours):
    """A start that finds its configuration compiled (ADR-0042), as every start but the first."""

    def command(self) -> list[str]:
        command = super().command()
        words = [str(self.state), str(self.stage.folder / "bench.toml")]
        subprocess.run([ours.program("python"), "-c", COMPILE, *words], check=True)
        return command


class OursMemory(Ours):
    """Objects in memory between the actors; everything else alike."""

    transport = "memory"


class OursFull(Ours):
    """The full road: a uid is asked for, here our own."""

    more = f"uid = {os.getuid()}\n"


class OursFullMemory(OursFull):
    """Full road and memory transport."""

    transport = "memory"


class Circus(Contestant):
    """PyPI's circus with the defaults of an ini file."""

    check_delay = 5.0

    def command(self) -> list[str]:
        config = self.stage.folder / "circus.ini"
        config.write_text(
            f"[circus]\nendpoint = {self._endpoint}\n"
            f"pubsub_endpoint = ipc://{self.stage.folder}/pub.sock\n"
            f"check_delay = {self.check_delay}\nloglevel = ERROR\n"
            f"[watcher:w]\ncmd = {' '.join(self.argv)}\nnumprocesses = {self.workers}\n"
            "max_retry = -1\ncopy_env = true\n",
            encoding="utf-8",
        )
        return [str(peers.program("circus", "circusd")), str(config)]

    @property
    def _endpoint(self) -> str:
        return f"ipc://{self.stage.folder}/ctl.sock"

    def stop_workers(self) -> None:
        peers.circus_call(self._endpoint, "stop", END_SECONDS, waiting=True)


class CircusQuick(Circus):
    """The same with check_delay = 0.1, its polling at its quickest sensible."""

    check_delay = 0.1


class Supervisor(Contestant):
    """PyPI's supervisor."""

    def command(self) -> list[str]:
        config = self.stage.folder / "supervisor.conf"
        folder = self.stage.folder
        config.write_text(
            f"[unix_http_server]\nfile = {self._socket}\n[supervisord]\nnodaemon = true\n"
            f"logfile = {folder}/log\npidfile = {folder}/pid\nloglevel = error\n"
            "minfds = 8192\nminprocs = 100\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[program:w]\ncommand = {' '.join(self.argv)}\nnumprocs = {self.workers}\n"
            "process_name = w%(process_num)d\nautorestart = true\nstartsecs = 0\n"
            "startretries = 1000000\nstdout_logfile = NONE\nstderr_logfile = NONE\n",
            encoding="utf-8",
        )
        return [str(peers.program("supervisor", "supervisord")), "-c", str(config)]

    @property
    def _socket(self) -> str:
        return f"{self.stage.folder}/sup.sock"

    def stop_workers(self) -> None:
        peers.supervisor_call(self._socket, "supervisor.stopAllProcesses")


def with_own(process: subprocess.Popen[bytes] | None, name: str) -> list[int]:
    """A first process and those of its children that are no workers, by how their names begin."""
    assert process is not None
    own = [pid for pid in proc.children(process.pid) if proc.comm(pid).startswith(name)]
    return [process.pid, *own]


def plain_environ() -> dict[str, str]:
    """Without Python's own variables: a peer must not find our `circus`, nor we the peer's."""
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}


@contextmanager
def running(
    kind: type[Contestant], stage: Stage, workers: int, action: str = STAY
) -> Iterator[Contestant]:
    """Started, handed out, ended, and its record read back."""
    contestant = kind(stage, workers, action)
    try:
        contestant.start()
        yield contestant
    finally:
        contestant.end()
    contestant.check()


def wait_gone(pids: list[int], seconds: float) -> None:
    """Until none of these workers runs."""
    end = time.monotonic() + seconds
    while any(births.is_worker(pid) for pid in pids):
        if time.monotonic() > end:
            raise CannotMeasure(f"workers still run after {seconds} s")
        time.sleep(POLL_SECONDS)


OURS: Final[dict[str, type[Contestant]]] = {
    "ours": Ours,
    "ours, memory": OursMemory,
    # Only root has a full road to take: for anybody else "my own uid" is no change.
    **({"ours, full road": OursFull} if os.geteuid() == 0 else {}),
}
FULL: Final[dict[str, type[Contestant]]] = (
    {"bare, full road": BareFull} if os.geteuid() == 0 else {}
)
PEERS: Final[dict[str, type[Contestant]]] = {"circus": Circus, "supervisor": Supervisor}
# What nobody can undercut who records in a second process.
PAIR: Final = "bare, two processes"
HOPS: Final = "bare, two processes, zmq hops"
FLOORS: Final[dict[str, type[Contestant]]] = {PAIR: BarePair, HOPS: BarePairHops}
FLOOR_OF: Final = {"ours": HOPS, "ours, memory": PAIR}
EVERYBODY: Final[dict[str, type[Contestant]]] = {
    "bare": Bare, **FLOORS, **OURS, **FULL, **PEERS,
    "circus, check_delay 0.1": CircusQuick,
}  # fmt: skip
