"""Work for a few seconds, then crash one way or another; a supervisor's bread and butter."""

import os
import random
import signal
import sys
import time

LIFE_SECONDS = (2.0, 8.0)


def main() -> int:
    """Live for a random while and end badly."""
    time.sleep(random.uniform(*LIFE_SECONDS))
    if random.random() < 0.3:
        print(f"unsteady {os.getpid()}: killing myself")
        os.kill(os.getpid(), signal.SIGKILL)
    print(f"unsteady {os.getpid()}: something went wrong")
    return 3


if __name__ == "__main__":
    sys.exit(main())
