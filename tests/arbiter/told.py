"""Room: tests -- what both folds for clients are told: records, made as the switchboard makes them.

Knows:     bus.codec (stamping), the vocabulary.
Known by:  tests of the projection, of outcomes and reads.
Never:     asserts anything.
"""

from __future__ import annotations

from typing import Any, Final

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, Moment

WEB: Final = "watcher:web#1"


class Told:
    """Observers that are told records one after another."""

    def __init__(self, *observers: Any) -> None:
        self.observers = observers
        self.seq = 0
        self.at = 10**18

    def __call__(self, body: Body, actor: str = WEB, **envelope: Any) -> int:
        self.seq += 1
        draft = Draft(body, **envelope)
        record = stamped(Stamp(self.seq, 0, actor, Moment(self.at, self.seq), 1), draft)
        for observer in self.observers:
            observer.observe(record)
        return self.seq

    def born(self, name: str = "web", **options: Any) -> WatcherSpec:
        spec = WatcherSpec(name=name, cmd="x", **options)
        self(events.WatcherAdded(to_data(spec), spec_digest(spec)), ARBITER, watcher=name)
        return spec

    def asked(self, identity: bytes = b"i", to: str = WEB, uid: int = 0) -> int:
        return self(commands.WatcherIncr(), "client", to=to, id=identity, peer={"uid": uid})
