"""Room: process -- one child process after another: started, signalled, seen to end, reaped.

Knows:     nothing until asked: its public names are imported on first use (PEP 562).
Known by:  the front, `from circus.process import Process`.
Never:     imports anything here: the keeper is in this package and must stay small.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost the keeper an import of typing
if TYPE_CHECKING:
    from typing import Any

    from circus.process.process import (
        DEAD_OR_ZOMBIE,
        OTHER,
        RUNNING,
        UNEXISTING,
        NoSuchProcess,
        Process,
    )

__all__ = ["DEAD_OR_ZOMBIE", "OTHER", "RUNNING", "UNEXISTING", "NoSuchProcess", "Process"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from circus.process import process

        return getattr(process, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
