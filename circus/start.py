"""Room: front -- the first milliseconds of `circusd`: the core's interpreter first, then the rest.

Knows:     process.early; circus.circusd once the core's interpreter is on its way.
Known by:  the command line.
Never:     reads an argument but those after which no core follows.
"""

from __future__ import annotations

import sys

from circus.process.early import start_early

WITHOUT_CORE = frozenset({"-h", "--help", "--version", "--check"})


def main() -> int:
    """The command `circusd`; answers its exit code (sysexits)."""
    early = None if WITHOUT_CORE.intersection(sys.argv) else start_early()
    from circus import circusd

    return circusd.main(early=early)


if __name__ == "__main__":
    sys.exit(main())
