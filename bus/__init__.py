"""Room: bus -- the vocabulary, the wire, the ledger and the subscriber; the names for readers.

Knows:     nothing until a name is asked for (PEP 562).
Known by:  users of the SDK; the project's own code imports the modules by name.
Never:     imports anything at import time; offers a name that is also a module's.
"""

TYPE_CHECKING = False  # typing's own constant would cost the keeper an import of typing
if TYPE_CHECKING:
    from circus.bus.codec import Unintelligible
    from circus.bus.cursor_errors import CursorError, Damaged, Diverged, Reset, Trimmed
    from circus.bus.names import TAGS
    from circus.bus.record import Body, Command, Event, Record
    from circus.bus.spec import WatcherSpec
    from circus.bus.values import Cursor, Moment

__all__ = [
    "TAGS",
    "Body",
    "Command",
    "Cursor",
    "CursorError",
    "Damaged",
    "Diverged",
    "Event",
    "Moment",
    "Record",
    "Reset",
    "Trimmed",
    "Unintelligible",
    "WatcherSpec",
]

_HOMES = {
    "TAGS": "names",
    "Body": "record",
    "Command": "record",
    "Cursor": "values",
    "CursorError": "cursor_errors",
    "Damaged": "cursor_errors",
    "Diverged": "cursor_errors",
    "Event": "record",
    "Moment": "values",
    "Record": "record",
    "Reset": "cursor_errors",
    "Trimmed": "cursor_errors",
    "Unintelligible": "codec",
    "WatcherSpec": "spec",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'circus.bus' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"circus.bus.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
