"""Room: bus -- text that somebody else chose, made safe for a terminal; values as JSON.

Knows:     nothing.
Known by:  whatever shows a record or an answer: circusctl, circus-replay.
Never:     prints a control character that somebody else chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# What a terminal may obey instead of show: C0, DEL, C1, line and bidi controls.
HIDDEN: Final = (
    *range(0x20), *range(0x7F, 0xA0), 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F),
    *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
)  # fmt: skip
ESCAPES: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in HIDDEN}


def plain(value: Any) -> str:
    """Text that shows its control characters instead of sending them to the terminal."""
    text = value if isinstance(value, str) else str(value)
    if text.isascii() and text.isprintable():
        return text
    text = text.translate(ESCAPES)
    # A lone surrogate cannot be encoded, and would end the command with a traceback.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_json(value: Any) -> str:
    """One line; bytes are hexadecimal, everything outside ASCII is escaped."""
    import json

    return json.dumps(jsonable(value), ensure_ascii=True, separators=(", ", ": "))


def jsonable(value: Any) -> Any:
    """What JSON has no word for, in the words that it has."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value
