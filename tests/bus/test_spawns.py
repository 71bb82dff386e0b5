"""Room: tests -- what is still on its way of the processes, as the ledger says.

Knows:     bus.past.
Known by:  pytest.
Never:     starts a process.
"""

from __future__ import annotations

from circus.bus.codec import Stamp, stamped
from circus.bus.commands import ProcessSpawn
from circus.bus.events import ProcessExited, ProcessReaped, ProcessSpawned
from circus.bus.past import Spawns
from circus.bus.record import Body, Draft, Record
from circus.bus.values import Moment

SPAWN_ID = 7


def record(seq: int, body: Body) -> Record:
    draft = Draft(body, to="watcher:web#1", watcher="web", slot=0, spawn_id=SPAWN_ID)
    return stamped(Stamp(seq, 0, "reaper", Moment(1, 1), 1), draft)


def folded(*records: Record) -> Spawns:
    spawns = Spawns()
    for one in records:
        spawns.fold(one)
    return spawns


EXITED = ProcessExited(4711, 0, None, False, {}, 1, 1)


def test_a_life_is_on_its_way_from_its_request_to_its_reap() -> None:
    """
    A running process is settled; one that is asked for, or has ended unreaped, is not.
    """
    life = (
        record(SPAWN_ID, ProcessSpawn("digest", 0)),
        record(8, ProcessSpawned(4711, 1)),
        record(9, EXITED),
        record(10, ProcessReaped(4711)),
    )
    assert [False, True, False, True] == [folded(*life[: n + 1]).settled for n in range(4)]


def test_the_end_of_a_process_that_a_hole_has_swallowed_is_not_waited_for() -> None:
    """
    Nobody would ever say its reap, and a daemon that waited for it would never end.
    """
    assert folded(record(9, EXITED)).settled
