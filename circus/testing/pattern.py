"""Room: front -- which records a test means: a name and fields, in the words of the record.

Knows:     the vocabulary (bus.names, bus.record).
Known by:  circus.testing.world, circus.testing.expecting.
Never:     matches what cannot be: a name or a field that no record has is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from circus.bus.names import TAGS
from circus.bus.record import ENVELOPE_KEYS, Body, Record
from circus.bus.shapes import declared

BODIES: Final[Mapping[str, type[Body]]] = {tag.rpartition("/")[0]: cls for tag, cls in TAGS.items()}
ENVELOPE: Final = frozenset(ENVELOPE_KEYS) - {"data"}
MISSING: Final = object()


class Pattern:
    """A name, perhaps with `*` (`process.*`), and what its fields are to be.

    A field is one of the envelope (`watcher`, `slot`, `spawn_id`, `cause` …) or of the body
    (`code`, `signal`, `pid`, `reason` …). Its value is compared, or, if it can be called, asked:
    `delay=lambda ns: ns > 10**9`. Watchers are compared without regard to case. ValueError: no
    record has such a name or field.
    """

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        self.fields = dict(fields)
        self._names = frozenset(known for known in BODIES if fnmatchcase(known, name))
        if not self._names:
            close = get_close_matches(name, BODIES, 3) or sorted(BODIES)
            raise ValueError(f"cannot find {name!r}: no record is called so; {_or(close)}")
        for field in self.fields:
            self._check(field)

    def matches(self, record: Record) -> bool:
        """Whether this record is meant."""
        if record.name not in self._names:
            return False
        return all(_fits(wanted, _value(record, key)) for key, wanted in self.fields.items())

    def __str__(self) -> str:
        fields = (f"{key}={_shown(wanted)}" for key, wanted in self.fields.items())
        return " ".join((self.name, *fields))

    def _check(self, field: str) -> None:
        known = {one.name for name in self._names for one in declared(BODIES[name])}
        if field not in known | ENVELOPE:
            raise ValueError(
                f"cannot look at {field!r} of {self.name}: it has {_or(sorted(known | ENVELOPE))}"
            )


def _value(record: Record, field: str) -> object:
    value = getattr(record.body, field, MISSING)
    return getattr(record, field, MISSING) if value is MISSING else value


def _fits(wanted: object, value: object) -> bool:
    if value is MISSING:
        return False
    if callable(wanted):
        ask: Callable[[object], object] = wanted
        return bool(ask(value))
    if isinstance(wanted, str) and isinstance(value, str):
        return wanted.lower() == value.lower()
    return bool(wanted == value)


def _shown(wanted: object) -> str:
    return getattr(wanted, "__name__", repr(wanted)) if callable(wanted) else repr(wanted)


def _or(names: list[str]) -> str:
    return f"did you mean one of {', '.join(names)}?"
