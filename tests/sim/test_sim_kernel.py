"""Room: tests -- the simulated kernel does what Linux does, call by call.

Knows:     process.kernel, circus.replay.
Known by:  nobody.
Never:     sleeps: it waits for the end of a process by its pidfd, or by the agenda.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

import pytest

from circus.process.kernel import Child, Kernel, LinuxKernel, SpawnFailed
from circus.process.launch import Launch
from circus.replay.checks.truth import Fact, Misused, Signalled
from circus.replay.kernel.kernel import SimKernel
from circus.replay.kernel.kin import PIDS
from circus.replay.sim.agenda import Agenda

END_MS_MAX: Final = 20_000
ENV: Final = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
REAL: Final[Mapping[str, tuple[str, ...]]] = {
    "steady": ("sleep", "100"),
    "exits 3": ("sh", "-c", "exit 3"),
    "crashes": ("sh", "-c", "kill -SEGV $$"),
    "missing": ("no-such-program-anywhere",),
}
SIMULATED: Final[Mapping[str, tuple[str, ...]]] = {
    "steady": ("steady",),
    "exits 3": ("exits", "3", "0.1"),
    "crashes": ("crashes", "11", "0.1"),
    "missing": ("missing",),
}


class Agency:
    """The least world that a kernel needs."""

    def __init__(self) -> None:
        self.agenda = Agenda(1)
        self.facts: list[Fact] = []

    def happened(self, fact: Fact) -> None:
        self.facts.append(fact)

    def readable(self, pidfd: int) -> None:
        """Nobody polls."""

    def child_ended(self) -> None:
        """Nobody waits."""


class Bench(Protocol):
    """A kernel under test, with a way to wait."""

    kernel: Kernel

    def spawn(self, name: str) -> Child: ...
    def wait(self, child: Child) -> None: ...
    def close(self) -> None: ...


class RealBench:
    """Linux."""

    def __init__(self) -> None:
        self.kernel: Kernel = LinuxKernel()
        self._children: list[Child] = []

    def spawn(self, name: str) -> Child:
        child = self.kernel.spawn(Launch(REAL[name], ENV))
        self._children.append(child)
        return child

    def wait(self, child: Child) -> None:
        poll = select.poll()
        poll.register(child.pidfd, select.POLLIN)
        assert poll.poll(END_MS_MAX), f"pid {child.pid} still runs"

    def close(self) -> None:
        for child in self._children:
            try:
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            except (ProcessLookupError, OSError):
                continue  # Reaped by the test itself.
            self.wait(child)
            self.kernel.reap(child)


class SimBench:
    """Ours."""

    def __init__(self) -> None:
        self.agency = Agency()
        self.kernel: Kernel = SimKernel(self.agency)

    def spawn(self, name: str) -> Child:
        return self.kernel.spawn(Launch(SIMULATED[name], {}))

    def wait(self, child: Child) -> None:
        while self.kernel.peek(child) is None:
            happening = self.agency.agenda.advance()
            assert happening is not None, f"pid {child.pid} runs for ever"
            happening()

    def close(self) -> None:
        """Nothing is left of it."""


@pytest.fixture(params=[RealBench, SimBench], ids=["linux", "simulated"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Either kernel."""
    made: Bench = request.param()
    yield made
    made.close()


def test_an_end_is_peeked_as_often_as_one_likes_and_reaped_once(bench: Bench) -> None:
    """The zombie keeps the status."""
    child = bench.spawn("exits 3")
    bench.wait(child)

    first = bench.kernel.peek(child)
    assert first is not None
    assert (3, None) == (first.code, first.signal)
    assert first.code == getattr(bench.kernel.peek(child), "code", None)
    assert child.pid not in bench.kernel.strangers([child.pid])
    bench.kernel.reap(child)
    assert child.pid not in bench.kernel.strangers([])


