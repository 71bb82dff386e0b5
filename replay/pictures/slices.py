"""Room: replay -- a range of time cut into equal slices, without knowing how long it will be.

Knows:     nothing.
Known by:  replay.pictures.stats.
Never:     grows: when the range does, two slices become one.
"""

from __future__ import annotations

from typing import Final

SLICES: Final = 128
WIDTH_NS: Final = 1_000_000


class Slices:
    """Sums over time; `sums[name][n]` is that of the slice that begins at `begin + n * width`."""

    def __init__(self, begin: int, *names: str) -> None:
        self.begin = begin
        self.width = WIDTH_NS
        self.sums = {name: [0] * SLICES for name in names}

    def add(self, name: str, at: int, amount: int = 1) -> None:
        """Something happened at one moment."""
        self.reach(at)
        self.sums[name][(at - self.begin) // self.width] += amount

    def spread(self, name: str, since: int, until: int, height: int) -> None:
        """Something was so high for so long."""
        if until <= since or not height:
            return
        self.reach(until)
        column = self.sums[name]
        for number in range((since - self.begin) // self.width, SLICES):
            start = self.begin + number * self.width
            if start >= until:
                return
            column[number] += height * (min(until, start + self.width) - max(since, start))

    def upto(self, until: int, name: str) -> list[int]:
        """The slices that begin before then."""
        count = max(0, until - self.begin - 1) // self.width + 1
        return self.sums[name][: min(SLICES, count)]

    def reach(self, at: int) -> None:
        """Make room up to there."""
        while at - self.begin >= self.width * SLICES:
            self.width *= 2
            for name, column in self.sums.items():
                pairs = zip(column[::2], column[1::2], strict=True)
                self.sums[name] = [*map(sum, pairs), *[0] * (SLICES // 2)]


__all__ = ["SLICES", "Slices"]
