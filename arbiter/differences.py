"""Room: arbiter -- what a configuration says otherwise than what there is, field by field.

Knows:     bus.spec (what a change costs), arbiter.state.
Known by:  arbiter.core.
Never:     changes a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.arbiter.state import Entry
from circus.bus.spec import OPTIONS, Change


def difference(entry: Entry | None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file that are not what the entry has; none if it is not there."""
    if entry is None or entry.leaving:
        return {}
    old = entry.spec
    return {k: v for k, v in spec.items() if k in OPTIONS and _listed(_of(old, k)) != _listed(v)}


def _of(old: Mapping[str, Any], name: str) -> Any:
    """A record of an older version lacks an option that is newer: it had the default."""
    if name in old:
        return old[name]
    declared = OPTIONS[name]
    return declared.factory() if declared.factory else declared.default


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def is_fixed(diff: Mapping[str, Any]) -> bool:
    """Whether one of them cannot change while the watcher lives."""
    return any(OPTIONS[name].metadata["change"] is Change.FIXED for name in diff)
