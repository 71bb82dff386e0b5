"""Count upwards; on SIGTERM finish the number in hand and exit with 0."""

import os
import signal
import sys
import threading
from types import FrameType

PAUSE_SECONDS = float(os.environ.get("COUNTER_PAUSE", "1.0"))


def main() -> int:
    """Count until asked to stop."""
    asked = threading.Event()

    def ask(_signum: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    number = 0
    while not asked.wait(PAUSE_SECONDS):
        number += 1
        print(f"counter {os.getpid()}: {number}")
    print(f"counter {os.getpid()}: asked to stop at {number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
