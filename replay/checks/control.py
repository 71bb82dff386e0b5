"""Room: replay -- invariants 16 to 19 (RELIABILITY.md 4.3): what becomes of a command.

Knows:     replay.checks.checkers, replay.checks.truth, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     asks the gateway what it remembers: the ledger and the clients' own eyes are compared.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

from circus.bus import events
from circus.bus.names import NAME_OF
from circus.bus.record import Command, Record
from circus.bus.values import CLIENT, NS_PER_SECOND
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.truth import Fact, Replied

if TYPE_CHECKING:
    from circus.replay.world import World

# RELIABILITY.md 1.4: an id is known for 24 h or 100,000 commands.
IDS_MAX: Final = 100_000
ID_AGE_MAX: Final = 24 * 3600 * NS_PER_SECOND
# What can be asked of an arbiter or a watcher.
ASKED: Final = tuple(
    kind for kind in NAME_OF
    if issubclass(kind, Command) and NAME_OF[kind][0].startswith(("watcher.", "arbiter.", "core."))
)  # fmt: skip
ANSWERS: Final = (events.CommandAccepted, events.CommandRefused, events.CommandFinished)


class KnownIds:
    """The ids that commands came under: for a day of the wall clock an id means what it has meant.

    What was a day old once may be forgotten, also where the wall clock is set back later.
    """

    def __init__(self) -> None:
        self._latest = 0  # wall ns of any command
        self._ids: dict[Hashable, tuple[int, int]] = {}  # how many came before, and when

    def comes_again(self, command: Record) -> bool:
        """Whether the command comes under an id that must still be known; from now on it is."""
        peer = command.peer or {}
        key = (peer.get("uid", peer.get("address")), command.id)
        self._latest = latest = max(self._latest, command.at)
        count, (before, at) = len(self._ids), self._ids.get(key, (0, 0))
        known = key in self._ids and count - before < IDS_MAX and latest - at < ID_AGE_MAX
        self._ids[key] = (count, command.at)
        return known


class OnceByCommand(Checker):
    """An accepted command is in the ledger before its reply; an id takes effect at most once."""

    id = "I-CMD1"
    hears = (*ASKED, events.CommandAccepted, Replied)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ids = KnownIds()
        self._accepted: set[int] = set()

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.CommandAccepted):
            if body.command in self._accepted:
                self.fail(f"command {body.command} was accepted twice", body.command)
            if body.command >= record.seq:
                self.fail(f"command {body.command} was accepted before it came", body.command)
            self._accepted.add(body.command)
        elif record.actor == CLIENT and self._ids.comes_again(record):
            self.fail(f"the id of command {record.seq} has been in the ledger before", record.seq)

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Replied), fact
        if not fact.seq:
            return  # It tells of nothing on record: a query, or what was refused at the door.
        record = self.truth.record_at(fact.seq)
        if record is None:
            self.fail(f"{fact.client} was told of record {fact.seq}, which is not in the ledger")
            return
        body = record.body
        if not isinstance(body, (*ANSWERS, events.WatcherRemoved)):
            self.fail(f"{fact.client} was told of {body!r} as an answer", fact.seq)


class OneOutcome(Checker):
    """Every accepted command gets exactly one final outcome, also across crashes."""

    id = "I-CMD-OUT"
    hears = (*ASKED, *ANSWERS)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._open: dict[int, Record] = {}  # neither refused nor finished
        self._accepted: set[int] = set()  # of those

    def recorded(self, record: Record) -> None:
        body: Any = record.body
        if not isinstance(body, ANSWERS):
            if record.actor != record.to:  # An actor's own note is no request.
                self._open[record.seq] = record
            return
        command = self._open.get(body.command)
        if command is None:
            self.fail(f"{record.name}, but {body.command} is over or was never asked", body.command)
            return
        if command.to != record.actor:
            self.fail(f"{body.command} is answered by {record.actor}", body.command)
        if isinstance(body, events.CommandAccepted):
            self._accepted.add(body.command)
            return
        was_accepted = body.command in self._accepted
        if was_accepted is isinstance(body, events.CommandRefused):
            how = "after" if was_accepted else "without"
            self.fail(f"{record.name} of {body.command} {how} its acceptance", body.command)
        self._accepted.discard(body.command)
        del self._open[body.command]

    def rested(self, world: World) -> None:
        if world.ended is not None or world.core is None:
            return
        for seq, command in self._open.items():
            if self._has_addressee(command):
                what = "accepted" if seq in self._accepted else "not even answered"
                self.fail(f"{command.name} {seq} to {command.to} is {what}, and not finished", seq)

    def _has_addressee(self, command: Record) -> bool:
        """What was on its way to a watcher that was removed is answered by nobody."""
        watched = self.truth.watchers.of.get(command.to or "")
        return command.to == "arbiter" or (watched is not None and not watched.removed)


class SameAnswer(Checker):
    """A second question under the same id gets the same answer, as long as the id is known."""

    id = "I-IDEM"
    hears = (*ASKED, Replied)
    AGAINST: Final = {
        "accepted": ("refused",), "finished": ("refused",), "refused": ("accepted", "finished"),
    }  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ids = KnownIds()
        # By the id, then by who was told and at which stage.
        self._answers: dict[bytes, dict[tuple[str, str], tuple[int, bytes]]] = {}

    def recorded(self, record: Record) -> None:
        if record.actor == CLIENT and not self._ids.comes_again(record):
            assert isinstance(record.id, bytes), record
            self._answers.pop(record.id, None)  # A new wish under an id that was forgotten.

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Replied), fact
        if not fact.seq:
            return
        answer = (fact.seq, fact.content)
        answers = self._answers.setdefault(fact.id, {})
        first = answers.setdefault((fact.client, fact.phase), answer)
        if first != answer:
            text = f"{fact.client} asked again and got {answer}, it had been {first}"
            self.fail(text, fact.seq)
        for phase in self.AGAINST.get(fact.phase, ()):
            if (fact.client, phase) in answers:
                self.fail(f"{fact.client} was told {phase} and {fact.phase}", fact.seq)


class Expired(Checker):
    """A command that enters the ledger past its deadline is refused.

    What is accepted in time is a promise and is carried out, however long a crash may delay it.
    """

    id = "I-EXPIRE"
    hears = (*ASKED, events.CommandAccepted)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._late: dict[int, int] = {}  # by how many ns, by command

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.CommandAccepted):
            late = self._late.get(body.command)
            if late is not None:
                self.fail(f"command {body.command} was accepted {late} ns too late", body.command)
        elif record.deadline is not None and record.deadline < record.boot:
            self._late[record.seq] = record.boot - record.deadline


CONTROL_CHECKERS = (OnceByCommand, OneOutcome, SameAnswer, Expired)
