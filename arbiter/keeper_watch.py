"""Room: arbiter -- the core's side of the watchdog: is the keeper there?

Knows:     the link's `ping`; bus.events.
Known by:  the engine.
Never:     replaces a keeper: its children would be nobody's. It is said, on record and in the log,
           and whoever watches the keeper (systemd, a container's runtime, an operator) may act.

Silence is counted in pings without an answer and not on a clock, so that a core that was stopped
itself, or a machine that slept, accuses nobody.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from circus.arbiter.runtime import Runtime
from circus.bus import events
from circus.bus.record import Draft, Event
from circus.bus.values import NS_PER_SECOND, Nanoseconds

SILENCE: Final = 30 * NS_PER_SECOND
PINGS_PER_SILENCE: Final = 6
PAUSES_PER_PING: Final = 5
# Without a watchdog the keeper is pinged all the same: a link that is cut is found out.
PAUSE: Final = SILENCE // PINGS_PER_SILENCE


class Pinged(Protocol):
    """The end of a link, as far as pings need it."""

    def send(self, items: Any, /) -> None: ...
    def flush(self) -> object: ...


class KeeperWatch:
    """Pings the keeper. `heard` is set by whoever receives anything from it."""

    def __init__(self, runtime: Runtime, link: Pinged, pid: int, silence: Nanoseconds) -> None:
        self.heard = True
        self.due: Nanoseconds = 0
        self._runtime = runtime
        self._link = link
        self._pid = pid
        self._pause = silence // PINGS_PER_SILENCE or PAUSE
        self._allowed = PINGS_PER_SILENCE if silence else 0
        self._missed = 0

    @property
    def latest(self) -> Nanoseconds:
        """So long a ping waits for a heartbeat that takes it along: one wake-up less."""
        return self.due + self._pause // PAUSES_PER_PING

    def beat(self, boot: Nanoseconds) -> None:
        """Ping if it is time; say what the last pings have shown."""
        if boot < self.due:
            return
        self.due = boot + self._pause
        heard, self.heard = self.heard, False
        if not heard:
            self._miss()
        elif self._missed:
            self._return()
        self._link.send([("ping", boot)])
        self._link.flush()

    def _miss(self) -> None:
        self._missed += 1
        if self._missed == self._allowed:
            self._say(events.KeeperSilent(self._pid, self._missed * self._pause))

    def _return(self) -> None:
        missed, self._missed = self._missed, 0
        if 0 < self._allowed <= missed:
            self._say(events.KeeperAnswered(self._pid))

    def _say(self, body: Event) -> None:
        self._runtime.say((Draft(body),))
        self._runtime.pump()
