"""Room: tests -- one watcher in memory: stamps, folds, a keeper that obeys, laws checked each step.

Knows:     bus.codec, bus.record, watcher.core.
Known by:  tests/watcher, tests/stories.
Never:     sleeps, forks, reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, stamped
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import EFFECTS_PER_DECISION_MAX, Moment
from circus.watcher import core, lives
from circus.watcher.plan import Plan
from circus.watcher.state import SLOT_LIFE, WATCHER_LIFE, Phase, SlotPhase

CHANCE = Chance(7)
WATCHER_MOVES = {kind for moves in WATCHER_LIFE.values() for kind in moves}
SLOT_MOVES = {kind for moves in SLOT_LIFE.values() for kind in moves}


class Driver:
    """A switchboard, a clock and a keeper for one watcher; `said` are its own records."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_000_000_000_000
        self.seq = 0
        self.said: list[Record] = []
        self.history: list[tuple[Record, tuple[Draft, ...], list[Record]]] = []
        self.inbox: deque[Record] = deque()
        self.live: dict[int, int] = {}  # pid by spawn_id
        self.asked: deque[int] = deque()  # spawns that the keeper has not carried out
        self.timers: dict[str, tuple[int, int]] = {}
        self.accepted: list[int] = []
        self.finished: dict[int, e.CommandFinished] = {}
        self.peak = 0
        spec = WatcherSpec(name="web", cmd="sleep 9", **options)
        self.birth = self.stamp(
            Draft(e.WatcherAdded(to_data(spec), spec_digest(spec)), watcher="web"), "arbiter", 0
        )
        self.state = core.born(self.birth)

    def stamp(self, draft: Draft, actor: str, cause: int) -> Record:
        self.seq += 1
        return stamped(Stamp(self.seq, cause, actor, Moment(self.now, self.now), 1), draft)

    def tell(self, body: Body, *, spawn_id: int | None = None, deadline: int | None = None) -> int:
        """One input from outside, and all decisions that follow of it."""
        draft = Draft(body, self.state.address, "web", None, spawn_id, deadline=deadline, id="x")
        record = self.stamp(draft, "client", 0)
        self.inbox.append(record)
        self.settle()
        return record.seq

    def settle(self) -> None:
        while self.inbox:
            self.decide(self.inbox.popleft())

    def decide(self, record: Record) -> None:
        drafts = core.decide(self.state, record, CHANCE)
        self.check_peace(record, drafts)
        said = [self.stamp(draft, self.state.address, record.seq) for draft in drafts]
        effects = sum(draft.to in {"reaper", "clock"} for draft in drafts)
        assert effects <= EFFECTS_PER_DECISION_MAX, effects
        self.history.append((record, drafts, said))
        for own in said:
            self.said.append(own)
            self.check_lives(own)
            self.state = core.evolve(self.state, own)
        for own in said:
            self.act(own)

    def act(self, record: Record) -> None:
        body = record.body
        if isinstance(body, c.ProcessSpawn):
            self.asked.append(record.seq)
        elif isinstance(body, c.TimerArm):
            self.timers[body.timer] = (record.boot + body.duration, record.seq)
        elif isinstance(body, c.TimerDisarm):
            self.timers.pop(body.timer, None)
        elif isinstance(body, e.CommandAccepted):
            self.accepted.append(body.command)
        elif isinstance(body, e.CommandFinished):
            assert body.command in self.accepted
            assert body.command not in self.finished
            self.finished[body.command] = body
        elif record.to == self.state.address:
            self.inbox.append(record)

    def check_peace(self, record: Record, drafts: tuple[Draft, ...]) -> None:
        """The short road of the commonest news says what the long one says."""
        body = record.body
        wid = self.state.spawns.get(record.spawn_id or 0)
        if wid is None or self.state.phase is Phase.REMOVED:
            return
        plan, slot = Plan(self.state, record, CHANCE), self.state.slots[wid]
        if isinstance(body, e.ProcessSpawned):
            lives.came(plan, wid, slot, body)
        elif isinstance(body, e.ProcessExited):
            lives.went(plan, wid, slot, body)
        else:
            return
        assert tuple(plan.drafts) == drafts

    def check_lives(self, own: Record) -> None:
        """What a watcher says has a move in the tables of its life and of its slot's."""
        kind, slot = type(own.body), self.state.slots.get(own.slot or 0)
        if kind in WATCHER_MOVES:
            assert kind in WATCHER_LIFE[self.state.phase], (own, self.state.phase)
        if kind in SLOT_MOVES:
            phase = SlotPhase.VACANT if slot is None else slot.phase
            assert kind in SLOT_LIFE[phase], (own, slot)

    # --- the keeper ---------------------------------------------------------------------------

    def spawned(self) -> None:
        """The oldest spawn under way succeeds."""
        spawn_id = self.asked.popleft()
        self.live[spawn_id] = 10_000 + spawn_id
        self.peak = max(self.peak, len(self.live))
        self.tell(e.ProcessSpawned(self.live[spawn_id], self.now), spawn_id=spawn_id)

    def spawn_failed(self) -> None:
        body = e.ProcessSpawnFailed("exec", 2, "no such program sleep")
        self.tell(body, spawn_id=self.asked.popleft())

    def exit(self, spawn_id: int, *, after: int = 0) -> None:
        self.now += after
        pid = self.live.pop(spawn_id)
        body = e.ProcessExited(pid, 0, None, False, {}, self.now, self.now)
        self.tell(body, spawn_id=spawn_id)

    def wake(self) -> None:
        """The next timer is due."""
        timer, (due, armed) = min(self.timers.items(), key=lambda item: item[1])
        del self.timers[timer]
        self.now = max(self.now, due)
        self.tell(e.TimerWoke(timer, armed))

    def reply(self, command: int) -> Mapping[str, Any]:
        """What a finished command was answered with."""
        reply = self.finished[command].reply
        assert reply is not None
        return reply

    def run(self) -> None:
        """Spawns succeed until there are none."""
        while self.asked:
            self.spawned()

    def signals(self, signum: int) -> list[int]:
        """Whom the watcher has sent this signal, in order."""
        return [
            r.spawn_id or 0 for r in self.said
            if isinstance(r.body, c.ProcessSignal) and r.body.signum == signum
        ]  # fmt: skip

    def obey(self) -> None:
        """Everybody who has been signalled to end ends; nothing else happens."""
        while self.state.stopping:
            for slot in list(self.state.slots.values()):
                if slot.phase.value == "stopping" and slot.spawn_id in self.live:
                    self.exit(slot.spawn_id)
            self.run()

    def rest(self) -> None:
        """Spawns succeed, the signalled end, until nothing more is to come but timers."""
        while self.asked or self.state.stopping:
            self.run()
            self.obey()

    def names(self) -> list[str]:
        return [record.name for record in self.said]

    def check_fold(self) -> None:
        """Laws 1 and 2: the ledger is the state, and the same inputs are decided the same."""
        state = core.born(self.birth)
        for record, drafts, said in self.history:
            assert core.decide(state, record, CHANCE) == drafts
            for own in said:
                state = core.evolve(state, own)
        assert state == self.state


def started(**options: Any) -> Driver:
    """A watcher that is active with all its processes."""
    driver = Driver(**options)
    driver.tell(c.WatcherStart())
    driver.run()
    assert "active" == driver.state.status
    return driver


def oldest(driver: Driver) -> int:
    """The spawn_id of its oldest living process."""
    return next(iter(driver.live))
