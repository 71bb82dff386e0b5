"""Room: arbiter -- which watchers exist; the core around the actors; the library's Arbiter.

Knows:     nothing until asked: its public names are imported on first use (PEP 562).
Known by:  users, `from circus.arbiter import Arbiter`.
Never:     imports anything here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from circus.arbiter.library import Arbiter, ThreadedArbiter

__all__ = ["Arbiter", "ThreadedArbiter"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from circus.arbiter import library

    value: object = getattr(library, name)
    globals()[name] = value
    return value
