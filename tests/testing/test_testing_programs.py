"""Room: tests -- circus.testing: programs that users write, in the simulated kernel."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from circus.bus.record import fields_of
from circus.testing import Life, NotExecutable, Plot, Script, World


def a_world(program: Any, **options: Any) -> World:
    """One watcher with this program."""
    world = World(1)
    watcher = {"name": "web", "cmd": "web", "graceful_timeout": 5, "min_uptime": 0}
    world.given_watchers([{**watcher, **options}], {"web": program})
    return world


def test_a_plot_yields_time_and_returns_its_exit_code() -> None:
    """
    The time is the world's, the code is on record.
    """

    def program(_life: Life) -> Plot:
        yield 1.5
        yield 1
        return 7

    world = a_world(program)
    spawned = world.expect("process.spawned").within(1)
    exited = world.expect("process.exited", code=7).within(5)
    assert 2.4 < (exited.boot - spawned.boot) / 1e9 < 2.6


def test_a_plot_hears_signals_one_after_the_other() -> None:
    """
    A signal ends the wait early and is what `yield` gives; None is time.
    """
    heard: list[int | None] = []

    def program(_life: Life) -> Plot:
        while len(heard) < 4:
            heard.append((yield 10.0))
        yield None
        return 0

    world = a_world(program)
    world.run_for(1)
    world.faults.kill("web", signum=signal.SIGUSR1)
    world.faults.kill("web", signum=signal.SIGHUP)
    world.run_for(1)
    world.faults.kill("web", signum=signal.SIGUSR2)
    world.run_for(11)
    assert sorted(map(str, heard[:2])) == sorted(map(str, (signal.SIGUSR1.value, 1)))
    assert heard[2:] == [signal.SIGUSR2, None]


def test_work_is_finished_whatever_signals_come() -> None:
    """
    `life.work` takes its time, and tells what came.
    """

    def program(life: Life) -> Plot:
        heard = yield from life.work(4)
        life.say(f"heard {[*heard]}")
        return 3

    world = a_world(program, max_age=0)
    world.run_for(1)
    world.command("stop", name="web")
    exited = world.expect("process.exited").within(5)
    assert fields_of(exited.body)["code"] == 3
    assert "web[1]: heard [15]" in world.story("web")


def test_kill_is_not_heard_and_nothing_is_cleaned_up() -> None:
    """
    What stands in `finally` is not run by SIGKILL, as in the real world.
    """
    cleaned: list[int] = []

    def program(life: Life) -> Plot:
        try:
            yield None
        finally:
            cleaned.append(life.pid)
        return 0

    world = a_world(program)
    world.run_for(1)
    world.faults.kill("web")
    world.run_for(1)
    assert cleaned == []


def test_lives_are_numbered_and_know_who_they_are() -> None:
    """
    By watcher, from 1, over all slots.
    """
    seen: list[tuple[str, int, int]] = []

    def program(life: Life) -> str:
        seen.append((life.watcher, life.slot, life.number))
        return "steady"

    world = a_world(program, numprocesses=2)
    world.run_for(1)
    world.faults.kill("web", slot=2)
    world.run_for(1)
    assert seen == [("web", 1, 1), ("web", 2, 2), ("web", 2, 3)]


def test_a_program_may_crash_ignore_and_fork() -> None:
    """
    A signal of its own, deafness to TERM, children in its group.
    """

    def program(life: Life) -> Plot:
        if life.number == 1:
            yield 0.5
            life.crash(signal.SIGABRT)
        life.ignore(signal.SIGTERM)
        life.fork("steady")
        yield None
        return 0

    world = a_world(program, leftovers="kill")
    world.expect("process.exited", signal=signal.SIGABRT).within(2)
    world.run_for(1)
    assert len(world.simulated.keeper.kernel.living()) == 2
    world.command("stop", name="web")
    world.expect("process.exited", signal=signal.SIGKILL).within(6)
    world.run_for(1)
    assert world.simulated.keeper.kernel.living() == []


def test_a_program_may_not_be_executable() -> None:
    """
    With the step and the errno that it raises.
    """

    def program(_life: Life) -> str:
        raise NotExecutable("chdir", errno.ENOENT)

    world = a_world(program, max_retry=2)
    failed = world.expect("process.spawn_failed", watcher="web").within(1)
    said = fields_of(failed.body)
    assert ("chdir", errno.ENOENT) == (said["step"], said["errno"])
    world.expect("watcher.failed", watcher="web").within(5)


def test_a_script_as_data_is_a_program() -> None:
    """
    What the small language has no word for.
    """
    world = a_world(Script(lifetime=3_000_000_000, code=9))
    world.expect("process.exited", code=9).within(4)


def test_a_mistake_in_a_program_fails_the_test() -> None:
    """
    It is the user's, so it comes out as it is.
    """

    def program(_life: Life) -> Plot:
        yield 1
        raise KeyError("order 12")

    with pytest.raises(KeyError, match="order 12"):
        a_world(program).run_for(2)


def test_a_wait_for_less_than_nothing_is_refused() -> None:
    """
    The text says what can be waited for.
    """

    def program(_life: Life) -> Plot:
        yield -1
        return 0

    with pytest.raises(ValueError, match="yield seconds"):
        a_world(program).run_for(2)


def test_who_is_busy_without_end_is_told_so() -> None:
    """
    A world in which no time passes does not hang the test.
    """

    def program(_life: Life) -> Plot:
        while True:
            yield 0

    with pytest.raises(AssertionError, match="busy without end"):
        a_world(program).run_for(2)


def test_a_stopped_process_goes_on_with_its_plot_when_it_is_continued() -> None:
    """
    SIGSTOP is not heard; what was due meanwhile is late.
    """

    def program(_life: Life) -> Plot:
        yield 2
        return 4

    world = a_world(program)
    world.run_for(1)
    world.faults.kill("web", signum=signal.SIGSTOP)
    world.expect("process.exited").absent(5)
    world.faults.kill("web", signum=signal.SIGCONT)
    world.expect("process.exited", code=4).within(0.5)
