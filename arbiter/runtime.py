"""Room: arbiter -- one living core: hosts, switchboard, reaper and clock in one thread.

Knows:     bus.*, the cores of watcher and arbiter, the reaper.
Known by:  the composition roots (circus.daemon, the library), the simulator; they give it ports.
Never:     polls, sleeps, opens anything: `pump` makes true what can be made true now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from circus.arbiter.core import ENDING
from circus.arbiter.memory import newborn
from circus.arbiter.state import Phase
from circus.bus import events
from circus.bus.chance import Chance
from circus.bus.clock import Clock
from circus.bus.commands import ArbiterQuit
from circus.bus.machine import Delivered, Host, Stamped
from circus.bus.outside import Hands, Outside
from circus.bus.past import OF_THE_KEEPER, Past, Spawns
from circus.bus.record import Command, Decision, Draft, Record
from circus.bus.routing import ACTORS, WORLD, addressee
from circus.bus.shapes import altered, keyed
from circus.bus.switchboard import Exchange, Log, OnStamped, Publisher, Switchboard
from circus.bus.transport import Wire
from circus.bus.values import ARBITER, CORE, Moment, Nanoseconds
from circus.process.lives import LOST

# An exit is in the ledger after the first turn, the spawn that replaces it after the second.
TURNS_OF_ONE_REACTION: Final = 2
TURNS_PER_FLUSH: Final = 16
ITEMS_WORTH_A_LEASE: Final = 4


class Storage(Log, Protocol):
    """The ledger as the runtime needs it."""

    def sync(self, now: Moment, /) -> object: ...


class Hub(Exchange, Protocol):
    """Both ends of the transport. `prompt`: what a host sends is taken before anybody else."""

    @property
    def prompt(self) -> bool: ...
    def wire(self, host: str, /) -> Wire: ...
    def receive(self) -> Sequence[tuple[str, Decision]]: ...
    def close(self) -> None: ...


class ReaperPort(Hands, Protocol):
    """The reaper's shell as the loop sees it."""

    @property
    def reconciled(self) -> bool: ...
    @property
    def crowded(self) -> bool: ...
    def receive(self) -> None: ...
    def hear(self, reports: Iterable[Sequence[object]], /) -> None: ...
    def flush(self) -> object: ...
    def reconcile(self, spawns: Spawns, barrier: int, lost: str, /) -> None: ...


@keyed
class Ports:
    """The seams: everything of the world that a core touches. `recall`: what the ledger says now,
    read again."""

    ledger: Storage
    recall: Callable[[], Past]
    clock: Clock
    exchange: Hub
    publisher: Publisher
    reaper: Callable[[Callable[[Sequence[Draft]], None]], ReaperPort]


