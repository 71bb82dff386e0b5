"""Room: front -- `circusctl why`: the answer of bus.words.causes over a daemon's record.

Knows:     bus.words.causes (the answer), bus.subscribe (the record).
Known by:  circus.ctl_commands.
Never:     reads more than the question needs: READ gives the frame of any sequence number.
"""

from __future__ import annotations

from collections.abc import Iterator

from circus.bus.cursor_errors import Trimmed
from circus.bus.dial import doors_of
from circus.bus.follow import Batch
from circus.bus.record import Record
from circus.bus.subscribe import Subscription
from circus.bus.subscriber import Sieve, every_record, sieve_for
from circus.bus.words.causes import Unknown, why
from circus.ctl_events import reading_errors
from circus.ctl_target import CannotTell, Target, say


class NotOnRecord(CannotTell):
    """The record does not know the subject."""

    exit_code = 3


def show_why(target: Target, subject: str) -> int:
    """Print the answer and the chain of causes."""
    with reading_errors():
        try:
            answer = why(_Retained(target.place), subject)
        except Unknown as error:
            raise NotOnRecord(str(error)) from error
    say(answer.as_json() if target.json else answer.told())
    return 0


class _Retained:
    """All that a daemon still has of its record, and says."""

    def __init__(self, place: str) -> None:
        self._doors = doors_of(place)

    def containing(self, needle: bytes) -> Iterator[Record]:
        """The records of every decision that has these bytes."""

        def sieve(batch: Batch) -> list[Record]:
            return every_record(batch) if needle in batch.payload else []

        return self._all(sieve)

    def of_watcher(self, name: str) -> Iterator[Record]:
        """All that concerns this watcher."""
        return self._all(sieve_for(name))

    def at(self, seq: int) -> Record | None:
        """The record with this number."""
        try:
            with Subscription(self._doors, seq - 1, every_record, follow=False) as records:
                return next((record for record in records if record.seq == seq), None)
        except Trimmed:
            return None

    def _all(self, sieve: Sieve) -> Iterator[Record]:
        try:
            with Subscription(self._doors, 0, sieve, follow=False) as records:
                yield from records
        except Trimmed as trimmed:
            with Subscription(self._doors, trimmed.first_seq - 1, sieve, follow=False) as records:
                yield from records
