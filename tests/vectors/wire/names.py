"""Prints the table of names for docs/wire.md."""

from __future__ import annotations

import sys

from circus.bus.names import TAGS
from circus.bus.shapes import declared


def table() -> str:
    """One row per name and version, in the order of the one table that knows them all."""
    rows = ["| name / v | kind | `data` |", "|---|---|---|"]
    for tag, body in TAGS.items():
        fields = ", ".join(f"`{field.name}`" for field in declared(body)) or "-"
        rows.append(f"| `{tag}` | {body.kind} | {fields} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
