"""Room: replay -- one core's front: production's gateway, event stream and reads without sockets.

Knows:     arbiter.gateway, bus.publish, arbiter.reads, replay.sim.network.
Known by:  replay.sim.incarnation.
Never:     understands a request, decides what is answered: it carries bytes in and out.

`receive` and `settle` are arbiter.engine's `_turn` and `_settle`, as far as they concern strangers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from circus.arbiter.gateway import Gateway, Promise, Services
from circus.arbiter.outcomes import Outcome, Outcomes
from circus.arbiter.projection import Projection
from circus.arbiter.queries import Sources
from circus.arbiter.reads import Reads
from circus.arbiter.runtime import Runtime
from circus.arbiter.verbs import Options, Verb
from circus.bus import commands, events
from circus.bus.clock import Clock
from circus.bus.ledger import Ledger
from circus.bus.publish import EventStream, SyncedStream
from circus.bus.spec import WatcherSpec
from circus.bus.syncer import Syncing
from circus.bus.values import Moment
from circus.bus.vault import Vault
from circus.bus.wire import encode_reply
from circus.replay.sim.network import Ear, Line, Meaning, Network

if TYPE_CHECKING:
    import zmq

PHASES_KEPT: Final = 4096
PHASE_OF: Final = {
    events.CommandAccepted: "accepted",
    events.CommandRefused: "refused",
    events.CommandFinished: "finished",
}
NO_SOCKET: Final[Any] = None


class SimFrame(NamedTuple):
    """What the gateway needs of a zmq.Frame."""

    bytes: bytes
    uid: int

    def get(self, _option: str) -> str:
        """The kernel's word for who sent it."""
        return f"localhost:{self.uid}:{self.uid}:{self.uid + 10_000}"


class SimGateway(Gateway):
    """Production's, between a Network's lines."""

    def __init__(self, network: Network, services: Services) -> None:
        super().__init__(NO_SOCKET, services)
        self._network = network
        self._phases: dict[int, str] = {}

    def serve(self, line: Line, frames: Sequence[bytes]) -> None:
        """One message, as it came."""
        carried = [SimFrame(one, line.uid) for one in frames]
        self._serve(line.route, cast("list[zmq.Frame]", carried))

    def _outcome(self, route: bytes, identity: bytes, verb: Verb, outcome: Outcome) -> None:
        assert outcome.fact is not None, outcome
        self._phases[outcome.seq] = PHASE_OF[type(outcome.fact)]
        if len(self._phases) > PHASES_KEPT:
            del self._phases[next(iter(self._phases))]
        super()._outcome(route, identity, verb, outcome)

    def _send(self, reply: Any) -> None:
        frames = encode_reply(self._services.header(), reply.body, reply.raw)
        meaning = Meaning(reply.seq, self._phases.get(reply.seq, ""), reply.durable)
        self._network.answer(reply.route, list(map(bytes, frames)), meaning)


class _OnAir(EventStream):
    """What a stream sends goes to a Network's ears."""

    network: Network

    def _send(self, message: Sequence[bytes | memoryview]) -> None:
        self.network.publish(list(map(bytes, message)))


class SimStream(_OnAir, EventStream):
    """Production's."""


class SimSyncedStream(_OnAir, SyncedStream):
    """Production's, for `durability = always`."""


class SimFront:
    """Opened before the runtime (which publishes into `stream`), served after it."""

    def __init__(
        self, network: Network, ledger: Ledger, clock: Clock, core: tuple[int, int], syncer: Syncing
    ) -> None:
        durability = network.durability
        self.reads = Reads(ledger, clock)
        self.stream = _stream(ledger, clock, core, syncer, durability)
        self.stream.network = network
        self._network = network
        self._ledger = ledger
        self._clock = clock
        self._promise = Promise(durability, ledger, syncer)
        self._gateway: SimGateway | None = None
        self._inbox: deque[Callable[[], None]] = deque()
        self._seen_head = 0

    def serve(
        self, runtime: Runtime, projection: Projection, outcomes: Outcomes, options: Options
    ) -> None:
        """From now on strangers are heard."""
        services = Services(
            runtime.submit, Sources(projection, {}, _no_probe, _as_it_is, 1), options, outcomes,
            self.reads, self._promise, self._clock, self.stream.header, self._aside,
        )  # fmt: skip
        self._gateway = SimGateway(self._network, services)
        self._network.listen(self)

    # --- replay.sim.network.Doors -----------------------------------------------------------------

    def asked(self, line: Line, frames: Sequence[bytes]) -> None:
        """It waits for the core's next turn."""
        self._inbox.append(lambda: self._served.serve(line, frames))

    def subscribed(self, _ear: Ear, message: bytes) -> None:
        """It waits for the core's next turn."""
        self._inbox.append(lambda: self.stream.subscribed(message))

    # --- the loop's part --------------------------------------------------------------------------

    def receive(self) -> bool:
        """Serve what has arrived; True if the runtime may have something to do now."""
        if not self._inbox:
            return False
        self._network.agenda.touch("front.receive")
        for _ in range(len(self._inbox)):
            self._inbox.popleft()()
            self._network.take_time()
        return True

    def settle(self, safe: int, now: Moment) -> None:
        """Answers that waited for the platter, readers that waited for something to read."""
        self.stream.settle(safe)
        if self._gateway is not None:
            self._gateway.release()
        due, head = self.reads.next_due(), self._ledger.head
        if due is not None and (head != self._seen_head or due <= now.boot):
            self.reads.look_again(now.boot)
        self._seen_head = head
        self.stream.beat(now.boot)

    def next_due(self) -> int | None:
        """Boot ns at which `settle` has something to do though nothing happens."""
        dues = [due for due in (self.reads.next_due(), self.stream.next_beat()) if due is not None]
        return min(dues, default=None)

    @property
    def _served(self) -> SimGateway:
        assert self._gateway is not None, "nobody is heard before `serve`"
        return self._gateway

    def _aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """The thread for slow questions: its answer comes in some later turn."""
        agenda = self._network.agenda
        agenda.later(self._network.delay(), lambda: self._inbox.append(lambda: done(work())))


def _stream(
    ledger: Ledger, clock: Clock, core: tuple[int, int], syncer: Syncing, durability: str
) -> SimStream | SimSyncedStream:
    if durability == "always":
        return SimSyncedStream(NO_SOCKET, ledger, clock, core, want=syncer.want)
    return SimStream(NO_SOCKET, ledger, clock, core)


class SimOptions:
    """What the wire says about options, without a file: already in the spec's units."""

    def __init__(
        self, configuration: Callable[[], commands.ArbiterConfigure], vault: Vault | None = None
    ) -> None:
        self.configuration = configuration
        self._vault = vault or Vault.in_memory()

    def changes(self, options: Mapping[str, Any], _current: WatcherSpec) -> dict[str, Any]:
        """For `set`."""
        return sealed(options, self._vault)

    def check_core(self) -> None:
        """There is a keeper, which starts another one."""

    def addition(self, options: Mapping[str, Any]) -> WatcherSpec:
        """For `add`."""
        return WatcherSpec(**sealed(options, self._vault))


def sealed(options: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """As a record may hold them: of an environment only digests."""
    env = {"env": vault.seal_all(options["env"])} if "env" in options else {}
    return {**options, **env}


def _no_probe(_pid: int) -> None:
    return None


def _as_it_is(_name: str, value: Any) -> Any:
    return value
