"""Room: process -- the mark of a worker: one variable that says whose process it is, and which.

Knows:     nothing: the keeper loads it before its core.
Known by:  process.held (gives it), process.spawn (keeps another's out), process.unheard (looks).
Never:     reads an environment.

A keeper that is killed between a spawn and its report takes the only word of it along. The program
runs all the same, and says in its environment which request it is the answer to. Until a child has
executed its program it holds the keeper's lock and link: whoever finds these free sees every mark.
"""

from __future__ import annotations

from typing import Final

VARIABLE: Final = "CIRCUS_SPAWN"
_PREFIX: Final = f"{VARIABLE}=".encode()


def mark(log: str, spawn_id: int) -> bytes:
    """The variable and its value: the ledger that asked for it, and the number of the request."""
    return b"%s%s:%d" % (_PREFIX, log.encode("ascii"), spawn_id)
