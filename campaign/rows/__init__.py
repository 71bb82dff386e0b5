"""The rows that there are, in the order in which they run: RELIABILITY 6, without F3, F7, F19-F24.

Those have programs of their own: the simulator (`make sim`, `make mutants`), the tests of the
gateway, the differential test of the simulated kernel.
"""

from __future__ import annotations

from typing import Final

from campaign.rows import clients, keepers, kills, races, record, workers, worlds
from campaign.stage import Row

# id, fault, unit, in CI, in a night, in one part of it, who does it, share of the time.
ALL: Final[tuple[Row, ...]] = (
    Row(
        "F1", "kill -9 of a random actor under churn of 50", "kills", 300, 10_000, 250, kills.f1,
        12,
    ),
    Row("F2", "kill -9 of the keeper", "kills", 20, 500, 20, keepers.f2, 3),
    Row(
        "F4", "the end at each interface call of recorded scenarios (simulated)", "ends", 100,
        1_000_000, 2_000, worlds.f4,
    ),
    Row(
        "F5", "a ledger of 1 MiB cut at any byte, any bit flipped, segments lost", "hurts", 1_000,
        17_800_000, 20_000, record.f5,
    ),
    Row(
        "F6", "a disk full at any byte of 256 KiB, EIO at the Nth write or sync", "runs", 60,
        266_144, 1_000, record.f6,
    ),
    Row(
        "F8", "1,000 stalled subscribers beside slow and healthy ones", "records", 20_000,
        1_000_000, 100_000, clients.f8, 2,
    ),
    Row(
        "F9", "subscribers come and go while cores are killed", "kills", 50, 500, 50, clients.f9,
        3,
    ),
    Row(
        "F10", "the same commands again and again while cores are killed", "requests", 2_000,
        100_000, 10_000, clients.f10,
    ),
    Row(
        "F11", "wall clocks jump by up to 10 years and drift, machines sleep (simulated)", "jumps",
        50, 10_000, 200, worlds.f11,
    ),
    Row(
        "F12", "a fork bomb in a cgroup of 80 processes: spawns fail", "bombs", 5, 500, 20,
        keepers.f12,
    ),
    Row(
        "F12S", "EAGAIN, ENOMEM, EMFILE at the Nth spawn, N up to 500 (simulated)", "spawns", 20,
        1_500, 100, worlds.f12s,
    ),
    Row(
        "F13", "256 descriptors, and clients that leak connections", "leaks", 4, 200, 20,
        clients.f13,
    ),
    Row(
        "F14", "pids that come again: 400 of them, short lives only", "lives", 2_000, 1_000_000,
        50_000, workers.f14,
    ),
    Row(
        "F15", "a zoo: ignores TERM, stops itself, double-forks, is traced, floods …", "visits",
        1, 100, 5, workers.f15, 1.5,
    ),
    Row(
        "F16", "STOP to core, keeper, subscriber: shortly, and until the watchdog bites", "stops",
        12, 1_000, 50, keepers.f16,
    ),
    Row("F17", "several circusd on one state directory", "races", 6, 1_000, 50, races.f17),
    Row("F18", "reloads: good, wrong, several at once", "reloads", 30, 10_000, 200, races.f18),
)  # fmt: skip


def find(name: str) -> Row | None:
    """By its id."""
    return next((row for row in ALL if row.id == name.upper()), None)
