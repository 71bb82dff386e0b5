"""Room: front -- the kit for users: their configurations, programs, services in a world.

Knows:     nothing until a name is asked for (PEP 562): the pytest plugin passes here.
Known by:  users' tests; docs/testing.md is its page.
Never:     is imported by the product.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost every pytest run an import of typing
if TYPE_CHECKING:
    from circus.replay.kernel.scripts import NotExecutable, Script
    from circus.replay.kernel.spawn import KernelWeather
    from circus.replay.sim.disk_weather import DiskWeather
    from circus.testing.expecting import NotMet, Unwanted
    from circus.testing.programs import Life, Plot
    from circus.testing.world import World, given_config

__all__ = [
    "DiskWeather", "KernelWeather", "Life", "NotExecutable", "NotMet", "Plot", "Script", "Unwanted",
    "World", "given_config",
]  # fmt: skip

_HOMES = {
    "DiskWeather": "circus.replay.sim.disk_weather",
    "KernelWeather": "circus.replay.kernel.spawn",
    "Life": "circus.testing.programs",
    "NotExecutable": "circus.replay.kernel.scripts",
    "NotMet": "circus.testing.expecting",
    "Plot": "circus.testing.programs",
    "Script": "circus.replay.kernel.scripts",
    "Unwanted": "circus.testing.expecting",
    "World": "circus.testing.world",
    "given_config": "circus.testing.world",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
