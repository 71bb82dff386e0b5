"""The benchmarks, in the order of the report."""

from __future__ import annotations

from typing import Final

from bench.items import (
    anatomy,
    churn,
    cold_start,
    ctl_status,
    idle,
    imports,
    ledger,
    mass_death,
    memory,
    prices,
    reaction,
    recovery,
    round_trip,
    stop,
    stream,
    switchboard,
)
from bench.stage import Item

ALL: Final[tuple[Item, ...]] = (
    *cold_start.ITEMS, *imports.ITEMS, *reaction.ITEMS, *anatomy.ITEMS,
    *mass_death.ITEMS, *churn.ITEMS, *idle.ITEMS, *stop.ITEMS, *round_trip.ITEMS,
    *ctl_status.ITEMS, *switchboard.ITEMS, *stream.ITEMS, *ledger.ITEMS,
    *recovery.ITEMS, *memory.ITEMS, *prices.ITEMS,
)  # fmt: skip
