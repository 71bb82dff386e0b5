"""Room: bus -- one record as one line, for people or for programs.

Knows:     bus.record, bus.words.plain, bus.spec (which options are durations, and the defaults).
Known by:  circusctl events, circus-replay: what they show is the same.
Never:     leaves out what says something; prints a control character that somebody else chose.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from circus.bus.record import ENVELOPE_KEYS, Record, fields_of
from circus.bus.spec import OPTIONS, Unit
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.bus.words.plain import as_json, plain

# Bookkeeping that a person rarely asks for; it is in the record and in --json.
UNTOLD: Final = frozenset(
    {"boot_id", "digest", "ended", "inode", "observed", "seed", "settings", "started", "wall"}
)
DURATIONS: Final = frozenset(
    {"delay", "duration", "grace"}
    | {name for name, option in OPTIONS.items() if option.metadata["unit"] is Unit.SECONDS}
)
NAMES_OF_SIGNALS: Final = {one.value: one.name for one in signal.Signals}
NAMES: Final = {"rusage": "cpu"}  # of which only the time is told
SIGNALS: Final = frozenset({"signal", "signum", "stop_signal"})


def json_line(record: Record) -> str:
    """One object with the envelope's field names, absent where there is nothing."""
    return as_json(record_data(record))


def record_data(record: Record) -> dict[str, Any]:
    """The record as the map that the ledger has."""
    whole: dict[str, Any] = {}
    for key in ENVELOPE_KEYS:
        value = fields_of(record.body) if key == "data" else getattr(record, key)
        if value is not None:
            whole[key] = value
    return whole


def human_line(record: Record) -> str:
    """`seq  time  name  subject  key=value …`, with nothing that a terminal would obey.

    A line for people: what says nothing (none, false, an option at its default, a digest) is left
    out. `--json` has every field.
    """
    subject = record.watcher or record.actor
    if record.slot is not None:
        subject = f"{subject}[{record.slot}]"
    fields = fields_of(record.body)
    if "signum" in fields:
        fields = {key: value for key, value in fields.items() if key != "signal"}  # its seq
    words = [
        f"{NAMES.get(key, key)}={_word(key, value)}"
        for key, value in fields.items()
        if _says(key, value)
    ]
    return (
        f"{record.seq:>8}  {clock(record.at)}  {plain(record.name):<22}  {plain(subject)}"
        f"{'  ' if words else ''}{' '.join(words)}"
    )


def clock(at: int) -> str:
    """Local wall time to the millisecond."""
    moment = datetime.fromtimestamp(at // NS_PER_SECOND, tz=UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at % NS_PER_SECOND // NS_PER_MS:03d}"


def _says(key: str, value: Any) -> bool:
    if key in UNTOLD or value is None or value is False or (key == "errno" and value == 0):
        return False
    return not isinstance(value, list | tuple | Mapping | str) or len(value) > 0


def _word(key: str, value: Any) -> str:
    if key in DURATIONS and isinstance(value, int):
        return duration(value)
    if key in SIGNALS and isinstance(value, int):
        return NAMES_OF_SIGNALS.get(value, str(value))
    if key == "errno":
        return errno.errorcode.get(value, str(value))
    if key == "rusage":
        return duration(value.get("utime", 0) + value.get("stime", 0))
    if key == "spec":
        return _spec(value)
    if key == "watchers":
        return f"[{' '.join(map(_spec, value))}]"
    if key in {"options", "changed"} and isinstance(value, Mapping):
        return _short({name: _word(name, one) for name, one in value.items()})
    return _short(value)


def _spec(spec: Any) -> str:
    """The options that are neither Circus's default nor the native format's."""
    if not isinstance(spec, Mapping):
        return _short(spec)
    told = (
        f"{plain(name)}={_word(name, value)}"
        for name, value in spec.items()
        if name not in OPTIONS or value not in defaults_of(name)
    )
    return "{" + " ".join(told) + "}"


def defaults_of(name: str) -> tuple[Any, ...]:
    """Values of an option that nobody has chosen: Circus's default, the native format's, none."""
    declared = OPTIONS[name]
    return (None, [], {}, declared.default, declared.metadata["toml"])


def duration(ns: int) -> str:
    """`30s`, `1.5s`, `250ms`: as an operator writes it."""
    if 0 < ns < NS_PER_SECOND:
        return f"{ns / NS_PER_MS:.3g}ms"
    return f"{ns / NS_PER_SECOND:.3f}".rstrip("0").rstrip(".") + "s"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{plain(k)}={_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_short(one) for one in value) + "]"
    text = bytes(value).hex() if isinstance(value, bytes) else plain(value)
    return f'"{text}"' if " " in text else text


__all__ = [
    "DURATIONS",
    "clock",
    "defaults_of",
    "duration",
    "human_line",
    "json_line",
    "record_data",
]
