"""Room: tests -- doctored histories of retries, configurations and ids, each with its honest twin.

Knows:     circus.replay.checks, the tales of test_checkers_of_records.
Known by:  nobody.
Never:     runs a world.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_checkers_of_records import DIGEST, ID, SPEC, WEB, Tale, only, spawned, two_watchers

from circus.bus import commands, events
from circus.bus.record import Record
from circus.bus.shapes import altered
from circus.bus.spec import to_data
from circus.replay.checks.checkers import Truth, Violation
from circus.replay.checks.control import KnownIds

HOUR: Final = 3600 * 1_000_000_000


def never_ran(*, then: int) -> Tale:
    """The second attempt meets the end of a core; the next one says which attempt it is."""
    tale = spawned(attempt=2)
    tale.say("reaper", events.ProcessNeverRun("x"), cause=3, spawn_id=3, slot=1, to=WEB)
    again = commands.ProcessSpawn(DIGEST, then, replaces=3)
    return tale.say(WEB, again, cause=4, to="reaper", slot=1)


def test_a_spawn_that_never_ran_is_no_attempt() -> None:
    """The core died, nobody has failed: the attempt is made again, under its number."""
    never_ran(then=2).tell(Truth(0, only("I-BACKOFF")))

    with pytest.raises(Violation, match="I-BACKOFF: attempt 3 follows one that never ran"):
        never_ran(then=3).tell(Truth(0, only("I-BACKOFF")))


def configured(*, first: int) -> Tale:
    """Two new files, one behind the other; the second one says what runs when it comes."""
    tale = two_watchers()
    for spec in (altered(SPEC, numprocesses=first), SPEC):
        file = commands.ArbiterConfigure((to_data(spec),), {})
        tale.say("core", file, to="arbiter")
    back = commands.WatcherSet({"numprocesses": SPEC.numprocesses})
    return tale.say("arbiter", back, to=WEB, watcher="web", cause=4)


def decided(tale: Tale, configuration: int) -> Tale:
    """The arbiter has compared this one with what runs."""
    return tale.say("arbiter", events.ArbiterConfigured((), (), {}), cause=configuration)


def test_what_a_new_file_changes_is_not_known_before_the_one_ahead_of_it_is_decided() -> None:
    """The first changes a number and the second changes it back: both say something to it."""
    configured(first=SPEC.numprocesses + 1).tell(Truth(0, only("I-RELOAD")))

    tale = decided(
        two_watchers().say("core", commands.ArbiterConfigure((to_data(SPEC),), {}), to="arbiter"), 3
    )
    tale.say("core", commands.ArbiterConfigure((to_data(SPEC),), {}), to="arbiter")
    tale.say("arbiter", commands.WatcherRestart(), to=WEB, watcher="web", cause=5)
    with pytest.raises(Violation, match="I-RELOAD: web is the same"):
        tale.tell(Truth(0, only("I-RELOAD")))


def command_at(hour: int, identity: bytes = ID) -> Record:
    """A client's, by the wall clock."""
    tale = Tale().say("client", commands.WatcherStop(), to=WEB, id=identity, after=hour * HOUR)
    record = tale.news[-1]
    assert isinstance(record, Record)
    return record


def test_an_id_that_was_a_day_old_is_forgotten_also_where_the_clock_goes_back() -> None:
    """It is known for a day of the wall clock; another command at its end lets it go for good."""
    known = KnownIds()
    answers = [known.comes_again(command_at(hour)) for hour in (0, 23)]
    assert [False, True] == answers

    known.comes_again(command_at(48, b"x" * 16))
    assert not known.comes_again(command_at(46))
