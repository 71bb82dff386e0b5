"""Room: replay -- how far it is: one line on a terminal, for what takes longer than a second.

Knows:     bus.clock.
Known by:  the verbs of circus-replay.
Never:     writes to anything but a terminal, or into the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final, Protocol, TextIO, TypeVar

from circus.bus.clock import Clock, SystemClock
from circus.bus.values import NS_PER_SECOND

T = TypeVar("T")

PATIENCE_NS: Final = NS_PER_SECOND
EVERY_NS: Final = NS_PER_SECOND // 10
LOOK_EVERY: Final = 256  # frames, between two looks at the clock
WIDTH: Final = 30
CLEAR: Final = "\r\x1b[K"


class Measured(Protocol):
    """What is read, in bytes."""

    done: int

    @property
    def size(self) -> int: ...


class Progress:
    """A bar on `stream`, if that is a terminal; it appears after a second, and goes at the end."""

    def __init__(
        self, what: str, *, stream: TextIO | None = None, clock: Clock | None = None
    ) -> None:
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._clock: Clock = SystemClock() if clock is None else clock
        self._shown = False
        self._next = self._now() + PATIENCE_NS
        self.wanted = self._stream.isatty()

    def over(self, items: Iterable[T], measured: Measured) -> Iterator[T]:
        """The items, with a bar for how much of what they come from is read."""
        if not self.wanted:
            yield from items
            return
        size = measured.size
        try:
            for count, item in enumerate(items):
                if count % LOOK_EVERY == 0:
                    self.at(measured.done, size)
                yield item
        finally:
            self.end()

    def at(self, done: int, size: int) -> None:
        """So much of it is done."""
        if not self.wanted or self._now() < self._next:
            return
        share = min(1.0, done / size) if size else 1.0
        bar = "#" * round(share * WIDTH)
        self._stream.write(f"{CLEAR}{self._what} [{bar:<{WIDTH}}] {share:4.0%}")
        self._stream.flush()
        self._shown = True
        self._next = self._now() + EVERY_NS

    def end(self) -> None:
        """Nothing of it stays."""
        if self._shown:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._shown = False

    def _now(self) -> int:
        return self._clock.now().boot


__all__ = ["Progress"]
