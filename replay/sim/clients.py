"""Room: replay -- clients of ctl: they ask, hear nothing, ask again under the same id, go away.

Knows:     bus.wire (the real bytes), replay.sim.network, replay.checks.truth.
Known by:  replay.world.
Never:     invents an answer; makes a new id for an old wish.

Lazy Pirate (RELIABILITY.md, 1.2): after a silence a new connection and the same request. What a
client was told goes to the checkers as facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attr

from circus.bus.codec import Unintelligible, from_outside, pack
from circus.bus.wire import Malformed, Request, decode_reply, encode_request, parse_request
from circus.replay.checks.truth import Asked, Fact, Replied
from circus.replay.sim.agenda import Agenda, Dice
from circus.replay.sim.network import Line, Meaning, Network

SECOND: Final = 1_000_000_000
SILENCE_NS: Final = 5 * SECOND
TRIES_MAX: Final = 8
ID_BYTES: Final = 16
GARBAGE_MAX: Final = 200
ASKS_KEPT: Final = 200


@attr.s(auto_attribs=True, slots=True, eq=False)
class Ask:
    """One wish and what has come of it."""

    id: bytes
    data: bytes
    tries: int = 0
    reply: Mapping[str, Any] | None = None
    gave_up: bool = False


class SimClient:
    """One user's client; two of one uid share their ids' meaning, two uids never do."""

    def __init__(
        self, network: Network, tell: Callable[[Fact], None], *, uid: int, name: str = ""
    ) -> None:
        self.name = name or f"uid {uid}"
        self.uid = uid
        self.asks: dict[bytes, Ask] = {}
        self._network = network
        self._agenda: Agenda = network.agenda
        self._tell = tell
        self._line = self._dialled()

    @property
    def waiting(self) -> list[Ask]:
        """What has no answer yet and is still asked for."""
        return [ask for ask in self.asks.values() if _is_open(ask)]

    @property
    def is_weary(self) -> bool:
        """So much that it asks for in vain: first it wants to hear something."""
        oldest = next(iter(self.asks.values()), None)
        return len(self.asks) > ASKS_KEPT and oldest is not None and _is_open(oldest)

    def ask(
        self, command: str, properties: Mapping[str, Any], *, deadline_ns: int | None = None
    ) -> Ask:
        """Ask for something new."""
        identity = self._agenda.chance.randbytes(ID_BYTES)
        data = encode_request(Request(identity, command, properties, deadline_ns))
        ask = self.asks[identity] = Ask(identity, data)
        self._forget()
        self._send(ask)
        return ask

    def ask_again(self, ask: Ask) -> None:
        """The same wish, as after a silence; also when it has been answered."""
        self._network.count("ctl.asked_again")
        self._send(ask)

    def _send(self, ask: Ask) -> None:
        network, weather = self._network, self._network.weather
        ask.tries += 1
        self._tell(Asked(self.name, ask.id))
        if network.strikes("ctl.garbled", weather.garbled):
            self._line.send(garbled(ask.data, self._agenda.chance))
        self._line.send((ask.data,))
        if network.strikes("ctl.twice", weather.twice):
            self._line.send((ask.data,))
        if network.strikes("ctl.vanished", weather.vanish):
            self._redial()
        self._agenda.later(SILENCE_NS, partial(self._silent, ask, ask.tries))

    def _silent(self, ask: Ask, tries: int) -> None:
        if ask.reply is not None or ask.tries != tries:
            return
        if ask.tries >= TRIES_MAX:
            ask.gave_up = True
            return
        self._redial()
        self.ask_again(ask)

    def _redial(self) -> None:
        self._line.close()
        self._line = self._dialled()

    def _dialled(self) -> Line:
        return self._network.dial(self.uid, self._hear)

    def _hear(self, frames: Sequence[bytes], meaning: Meaning) -> None:
        body = dict(decode_reply(frames).body)
        ask = self.asks.get(body.get("id") or b"")
        if ask is None:
            return  # An answer to garbage.
        del body["time"]
        if ask.reply is None:
            ask.reply = body
        phase = meaning.phase or ("refused" if body["status"] == "error" else "finished")
        content = pack(body)
        self._tell(Replied(self.name, ask.id, phase, meaning.seq, content, meaning.durable))

    def _forget(self) -> None:
        """The oldest answered wishes; a client does not live for ever."""
        if len(self.asks) > ASKS_KEPT:
            oldest = next(iter(self.asks.values()))
            if not _is_open(oldest):
                del self.asks[oldest.id]


def _is_open(ask: Ask) -> bool:
    return ask.reply is None and not ask.gave_up


def garbled(data: bytes, chance: Dice) -> tuple[bytes, ...]:
    """What no client of ours would send, and no daemon may understand."""
    how = chance.randrange(4)
    if how == 0:
        return (data, data)
    if how == 1:
        return (chance.randbytes(chance.randrange(GARBAGE_MAX)),)
    if how == 2:
        at = chance.randrange(len(data))
        flipped = data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
        if not _is_understood(flipped):
            return (flipped,)
    return (data[: chance.randrange(len(data))],)


def _is_understood(data: bytes) -> bool:
    try:
        parse_request(from_outside(data))
    except (Malformed, Unintelligible):
        return False
    return True
