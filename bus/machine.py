"""Room: bus -- the one loop of every actor: record, believe, act.

Knows:     bus.codec (stamps), bus.record, bus.chance.
Known by:  the runtime and the simulator, which give it cores and a wire.
Never:     writes the ledger itself, knows what its actors decide about.

A host carries any number of actors. An actor gets one input at a time; what it decides is sent to
the switchboard as one decision, comes back with its sequence numbers, is folded into the actor's
state, and only then the actor gets its next input (ADR-0002). A host that holds a lease knows the
numbers beforehand, folds at once, and sends what it has decided about a whole batch (ADR-0087).
Other actors of the host go on meanwhile. This is the only place with a blind `except`: a crash of
one core is a fact about that actor, not the end of the daemon (STYLE P12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from circus.bus import events
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Claim, Decision, Draft, Record
from circus.bus.shapes import entity, field
from circus.bus.values import CORE, Address, Moment, watcher_of

TRACEBACK_CHARACTERS_MAX: Final = 4096
TRIES_PER_INPUT: Final = 2


class Core(Protocol):
    """A room's policy: three pure functions, usually a module (docs/architecture.md)."""

    def decide(self, state: Any, record: Record, chance: Chance, /) -> tuple[Draft, ...]: ...
    def evolve(self, state: Any, record: Record, /) -> Any: ...
    def resume(self, state: Any, /) -> tuple[Draft, ...]: ...


class Stamped(NamedTuple):
    """From the switchboard: the sender's decision is in the ledger from `first_seq` on."""

    actor: Address
    first_seq: int
    now: Moment


class Delivered(NamedTuple):
    """From the switchboard: a record for one actor's inbox."""

    address: Address
    record: Record


@entity
class Actor:
    """An address, a core and a state; `pending` is its decision that is not in the ledger yet."""

    address: Address
    core: Core
    state: Any
    inbox: deque[Record] = field(factory=deque)
    pending: Decision | None = None
    tries: int = 0


class Lease:
    """The next sequence numbers, held by one host until the next flush of the switchboard."""

    __slots__ = ("_now", "seq")

    def __init__(self, seq: int, now: Moment) -> None:
        self.seq = seq
        self._now = now

    def claim(self, count: int) -> Claim:
        """The next `count` of them."""
        first = self.seq
        self.seq += count
        return Claim(first, self._now)


