"""Room: replay -- the three laws of the record (STYLE P20), asked of a world that has come to rest.

Knows:     replay.check, replay.world, bus.codec.
Known by:  replay.drive, tests.
Never:     repairs what it finds.
"""

from __future__ import annotations

from circus.bus.codec import from_ledger, record_of
from circus.replay.check import check, encoded, folded
from circus.replay.checkers import Violation
from circus.replay.world import World


def uphold(world: World) -> None:
    """Raise a Violation with the way to repeat it where a law is broken."""
    _the_ledger_is_the_state(world)
    _the_code_decides_the_same(world)
    _the_wire_is_understood(world)


def _the_ledger_is_the_state(world: World) -> None:
    if world.core is None:
        return
    states = folded(world.records())
    for address, actor in world.core.runtime.host.actors.items():
        # A decision under way is in the ledger a moment before its actor believes it.
        if actor.pending is None and states[address] != actor.state:
            _break(world, "I-FOLD", f"{address}: live {actor.state!r}, folded {states[address]!r}")


def _the_code_decides_the_same(world: World) -> None:
    divergence = check(world.records())
    if divergence is not None:
        _break(world, "I-DET", str(divergence))


def _the_wire_is_understood(world: World) -> None:
    for record in world.records():
        again = record_of(from_ledger(encoded(record)))
        if again != record:
            _break(world, "I-WIRE", f"written {record!r}, read {again!r}")
    for record in world.truth.records:
        if encoded(record_of(from_ledger(encoded(record)))) != encoded(record):
            _break(world, "I-WIRE", f"{record!r} is written otherwise when it was read")


def _break(world: World, law: str, text: str) -> None:
    raise Violation(f"{law}: {text}\nseed {world.truth.seed}\n{world.truth.repeat}")
