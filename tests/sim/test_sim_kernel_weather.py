"""Room: tests -- what goes wrong in the simulated kernel, and what its programs do.

Knows:     circus.replay.
Known by:  nobody.
Never:     waits: time is the agenda's.
"""

from __future__ import annotations

import errno
import signal
from typing import Final

import pytest

from circus.process.kernel import Child, SpawnFailed
from circus.process.launch import Launch
from circus.replay.checks.truth import ClosedStdout, Fact, Forked, Ready
from circus.replay.kernel.kernel import SimKernel
from circus.replay.kernel.kin import PIDS
from circus.replay.kernel.lives import FORK_REFUSED
from circus.replay.kernel.spawn import (
    DIES_UNBORN,
    DIES_UNTOLD,
    EXEC_HANGS,
    KERNEL_FAULTS,
    PIDFD_LATE,
    SIGCHLD_LATE,
    SIGCHLD_MERGED,
    SIGCHLD_SPURIOUS,
    SPAWN_FAULTS,
    STRING_BYTES_MAX,
    TRACED,
    KernelWeather,
)
from circus.replay.sim.agenda import Agenda

SECOND: Final = 1_000_000_000


class Machine:
    """The least world that a kernel needs: it remembers what it was told."""

    def __init__(self, weather: KernelWeather | None = None) -> None:
        self.agenda = Agenda(1)
        self.facts: list[Fact] = []
        self.shown: list[int] = []
        self.sigchlds = 0
        self.kernel = SimKernel(self)
        self.kernel.lives.weather = weather or KernelWeather()

    def happened(self, fact: Fact) -> None:
        self.facts.append(fact)

    def readable(self, pidfd: int) -> None:
        self.shown.append(pidfd)

    def child_ended(self) -> None:
        self.sigchlds += 1

    def spawn(self, *words: str) -> Child:
        child = self.kernel.spawn(Launch(words, {}))
        self.kernel.watch(child)
        return child

    def kill(self, child: Child, signum: int = signal.SIGKILL) -> None:
        assert ((child.pid,), 0) == self.kernel.signal(child, signum, "process", None)

    def ended(self, child: Child) -> bool:
        return self.kernel.peek(child) is not None

    def run(self, duration: int) -> None:
        until = self.agenda.boot + duration
        while (due := self.agenda.next_due()) is not None and due <= until:
            happening = self.agenda.advance()
            assert happening is not None
            happening()
        self.agenda.pause(max(0, until - self.agenda.boot))

    @property
    def faults(self) -> dict[str, int]:
        return self.agenda.coverage.faults

    @property
    def edges(self) -> dict[str, int]:
        return self.agenda.coverage.edges


def test_every_kind_of_fault_can_happen_and_is_counted() -> None:
    """A kind that no machine ever sees would be a promise without a test."""
    weather = KernelWeather(
        spawn_fault=0.3, exec_hang=0.1, early_death=0.2, sigchld_late=0.3, sigchld_spurious=0.2,
        pidfd_late=0.3, traced=0.2,
    )  # fmt: skip
    machine = Machine(weather)
    for _ in range(600):
        try:
            child = machine.spawn("exits", "3", "0.01")
        except SpawnFailed:
            continue
        machine.run(10 * SECOND)
        assert machine.ended(child)
        machine.kernel.reap(child)

    assert [] == [fault for fault in KERNEL_FAULTS if not machine.faults[fault]]


def test_a_calm_kernel_has_no_faults() -> None:
    """All rates are 0 unless somebody sets them."""
    machine = Machine()
    for _ in range(50):
        child = machine.spawn("exits", "3", "0.01")
        machine.run(SECOND)
        machine.kernel.reap(child)

    assert set() == {fault for fault, count in machine.faults.items() if count}


def test_half_of_all_faults_are_absent_from_a_day() -> None:
    """Swarm testing: what one fault would hide another day can find."""
    days = [KernelWeather.drawn(Agenda(seed).chance) for seed in range(200)]

    absent = sum(day.traced == 0 for day in days)
    assert 60 < absent < 140
    assert all(day.spawn_faults for day in days)
    assert any(len(day.spawn_faults) < len(SPAWN_FAULTS) for day in days)


