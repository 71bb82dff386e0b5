"""Room: arbiter -- questions: answered from the projection, never recorded.

Knows:     the projection, bus.spec, process.probe at first use.
Known by:  the gateway, the library.
Never:     asks an actor, waits, changes anything.

Reply fields are Circus's (CIRCUS.md, 3.4), so that its scripts read ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attr

from circus.arbiter.projection import Projection, WatcherView
from circus.arbiter.verbs import Refusal
from circus.bus.spec import OPTIONS

Properties = Mapping[str, Any]
Fields = Mapping[str, Any]


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Sources:
    """Where answers come from. `settings` are those of `[circus]`; `probe` reads processes."""

    projection: Projection
    settings: Mapping[str, Any]
    probe: Callable[[int], Mapping[str, Any] | None]
    show: Callable[[str, Any], Any]
    core_pid: int


def answer(command: str, properties: Properties, sources: Sources) -> Fields | None:
    """The reply's fields; None if this is no question."""
    query = QUERIES.get(command)
    return None if query is None else query(properties, sources)


def is_slow(command: str) -> bool:
    """Whether the answer reads /proc and should not hold the sequencer up."""
    return command in {"stats", "dstats"}


def _view(properties: Properties, sources: Sources) -> WatcherView:
    name = properties["name"]
    view = sources.projection.watchers.get(name.lower()) if isinstance(name, str) else None
    if view is None:
        raise Refusal(f"program {name} not found")
    return view


def _list(properties: Properties, sources: Sources) -> Fields:
    if properties.get("name") is None:
        return {"watchers": sources.projection.names()}
    return {"pids": _view(properties, sources).pids}


def _status(properties: Properties, sources: Sources) -> Fields:
    projection = sources.projection
    if properties.get("name") is not None:
        view = _view(properties, sources)
        return {"status": view.status, **({"reason": view.reason} if view.reason else {})}
    views = [projection.watchers[name] for name in projection.names()]
    core = projection.core
    return {
        "statuses": {view.name: view.status for view in views},
        "reasons": {view.name: view.reason for view in views if view.reason},
        "keeper": {"pid": core.keeper_pid if core else 0},
        "core": {"pid": sources.core_pid, "incarnation": projection.incarnation},
    }


def _numprocesses(properties: Properties, sources: Sources) -> Fields:
    if properties.get("name") is None:
        return {"numprocesses": sources.projection.numprocesses()}
    view = _view(properties, sources)
    return {"numprocesses": len(view.pids), "watcher_name": properties["name"]}


def _numwatchers(_properties: Properties, sources: Sources) -> Fields:
    return {"numwatchers": len(sources.projection.watchers)}


def _options(properties: Properties, sources: Sources) -> Fields:
    view = _named(properties, sources)
    return {"options": {name: _shown(view, name, sources) for name in OPTIONS if name != "name"}}


def _get(properties: Properties, sources: Sources) -> Fields:
    view = _named(properties, sources)
    keys = properties.get("keys")
    if not isinstance(keys, list | tuple):
        raise Refusal("message invalid 'keys' is missing")
    for key in keys:
        if key not in OPTIONS or key == "name":
            raise Refusal(f"{key!r} option not found")
    return {"options": {key: _shown(view, key, sources) for key in keys}}


def _named(properties: Properties, sources: Sources) -> WatcherView:
    if properties.get("name") is None:
        raise Refusal("message invalid 'name' is missing")
    return _view(properties, sources)


def _shown(view: WatcherView, name: str, sources: Sources) -> Any:
    value = getattr(view.spec, name)
    # Only the names of environment variables are anybody's business (RELIABILITY.md, 7.6).
    return sorted(value) if name == "env" else sources.show(name, value)


def _globaloptions(properties: Properties, sources: Sources) -> Fields:
    option = properties.get("option")
    if option is None:
        return {"options": dict(sources.settings)}
    if option not in sources.settings:
        raise Refusal(f"{option!r} option not found")
    return {"options": {option: sources.settings[option]}}


def _stats(properties: Properties, sources: Sources) -> Fields:
    if properties.get("name") is None:
        views = [sources.projection.watchers[name] for name in sources.projection.names()]
        return {"infos": {view.name.lower(): _infos(view, sources) for view in views}}
    view = _view(properties, sources)
    pid = properties.get("process")
    if pid is None:
        return {"name": properties["name"], "info": _infos(view, sources)}
    info = _infos(view, sources).get(str(pid))
    if info is None:
        raise Refusal(f"process {pid} not found in {view.name!r}")
    return {"process": pid, "info": info}


def _infos(view: WatcherView, sources: Sources) -> dict[str, Any]:
    infos: dict[str, Any] = {}
    for process in list(view.processes.values()):
        info = sources.probe(process.pid) if process.pid else None
        if info is not None:
            started = process.started_wall / 1e9
            infos[str(process.pid)] = {**info, "started": started, "wid": process.slot}
    return infos


def _dstats(_properties: Properties, sources: Sources) -> Fields:
    return {"info": {**(sources.probe(sources.core_pid) or {}), "children": []}}


QUERIES: Final[Mapping[str, Callable[[Properties, Sources], Fields]]] = {
    "list": _list,
    "status": _status,
    "numprocesses": _numprocesses,
    "numwatchers": _numwatchers,
    "options": _options,
    "get": _get,
    "globaloptions": _globaloptions,
    "stats": _stats,
    "dstats": _dstats,
}
