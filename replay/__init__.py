"""Room: replay -- questions to a ledger as functions, and the simulated world; names for programs.

Knows:     nothing until a name is asked for (PEP 562).
Known by:  users' programs; the project's own code imports the modules by name.
Never:     imports anything at import time; offers a name that is also a module's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circus.replay.ask.check import Checked, Mismatch, check_ledger
    from circus.replay.ask.expression import BadExpression, Expression
    from circus.replay.ask.index import CannotQuery, index, query
    from circus.replay.ask.show import Wanted, follow, show
    from circus.replay.ask.state import Change, described, differences, state_at
    from circus.replay.ask.step import Session
    from circus.replay.ask.why import why
    from circus.replay.history import CannotFold, History
    from circus.replay.moments import BadPoint, Point, point_of, seq_at, wall_of
    from circus.replay.opening import CannotOpen, Opened, Trouble, open_ledger
    from circus.replay.pictures.perfetto import trace
    from circus.replay.pictures.stats import Spread, Stats, WatcherStats, stats
    from circus.replay.pictures.timeline import Drawing, draw

__all__ = [
    "BadExpression", "BadPoint", "CannotFold", "CannotOpen", "CannotQuery", "Change",
    "Checked", "Drawing", "Expression", "History", "Mismatch", "Opened", "Point", "Session",
    "Spread", "Stats", "Trouble", "Wanted", "WatcherStats", "check_ledger", "described",
    "differences", "draw", "follow", "index", "open_ledger", "point_of", "query", "seq_at",
    "show", "state_at", "stats", "trace", "wall_of", "why",
]  # fmt: skip

_HOMES = {
    "ask.check": ("Checked", "Mismatch", "check_ledger"),
    "ask.index": ("CannotQuery", "index", "query"),
    "ask.show": ("Wanted", "follow", "show"),
    "ask.state": ("Change", "described", "differences", "state_at"),
    "ask.step": ("Session",),
    "ask.expression": ("BadExpression", "Expression"),
    "ask.why": ("why",),
    "history": ("CannotFold", "History"),
    "moments": ("BadPoint", "Point", "point_of", "seq_at", "wall_of"),
    "opening": ("CannotOpen", "Opened", "Trouble", "open_ledger"),
    "pictures.perfetto": ("trace",),
    "pictures.stats": ("Spread", "Stats", "WatcherStats", "stats"),
    "pictures.timeline": ("Drawing", "draw"),
}


def __getattr__(name: str) -> object:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'circus.replay' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"circus.replay.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
