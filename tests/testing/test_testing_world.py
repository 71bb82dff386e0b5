"""Room: tests -- circus.testing: what a user's test can say, and what it hears when it is wrong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from circus.arbiter.config import ConfigProblems
from circus.bus.record import fields_of
from circus.testing import KernelWeather, NotMet, Unwanted, World, given_config

WEB: dict[str, Any] = {"name": "web", "cmd": "web", "numprocesses": 2, "graceful_timeout": 5}


def a_world(seed: int = 1, program: Any = "steady", **options: Any) -> World:
    """One watcher."""
    world = World(seed)
    world.given_watchers([{**WEB, **options}], {"web": program})
    return world


# --- the configuration ----------------------------------------------------------------------------


def test_a_file_is_read_by_the_real_loader(tmp_path: Path) -> None:
    """
    TOML's own defaults hold, variables are found in what the test gives, and the daemon starts.
    """
    path = tmp_path / "shop.toml"
    path.write_text('[watcher.web]\ncmd = "web $(circus.env.PORT)"\nnumprocesses = 3\n')

    world = given_config(path, seed=5, environ={"PORT": "81"})
    added = world.expect("watcher.added", watcher="WEB").within(1)

    spec = fields_of(added.body)["spec"]
    assert ("web 81", 100_000_000) == (spec["cmd"], spec["backoff"])
    world.expect("watcher.started", watcher="web").within(1)
    assert len(world.workers("web")) == 3


def test_a_bad_file_is_refused_with_everything_wrong_with_it(tmp_path: Path) -> None:
    """
    As `circusd --check`.
    """
    path = tmp_path / "shop.toml"
    path.write_text('[watcher.web]\ncmd = ""\nnumproceses = 3\n')

    with pytest.raises(ConfigProblems, match="numprocesses"):
        given_config(path)


def test_a_changed_file_is_read_again_by_command() -> None:
    """
    What is given a second time is the file's new content.
    """
    world = a_world()
    world.expect("watcher.started", watcher="web").within(1)
    world.given_watchers([WEB, {"name": "mail", "cmd": "mail"}])
    assert world.command("reloadconfig")
    world.expect("watcher.started", watcher="mail").within(1)


def test_a_program_for_nobody_is_refused() -> None:
    """
    A slip in a watcher's name does not go unnoticed.
    """
    with pytest.raises(ValueError, match="cannot play 'wbe'"):
        World(1).given_watchers([WEB], {"wbe": "steady"})


def test_words_that_the_small_language_lacks_are_refused() -> None:
    """
    At once, not at the first spawn.
    """
    with pytest.raises(ValueError, match="the scripts are steady"):
        World(1).given_watchers([WEB], {"web": "gunicorn"})


# --- expectations ---------------------------------------------------------------------------------


def test_expectations_are_met_in_order() -> None:
    """
    Each looks behind the record that the one before it found.
    """
    world = a_world()
    first = world.expect("process.spawned", watcher="web").within(1)
    second = world.expect("process.spawned", watcher="web").within(1)

    assert first.seq < second.seq
    with pytest.raises(NotMet):
        world.expect("process.spawned", watcher="web").within(10)


def test_time_passes_only_until_the_record_is_there() -> None:
    """
    And to the end where it does not come.
    """
    world = a_world()
    world.expect("watcher.started", watcher="web").within(100)
    assert world.now < 1

    with pytest.raises(NotMet):
        world.expect("watcher.stopped", watcher="web").within(100)
    assert world.now >= 100


def test_a_failure_has_the_story_the_seed_and_the_way_to_repeat() -> None:
    """
    A failure is a gift.
    """
    world = World(77, repeat="pytest this")
    world.given_watchers([WEB])
    with pytest.raises(NotMet) as failure:
        world.expect("watcher.failed", watcher="web", reason="?").within(5)

    text = str(failure.value)
    assert "watcher.failed watcher='web' reason='?'" in text
    assert "web is active" in text
    assert "seed 77; again: pytest this" in text


def test_an_expectation_that_is_not_asked_is_an_error() -> None:
    """
    `expect(...)` alone would be a test that is always green.
    """
    world = a_world()
    world.expect("watcher.failed")
    with pytest.raises(TypeError, match=r"add \.within"):
        world.close()


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("process.exitd", {}, "process.exited"),
        ("process.exited", {"exit_code": 1}, "cannot look at 'exit_code'"),
        ("nothing.*", {}, "no record is called so"),
    ],
)
def test_what_no_record_can_be_is_refused(name: str, fields: dict[str, Any], text: str) -> None:
    """
    A typing error is not a green test.
    """
    with pytest.raises(ValueError, match=text):
        a_world().never(name, **fields)


def test_what_should_never_be_fails_when_it_comes() -> None:
    """
    From whatever lets the time pass, with the record in the text.
    """
    world = a_world(program="stubborn")
    world.expect("watcher.started", watcher="web").within(1)
    world.never("process.exited", signal=signal.SIGKILL)
    world.command("stop", name="web")
    with pytest.raises(Unwanted, match="was ended by SIGKILL"):
        world.run_for(10)


def test_what_should_never_be_fails_if_it_was() -> None:
    """
    Before or after, it is the same world.
    """
    world = a_world()
    world.run_for(1)
    with pytest.raises(Unwanted):
        world.never("watcher.started")


def test_absence_is_for_a_while() -> None:
    """
    What came before does not count, what comes in that time does.
    """
    world = a_world(program="exits 3 7.5")
    world.run_for(1)
    world.expect("process.spawned").absent(5)
    with pytest.raises(Unwanted):
        world.expect("process.exited", code=3).absent(5)


def test_a_value_may_be_a_question() -> None:
    """
    A function is asked, a name may have a star.
    """
    world = a_world()
    world.run_for(1)

    assert world.records("process.spawned", pid=lambda pid: pid > 2) == world.records(
        "*.spawned", slot=2
    )


# --- what happens ---------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_story() -> None:
    """
    To the byte; another seed is another one.
    """

    def told(seed: int) -> tuple[str, str]:
        world = a_world(seed, "moody")
        world.faults.kernel(KernelWeather(spawn_fault=0.2))
        world.run_for(20)
        world.faults.crash_core()
        world.run_for(20)
        return world.story(everything=True), world.simulated.digest()

    assert told(3) == told(3)
    assert told(3) != told(4)


def test_appointments_are_kept_between_happenings() -> None:
    """
    In order of time, whenever they were made; one that is past is kept soon.
    """
    world, kept = a_world(), list[float]()
    world.at(30, lambda: kept.append(world.now))
    world.at(10, lambda: world.at(5, lambda: kept.append(world.now)))
    world.run_for(60)
    assert kept == [10.0, 30.0]


def test_an_observer_hears_each_record_once_and_may_command() -> None:
    """
    Also across a crash of the core, which reads its ledger again.
    """
    world, heard = a_world(), list[int]()
    world.on("*", lambda record: heard.append(record.seq))
    world.on("process.exited", lambda _: world.command("incr", name="web", nb=1), watcher="web")
    world.run_for(1)
    world.faults.kill("web", slot=2)
    world.run_for(1)
    world.faults.crash_core()
    world.run_for(5)

    assert len(world.workers("web")) == 3
    assert heard == [record.seq for record in world.records()]
    assert len(heard) == len(set(heard))


def test_a_power_cut_is_survived_and_told() -> None:
    """
    The workers are new ones, the story goes on, and it says what the ledger has lost.
    """
    world = a_world()
    world.run_for(1)
    before = world.workers("web")
    world.faults.cut_power()
    world.run_for(30)

    assert len(world.workers("web")) == 2
    assert world.workers("web")[0].since > before[0].since
    assert "-- the power is cut" in world.story("web")
    world.close()


def test_bad_luck_can_be_of_every_kind() -> None:
    """
    Each fault can happen, none is a bug of ours, and the workers are there in the end.
    """
    world = a_world()
    world.run_for(1)
    faults = world.faults
    for strike in (
        faults.crash_core, lambda: faults.crash_core_after(20), lambda: faults.stop_core(3),
        lambda: faults.suspend(3600), lambda: faults.set_clock(-3600), faults.cut_power,
        lambda: faults.kill("web", signum=signal.SIGTERM),
    ):  # fmt: skip
        strike()
        world.run_for(20)
    faults.calm()
    world.run_for(20)
    assert len(world.workers("web")) == 2
    world.close()


def test_what_cannot_be_spawned_is_not_tried_without_a_pause() -> None:
    """
    Not even where the longest pause is said to be none: found by Hypothesis, from World(seed=0).
    """
    options = {"max_retry": -1, "backoff": 1, "backoff_max": 0}
    world = a_world(program="missing", numprocesses=1, **options)
    world.run_for(10)
    assert len(world.records("process.spawn_failed")) < 30


def test_a_life_may_be_followed_at_once_where_pauses_are_at_most_none() -> None:
    """
    `backoff_max = 0` switches the pauses off, also for the checkers.
    """
    world = a_world(program="exits 0 0.1", backoff=1, backoff_max=0)
    world.expect("slot.waiting").absent(3)


def test_nobody_can_be_killed_who_is_not_alive() -> None:
    """
    A fault that did not happen is not a green test.
    """
    with pytest.raises(LookupError, match="none is alive"):
        a_world().faults.kill("web")


def test_the_daemon_ends_when_it_is_told_to() -> None:
    """
    With all workers gone; commands are not heard any more.
    """
    world = a_world(program="slow 2")
    world.run_for(1)
    world.signal(signal.SIGTERM)
    world.expect("core.stopped").within(10)
    world.run_for(1)
    assert world.workers("web") == ()
    assert not world.command("start", name="web")


def test_options_of_commands_are_in_the_units_of_users() -> None:
    """
    `set` takes seconds and names of signals, and refuses what circusctl would be refused.
    """
    world = a_world()
    world.run_for(1)
    assert world.command("set", name="web", options={"graceful_timeout": 2, "stop_signal": "INT"})
    updated = world.expect("watcher.updated", watcher="web").within(1)
    options = fields_of(updated.body)["options"]
    assert dict(options) == {"graceful_timeout": 2_000_000_000, "stop_signal": 2}
    assert not world.command("set", name="web", options={"gracefultimeout": 2})
    assert world.command(
        "add", name="mail", cmd="mail", options={"graceful_timeout": 1}, start=True
    )
    world.expect("watcher.started", watcher="mail").within(1)
