"""Room: front -- what a test expects of the record, and what it says when that does not come.

Knows:     circus.testing.pattern, circus.testing.passing.
Known by:  circus.testing.world.
Never:     waits in real time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from circus.bus.record import Record
from circus.testing.chronicle import Chronicle, line_of
from circus.testing.passing import Passing, Search
from circus.testing.pattern import Pattern

Tell = Callable[[str, Pattern], str]


class NotMet(AssertionError):
    """What was expected did not come in time. The text has story, seed and how to repeat."""


class Unwanted(AssertionError):
    """What should never be is on record. The text has the story, the seed and how to repeat."""


class Expectation:
    """Asked for with `world.expect`; nothing is checked before `within` or `absent` is called."""

    def __init__(self, asking: Asking, pattern: Pattern) -> None:
        self.pattern = pattern
        self._asking = asking

    def within(self, seconds: float) -> Record:
        """Let time pass until the record is there, at most so many seconds; the record.

        Expectations are met in order: each looks behind the record that the one before it found.
        Raises NotMet, with the story of the watcher.
        """
        return self._asking.wait_for(self.pattern, seconds)

    def absent(self, seconds: float) -> None:
        """Let so many seconds pass, in which no such record comes. Raises Unwanted."""
        self._asking.wait_without(self.pattern, seconds)


class Asking:
    """The expectations of one world, one after the other. `tell` makes the text of a failure."""

    def __init__(self, passing: Passing, chronicle: Chronicle, tell: Tell) -> None:
        self._passing = passing
        self._chronicle = chronicle
        self._tell = tell
        self._place = 0  # in the chronicle, behind the record that was expected last
        self._open: Pattern | None = None

    def expect(self, pattern: Pattern) -> Expectation:
        """To be asked next."""
        self.check()
        self._open = pattern
        return Expectation(self, pattern)

    def check(self) -> None:
        """TypeError if the last expectation was not asked: such a test is always green."""
        pattern, self._open = self._open, None
        if pattern is not None:
            raise TypeError(
                f"cannot go on: nothing was asked about {pattern}; "
                "add .within(seconds) or .absent(seconds) to that expect(...)"
            )

    def wait_for(self, pattern: Pattern, seconds: float) -> Record:
        """See Expectation.within."""
        self._open = None
        search = Search(self._chronicle, pattern, self._place)
        self._passing.run(seconds, search.found)
        if search.record is None:
            text = f"expected within {seconds:g} s, and it did not come: {pattern}"
            raise NotMet(self._tell(text, pattern))
        self._place = search.place
        return search.record

    def wait_without(self, pattern: Pattern, seconds: float) -> None:
        """See Expectation.absent."""
        self._open = None
        search = Search(self._chronicle, pattern, len(self._chronicle.entries))
        self._passing.run(seconds, search.found)
        if search.record is not None:
            self.refuse(pattern, search.record)

    def refuse(self, pattern: Pattern, record: Record) -> NoReturn:
        """This one should not be."""
        raise Unwanted(self._tell(f"never wanted: {pattern}\n{line_of(record)}", pattern))
