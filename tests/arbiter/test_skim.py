"""Room: tests -- the quick fold of a past against the plain one: the same bytes, whatever was said.

Knows:     arbiter.memory (both), the vocabulary.
Known by:  pytest.
Never:     asks whether a story makes sense: nonsense must be the same nonsense to both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.arbiter.memory import Frame, Memory
from circus.arbiter.memory_codec import encode
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.codec import Stamp, encode_records, pack, records_of, stamped
from circus.bus.past import Unfoldable
from circus.bus.record import Body, Draft, Record
from circus.bus.segments import CHAIN_START, encode_frame, parse_frames
from circus.bus.skim import Sketch
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, CLIENT, CLOCK, CORE, REAPER, Moment

SPEC: Final = to_data(WatcherSpec(name="Web", cmd="sleep 1", numprocesses=2))
WEB: Final = "watcher:Web#2"
DB: Final = "watcher:db#3"
RUSAGE: Final = {"utime": 1, "stime": 2}

# What may be said: by whom, to whom, and how it is made of two small numbers.
Told = tuple[str, str | None, Callable[[int, int], Body]]
TOLD: Final[tuple[Told, ...]] = (
    (WEB, REAPER, lambda n, _m: c.ProcessSpawn("d", n + 1)),
    (WEB, REAPER, lambda _n, _m: c.ProcessSignal(15)),
    (WEB, CLOCK, lambda n, _m: c.TimerArm("retry", n, "process")),
    (WEB, CLOCK, lambda n, m: c.TimerArm(f"grace{m}", n)),
    (WEB, CLOCK, lambda _n, _m: c.TimerDisarm("retry")),
    (WEB, None, lambda n, _m: e.SlotFilled(n)),
    (WEB, None, lambda n, _m: e.SlotVacated(short=n % 2 == 0)),
    (WEB, None, e.SlotWaiting),
    (WEB, None, lambda _n, _m: e.SlotStopping("stop")),
    (WEB, None, lambda _n, _m: e.WatcherStarting()),
    (WEB, None, lambda _n, _m: e.WatcherStarted()),
    (WEB, None, lambda n, _m: e.WatcherUpdated({"numprocesses": n}, "d2")),
    (WEB, CLIENT, lambda n, _m: e.CommandAccepted(n)),
    (WEB, CLIENT, lambda n, _m: e.CommandFinished(n)),
    (WEB, WEB, lambda _n, _m: c.WatcherStop()),
    (WEB, WEB, lambda _n, _m: c.Continue()),
    (DB, None, lambda n, _m: e.WatcherResized(n)),
    (DB, REAPER, lambda _n, _m: c.ProcessSpawn("e")),
    (REAPER, WEB, e.ProcessSpawned),
    (REAPER, WEB, lambda n, _m: e.ProcessSpawnFailed("exec", n, "cannot")),
    (REAPER, DB, lambda _n, _m: e.ProcessNeverRun("why")),
    (REAPER, WEB, lambda n, m: e.ProcessExited(n, m, None, False, RUSAGE, 1, 2)),
    (REAPER, WEB, lambda n, _m: e.ProcessReaped(n)),
    (REAPER, DB, lambda n, _m: e.ProcessLost(n, "gone")),
    (REAPER, WEB, lambda n, m: e.ProcessSignalled(n, 15, (m,))),
    (CLOCK, WEB, lambda n, _m: e.TimerWoke("retry", n)),
    (CLIENT, WEB, lambda n, _m: c.WatcherIncr(n)),
    (CLIENT, ARBITER, lambda _n, _m: c.ArbiterStop(("web",))),
    (ARBITER, ARBITER, lambda _n, _m: c.ArbiterStop(("web",))),
    (ARBITER, WEB, lambda _n, _m: c.WatcherStop()),
    (ARBITER, None, lambda n, _m: e.ArbiterConfigured(digest=str(n))),
    (ARBITER, None, lambda _n, _m: e.ArbiterStopping("asked")),
    (ARBITER, None, lambda _n, _m: e.ArbiterStopped()),
    (ARBITER, None, lambda n, _m: e.WatcherAdded({**SPEC, "name": f"more{n}"}, "d")),
    (ARBITER, None, lambda n, _m: e.WatcherRemoved((WEB, DB)[n % 2])),
    (CORE, None, lambda _n, _m: e.SignalReceived(15)),
    (CORE, None, lambda _n, _m: e.CoreStopped("asked to")),
    (CORE, None, lambda n, m: e.CoreStarted("1", n, 1, f"boot{m % 2}", "h", "k", 0, "3", n)),
    (CORE, None, lambda n, _m: e.InputSetAside(n)),
)  # fmt: skip


class Written:
    """Frames as a ledger has them."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.seq = 1
        self._chain = CHAIN_START
        for actor, body in (
            (CORE, e.CoreStarted("1", 1, 1, "boot0", "h", "k", 0, "3", 7)),
            (ARBITER, e.WatcherAdded(SPEC, "d")),
            (ARBITER, e.WatcherAdded({**SPEC, "name": "db"}, "e")),
        ):
            self.say(actor, 0, [Draft(body)])

    def say(self, actor: str, cause: int, drafts: list[Draft]) -> None:
        """One decision."""
        stamp = Stamp(self.seq, cause, actor, Moment(1000 + self.seq, 10 * self.seq), 1)
        records: list[Record] = []
        for draft in drafts:
            records.append(stamped(stamp, draft))
            stamp.seq += 1
        self.put(encode_records(records), len(records))

    def put(self, payload: bytes, count: int) -> None:
        raw, chain = encode_frame(count, payload, seq=self.seq, chain=self._chain)
        self.frames += parse_frames(raw, previous_chain=self._chain, expected_seq=self.seq)
        self.seq, self._chain = self.seq + count, chain


