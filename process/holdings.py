"""Room: process -- what the keeper holds beside processes: output, sockets, cgroups, news.

Knows:     process.cgroups, process.outputs, process.sockets.
Known by:  process.kernel (spawns with it), process.keeper_loop.
Never:     lets a core's end, a scribe's or its own replacement close anything of it.

News about it are told to the core that has asked for the list, and again to the next one until they
are on record: `heard` counts them off, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from circus.process.cgroups import Cgroups
from circus.process.launch import Launch
from circus.process.outputs import Host, Outputs
from circus.process.sockets import Sockets, close_own

# More than this nobody has heard for long: what is told then is the newest.
NEWS_MAX: Final = 10_000


class Holdings:
    """All of it. `tell` hands reports to the link."""

    __slots__ = ("_host", "_listed", "_news", "_outputs", "_sockets", "_tell", "cgroups")

    def __init__(self, host: Host) -> None:
        self._tell = host.tell
        self._host = host._replace(tell=self._note)
        self._outputs = Outputs(self._host)
        self._sockets = Sockets(self._note)
        self.cgroups = Cgroups(host.complain)
        self._news: list[Sequence[Any]] = []
        self._listed = False

    def spawn(self, launch: Launch, mark: bytes, whose: tuple[int, str], group: str) -> int:
        """Start it with its pipes and sockets in place; its pid. Raises SpawnFailed."""
        pipes = self._outputs.open(launch)
        try:
            fds = self._sockets.fds_for(launch)
            try:
                stdio = (-1, pipes.writes.get("stdout", -1), pipes.writes.get("stderr", -1))
                numbers = [fd for fd, _ in fds]
                pid = self._host.spawner.spawn(
                    launch, stdio, mark=mark, sockets=numbers, group=group
                )
            finally:
                close_own(fds)
        except BaseException:
            pipes.close()
            raise
        self._outputs.begin(pipes, launch, whose, pid)
        return pid

    def obey(self, operation: Sequence[Any]) -> None:
        """One of process.keeping.OF_HOLDINGS, from the core."""
        name, argument = operation[0], operation[1]
        if name == "settings":
            if "cgroup" in argument:
                self.cgroups.settle(argument)
            if "sockets" in argument:
                self._sockets.settle(argument["sockets"])
        elif name == "list":
            self._listed = True
            for report in self._news:
                self._tell(report)
        else:
            del self._news[:argument]

    def disconnect(self) -> None:
        """The core is gone; the next one asks for the list."""
        self._listed = False

    @property
    def due(self) -> int:
        """Boot ns at which `attend` has something to do; NOTHING_DUE: never."""
        return self._outputs.due

    def attend(self, boot: int) -> None:
        """Do what is due."""
        self._outputs.attend(boot)

    def notice(self, fd: int) -> bool:
        """Whether this descriptor, which is ready, is one of ours."""
        return self._outputs.notice(fd)

    def finish(self) -> None:
        """Everything is over."""
        self._outputs.finish()
        self.cgroups.close()
        self._sockets.close()

    @property
    def fds(self) -> list[int]:
        """What goes over an exec."""
        return [*self._outputs.fds, *self._sockets.fds]

    def carry(self) -> dict[str, Any]:
        """For the next keeper in this process."""
        return {
            "outputs": self._outputs.carry(),
            "sockets": self._sockets.carry(),
            "cgroups": self.cgroups.root,
            "news": self._news,
            "listed": self._listed,
        }

    def restore(self, carried: Mapping[str, Any] | None) -> None:
        """As the keeper before us; None: he knew of nothing to hold."""
        if carried is None:
            return
        self._news, self._listed = list(carried["news"]), carried["listed"]
        self.cgroups.root = carried.get("cgroups", "")
        self._sockets.restore(carried["sockets"])
        self._outputs.restore(carried["outputs"])

    def _note(self, report: Sequence[Any]) -> None:
        self._news.append(report)
        if len(self._news) > NEWS_MAX and not self._listed:
            del self._news[0]
        if self._listed:
            self._tell(report)
