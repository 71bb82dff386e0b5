"""Room: front -- what a test expects of the record, and what it says when that does not come.

Knows:     circus.testing.pattern.
Known by:  circus.testing.world.
Never:     waits in real time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circus.bus.record import Record
from circus.testing.pattern import Pattern

if TYPE_CHECKING:
    from circus.testing.world import World


class NotMet(AssertionError):
    """What was expected did not come in time. The text has story, seed and how to repeat."""


class Unwanted(AssertionError):
    """What should never be is on record. The text has the story, the seed and how to repeat."""


class Expectation:
    """Asked for with `world.expect`; nothing is checked before `within` or `absent` is called."""

    def __init__(self, world: World, pattern: Pattern) -> None:
        self.pattern = pattern
        self._world = world

    def within(self, seconds: float) -> Record:
        """Let time pass until the record is there, at most so many seconds; the record.

        Expectations are met in order: each looks behind the record that the one before it found.
        Raises NotMet, with the story of the watcher.
        """
        return self._world.wait_for(self, seconds)

    def absent(self, seconds: float) -> None:
        """Let so many seconds pass, in which no such record comes. Raises Unwanted."""
        self._world.wait_without(self, seconds)