def plainly(memory: Memory, frame: Frame) -> None:
    memory.take(frame, records_of(frame.payload))


def outcome(written: Written, believe: Callable[[Memory, Frame], None]) -> object:
    """What is known in the end, or the record that nobody could believe."""
    memory = Memory()
    try:
        for frame in written.frames:
            believe(memory, frame)
    except Unfoldable as error:
        return str(error)
    return encode(memory)


SMALL: Final = st.integers(0, 12)


@given(st.lists(st.tuples(st.sampled_from(TOLD), SMALL, SMALL, st.integers(1, 3)), max_size=40))
def test_the_quick_fold_finds_what_the_plain_one_finds(
    story: list[tuple[Told, int, int, int]],
) -> None:
    """
    I-FOLD: whatever was said by whom, in frames of any length, sense or nonsense.
    """
    written = Written()
    for (actor, to, make), n, m, count in story:
        spawn_id = None if n > 10 else n
        peer: dict[str, Any] | None = {"uid": m} if actor == CLIENT else None
        identity = bytes([n] * 16) if actor == CLIENT else None
        drafts = [
            Draft(make(n, m + more), to, "Web", m % 3, spawn_id, id=identity, peer=peer)
            for more in range(count)
        ]
        written.say(actor, max(0, written.seq - 1 - m), drafts)
    assert outcome(written, plainly) == outcome(written, Memory.believe)


def test_what_the_quick_fold_keeps_are_records() -> None:
    """
    A sketch lives as long as its frame: whoever asks for the past gets records, equal to those
    that were written.
    """
    written = Written()
    written.say(WEB, 0, [Draft(c.ProcessSpawn("d"), REAPER, "Web", 1)])
    written.say(REAPER, 0, [Draft(e.ProcessSpawned(7, 8), WEB, "Web", 1, 4)])
    memory = Memory()
    for frame in written.frames:
        memory.believe(frame)
    last = records_of(written.frames[-1].payload)[-1]
    past = memory.past
    assert last == past.last == past.spawns.alive[4] == past.unanswered[WEB][-1]
    assert not isinstance(past.last, Sketch)


def test_what_a_newer_version_said_is_passed_on_and_kept() -> None:
    """
    An unknown name means nothing to this version, but its addressee's inbox holds it.
    """
    written = Written()
    whole = {
        "seq": 4, "cause": 0, "kind": "event", "name": "moon.risen", "v": 3, "actor": CORE,
        "to": WEB, "at": 1, "boot": 2, "incarnation": 1, "data": {"phase": 7},
    }  # fmt: skip
    written.put(pack([whole]), 1)
    assert outcome(written, plainly) == outcome(written, Memory.believe)


def test_who_cannot_believe_a_record_names_it() -> None:
    """
    It is the operator who reads it: which record, and what to do.
    """
    written = Written()
    written.say(WEB, 0, [Draft(e.WatcherStarting()), Draft(e.SlotStopping("stop"), slot=1)])
    written.say(WEB, 0, [Draft(c.ProcessSpawn("d"), REAPER, "Web", 1)])
    written.say(WEB, 0, [Draft(e.SlotStopping("stop"), None, "Web", 1, 6)])
    memory = Memory()
    for frame in written.frames[:-1]:
        memory.believe(frame)
    with pytest.raises(Unfoldable, match=r"cannot believe record 7 \(slot.stopping\) of watcher"):
        memory.believe(written.frames[-1])
