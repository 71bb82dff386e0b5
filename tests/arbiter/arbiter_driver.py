"""Room: tests -- one arbiter in memory, and watchers that answer when the test says.

Knows:     arbiter.core, bus.codec, bus.commands, bus.events.
Known by:  tests/arbiter.
Never:     sleeps, forks, reads a clock.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from circus.arbiter import core
from circus.bus import commands as c
from circus.bus import events as e
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import Moment

CHANCE = Chance(7)


class Daemon:
    """A switchboard for one arbiter; `asked`: the commands that watchers have to answer."""

    def __init__(self) -> None:
        self.now = 10**12
        self.seq = 0
        self.state = core.initial()
        self.said: list[Record] = []
        self.history: list[tuple[Record, tuple[Draft, ...], list[Record]]] = []
        self.inbox: deque[Record] = deque()
        self.asked: deque[Record] = deque()
        self.timers: dict[str, tuple[int, int]] = {}
        self.finished: dict[int, e.CommandFinished] = {}

    def stamp(self, draft: Draft, actor: str, cause: int) -> Record:
        self.seq += 1
        return stamped(Stamp(self.seq, cause, actor, Moment(self.now, self.now), 1), draft)

    def tell(self, body: Body, actor: str = "client", id: Any = "x") -> int:
        record = self.stamp(Draft(body, "arbiter", id=id), actor, 0)
        self.inbox.append(record)
        while self.inbox:
            self.decide(self.inbox.popleft())
        return record.seq

    def decide(self, record: Record) -> None:
        drafts = core.decide(self.state, record, CHANCE)
        said = [self.stamp(draft, "arbiter", record.seq) for draft in drafts]
        self.history.append((record, drafts, said))
        for own in said:
            self.said.append(own)
            self.state = core.evolve(self.state, own)
            if (own.to or "").startswith("watcher:"):
                self.asked.append(own)
            elif own.to == "arbiter":
                self.inbox.append(own)
            elif isinstance(own.body, c.TimerArm):
                self.timers[own.body.timer] = (own.boot + own.body.duration, own.seq)
            elif isinstance(own.body, e.CommandFinished):
                assert own.body.command not in self.finished
                self.finished[own.body.command] = own.body

    def answer(self, reply: Any = None) -> None:
        child = self.asked.popleft()
        body = e.CommandFinished(child.seq, "done", reply)
        self.tell(body, actor=child.to or "", id=child.id)

    def answer_all(self) -> None:
        while self.asked:
            self.answer()

    def wake(self) -> None:
        timer, (due, armed) = self.timers.popitem()
        self.now = due
        self.tell(e.TimerWoke(timer, armed), actor="clock", id=None)

    def names(self) -> list[str]:
        return [f"{record.name} {record.watcher}" for record in self.asked]

    def check_fold(self) -> None:
        state = core.initial()
        for record, drafts, said in self.history:
            assert core.decide(state, record, CHANCE) == drafts
            for own in said:
                state = core.evolve(state, own)
        assert state == self.state


def spec(name: str, **options: Any) -> dict[str, Any]:
    return to_data(WatcherSpec(name=name, cmd="sleep 9", **options))


def configuration(*specs: dict[str, Any], source: str = "file", **settings: int) -> Body:
    return c.ArbiterConfigure(specs, settings, "d", source)


def configured(*specs: dict[str, Any], source: str = "file", **settings: int) -> Daemon:
    daemon = Daemon()
    command = daemon.tell(configuration(*specs, source=source, **settings))
    daemon.answer_all()
    assert daemon.finished[command].outcome == "done" or settings
    return daemon
