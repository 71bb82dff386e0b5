"""Room: tests -- doctored histories of signals and stops, each with its honest twin.

Knows:     circus.replay.checks, the tales of test_checkers_of_records.
Known by:  nobody.
Never:     runs a world.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_checkers_of_records import DIGEST, SPEC, WEB, Tale, only, spawned, started, two_watchers

from circus.bus import commands, events
from circus.bus.spec import to_data
from circus.replay.checks.checkers import Truth, Violation
from circus.replay.checks.invariants import every_checker
from circus.replay.checks.truth import Noted, Obeyed, Settled, Signalled, Told

SECOND: Final = 1_000_000_000


def killed_by_plan(after: int) -> Tale:
    """Process 3 has a plan with a grace of a second, and the keeper is alone."""
    tale = started(("steady", "1", "a"))
    for signum, boot in ((15, 100), (9, 100 + after)):
        tale.fact(Signalled(5, 40, signum, 5, boot))
        tale.fact(Noted(("signalled", 0, 3, signum, (40,), 0)))
    return tale


def signalled(*, sent: int) -> Tale:
    """A signal that is asked for twice and told twice."""
    tale = spawned().say(WEB, commands.ProcessSignal(15), spawn_id=3, to="reaper")
    for time in range(2):
        tale.fact(Obeyed(("signal", 4, 3, 15, "process", None)))
        if time < sent:
            tale.fact(Signalled(5, 40, 15, 5, 100))
        tale.fact(Told(("signalled", 4, 3, 15, (40,), 0))).fact(Settled())
    return tale


def replaced(start_of: str) -> Tale:
    """An operator stops web, and the file of record 4 makes another watcher of it."""
    tale = two_watchers().say("arbiter", commands.WatcherStop(), to=WEB, watcher="web", id="2")
    tale.say("core", commands.ArbiterConfigure((), {}), to="arbiter")
    changed = events.ArbiterConfigured(changed={"web": ("priority",)})
    tale.say("arbiter", changed, cause=4).say("arbiter", events.WatcherAdded(to_data(SPEC), DIGEST))
    start = commands.WatcherStart()
    return tale.say("arbiter", start, to="watcher:web#6", watcher="web", id=start_of)


CRIMES: Final[Sequence[tuple[str, Callable[[], Tale]]]] = (
    ("I-STOPSEQ", lambda: killed_by_plan(SECOND // 2)),
    ("I-LOG-SIG", lambda: signalled(sent=2)),
    ("I-CONV", lambda: replaced("4")),
)


@pytest.mark.parametrize(("crime", "tale"), CRIMES, ids=[one[0] for one in CRIMES])
def test_a_plan_without_patience_a_second_signal_and_a_revival_are_seen(
    crime: str, tale: Callable[[], Tale]
) -> None:
    """The keeper alone gives the grace; asked again it answers; a file revives nobody."""
    with pytest.raises(Violation, match=f"^{crime}: "):
        tale().tell(Truth(0, only(crime)))


HONEST: Final[Sequence[Callable[[], Tale]]] = (
    lambda: killed_by_plan(SECOND), lambda: signalled(sent=1), lambda: replaced("9"),
)  # fmt: skip


@pytest.mark.parametrize("tale", HONEST, ids=["plan", "signal", "revival"])
def test_patience_one_signal_and_an_operators_start_offend_nobody(
    tale: Callable[[], Tale],
) -> None:
    """What is allowed passes every checker."""
    tale().tell(Truth(0, every_checker))
