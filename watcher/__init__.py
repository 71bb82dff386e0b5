"""Room: watcher -- how many processes run, how fresh they are, how often to retry.

Knows:     nothing until asked: its public name is imported on first use (PEP 562).
Known by:  users, `from circus.watcher import Watcher`.
Never:     imports anything here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from circus.watcher.shell import Watcher

__all__ = ["Watcher"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from circus.watcher import shell

    value: object = getattr(shell, name)
    globals()[name] = value
    return value
