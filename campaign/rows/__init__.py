"""The rows that there are, in the order in which they run: RELIABILITY 6, without F3, F7, F19-F24.

Those have programs of their own: the simulator (`make sim`, `make mutants`), the tests of the
gateway, the differential test of the simulated kernel.
"""

from __future__ import annotations

from typing import Final

from campaign.rows import clients, keepers, kills, races, record, workers, worlds
from campaign.stage import Row

ALL: Final[tuple[Row, ...]] = (
    Row(
        "F1", "kill -9 of a random actor under churn of 50", "kills", 300, 10_000,
        "0 lost, duplicated or wrong exits; nobody else dies", kills.f1, 4,
    ),
    Row(
        "F2", "kill -9 of the keeper", "kills", 20, 500,
        "the core ends; every process is accounted for by the next circusd", keepers.f2,
    ),
    Row(
        "F4", "the end at each interface call of recorded scenarios (simulated)", "ends", 20_000,
        1_000_000, "every invariant; a crash changes nothing of what comes out", worlds.f4, 1.5,
    ),
    Row(
        "F5", "a ledger of 1 MiB cut at any byte, any bit flipped, segments lost", "hurts", 20_000,
        9_437_184, "an exact prefix or a report; the second reader agrees", record.f5, 1.5,
    ),
    Row(
        "F6", "a disk full at any byte of 256 KiB, EIO at the Nth write or sync", "runs", 2_000,
        262_144, "a prefix at once, everything afterwards, degraded in between", record.f6,
        root=True,
    ),
    Row(
        "F8", "1,000 stalled subscribers beside slow and healthy ones", "records", 20_000,
        1_000_000, "the healthy and the slow hear everything; the core grows by 200 MiB at most",
        clients.f8,
    ),
    Row(
        "F9", "subscribers come and go while cores are killed", "joins", 500, 5_000,
        "each folds to what the ledger says, without a gap", clients.f9,
    ),
    Row(
        "F10", "the same commands again and again while cores are killed", "requests", 100_000,
        1_000_000, "each id takes effect once and has one answer", clients.f10,
    ),
    Row(
        "F11", "wall clocks jump and drift, machines sleep (simulated)", "jumps", 1_000, 100_000,
        "no restart storm, no early KILL: every invariant of durations", worlds.f11, 0.5,
    ),
    Row(
        "F12", "a fork bomb in a cgroup of 80 processes: spawns fail", "bombs", 20, 500,
        "others are not affected, nothing leaks, afterwards all is as before", keepers.f12,
        root=True,
    ),
    Row(
        "F13", "256 descriptors, and clients that leak connections", "leaks", 10, 200,
        "another user: no effect; the same: no worker and no status is lost", clients.f13,
        root=True,
    ),
    Row(
        "F14", "pids that come again: 400 of them, short lives only", "lives", 20_000, 1_000_000,
        "no signal, exit or status goes to another process", workers.f14, root=True,
    ),
    Row(
        "F15", "a zoo: ignores TERM, stops itself, double-forks, is traced, floods …", "visits",
        5, 500, "stopped in time, nothing left, the quick ones exact", workers.f15, 2,
    ),
    Row(
        "F16", "STOP to core and keeper (up to 1 s; at night up to 2 min)", "stops", 100, 1_000,
        "slow is not dead; what hangs is replaced once; nothing is lost", keepers.f16,
    ),
    Row(
        "F17", "several circusd on one state directory", "races", 100, 1_000,
        "one runs, the others end with 73 and touch nothing", races.f17, 1.5,
    ),
    Row(
        "F18", "reloads: good, wrong, several at once", "reloads", 1_000, 10_000,
        "no mixture of two files; what is unchanged runs on; a wrong file changes nothing",
        races.f18,
    ),
)  # fmt: skip


def find(name: str) -> Row | None:
    """By its id."""
    return next((row for row in ALL if row.id == name.upper()), None)