def test_a_crash_shows_its_signal(bench: Bench) -> None:
    """Code and signal exclude each other."""
    child = bench.spawn("crashes")
    bench.wait(child)

    ending = bench.kernel.peek(child)
    assert ending is not None
    assert (None, 11) == (ending.code, ending.signal)
    bench.kernel.reap(child)


def test_a_running_process_has_no_end_and_dies_of_kill(bench: Bench) -> None:
    """The pids that got the signal come back."""
    child = bench.spawn("steady")
    assert bench.kernel.peek(child) is None

    assert ((child.pid,), 0) == bench.kernel.signal(child, signal.SIGKILL, "process", None)
    bench.wait(child)
    ending = bench.kernel.peek(child)
    assert ending is not None
    assert (None, 9) == (ending.code, ending.signal)
    # A zombie takes every signal, and nothing comes of it.
    assert ((child.pid,), 0) == bench.kernel.signal(child, signal.SIGTERM, "process", None)
    bench.kernel.reap(child)


def test_a_stopped_process_acts_on_term_only_when_it_goes_on(bench: Bench) -> None:
    """STOP, TERM, and then CONT: it dies of TERM."""
    child = bench.spawn("steady")
    bench.kernel.signal(child, signal.SIGSTOP, "process", None)
    bench.kernel.signal(child, signal.SIGTERM, "process", None)
    assert bench.kernel.peek(child) is None

    bench.kernel.signal(child, signal.SIGCONT, "process", None)
    bench.wait(child)
    ending = bench.kernel.peek(child)
    assert ending is not None
    assert signal.SIGTERM == ending.signal
    bench.kernel.reap(child)


def test_a_program_that_is_not_there_says_so(bench: Bench) -> None:
    """(step, errno), and no process."""
    with pytest.raises(SpawnFailed) as caught:
        bench.spawn("missing")

    assert ("exec", 2) == (caught.value.step, caught.value.errno)


def test_a_child_without_children_has_no_leftovers(bench: Bench) -> None:
    """Scopes that mean nobody reach nobody."""
    child = bench.spawn("steady")
    assert ((), 0) == bench.kernel.signal(child, signal.SIGTERM, "children", None)
    assert ((), 3) == bench.kernel.signal(child, signal.SIGTERM, "children", 999_999)
    bench.kernel.signal(child, signal.SIGKILL, "group", None)
    bench.wait(child)
    assert () == bench.kernel.kill_leftovers(child)
    bench.kernel.reap(child)


def test_pids_go_round_and_come_again() -> None:
    """Reuse happens in every run, and never of a pid that somebody still has."""
    bench = SimBench()
    seen: list[int] = []
    for _ in range(3 * PIDS):
        child = bench.spawn("exits 3")
        bench.wait(child)
        bench.kernel.reap(child)
        seen.append(child.pid)

    assert PIDS == len(set(seen))


def test_a_signal_after_the_reap_is_a_fact_against_us() -> None:
    """On Linux it might hit a stranger; here a checker sees it."""
    bench = SimBench()
    child = bench.spawn("exits 3")
    bench.wait(child)
    bench.kernel.reap(child)

    assert ((), 3) == bench.kernel.signal(child, signal.SIGTERM, "process", None)
    with pytest.raises(ChildProcessError):
        bench.kernel.reap(child)
    found = [fact for fact in bench.agency.facts if isinstance(fact, Signalled | Misused)]
    assert 2 == len(found)


def test_children_of_the_dead_come_to_the_keeper() -> None:
    """Orphans keep their group; the nearest sub-reaper gets them."""
    bench = SimBench()
    kernel = bench.kernel
    assert isinstance(kernel, SimKernel)
    child = kernel.spawn(Launch(("parent", "2", "1.0"), {}))
    bench.wait(child)

    orphans = [one for one in kernel.living() if one.mother is kernel.table.keeper]
    assert [child.pid] * 2 == [one.group for one in orphans]
    assert {one.pid for one in orphans} == set(kernel.strangers([child.pid]))
    assert {one.pid for one in orphans} == set(kernel.kill_leftovers(child))
    assert [] == kernel.living()
