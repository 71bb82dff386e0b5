"""Room: replay -- a mutant: one small crime against production code, and who must notice it.

Knows:     nothing: a mutant is a name, a sentence and a replaced text.
Known by:  the lists of mutants, replay.mutants.disguise (commits the crime), docs/simulation.md.
Never:     imports production code: it has to be changed before it is imported.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`old` stands exactly once in the source of `module`, and is replaced by `new`."""

    name: str
    module: str
    breaks: str
    old: str
    new: str
    killers: tuple[str, ...]  # ids of the invariants of which one has to fail

    def applied(self, source: str) -> str:
        """The source with the crime in it. A mutant that has lost its place must be looked at."""
        found = source.count(self.old)
        assert found == 1, f"{self.name}: {self.module} has {found} times, not once: {self.old!r}"
        return source.replace(self.old, self.new)


class Killed(NamedTuple):
    """The end of a mutant: the invariant that noticed it, where, after how many decisions."""

    name: str
    invariant: str
    seed: int
    steps: int
    text: str  # the violation as it was printed
