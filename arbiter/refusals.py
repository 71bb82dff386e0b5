"""Room: arbiter -- what cannot be done, why, and what the operator may do instead.

Knows:     bus.commands, bus.events, arbiter.state.
Known by:  arbiter.core.
Never:     changes a state. The numbers are Circus's (CIRCUS.md, 3.3).
"""

from __future__ import annotations

from typing import Final

from circus.arbiter.state import Phase, State
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.record import Body, Record

NOT_FOUND_ERRNO: Final = 3
COMMAND_ERRNO: Final = 5


def refusal_of(state: State, record: Record) -> e.CommandRefused | None:
    """The refusal of this command, or None."""
    verb = record.name.partition(".")[2]
    if record.deadline is not None and record.deadline < record.boot:
        text = f"cannot {verb}: its deadline has passed; send it again"
        return e.CommandRefused(record.seq, text, COMMAND_ERRNO)
    if state.phase is Phase.STOPPING and not isinstance(record.body, c.ArbiterQuit):
        text = f"cannot {verb}: circusd is stopping; start it again first"
        return e.CommandRefused(record.seq, text, COMMAND_ERRNO)
    body = record.body
    if isinstance(body, c.ArbiterAdd):
        name = str(body.spec.get("name", ""))
        if name.lower() in state.entries:
            text = f"cannot add {name}: program {name} already exist; remove it first"
            return e.CommandRefused(record.seq, text, COMMAND_ERRNO)
    for name in _names_of(body):
        entry = state.entries.get(name.lower())
        if entry is None or entry.leaving:
            text = f"cannot {verb} {name}: program {name} not found; `list` shows the names"
            return e.CommandRefused(record.seq, text, NOT_FOUND_ERRNO)
    return None


def _names_of(body: Body) -> tuple[str, ...]:
    if isinstance(body, c.ArbiterRemove):
        return (body.name,)
    names: tuple[str, ...] | None = getattr(body, "names", None)
    return names or ()
