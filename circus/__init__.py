"""Room: front -- the public names of the package, each imported when it is first asked for.

Knows:     nothing until a name is asked for (PEP 562).
Known by:  users.
Never:     imports anything at import time: the keeper, a few milliseconds old, passes here too.
"""

TYPE_CHECKING = False  # typing's own constant would cost the keeper an import of typing
if TYPE_CHECKING:
    from logging import Logger

    from circus.arbiter.library import get_arbiter
    from circus.bus.subscribe import subscribe

    logger: Logger

__version__ = "0.1.0"
__all__ = ["__version__", "get_arbiter", "logger", "subscribe"]

_HOMES = {
    "get_arbiter": "circus.arbiter.library",
    "subscribe": "circus.bus.subscribe",
}


def __getattr__(name: str) -> object:
    if name == "logger":
        import logging

        value: object = logging.getLogger("circus")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'circus' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
