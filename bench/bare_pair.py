"""The floor: two bare processes that make the system calls of keeper and core, and decide nothing.

Run as `python bare_pair.py KIND COUNT FOLDER PROGRAM FIFO ACTION`. The first process stands for the
keeper: a pidfd for each worker in an epoll set, peek (waitid with WNOWAIT), report over a socket
pair, wait for the answer, look at its children in /proc, reap, the keeper's own spawn call, report.
The second stands for the core: wait in epoll, receive, append as many bytes as the records have to
a file, answer, have the file synced by our own syncing thread. Messages and frames have the sizes
and come in the batches that `strace` shows of ours, but they are zeros with a number: nothing is
encoded, decoded, folded, decided or verified. So whoever records in a second process and in Python
cannot be quicker than this.

KIND `plain` is that; `hops` sends what actors and switchboard tell each other through real ZeroMQ
inproc sockets too; `beat` sends a heartbeat a second from a real XPUB in FOLDER. SIGTERM stops the
workers through both; the second process says `stopped` when the last exit is in the file.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, Final, NoReturn

# What a message is made of: kind, the keeper's descriptor of the process, and as many zeros as the
# real item has bytes more.
EXITED, SPAWNED, REAPED, SIGNALLED, PONG, STOP = range(6)  # the first tells the second
ACK, SPAWN, SIGNAL, PING = range(6, 10)  # the second tells the first
SIZES: Final = (124, 41, 14, 19, 16, 13, 8, 68, 20, 16)
ITEMS: Final = tuple(Struct(f"<BI{size - 5}x") for size in SIZES)
HEAD: Final = Struct("<BI")
REPORTS_PER_MESSAGE: Final = 16
ORDERS_PER_MESSAGE: Final = 256
ORDERS_PER_TURN: Final = 16
MESSAGES_PER_RECEIVE: Final = 64
MESSAGE_BYTES_MAX: Final = 64 * 1024
SOCKET_BUFFER_BYTES: Final = 1024 * 1024
EVENTS_MAX: Final = 1024
LISTING_BYTES: Final = 64 * 1024
BEAT_SECONDS: Final = 1.0
PING_SECONDS: Final = 5.0
BEAT_BYTES: Final = 80

Item = tuple[int, int]


class Link:
    """One end of the socket pair, with the keeper's and core's own way to batch."""

    def __init__(self, end: socket.socket, per_message: int) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self.end = end
        self._per_message = per_message
        self._queue: deque[Item] = deque()

    def send(self, items: Iterable[Item]) -> None:
        """Before they leave with `flush`."""
        self._queue.extend(items)

    def flush(self) -> None:
        """All that is queued. The buffer takes whatever a benchmark has to say."""
        queue = self._queue
        while queue:
            few = (queue.popleft() for _ in range(min(len(queue), self._per_message)))
            self.end.send(b"".join(ITEMS[kind].pack(kind, fd) for kind, fd in few))

    def receive(self) -> list[Item] | None:
        """All that has arrived; None at the end."""
        items: list[Item] = []
        for _ in range(MESSAGES_PER_RECEIVE):
            try:
                body = self.end.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(4))[0]
            except BlockingIOError:
                break
            if not body:
                return items or None
            before = len(items)
            items += _items(body)
            if len(items) - before < REPORTS_PER_MESSAGE:
                break
        return items


def _items(body: bytes) -> Iterator[Item]:
    at = 0
    while at < len(body):
        kind, fd = HEAD.unpack_from(body, at)
        at += SIZES[kind]
        yield kind, fd


# --- the first process ----------------------------------------------------------------------------


class Keeper:
    """Waits for children, reaps and spawns, as it is told."""

    def __init__(self, link: Link, wake: int, spawn: Any) -> None:
        self._link = link
        self._wake = wake
        self._spawn = spawn
        self._epoll = select.epoll()
        self._epoll.register(link.end.fileno(), select.EPOLLIN)
        self._epoll.register(wake, select.EPOLLIN)
        self._to_do: deque[Item] = deque()
        self._stopping = False
        self._children = f"/proc/self/task/{os.getpid()}/children"

    def run(self) -> None:
        """Until the second process has ended."""
        link_fd = self._link.end.fileno()
        while True:
            ended: list[int] = []
            for fd, _ in self._epoll.poll(0 if self._to_do else -1, EVENTS_MAX):
                if fd == self._wake:
                    self._signalled()
                elif fd != link_fd:
                    ended.append(fd)
                elif not self._to_do and not self._hear():
                    return
            self._link.send(list(map(self._peek, ended)))
            for _ in range(min(len(self._to_do), ORDERS_PER_TURN)):
                self._link.send([self._obey(*self._to_do.popleft())])
            self._link.flush()

    def _signalled(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ours handles a few a second in a crowd
        if signal.SIGTERM in os.read(self._wake, 4096) and not self._stopping:
            self._stopping = True
            self._link.send([(STOP, 0)])

    def _hear(self) -> bool:
        items = self._link.receive()
        acknowledged = [fd for kind, fd in items or () if kind == ACK]
        if acknowledged:
            self._look_for_strangers()
            self._link.send([self._reap(fd) for fd in acknowledged])
        self._to_do.extend(item for item in items or () if item[0] != ACK)
        return items is not None

    def _peek(self, fd: int) -> Item:
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return EXITED, fd

    def _look_for_strangers(self) -> None:
        fd = os.open(self._children, os.O_RDONLY | os.O_CLOEXEC)
        os.read(fd, LISTING_BYTES)
        os.close(fd)

    def _reap(self, fd: int) -> Item:
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
        os.close(fd)
        return REAPED, fd

    def _obey(self, kind: int, fd: int) -> Item:
        if kind == PING:
            return PONG, 0
        if kind == SIGNAL:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            return SIGNALLED, fd
        pidfd = os.pidfd_open(self._spawn())
        os.fstat(pidfd)
        self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        return SPAWNED, pidfd


def keep(kind: str, count: str, folder: str, argv: list[str]) -> None:
    """Start the second process, then keep workers for it; it goes first, as ours does."""
    import circus

    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    paths = [os.path.dirname(os.path.dirname(circus.__file__)), *sys.path[1:]]
    core = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, "core", kind, count, folder, str(other.fileno()),
         *paths],
        pass_fds=(other.fileno(),), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    other.close()
    from circus.process.launch import Launch
    from circus.process.spawn import Spawner

    launch = Launch(tuple(argv), dict(os.environ))
    spawner = Spawner()
    spawner.learn()
    Keeper(Link(mine, REPORTS_PER_MESSAGE), read, lambda: spawner.spawn(launch)).run()
    core.wait()
    sys.stdin.read()


# --- the second process ---------------------------------------------------------------------------

# Bytes in the ledger for each process: what a reaction, a start and a stop have.
RECORD: Final = {
    "exited": 336, "spawn": 240, "spawned": 250, "reaped": 158, "filled": 192,
    "asked": 232, "accepted": 472, "stopping": 391, "signalled": 180, "vacated": 180,
}  # fmt: skip


class Core:
    """Appends and answers."""

    def __init__(self, link: Link, path: str, hops: Hops | None) -> None:
        from circus.bus.syncer import GroupSyncer

        self.link = link
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._syncer = GroupSyncer()
        self._syncer.follow(self._file, 0)
        self._hops = hops
        self._alive: set[int] = set()
        self._unborn = 0
        self._unreaped = 0
        self._stopping = False

    def begin(self, count: int) -> None:
        """Ask for all workers."""
        self._unborn += count
        self._hop_up("actors", 58 * count)
        self._append("spawn", count)
        self._hop_down("world", 118 * count)
        self.link.send([(SPAWN, 0)] * count)
        self._finish()

    def turn(self, items: list[Item]) -> bool:
        """Whatever was reported, in the order of the real turns; False when all is over."""
        kinds = Counter(kind for kind, _ in items)
        if kinds[STOP]:
            self._stop()
        if kinds[SIGNALLED]:
            self._hop_up("world", 40 * kinds[SIGNALLED])
            self._append("signalled", kinds[SIGNALLED])
        exits = [fd for kind, fd in items if kind == EXITED]
        if exits:
            self._exited(exits)
        if kinds[SPAWNED] or kinds[REAPED]:
            self._born([fd for kind, fd in items if kind == SPAWNED], kinds[REAPED])
        self._finish()
        return not self._stopping or bool(self._alive or self._unborn or self._unreaped)

    def _exited(self, exits: list[int]) -> None:
        count = len(exits)
        self._alive.difference_update(exits)
        self._unreaped += count
        self._hop_up("world", 139 * count)
        self._append("exited", count)
        self._hop_down("actors", 172 * count)
        self._hop_up("actors", 58 * count)
        self._append("vacated" if self._stopping else "spawn", count)
        self._hop_down("world", 118 * count)
        self.link.send([(ACK, fd) for fd in exits])
        if not self._stopping:
            self._unborn += count
            self.link.send([(SPAWN, 0)] * count)
        elif not self._alive and not self._unborn:
            print("stopped", flush=True)

    def _born(self, born: list[int], reaped: int) -> None:
        count = len(born)
        self._alive.update(born)
        self._unborn -= count
        self._unreaped -= reaped
        self.link.flush()
        self._hop_up("world", 43 * (count + reaped))
        self._append_bytes(RECORD["spawned"] * count + RECORD["reaped"] * reaped)
        if not count:
            return
        self._hop_down("actors", 163 * count)
        self._hop_up("actors", 38 * count)
        self._append("filled", count)
        self._hop_down("world", 33 * count)
        if self._stopping:  # asked for before, born after
            self.link.send([(SIGNAL, fd) for fd in born])

    def _stop(self) -> None:
        self._stopping = True
        count = len(self._alive)
        self._append("asked", 1)
        self._append("accepted", 1)
        self._hop_up("actors", 58 * count)
        self._append("stopping", count)
        self._hop_down("world", 63 * count)
        self.link.send([(SIGNAL, fd) for fd in self._alive])

    def _append(self, what: str, count: int) -> None:
        self._append_bytes(RECORD[what] * count)

    def _append_bytes(self, size: int) -> None:
        os.write(self._file, bytes(size))
        self._syncer.note(0, size)

    def _finish(self) -> None:
        self.link.flush()
        self._syncer.nudge()

    def _hop_up(self, wire: str, size: int) -> None:
        if self._hops is not None:
            self._hops.up(wire, size)

    def _hop_down(self, wire: str, size: int) -> None:
        if self._hops is not None:
            self._hops.down(wire, size)


class Hops:
    """A ROUTER and two DEALERs in one thread, the sockets of bus/transport.py."""

    def __init__(self) -> None:
        import zmq

        self._more = int(zmq.SNDMORE)
        context: zmq.Context[Any] = zmq.Context()
        self._router: Any = zmq.backend.Socket(context, zmq.ROUTER)
        self._router.bind("inproc://floor")
        self._dealers: dict[str, Any] = {}
        for name in ("world", "actors"):
            dealer: Any = zmq.backend.Socket(context, zmq.DEALER)
            dealer.set(zmq.IDENTITY, name.encode())
            dealer.connect("inproc://floor")
            self._dealers[name] = dealer
            self.up(name, 1)

    def up(self, wire: str, size: int) -> None:
        """From an actors' host to the switchboard."""
        self._dealers[wire].send(bytes(size))
        self._router.recv()
        self._router.recv()

    def down(self, wire: str, size: int) -> None:
        """From the switchboard to an actors' host."""
        self._router.send(wire.encode(), self._more)
        self._router.send(bytes(size))
        self._dealers[wire].recv()


