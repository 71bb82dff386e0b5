"""What the package offers: each name resolves, and nothing is loaded that was not asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

import pytest

FRONTS: Final = (
    "circus", "circus.bus", "circus.arbiter", "circus.watcher", "circus.process", "circus.testing",
)  # fmt: skip
HEAVY: Final = {
    "zmq",
    "msgpack",
    "attr",
    "click",
    "rich",
    "structlog",
    "psutil",
    "typing",
}


def offered() -> list[tuple[str, str]]:
    """Every public name of a front whose home is a module that exists."""
    names: list[tuple[str, str]] = []
    for front in FRONTS:
        module = importlib.import_module(front)
        names += [(front, name) for name in getattr(module, "__all__", ())]
    return names


@pytest.mark.parametrize(("front", "name"), offered())
def test_a_public_name_can_be_imported(front: str, name: str) -> None:
    """
    What `__all__` lists is there when it is asked for.
    """
    assert getattr(importlib.import_module(front), name) is not None


@pytest.mark.parametrize("front", FRONTS)
def test_an_unknown_name_is_an_attribute_error(front: str) -> None:
    """
    A lazy front refuses what it does not have as any module does, and names itself.
    """
    with pytest.raises(AttributeError, match=front.replace(".", r"\.")):
        _ = importlib.import_module(front).no_such_name


@pytest.mark.real
@pytest.mark.parametrize("front", ["circus", "circus.bus", "circus.process"])
def test_a_front_loads_nothing_until_asked(front: str) -> None:
    """
    The keeper passes through the package's fronts on its way: they import no library.
    """
    script = f"import sys; old = set(sys.modules); import {front}; print(*set(sys.modules) - old)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert set() == {name.partition(".")[0] for name in loaded} & HEAVY


@pytest.mark.real
@pytest.mark.skipif(find_spec("circus.process.keeper") is None, reason="the keeper is not built in")
def test_the_keeper_loads_the_standard_library_msgpack_and_itself() -> None:
    """
    The keeper is tiny: no zmq, no vocabulary, no policy (DESIGN 7).
    """
    script = "import sys; import circus.process.keeper; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    foreign = {
        name.partition(".")[0]
        for name in loaded
        if name.partition(".")[0] not in sys.stdlib_module_names
    }
    # What the interpreter's own start brings in (.pth files of the environment) is not ours.
    brought = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    foreign -= {name.partition(".")[0] for name in brought}
    assert foreign <= {"circus", "msgpack"}
    rooms = {name for name in loaded if name.startswith("circus.") and name.count(".") > 1}
    assert {"circus.process"} == {name.rpartition(".")[0] for name in rooms}
