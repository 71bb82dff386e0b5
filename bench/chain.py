"""The floor of a cold start: two interpreters, the libraries, one spawn; nothing is decided.

`chain.py PROGRAM…` is what circusd's first process does without having anything to do: it starts
an isolated interpreter, which imports zmq and msgpack and starts PROGRAM.
"""

from __future__ import annotations

import os
import sys

SECOND = (
    "import sys, os; sys.path[:0]={paths!r}; import zmq, msgpack; argv={argv!r}; "
    "os.waitpid(os.posix_spawn(argv[0], argv, os.environ), 0)"
)


def main(argv: list[str]) -> None:
    source = SECOND.format(paths=[path for path in sys.path if path], argv=argv)
    second = [sys.executable, "-I", "-S", "-c", source]
    os.waitpid(os.posix_spawn(sys.executable, second, os.environ), 0)


if __name__ == "__main__":
    main(sys.argv[1:])