class Beat:
    """A heartbeat a second, and a question to the keeper every five."""

    def __init__(self, folder: str, epoll: select.epoll) -> None:
        import zmq

        self._readable = int(zmq.POLLIN)
        self._again = int(zmq.DONTWAIT)
        self._events: Any = zmq.Context().socket(zmq.XPUB)
        self._events.bind(f"ipc://{folder}/events.sock")
        epoll.register(int(self._events.get(zmq.FD)), select.EPOLLIN)
        self._option = zmq.EVENTS
        self._beat_due = self._ping_due = time.monotonic()

    def wait_seconds(self) -> float:
        """Until something is due."""
        return max(0.0, min(self._beat_due, self._ping_due) - time.monotonic())

    def turn(self, link: Link) -> None:
        """Hear subscribers, and send what is due."""
        while int(self._events.get(self._option)) & self._readable:
            self._events.recv()
        now = time.monotonic()
        if now >= self._beat_due:
            self._beat_due = now + BEAT_SECONDS
            self._events.send_multipart([b"heartbeat", bytes(BEAT_BYTES)], self._again)
        if now >= self._ping_due:
            self._ping_due = now + PING_SECONDS
            link.send([(PING, 0)])


def record(kind: str, count: str, folder: str, link_fd: str) -> NoReturn:
    """Append until all is over."""
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("bare-core")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link = Link(socket.socket(fileno=int(link_fd)), ORDERS_PER_MESSAGE)
    epoll = select.epoll()
    epoll.register(link.end.fileno(), select.EPOLLIN)
    core = Core(link, f"{folder}/frames", Hops() if kind == "hops" else None)
    beat = Beat(folder, epoll) if kind == "beat" else None
    core.begin(int(count))
    goes_on = True
    while goes_on:
        timeout = -1.0 if beat is None else beat.wait_seconds()
        ready = [fd for fd, _ in epoll.poll(timeout, EVENTS_MAX)]
        if link.end.fileno() in ready:
            items = link.receive()
            goes_on = items is not None and core.turn(items)
        if beat is not None:
            beat.turn(link)
            link.flush()
    # Its threads (syncing, ZeroMQ's own) have nothing left to do that would matter.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "core":
        sys.path += sys.argv[6:]
        record(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5])
    keep(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