class Mailbag:
    """Holds the reaper's mail while a reaction is on its way: it then hears that an exit is on
    record and what replaces the process in one message."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._held: list[Stamped | Delivered] = []

    def send(self, host: str, items: Sequence[Stamped | Delivered]) -> None:
        """To the actors at once."""
        if host == WORLD:
            self._held += items
        else:
            self._exchange.send(host, items)

    def release(self) -> None:
        """To the reaper and the clock now."""
        if self._held:
            items, self._held = self._held, []
            self._exchange.send(WORLD, items)


class Runtime:
    """One incarnation of the core."""

    def __init__(self, ports: Ports, past: Past, seed: int) -> None:
        incarnation = past.incarnation + 1
        self._ledger = ports.ledger
        self._recall = ports.recall
        self._clock = ports.clock
        self._exchange = ports.exchange
        self._mail = Mailbag(ports.exchange)
        self._actors_wire = ports.exchange.wire(ACTORS)
        world_wire = ports.exchange.wire(WORLD)
        self.switchboard = Switchboard(
            ports.ledger, ports.clock, incarnation,
            exchange=self._mail, publisher=ports.publisher,
        )  # fmt: skip
        self.reaper = ports.reaper(self._report)
        self.outside = Outside(world_wire, self.reaper, past.timers, incarnation)
        self.host = Host(Chance(seed), incarnation, birth=newborn, refold=self._refold)
        for actor in past.actors.values():
            self.host.add(actor)
        self._past = past
        self._held: Command | None = None  # the configuration, until an old stop has been told
        self.switchboard.watch(past.spawns.fold, OF_THE_KEEPER)
        self.switchboard.watch(self._leave, (events.ArbiterStopped,))
        self.switchboard.watch(self._restart, (events.CoreRestarting,))
        self.switchboard.watch(self._begun, (events.CoreStarted,))
        self.restarting: Record | None = None  # what this incarnation ends for
        # It is addressed to the arbiter; what the removed one has armed is over, as in recovery.
        self.switchboard.watch(past.timers.fold, (events.WatcherRemoved,))
        self._awake = False

    @property
    def awake(self) -> bool:
        """True once the keeper's list is settled and the actors get their mail."""
        return self._awake

    @property
    def ended(self) -> bool:
        """The arbiter has stopped everything, and the keeper has said the last word about it all.

        The keeper lets go of a process when its exit is in the ledger, and says so afterwards: a
        core that did not wait would leave the last lives without their last record.
        """
        return self._past.leaving and self._past.spawns.settled

    def begin(self, drafts: Sequence[Draft], lost: str = LOST) -> None:
        """The first records of this incarnation, durable before anything else; then the keeper is
        asked what it holds. Actors get no mail before that is settled, and nothing that was asked
        for until now is spawned any more. `lost`: why a process that it does not hold is lost."""
        self.say(drafts)
        self.switchboard.flush()
        self._ledger.sync(self._clock.now())
        self.reaper.reconcile(self._past.spawns, self.switchboard.head, lost)

    def configure(self, command: Command, *, anew: bool = False) -> None:
        """What should run. A core that comes back on its way out has nothing to start any more.

        `anew`: the daemon itself was started again. Where the keeper had to finish a stop without
        a core, the ledger still says "stopping": the arbiter hears first how that ended, then
        what should run now.
        """
        phase = self.host.actors[ARBITER].state.phase
        if anew:
            self._past.leaving = False
        if anew and phase is Phase.STOPPING:
            self._held = command
            self.switchboard.watch(self._asked_to_end, (events.SignalReceived, ArbiterQuit))
        elif not self._past.leaving:
            self.say((Draft(command, to=ARBITER),))

    def say(self, drafts: Sequence[Draft], on_stamped: OnStamped | None = None) -> None:
        """A fact about the core itself, or a command of the composition root."""
        self.submit(Decision(CORE, 0, tuple(drafts)), on_stamped)

    def submit(self, decision: Decision, on_stamped: OnStamped | None = None) -> None:
        """What somebody outside the hosts says; it is in the ledger after the next `pump`."""
        self.switchboard.submit(decision, on_stamped or _ignore)

    def write_down(self) -> None:
        """Record what has been said; no actor is told any more. For an end without hands."""
        for sender, decision in self._exchange.receive():
            self.switchboard.submit(decision, sender)
        self.switchboard.flush()

    @property
    def spawns(self) -> Spawns:
        """What runs, as far as the record goes."""
        return self._past.spawns

    def past(self) -> Past:
        """What a fold of the ledger would find now, but for inputs that were answered by nothing.

        Only at rest, as `pump` leaves it: what is on its way between two actors is not in it.
        """
        actors = self.host.actors
        inboxes = {address: deque(actor.inbox) for address, actor in actors.items() if actor.inbox}
        return altered(
            self._past, actors=dict(actors), unanswered=inboxes,
            incarnation=self.switchboard.incarnation, last=self.switchboard.last or self._past.last,
        )  # fmt: skip

    def command(self, address: str, body: Command) -> None:
        """A command of the composition root to one actor."""
        self.say((Draft(body, to=address),))

    def close(self) -> None:
        """Give the transport up; everything else belongs to who opened it."""
        self._exchange.close()

    def next_due(self) -> Nanoseconds | None:
        """Boot ns at which `pump` should be called again even if nothing happens."""
        return self.outside.timers.next_due()

    def pump(self) -> None:
        """Carry everything that is known to its end: nothing moves when this returns."""
        self._settle()
        if self.outside.wake(self._clock.now().boot):
            self._settle()

    def _settle(self) -> None:
        turn = 1
        while self._turn(turn):
            turn += 1
            if not self._awake and self.reaper.reconciled:
                self._wake_up()
        self.reaper.flush()

    def _turn(self, turn: int) -> bool:
        """Record what was decided, then let it be heard; False when nothing moved.

        An exit is on record after the first turn, the spawn that replaces it after the second. So
        in the first one the actors hear first, and the keeper gets the acknowledgement and the
        spawn together, at once; later turns (a batch of exits, a start of a thousand) share one
        message to the keeper, which would else be woken for every single spawn.
        """
        for sender, decision in self._exchange.receive():
            self.switchboard.submit(decision, sender)
        moved = self.switchboard.flush()
        if turn == 1 and self._hear() and self._send_decisions():
            return True
        self._mail.release()
        moved = self.outside.receive() or moved
        pause = turn == TURNS_OF_ONE_REACTION or turn % TURNS_PER_FLUSH == 0
        if pause or self.reaper.crowded:
            self.reaper.flush()
        moved = self._hear() or moved
        return self._send_decisions() or moved

    def _hear(self) -> bool:
        """Give the actors their mail; False if there was none."""
        if not self._awake:
            return False
        items = self._actors_wire.receive()
        if items:
            # A lease pays for a crowd; a single reaction is quicker if it is folded afterwards.
            leased = self._exchange.prompt and len(items) >= ITEMS_WORTH_A_LEASE
            self.host.lease = self.switchboard.lease() if leased else None
            for item in items:
                self.host.handle(item)
            self.host.lease = None
        return bool(items)

    def _send_decisions(self) -> bool:
        host = self.host
        if not host.outbox:
            return False
        decisions, host.outbox = host.outbox, []
        self._actors_wire.send(decisions)
        return True

    def _report(self, drafts: Sequence[Draft]) -> None:
        self.outside.report(drafts)

    def _begun(self, record: Record) -> None:
        assert isinstance(record.body, events.CoreStarted), record
        if record.body.boot_id != self._past.boot_id:
            self._past.spawns.begin_boot()
        self._past.boot_id = record.body.boot_id

    def _leave(self, _record: Record) -> None:
        held, self._held = self._held, None
        if held is None:
            self._past.leaving = True
        else:
            self.say((Draft(held, to=ARBITER),))

    def _restart(self, record: Record) -> None:
        """The keeper goes first: what starts the next core is the newer one."""
        assert isinstance(record.body, events.CoreRestarting), record
        if record.body.keeper:
            kinds = (events.KeeperReexeced, events.KeeperReexecRefused)
            self.switchboard.watch(self._keeper_is_done, kinds)
        else:
            self.restarting = record

    def _keeper_is_done(self, record: Record) -> None:
        self.restarting = record

    def _asked_to_end(self, record: Record) -> None:
        """Asked again while the old stop is being told: this time it is meant for us."""
        body = record.body
        if not isinstance(body, events.SignalReceived) or body.signum in ENDING:
            self._held = None

    def _wake_up(self) -> None:
        """The barrier is down: what the last incarnation left unanswered comes first."""
        self._awake = True
        for actor in list(self.host.actors.values()):
            self.host.resume(actor)
        for record in self._past.inputs():
            address = addressee(record)
            assert address is not None, record
            self.host.handle(Delivered(address, record))
        for record in self._past.spawns.signals.values():
            # Whether it was sent nobody on this side knows; the keeper does, and sends it once.
            self.reaper.perform(record)

    def _refold(self, address: str) -> object:
        return self._recall().actors[address].state


def _ignore(_item: object) -> None:
    """For those who need no answer."""
