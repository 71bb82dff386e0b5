"""Room: process -- the keeper's ends of the pipes that captured workers write to, and the scribe.

Knows:     process.scribe_child, process.scribe_link.
Known by:  process.holdings.
Never:     reads a byte of output; waits for the scribe; lets go of a pipe that may have one in it.

A pipe is made at the spawn and held until the scribe has read to its end, which comes when nobody
is left who could write to it. So whatever becomes of core and scribe, what was written waits in the
pipe, and a worker waits only when 1 MiB of it does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from circus.process.fast_road import SpawnFailed
from circus.process.launch import Launch
from circus.process.link import LinkClosed, LinkGarbled
from circus.process.scribe_link import FROM_SCRIBE, MARKS, READ_BYTES, put, take
from circus.process.spawn import Spawner
from circus.process.stop_plans import NOTHING_DUE

if TYPE_CHECKING:
    from circus.process.scribe_child import ScribeChild

PIPE_BYTES: Final = 1024 * 1024
# Before the next scribe, where one ended without having written anything.
PAUSE: Final = 1_000_000_000


class Output(NamedTuple):
    """Our read end of one worker's stdout or stderr. Its number names it to the scribe."""

    fd: int
    spawn_id: int
    owner: str
    pid: int
    stream: str
    sink: Mapping[str, Any]


class Pipes(NamedTuple):
    """Of one spawn: by stream, our ends and the worker's."""

    reads: dict[str, int]
    writes: dict[str, int]

    def close(self) -> None:
        """None of it is wanted."""
        for fd in (*self.reads.values(), *self.writes.values()):
            os.close(fd)


class Host(NamedTuple):
    """What the keeper's loop does for its holdings."""

    epoll: select.epoll
    spawner: Spawner
    tell: Callable[[Sequence[Any]], None]  # until somebody has it on record
    know: Callable[..., None]  # this child is no orphan
    complain: Callable[[str], None]


