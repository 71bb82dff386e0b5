"""Room: process -- the scribe: copies what captured workers write to where it belongs.

Knows:     process.scribe_link, process.scribe_sinks; prctl.
Known by:  process.scribe_child (starts it): `python -I -c … circus.process.scribe`.
Never:     is asked for a decision; is waited for by keeper or core: a slow disk holds up nobody but
           those who write to it, and them only when their pipe is full.

It may be killed at any moment: the pipes are the keeper's, what is in them waits for the next
scribe, and the marks (process.scribe_link) say of whom something was in hand. When the keeper is
killed it goes on until the last worker has closed its end.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from circus.process import linux
from circus.process.link import LinkClosed
from circus.process.scribe_link import (
    IDLE,
    IN_HAND,
    MEMORY_BYTES,
    READ_BYTES,
    TO_SCRIBE,
    USEFUL,
    put,
    take,
)
from circus.process.scribe_sinks import Sink, Stuck, sink_of

COMM: Final = "circus-scribe"
RETRY_SECONDS: Final = 1.0
IGNORED: Final = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class Stream:
    """One worker's stdout or stderr."""

    __slots__ = ("fd", "number", "pid", "rest", "sink")

    def __init__(self, fd: int, number: int, pid: int, sink: Sink) -> None:
        self.fd = fd
        self.number = number  # what the keeper calls it
        self.pid = pid
        self.sink = sink
        self.rest = b""  # read, and not to be written yet


class Scribe:
    """One loop: the link, and whichever pipe has something in it."""

    __slots__ = (
        "_epoll", "_finishing", "_leaving", "_link", "_marks", "_retry_due", "_sinks", "_streams",
        "_unsaid",
    )  # fmt: skip

    def __init__(self, link: socket.socket, marks: mmap.mmap) -> None:
        self._link: socket.socket | None = link
        self._marks = marks
        self._streams: dict[int, Stream] = {}
        self._sinks: dict[str, Sink] = {}
        self._unsaid: list[Sequence[Any]] = []
        self._leaving = False
        self._finishing = False
        self._retry_due = 0.0
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)

    def run(self) -> int:
        """Until somebody says so, or nobody is left to write."""
        while not (self._leaving or (self._link is None and not self._streams)):
            stuck = [stream for stream in self._streams.values() if stream.rest]
            wait = RETRY_SECONDS if stuck or self._unsaid else None
            events = self._epoll.poll(0 if self._finishing else wait)
            for fd, _ in events:
                if self._link is not None and fd == self._link.fileno():
                    self._hear(self._link)
                elif fd in self._streams:
                    self._copy(self._streams[fd])
            if stuck and time.monotonic() >= self._retry_due:
                self._retry(stuck)
            self._say_rest()
            if self._finishing and not events:
                break
        self._retry([stream for stream in self._streams.values() if stream.rest])
        return os.EX_OK  # What could not be written even now, the marks tell.

    def _hear(self, link: socket.socket) -> None:
        try:
            while (said := take(link, TO_SCRIBE)) is not None:
                item, fd = said
                if item[0] == "stream":
                    self._begin(fd, *item[1:])
                elif item[0] == "leave":
                    self._leaving = True
                else:
                    self._finishing = True
        except LinkClosed:
            # The keeper is gone: its workers may be there still, and what they say counts.
            self._epoll.unregister(link.fileno())
            link.close()
            self._link = None

    def _begin(self, fd: int, number: int, pid: int, name: str, sink: dict[str, Any]) -> None:
        """What several workers write to one place goes through one sink."""
        key = repr(sorted(sink.items()))
        if key not in self._sinks:
            self._sinks[key] = sink_of(sink)
        self._streams[fd] = Stream(fd, number, pid, self._sinks[key])
        self._epoll.register(fd, select.EPOLLIN)

    def _copy(self, stream: Stream) -> None:
        """One read, one write; between them the mark stands."""
        self._marks[stream.number] = IN_HAND
        try:
            data = os.read(stream.fd, READ_BYTES)
        except BlockingIOError:
            self._marks[stream.number] = IDLE
            return
        if data:
            self._write(stream, stream.sink.shape(data, stream.pid))
        else:
            self._marks[stream.number] = IDLE
            self._close(stream)

    def _write(self, stream: Stream, data: bytes) -> None:
        """As long as something is left over nothing more is read of this one."""
        was_stuck = bool(stream.rest)
        try:
            stream.sink.write(data)
        except Stuck as stuck:
            stream.rest = stuck.rest
            if not was_stuck:
                self._epoll.unregister(stream.fd)
                self._unsaid.append(("failed", stream.number, stuck.reason))
            return
        stream.rest = b""
        self._marks[stream.number] = IDLE
        self._marks[USEFUL] = 1
        if was_stuck:
            self._epoll.register(stream.fd, select.EPOLLIN)
            self._unsaid.append(("resumed", stream.number))

    def _retry(self, stuck: Sequence[Stream]) -> None:
        for stream in stuck:
            self._write(stream, stream.rest)
        self._retry_due = time.monotonic() + RETRY_SECONDS

    def _close(self, stream: Stream) -> None:
        self._epoll.unregister(stream.fd)
        os.close(stream.fd)
        del self._streams[stream.fd]
        if all(other.sink is not stream.sink for other in self._streams.values()):
            stream.sink.close()
            self._sinks = {
                key: sink for key, sink in self._sinks.items() if sink is not stream.sink
            }
        self._unsaid.append(("eof", stream.number))

    def _say_rest(self) -> None:
        """The keeper hears all of it, in order, when its end has room."""
        try:
            while self._unsaid and self._link is not None and put(self._link, self._unsaid[0]):
                self._unsaid.pop(0)
        except LinkClosed:
            pass  # The poll sees it too, and closes our end.
        if self._link is None:
            self._unsaid.clear()


def main(argv: Sequence[str]) -> int:
    """LINK_FD MARKS_FD."""
    link_fd, marks_fd = map(int, argv)
    linux.name_process(COMM)
    for signum in IGNORED:
        # The end of the service is the keeper's to say, when the last worker has said its last.
        signal.signal(signum, signal.SIG_IGN)
    link = socket.socket(fileno=link_fd)
    link.setblocking(False)
    linux.close_on_exec_from(3)
    marks = mmap.mmap(marks_fd, MEMORY_BYTES)
    os.close(marks_fd)
    gc.freeze()
    return Scribe(link, marks).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
