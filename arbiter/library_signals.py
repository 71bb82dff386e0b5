"""Room: arbiter -- the program's signals while `start` blocks in its main thread, and only then.

Knows:     signal.
Known by:  the library's Arbiter.
Never:     touches SIGCHLD; leaves a handler behind.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

HEARD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


@contextmanager
def hearing(tell: Callable[[int], None]) -> Generator[None]:
    """Give INT, TERM, QUIT and HUP to `tell`; outside the main thread nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(signum: int, _frame: FrameType | None) -> None:
        tell(signum)

    before: dict[int, Any] = {}
    try:
        for signum in HEARD:
            before[signum] = signal.signal(signum, heard)
        yield
    finally:
        for number, handler in before.items():
            # None: the handler was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