class Outputs:
    """Every pipe, and at most one scribe."""

    __slots__ = ("_host", "_outputs", "_scribe", "_ungiven", "_writing", "due")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._outputs: dict[int, Output] = {}
        self._ungiven: dict[int, Output] = {}  # the present scribe does not have them yet
        self._scribe: ScribeChild | None = None
        self._writing = False
        self.due = NOTHING_DUE  # boot ns of the next scribe's start

    # -- spawns ------------------------------------------------------------------------------------

    def open(self, launch: Launch) -> Pipes:
        """For what is about to be spawned. Raises SpawnFailed."""
        pipes = Pipes({}, {})
        try:
            for stream in launch.streams:
                read, write = os.pipe2(os.O_CLOEXEC)
                pipes.reads[stream], pipes.writes[stream] = read, write
                os.set_blocking(read, False)
                _enlarge(read)
                if read >= MARKS:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        except OSError as error:
            pipes.close()
            raise SpawnFailed("stdio", error.errno or errno.EMFILE) from error
        return pipes

    def begin(self, pipes: Pipes, launch: Launch, whose: tuple[int, str], pid: int) -> None:
        """It runs: its ends of the pipes are its own, and the scribe gets ours too."""
        for fd in pipes.writes.values():
            os.close(fd)
        for stream, fd in pipes.reads.items():
            self._outputs[fd] = self._ungiven[fd] = Output(
                fd, *whose, pid, stream, launch.streams[stream]
            )
        self._give()
        if self._scribe is None and self.due == NOTHING_DUE:
            self.due = 0  # at once

    # -- the scribe --------------------------------------------------------------------------------

    def attend(self, boot: int) -> None:
        """Start a scribe, if one is due."""
        if boot < self.due:
            return
        self.due = NOTHING_DUE
        from circus.process.scribe_child import ScribeChild

        try:
            scribe = ScribeChild.start(self._host.spawner)
        except (SpawnFailed, OSError) as error:
            self._host.complain(f"cannot start the scribe: {error}; it is tried again")
            self.due = boot + PAUSE
            return
        self._host.tell(("scribe_started", scribe.pid))
        self._ungiven = dict(self._outputs)
        self._attend_to(scribe)
        self._give()

    def notice(self, fd: int) -> bool:
        """Whether it is one of ours that is ready."""
        scribe = self._scribe
        if scribe is None:
            return False
        if fd == scribe.pidfd:
            self._lose(scribe)
        elif fd == scribe.link.fileno():
            self._hear(scribe)
            self._give()
        else:
            return False
        return True

    def _attend_to(self, scribe: ScribeChild) -> None:
        self._scribe, self._writing = scribe, False
        self._host.know(scribe.pid)
        self._host.epoll.register(scribe.pidfd, select.EPOLLIN)
        self._host.epoll.register(scribe.link.fileno(), select.EPOLLIN)

    def _give(self) -> None:
        """Every pipe that the scribe does not have, as far as it takes them now."""
        scribe = self._scribe
        if scribe is None or not scribe.speaks:
            return
        try:
            for fd, output in list(self._ungiven.items()):
                item = ("stream", fd, output.pid, output.stream, output.sink)
                if not put(scribe.link, item, fd):
                    break
                del self._ungiven[fd]
        except LinkClosed:
            return  # It has ended; its pidfd says so.
        if self._writing is not bool(self._ungiven):
            self._writing = bool(self._ungiven)
            wanted = select.EPOLLIN | (select.EPOLLOUT if self._writing else 0)
            self._host.epoll.modify(scribe.link.fileno(), wanted)

    def _hear(self, scribe: ScribeChild) -> None:
        try:
            while (said := take(scribe.link, FROM_SCRIBE)) is not None:
                (name, number, *rest), _ = said
                output = self._outputs.get(number)
                if output is None:
                    continue
                if name == "eof":
                    self._drop(output)
                else:
                    words = (output.spawn_id, output.owner, output.stream, *rest)
                    self._host.tell((f"output_{name}", *words))
        except LinkClosed:
            scribe.turn_from(self._host.epoll)  # Its end follows by itself.
        except LinkGarbled:
            scribe.turn_from(self._host.epoll)
            scribe.kill()

    def _drop(self, output: Output) -> None:
        """Nobody can write to it any more, and all is read."""
        os.close(output.fd)
        del self._outputs[output.fd]
        self._ungiven.pop(output.fd, None)

    def _lose(self, scribe: ScribeChild) -> None:
        """It has ended: what it had in hand is lost, what is in the pipes is not."""
        self._hear(scribe)
        self._host.epoll.unregister(scribe.pidfd)
        code, signum = scribe.reap()
        self._host.know(scribe.pid, forget=True)
        self._scribe = None
        if not (scribe.leaving and code == os.EX_OK):
            self._host.tell(("scribe_lost", scribe.pid, code, signum))
        self._tell_uncertain(scribe)
        scribe.turn_from(self._host.epoll)
        self.due = _boot() + (0 if scribe.useful or scribe.leaving else PAUSE)
        scribe.close()

    def _tell_uncertain(self, scribe: ScribeChild) -> None:
        for output in self._outputs.values():
            if scribe.take_mark(output.fd):
                words = (output.spawn_id, output.owner, output.stream, READ_BYTES)
                self._host.tell(("output_uncertain", *words))

    # -- the end, and another keeper in this process -----------------------------------------------

    def finish(self) -> None:
        """Nothing runs any more: what is in the pipes is written, then the scribe ends."""
        if self._scribe is None and self._outputs:
            self.attend(NOTHING_DUE)  # whatever the last one died of
        scribe = self._scribe
        if scribe is None:
            return
        left = -1
        while self._ungiven and len(self._ungiven) != left and scribe.has_room():
            left = len(self._ungiven)
            self._give()
        try:
            asked = put(scribe.link, ("finish",))
        except LinkClosed:
            asked = True
        in_time = scribe.finish()
        lost = [one for one in self._outputs.values() if scribe.take_mark(one.fd)]
        if not in_time or not asked or lost:
            self._host.complain("the end of some output could not be written")
        scribe.reap()
        scribe.close()
        self._scribe = None

    @property
    def fds(self) -> list[int]:
        """What goes over an exec."""
        scribe = self._scribe.fds if self._scribe else ()
        return [*self._outputs, *scribe]

    def carry(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "outputs": list(self._outputs.values()),
            "ungiven": list(self._ungiven),
            "scribe": self._scribe.carry() if self._scribe else None,
            "due": self.due,
        }

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Hold what was held. The scribe makes room for one of this version."""
        for row in carried["outputs"]:
            output = Output(*row)
            self._outputs[output.fd] = output
        self._ungiven = {fd: self._outputs[fd] for fd in carried["ungiven"]}
        self.due = carried["due"]
        if carried["scribe"] is not None:
            from circus.process.scribe_child import ScribeChild

            scribe = ScribeChild(*carried["scribe"])
            self._attend_to(scribe)
            scribe.leaving = _ask_to_leave(scribe)


def _ask_to_leave(scribe: ScribeChild) -> bool:
    try:
        return put(scribe.link, ("leave",))
    except LinkClosed:
        return False


def _enlarge(fd: int) -> None:
    """As far as this user may have it: 64 KiB is what a pipe has else."""
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
