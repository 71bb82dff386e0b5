"""Fixtures that every test may ask for, and the choice of the Hypothesis profile."""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

# A unix socket's path has 108 bytes with its closing zero; zmq refuses longer ones late.
SOCKET_PATH_BYTES_MAX: Final = 107
LONGEST_SOCKET: Final = "run/events.sock"
DEATH_MS_MAX: Final = 20_000

# No deadline: examples are not timed on machines that we do not know.
SLOW: Final = [HealthCheck.too_slow]
settings.register_profile("dev", max_examples=100, deadline=None, suppress_health_check=SLOW)
settings.register_profile(
    "ci", max_examples=150, deadline=None, print_blob=True, suppress_health_check=SLOW
)
settings.register_profile(
    "night",
    max_examples=1_000_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


class Registry:
    """The processes that one test answers for; each is held by a pidfd, so no pid is mistaken."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._popen: list[subprocess.Popen[bytes] | subprocess.Popen[str]] = []

    def __call__(self, process: int | subprocess.Popen[bytes] | subprocess.Popen[str]) -> int:
        """Answer for a pid or a Popen from now on; gives the pid back."""
        if not isinstance(process, int):
            self._popen.append(process)
            process = process.pid
        if process not in self._held:
            self._held[process] = os.pidfd_open(process)
        return process

    def end(self) -> None:
        """SIGKILL to whatever still runs, by pid, and wait until it is gone; then reap our own."""
        for pidfd in self._held.values():
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                continue  # It has ended and was reaped: nothing is owed.
        for pid, pidfd in self._held.items():
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            assert poller.poll(DEATH_MS_MAX), f"process {pid} survived SIGKILL"
            os.close(pidfd)
        for popen in self._popen:
            popen.wait()
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe is not None:
                    pipe.close()
        for pid in self._held:
            _reap(pid)


@pytest.fixture
def reaped() -> Iterator[Registry]:
    """Give every process that the test starts to this; it is ended even if the test fails.

    After the test no child of this process may be left that was not there before: one that is
    left is ended, and fails the test.
    """
    before = _children()
    registry = Registry()
    yield registry
    registry.end()
    left = _children() - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        _reap(pid)
    assert left == set(), f"children were left by the test: {sorted(left)}; give them to `reaped`"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory (0700) whose sockets' paths are short enough for the kernel."""
    path = Path(tempfile.mkdtemp(prefix="circus-", dir="/tmp"))
    assert len(os.fsencode(path / LONGEST_SOCKET)) <= SOCKET_PATH_BYTES_MAX
    yield path
    shutil.rmtree(path)


@pytest.fixture
def serve(state_dir: Path) -> Iterator[Callable[..., Any]]:
    """Makes served ledgers under one state directory; they are ended with the test."""
    module = _served()
    made: list[Any] = []

    def make(ledger: Any = None, log_id: bytes = module.LOG_ID) -> Any:
        made.append(module.Served(state_dir, ledger or module.ListLedger(log_id)))
        return made[-1]

    yield make
    for served in made:
        served.close()


@pytest.fixture
def until() -> Callable[[int], None]:
    """Wait until a process (any, by pid) has ended; fails after a generous deadline."""

    def wait(pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        ended = poller.poll(DEATH_MS_MAX)
        os.close(pidfd)
        assert ended, f"process {pid} still runs after {DEATH_MS_MAX} ms"

    return wait


def _served() -> ModuleType:
    """tests/ is no package, so that the module beside this one is loaded by its place."""
    if "tests_served" in sys.modules:
        return sys.modules["tests_served"]
    place = Path(__file__).parent / "served.py"
    spec = importlib.util.spec_from_file_location("tests_served", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests_served"] = module
    spec.loader.exec_module(module)
    return module


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text(encoding="ascii").split()))
        except FileNotFoundError:
            continue  # A thread that has been joined; the kernel forgets it a moment later.
    return found


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # Not ours, or reaped already.


@pytest.fixture(autouse=True)
def _ledgers_are_well(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever ledger a test leaves is looked at when it has ended."""
    tops = [
        request.getfixturevalue(name)
        for name in ("tmp_path", "state_dir")
        if name in request.fixturenames
    ]
    invented = request.node.get_closest_marker("invented") is not None
    yield
    for top in tops:
        look_at_ledgers(top, invented=invented)


@pytest.fixture
def look_at() -> Callable[[Path], None]:
    """The same for directories that a fixture makes and removes."""
    return look_at_ledgers


def look_at_ledgers(top: Path, *, invented: bool = False) -> None:
    """A reader written from the text alone reads the same in it, every life in it adds up, and what
    a core has decided is decided again byte for byte.

    Only where ours finds no damage: tests that spoil bytes compare what they expect themselves.
    """
    for directory in sorted({path.parent for path in top.rglob("*.evl")}):
        records = _read_twice(directory)
        if records and records[0].get("name") == "core.started" and not invented:
            _decide_again(directory)


def _read_twice(directory: Path) -> list[dict[str, Any]]:
    """The records, if there are any and nothing is damaged."""
    from circus.bus.disk import RealDisk
    from circus.bus.segments import UnknownFormat
    from circus.replay.verify import verify

    try:
        verdict = verify(RealDisk(), str(directory))
    except (OSError, UnknownFormat):
        return []
    if verdict.damage or verdict.torn is not None:
        return []
    try:
        second = load_of_bus("second_reader").read_ledger(directory)
    except (ValueError, TypeError):
        return []  # Payloads that are no records: a test of bytes.
    read = (len(second), sum(len(records) for _, records in second))
    count = verdict.head.seq - verdict.first_seq + 1
    assert (verdict.frames, count) == read, directory
    if not all(isinstance(record, dict) for _, records in second for record in records):
        return []
    load_of_bus("audit").audit(second)
    return [record for _, records in second for record in records]


def _decide_again(directory: Path) -> None:
    from circus.replay.ask.check import check_ledger, told
    from circus.replay.opening import open_ledger

    checked = check_ledger(open_ledger(directory))
    assert checked.mismatch is None, "\n".join(told(checked))


@cache
def load_of_bus(name: str) -> ModuleType:
    """A module beside the tests of the ledger, which imports nothing of ours."""
    place = Path(__file__).parent / "bus" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_of_all", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
