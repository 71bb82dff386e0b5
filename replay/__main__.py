"""Room: replay -- `python -m circus.replay`.

Knows:     replay.program.
Known by:  people, the Makefile.
Never:     does anything itself.
"""

from __future__ import annotations

import sys

from circus.replay.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
