"""A program that runs workers of its own and looks after them through the library of Circus.

Run it: `python examples/library_embedded.py`. It starts two workers, loses one on purpose, tells
what happened from the ledger, and stops everything.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

import circus
from circus.arbiter import Arbiter
from circus.watcher import Watcher


class Telling(Watcher):
    """A watcher that says when a worker has been replaced."""

    lost = threading.Event()
    replaced = threading.Event()

    def notify_event(self, topic: str, msg: Mapping[str, Any]) -> None:
        """Called by the core for each event of this watcher."""
        print(f"{self.name}: {topic} {msg.get('process_pid', '')}".rstrip())
        if topic == "reap":
            self.lost.set()
        elif topic == "spawn" and self.lost.is_set():
            self.replaced.set()
        super().notify_event(topic, msg)


def main() -> None:
    """Start, lose one, tell, stop."""
    place = tempfile.mkdtemp(prefix="circus-")
    worker = Telling("worker", "sleep 1000", numprocesses=2)
    arbiter = Arbiter([worker], background=True, state_dir=place)
    print("started:", arbiter.start().result() is False)
    os.kill(worker.pids[0], signal.SIGKILL)
    print("replaced:", worker.replaced.wait(10), arbiter.statuses())
    arbiter.stop()
    names = [record.name for record in circus.subscribe(place, after=0, follow=False)]
    print("on record:", len(names), "records,", names.count("process.exited"), "exits")


if __name__ == "__main__":
    main()
