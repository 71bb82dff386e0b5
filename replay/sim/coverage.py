"""Room: replay -- what a run has had of everything: faults injected, moves of the life tables.

Knows:     nothing.
Known by:  replay.sim.agenda (carries it), who injects a fault, replay.checks.edges, replay.soak.
Never:     influences a run.
"""

from __future__ import annotations

from collections import Counter


class Coverage:
    """Counters by name. What a world can have and has not had yet stands there with 0."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.edges: Counter[str] = Counter()

    def expect(self, *faults: str) -> None:
        """These kinds of faults exist: a run without them is a run that has missed something."""
        for fault in faults:
            self.faults.setdefault(fault, 0)

    def add(self, other: Coverage) -> None:
        """Take in what another world has had."""
        for mine, others in ((self.faults, other.faults), (self.edges, other.edges)):
            for name, count in others.items():
                mine[name] += count
