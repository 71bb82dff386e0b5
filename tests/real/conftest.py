"""Fixtures: a real daemon that is ended, and whose ledger is judged, whatever the test does."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    """tests/ is no package, so that the modules beside this one are loaded by their place."""
    full = f"tests_real_{name}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


_load("laws")
_daemon = _load("daemon")


@pytest.fixture
def launch(reaped: Any, look_at: Callable[[Path], None]) -> Iterator[Callable[..., Any]]:
    """`launch(config)` makes a daemon on a state directory of its own; `start` it.

    It is ended with the test, by pid; what it leaves behind then is the test's fault.
    """
    made: list[Any] = []

    def make(config: str, *, suffix: str = ".toml") -> Any:
        place = Path(tempfile.mkdtemp(prefix="circus-", dir="/tmp"))
        made.append(_daemon.Daemon(place, config, suffix=suffix))
        return made[-1]

    yield make
    try:
        for daemon in made:
            daemon.close()
            look_at(daemon.state_dir)
    finally:
        for daemon in made:
            shutil.rmtree(daemon.state_dir)


@pytest.fixture
def grown() -> Any:
    """`grown(pid, count)` gives the children of a worker once they are there."""
    return _daemon.Grown()


@pytest.fixture
def written() -> Any:
    """`written(path)` gives what a worker has written, once it has."""
    return _daemon.written
