"""Room: bus -- the small words that every room shares: addresses, times, cursors.

Knows:     nothing.
Known by:  every other module.
Never:     reads a clock, opens a file, imports a library.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

Nanoseconds: TypeAlias = int
Address: TypeAlias = str
Json: TypeAlias = (
    "None | bool | int | float | str | bytes | tuple[Json, ...] | list[Json] | dict[str, Json]"
)

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

ARBITER: Final[Address] = "arbiter"
REAPER: Final[Address] = "reaper"
CLOCK: Final[Address] = "clock"
CORE: Final[Address] = "core"
CLIENT: Final[Address] = "client"

# A decision with more effects than this goes on after a self-addressed `actor.continue`, so
# that one watcher of thousands cannot hold the sequencer (DESIGN.md, section 3).
EFFECTS_PER_DECISION_MAX: Final = 256
WATCHER_NAME_CHARACTERS_MAX: Final = 128


class Cursor(NamedTuple):
    """A place in one ledger: resume after `seq`, if `log_id` and `chain8` still agree."""

    log_id: bytes  # 16 bytes
    seq: int
    chain8: bytes  # first 8 bytes of the chain digest at the end of the frame that holds seq


class Moment(NamedTuple):
    """One instant on the two clocks that a record carries, in nanoseconds."""

    wall: int
    boot: int


def watcher_address(name: str, added: int) -> Address:
    """The address of the watcher that the record `added` created; never given twice."""
    return f"watcher:{name}#{added}"


def watcher_of(address: Address) -> str:
    """The watcher's name in its address; "" for every other actor."""
    kind, _, rest = address.partition(":")
    return rest.rpartition("#")[0] if kind == "watcher" else ""


def seconds_to_ns(seconds: float) -> Nanoseconds:
    """Round to whole nanoseconds, as every duration in a record is."""
    return round(seconds * NS_PER_SECOND)


def ns_to_seconds(nanoseconds: Nanoseconds) -> float:
    """For people and for Circus's replies, which speak in seconds."""
    return nanoseconds / NS_PER_SECOND
