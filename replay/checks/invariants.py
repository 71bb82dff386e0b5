"""Room: replay -- the list of all checkers, one class for each invariant of RELIABILITY.md 4.3.

Knows:     the parts: replay.invariants_*.
Known by:  replay.world, tests.
Never:     checks anything itself. docs/simulation.md has the table of all 44.
"""

from __future__ import annotations

from collections.abc import Sequence

from circus.replay.checks.backoff import Backoff
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.control import CONTROL_CHECKERS
from circus.replay.checks.ledger import LEDGER_CHECKERS
from circus.replay.checks.lives import LIFE_CHECKERS
from circus.replay.checks.policy import POLICY_CHECKERS
from circus.replay.checks.rest import REST_CHECKERS
from circus.replay.checks.signals import SIGNAL_CHECKERS
from circus.replay.checks.subscribers import SUBSCRIBER_CHECKERS

CHECKERS = (
    *LIFE_CHECKERS,
    *SIGNAL_CHECKERS,
    *CONTROL_CHECKERS,
    *REST_CHECKERS,
    Backoff,
    *POLICY_CHECKERS,
    *LEDGER_CHECKERS,
    *SUBSCRIBER_CHECKERS,
)


def every_checker(truth: Truth) -> Sequence[Checker]:
    """One of each."""
    return tuple(checker(truth) for checker in CHECKERS)
