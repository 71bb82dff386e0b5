"""Room: arbiter -- options that come over the wire, for `set` and `add`: checked as in a file.

Knows:     arbiter.config_options, arbiter.config_streams.
Known by:  arbiter.wiring (WireOptions).
Never:     answers; the text of a refusal is the reply's reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.arbiter.config_later import is_without_effect, later_option
from circus.arbiter.config_options import (
    SOCKETS_OF_A_FILE,
    Unfit,
    name_problem,
    rule_problems,
    sealed,
    stream_of,
    structure_option,
)
from circus.arbiter.config_streams import gather
from circus.bus.spec import DERIVED, OPTIONS, Change, WatcherSpec
from circus.bus.vault import Vault


class OptionRefused(ValueError):
    """An option that came over the wire cannot be used; the text is the reply's reason."""


def validate_options(
    options: Mapping[str, object], current: WatcherSpec, vault: Vault
) -> dict[str, Any]:
    """What `set` may change, in the units of `WatcherSpec`; `OptionRefused` gives the reason.

    Environment values come back as digests: call `vault.save()` before they are recorded.
    """
    values = _all_from_wire(options, current)
    for name in values:
        if OPTIONS[name].metadata["change"] is Change.FIXED:
            reason = "change the configuration and restart, or rm and add the watcher"
            raise OptionRefused(f"cannot set {name!r} of a watcher that exists: {reason}")
    merged = {name: getattr(current, name) for name in OPTIONS} | values
    _refuse_first(rule_problems(merged))
    return sealed(values, vault)


def spec_to_add(
    name: object, cmd: object, options: Mapping[str, object], *, args: object, vault: Vault
) -> WatcherSpec:
    """The spec of a watcher that `add` brings; `OptionRefused` gives the reply's reason."""
    if (problem := name_problem(name)) is not None:
        raise OptionRefused(problem)
    given = {"cmd": cmd, **({} if args is None else {"args": args}), **options}
    values = _all_from_wire({key: value for key, value in given.items() if key != "name"})
    if values.get("use_sockets"):
        raise OptionRefused(f"'use_sockets' {SOCKETS_OF_A_FILE}")
    _refuse_first(rule_problems(values))
    return WatcherSpec(**sealed({"name": name, **values}, vault))


def _all_from_wire(
    options: Mapping[str, object], current: WatcherSpec | None = None
) -> dict[str, Any]:
    """What has no effect in Circus either is accepted and left out. One option of a stream changes
    what `current` says of that stream."""
    others, streams = gather(options)
    values = {
        name: _from_wire(name, value)
        for name, value in others.items()
        if name in OPTIONS or not is_without_effect(name, value)
    }
    for name, parts in streams.items():
        whole = isinstance(options.get(name), Mapping) or current is None
        before = {} if whole else getattr(current, name)
        values[name], faults = stream_of(name, {**before, **parts}, "library")
        for option, text in faults:
            raise OptionRefused(f"{option!r} {text}")
    return values


def _from_wire(name: str, value: object) -> Any:
    later = later_option(name, value)
    if later is not None:
        raise OptionRefused(later)
    if name not in OPTIONS or name in DERIVED:
        raise OptionRefused(f"unknown key {name!r}")
    try:
        return structure_option(name, value, "library")
    except Unfit as error:
        raise OptionRefused(f"{name!r} {error.circus}") from error


def _refuse_first(problems: list[tuple[str, str]]) -> None:
    for option, text in problems:
        raise OptionRefused(f"{option!r} {text}")