class Host:
    """Carries actors; `outbox` collects what they decided since it was last taken."""

    def __init__(
        self,
        chance: Chance,
        incarnation: int,
        *,
        birth: Callable[[Record], Actor],
        refold: Callable[[Address], Any],
    ) -> None:
        self.actors: dict[Address, Actor] = {}
        self.outbox: list[Decision] = []
        self.lease: Lease | None = None
        self._chance = chance
        self._incarnation = incarnation
        self._birth = birth
        self._refold = refold

    def add(self, actor: Actor) -> None:
        """Take an actor in, as the composition root or the recovery made it."""
        assert actor.address not in self.actors, actor.address
        self.actors[actor.address] = actor

    def resume(self, actor: Actor) -> None:
        """After a restart: let it ask again for what must be true; its inbox waits for that."""
        if actor.pending is not None:
            return
        try:
            drafts = actor.core.resume(actor.state)
        except Exception:  # noqa: BLE001 - as in _step: its inputs are still answered
            self._tell_failure(actor, 0)
            return
        if drafts:
            self._submit(actor, Decision(actor.address, 0, drafts))

    def handle(self, item: Stamped | Delivered) -> None:
        """One message of the switchboard."""
        if isinstance(item, Stamped):
            self._believe(item)
        else:
            self._deliver(item.address, item.record)

    def _deliver(self, address: Address, record: Record) -> None:
        body = record.body
        if isinstance(body, events.WatcherAdded):
            self.add(self._birth(record))
            return
        if isinstance(body, events.WatcherRemoved):
            self.actors.pop(address, None)
            return
        actor = self.actors.get(address)
        if actor is None:
            return  # Mail for a watcher that has been removed: its address is never given again.
        actor.inbox.append(record)
        self._step(actor)

    def _step(self, actor: Actor) -> None:
        """Give the actor inputs until it says something that must be recorded first."""
        while actor.inbox and actor.pending is None:
            record = actor.inbox.popleft()
            try:
                drafts = actor.core.decide(actor.state, record, self._chance)
            except Exception:  # noqa: BLE001 - STYLE P12: the one place that turns crashes into facts
                self._failed(actor, record)
                return
            actor.tries = 0
            if drafts:
                self._submit(actor, Decision(actor.address, record.seq, drafts))

    def _submit(self, actor: Actor, decision: Decision) -> None:
        assert actor.pending is None, decision
        claimed = self._say(decision)
        if claimed is None:
            actor.pending = decision
        else:
            self._fold(actor, decision, Stamped(actor.address, *claimed))

    def _say(self, decision: Decision) -> Claim | None:
        """To the switchboard. With a lease the place in the ledger is known at once."""
        claim = None if self.lease is None else self.lease.claim(len(decision.drafts))
        self.outbox.append(decision if claim is None else decision._replace(claim=claim))
        return claim

    def _believe(self, item: Stamped) -> None:
        """The actor's own frame is in the ledger: fold it, then go on with the inbox."""
        actor = self.actors.get(item.actor)
        if actor is None:
            return  # Said by the host about a failure, or by an actor that has been removed since.
        decision = actor.pending
        assert decision is not None, item
        actor.pending = None
        self._fold(actor, decision, item)
        self._step(actor)

    def _folded(self, actor: Actor, state: Any, decision: Decision, place: Claim) -> Any:
        stamp = Stamp(place.first_seq, decision.cause, actor.address, place.now, self._incarnation)
        evolve = actor.core.evolve
        for draft in decision.drafts:
            state = evolve(state, stamped(stamp, draft))
            stamp.seq += 1
        return state

    def _fold(self, actor: Actor, decision: Decision, item: Stamped) -> None:
        place = Claim(item.first_seq, item.now)
        try:
            actor.state = self._folded(actor, actor.state, decision, place)
        except Exception:  # noqa: BLE001 - as above; the ledger has the truth, the state is rebuilt
            self._tell_failure(actor, decision.cause)
            self._rebuild(actor)

    def _rebuild(self, actor: Actor) -> None:
        """The state as the ledger has it; if that fails too, the actor goes on with what it has."""
        try:
            state = self._refold(actor.address)
            for decision in self.outbox:
                if decision.actor == actor.address and decision.claim is not None:
                    state = self._folded(actor, state, decision, decision.claim)
            actor.state = state
        except Exception:  # noqa: BLE001 - as above: one actor's fold is not the end of the others
            self._tell_failure(actor, 0)

    def _failed(self, actor: Actor, record: Record) -> None:
        """First failure: say so, refold, try again. Second: set the input aside."""
        self._tell_failure(actor, record.seq)
        self._rebuild(actor)
        actor.tries += 1
        if actor.tries < TRIES_PER_INPUT:
            actor.inbox.appendleft(record)
            self._step(actor)
            return
        actor.tries = 0
        draft = Draft(events.InputSetAside(record.seq), watcher=watcher_of(actor.address) or None)
        self._submit(actor, Decision(actor.address, record.seq, (draft,)))

    def _tell_failure(self, actor: Actor, input_seq: int) -> None:
        # Said by the core, not by the actor: an actor's frame would count as its answer to the
        # input, and a restart would not deliver the input again.
        import traceback  # a failure may cost more than a start

        text = traceback.format_exc()[-TRACEBACK_CHARACTERS_MAX:]
        name = watcher_of(actor.address) or None
        draft = Draft(events.ActorFailed(input_seq, text, actor.address), watcher=name)
        self._say(Decision(CORE, 0, (draft,)))