def test_no_signal_gets_through_to_a_process_that_waits_for_a_disk() -> None:
    """KILL has no effect until then; it is not lost."""
    machine = Machine()
    child = machine.spawn("stuck", "1.5")
    process = machine.kernel.processes[child.inode]
    while process.state != "D":
        machine.run(SECOND // 100)
    machine.kill(child)

    assert not machine.ended(child)
    machine.run(2 * SECOND)
    ending = machine.kernel.peek(child)
    assert ending is not None
    assert signal.SIGKILL == ending.signal


def test_the_end_of_a_traced_process_is_shown_when_the_debugger_lets_go() -> None:
    """Its pidfd is readable, waitid says nothing yet: poll proves no end, one must watch on."""
    machine = Machine(KernelWeather(traced=1.0))
    child = machine.spawn("steady")
    machine.kill(child)

    assert [child.pidfd] == machine.shown
    assert not machine.ended(child)
    machine.kernel.watch_on(child)
    assert [] == machine.kernel.living()
    machine.run(2 * SECOND)
    assert [child.pidfd] * 2 == machine.shown
    assert machine.ended(child)
    assert 1 == machine.faults[TRACED]


def test_sigchld_is_one_bit_and_may_come_late() -> None:
    """Ten ends may be one signal; pidfds tell of each all the same."""
    machine = Machine(KernelWeather(sigchld_late=1.0))
    children = [machine.spawn("steady") for _ in range(10)]
    for child in children:
        machine.kill(child)

    assert 0 == machine.sigchlds
    assert (1, 9) == (machine.faults[SIGCHLD_LATE], machine.faults[SIGCHLD_MERGED])
    assert [child.pidfd for child in children] == machine.shown
    machine.run(4 * SECOND)
    assert 1 == machine.sigchlds


def test_a_sigchld_may_mean_nothing() -> None:
    """Nobody has ended, and the keeper looks."""
    machine = Machine(KernelWeather(sigchld_spurious=1.0))
    machine.spawn("steady")

    assert (1, 1) == (machine.sigchlds, machine.faults[SIGCHLD_SPURIOUS])


def test_a_pidfd_becomes_readable_late_but_surely() -> None:
    """Reliable, not prompt."""
    machine = Machine(KernelWeather(pidfd_late=1.0))
    child = machine.spawn("steady")
    machine.kill(child)

    assert ([], 1) == (machine.shown, machine.faults[PIDFD_LATE])
    machine.run(2 * SECOND)
    assert [child.pidfd] == machine.shown


def test_a_process_may_be_dead_before_its_spawn_returns_or_is_told() -> None:
    """It was started: there is a zombie, and the fork comes before the end."""
    machine = Machine(KernelWeather(early_death=1.0))
    children = [machine.spawn("steady") for _ in range(20)]
    dead = sum(machine.ended(child) for child in children)
    machine.run(SECOND)

    assert 0 < dead < 20
    assert (dead, 20 - dead) == (machine.faults[DIES_UNBORN], machine.faults[DIES_UNTOLD])
    assert all(machine.ended(child) for child in children)
    assert isinstance(machine.facts[0], Forked)


def test_time_passes_while_an_exec_hangs() -> None:
    """The program's file is far away, and the keeper waits."""
    machine = Machine(KernelWeather(exec_hang=1.0))
    before = machine.agenda.boot
    machine.spawn("steady")

    assert machine.agenda.boot > before
    assert 1 == machine.faults[EXEC_HANGS]


def test_when_all_pids_are_used_a_spawn_fails_until_one_is_reaped() -> None:
    """EAGAIN, and a zombie keeps its pid as a living process does."""
    machine = Machine()
    children = [machine.spawn("steady") for _ in range(PIDS)]
    machine.kill(children[7])

    with pytest.raises(SpawnFailed) as caught:
        machine.spawn("steady")
    assert ("fork", errno.EAGAIN) == (caught.value.step, caught.value.errno)
    machine.kernel.reap(children[7])
    assert children[7].pid == machine.spawn("steady").pid


def test_a_pid_is_kept_while_a_group_has_it() -> None:
    """Else a new leader would find strangers in its group."""
    machine = Machine()
    leader = machine.spawn("parent", "1", "0.1")
    machine.run(SECOND)
    machine.kernel.reap(leader)
    pids = {machine.spawn("steady").pid for _ in range(PIDS - 2)}

    assert leader.pid not in pids
    with pytest.raises(SpawnFailed):
        machine.spawn("steady")


def test_start_times_have_hundredths_of_a_second() -> None:
    """Two processes of one tick cannot be told apart by them."""
    machine = Machine()
    first, second = machine.spawn("steady"), machine.spawn("steady")

    assert first.started == second.started
    assert 0 == first.started % 10_000_000
    assert first.inode != second.inode


def test_who_forks_twice_leaves_an_orphan_with_a_status() -> None:
    """It ends as a child of the keeper, which reaps it."""
    machine = Machine()
    child = machine.spawn("deserter", "1.0")
    machine.run(2 * SECOND)

    strangers = machine.kernel.strangers([child.pid])
    assert 1 == len(strangers)
    assert [5] == [orphan.code for orphan in machine.kernel.reap_orphans(strangers)]


def test_a_fork_bomb_comes_to_its_limit_and_goes_on() -> None:
    """fork fails with EAGAIN in the program; the keeper has pids left."""
    machine = Machine()
    machine.spawn("bomb", "5")
    machine.run(SECOND)

    assert machine.faults[FORK_REFUSED] > 0
    assert 6 >= len(machine.kernel.living()) > 3
    machine.spawn("steady")


def test_a_stopped_program_does_what_it_had_in_mind_when_it_goes_on() -> None:
    """It neither exits nor forks while it is stopped."""
    machine = Machine()
    child = machine.spawn("exits", "3", "0.1")
    machine.kill(child, signal.SIGSTOP)
    machine.run(SECOND)

    assert not machine.ended(child)
    machine.kill(child, signal.SIGCONT)
    ending = machine.kernel.peek(child)
    assert ending is not None
    assert 3 == ending.code
    assert 1 == machine.edges["kernel: stopped -> running"]


def test_a_slow_program_may_still_be_killed_while_it_obeys() -> None:
    """TERM is caught and the end is under way; KILL is faster."""
    machine = Machine()
    child = machine.spawn("slow", "10")
    machine.kill(child, signal.SIGTERM)
    machine.kill(child)
    machine.run(11 * SECOND)

    ending = machine.kernel.peek(child)
    assert ending is not None
    assert signal.SIGKILL == ending.signal


def test_a_program_says_that_it_is_ready_at_once_or_late_or_never() -> None:
    """And another closes its output and goes on."""
    machine = Machine()
    late, silent = machine.spawn("late", "1.0"), machine.spawn("silent")
    assert not [fact for fact in machine.facts if isinstance(fact, Ready)]
    machine.run(2 * SECOND)

    said = [fact.serial for fact in machine.facts if isinstance(fact, Ready)]
    assert [late.inode] == said
    assert [silent.inode] == [f.serial for f in machine.facts if isinstance(f, ClosedStdout)]


def test_only_root_starts_programs_for_others() -> None:
    """(step, errno) as on the full road of production's spawn."""
    machine = Machine()
    child = machine.kernel.spawn(Launch(("steady",), {}, uid="nobody"))
    assert 65534 == machine.kernel.processes[child.inode].uid

    with pytest.raises(SpawnFailed) as unknown:
        machine.kernel.spawn(Launch(("steady",), {}, uid="nobody-at-all"))
    assert ("user", errno.ENOENT) == (unknown.value.step, unknown.value.errno)
    machine.kernel.table.keeper.uid = 1000
    with pytest.raises(SpawnFailed) as refused:
        machine.kernel.spawn(Launch(("steady",), {}, uid=0))
    assert ("uid", errno.EPERM) == (refused.value.step, refused.value.errno)


def test_arguments_may_be_too_long() -> None:
    """One string of more than 32 pages, as Linux has it."""
    machine = Machine()
    with pytest.raises(SpawnFailed) as caught:
        machine.spawn("steady", "x" * STRING_BYTES_MAX)

    assert ("exec", errno.E2BIG) == (caught.value.step, caught.value.errno)


def test_calm_makes_what_starts_steady_and_what_runs_stay() -> None:
    """So that a world can come to rest."""
    machine = Machine(KernelWeather(spawn_fault=1.0))
    machine.kernel.become_calm()
    children = [machine.spawn("exits", "3", "0.1"), machine.spawn("bomb"), machine.spawn("moody")]
    machine.run(60 * SECOND)

    assert not any(machine.ended(child) for child in children[:2])
