"""Room: front -- the first milliseconds of `circusd`: the core's interpreter first, then the rest.

Knows:     what every Python has loaded already, the C module of sockets; circusd after that.
Known by:  the command line; circusd gives the early core its orders.
Never:     decides whether there is to be a core: whoever does not give orders closes the link, and
           the interpreter ends without having touched anything (ADR-0089).

Two interpreters one after the other are the time to the first worker (docs/performance.md). While
this one reads its arguments and takes the lock, the core's imports what every core needs.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own constant would cost an import of typing, before the core's
if TYPE_CHECKING:
    from collections.abc import Sequence

WITHOUT_CORE = frozenset({"-h", "--help", "--version", "--check"})
SOURCE = "import sys; sys.path[:0]={paths!r}; from circus.daemon import wait; sys.exit(wait({fd}))"


def main() -> int:
    """The command `circusd`; answers its exit code (sysexits)."""
    early = None if WITHOUT_CORE.intersection(sys.argv) else start_early()
    from circus import circusd

    return circusd.main(early=early)


class EarlyCore:
    """An interpreter that imports the core, then waits for its arguments from the link."""

    __slots__ = ("link_fd", "pid")

    def __init__(self, pid: int, link_fd: int) -> None:
        self.pid = pid
        self.link_fd = link_fd

    def begin(self, arguments: Sequence[str]) -> tuple[int, int]:
        """Tell it what it is for: its pid and our end of its link, from now on the caller's."""
        try:
            os.write(self.link_fd, os.fsencode("\0".join(arguments)))
        except BrokenPipeError:
            pass  # It has ended already; the keeper sees that like any core's end.
        return self.pid, self.link_fd


def start_early() -> EarlyCore | None:
    """Start it; None where this Python or this system cannot do that so simply."""
    try:
        # `socket` itself takes 4 ms to import, which the core would wait for.
        from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair
    except ImportError:
        return None
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    fd = theirs.fileno()
    os.set_inheritable(fd, True)
    # As process.keeper.python_argv, whose imports would come first: isolated, and with our paths.
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [package, *(path for path in sys.path if path and not path.endswith(".zip"))]
    argv = [sys.executable, "-I", "-S", "-c", SOURCE.format(paths=paths, fd=fd)]
    try:
        pid = os.posix_spawn(sys.executable, argv, os.environ, setsid=True)
    except (NotImplementedError, OSError):
        return None  # The keeper starts it later, and can say what is wrong.
    finally:
        theirs.close()
    return EarlyCore(pid, ours.detach())


if __name__ == "__main__":
    sys.exit(main())
