"""A served ledger for the command line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load() -> ModuleType:
    """tests/ is no package, so that the module beside it is loaded by its place."""
    if "tests_served" in sys.modules:
        return sys.modules["tests_served"]
    place = Path(__file__).parent.parent / "served.py"
    spec = importlib.util.spec_from_file_location("tests_served", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests_served"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serve(state_dir: Path) -> Iterator[Callable[..., Any]]:
    """Makes served ledgers under one state directory; they are ended with the test."""
    module = _load()
    made: list[Any] = []

    def make(ledger: Any = None, log_id: bytes = module.LOG_ID) -> Any:
        made.append(module.Served(state_dir, ledger or module.ListLedger(log_id)))
        return made[-1]

    yield make
    for served in made:
        served.close()
