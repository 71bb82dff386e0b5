"""Room: front -- the pytest plugin: the fixture `world`, its seed, and what a failure says.

Knows:     pytest; the world once a test asks for one.
Known by:  pytest, by the entry point `pytest11`.
Never:     imports anything of ours for a test that has no world.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from circus.testing.world import World

SEED_BYTES: Final = 4
RANDOM: Final = "random"
SESSION_SEED: Final = pytest.StashKey[int]()
WORLD: Final = pytest.StashKey["World"]()
FAILED: Final = pytest.StashKey[bool]()
TELLS_ITSELF: Final = ("NotMet", "Unwanted")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--circus-seed`."""
    parser.getgroup("circus").addoption(
        "--circus-seed", metavar="N|random", default=None,
        help="the seed of every `world`, instead of each test's own; random: a fresh one",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and the session's seed if one is asked for."""
    config.addinivalue_line(
        "markers", "seed(*numbers): run the test once for each of these seeds of its `world`"
    )
    asked = config.getoption("--circus-seed")
    if asked is None:
        return
    if asked == RANDOM:
        config.stash[SESSION_SEED] = int.from_bytes(os.urandom(SEED_BYTES), "big")
        config.option.circus_seed = str(
            config.stash[SESSION_SEED]
        )  # pytest-xdist's workers copy it
    elif asked.isdecimal():
        config.stash[SESSION_SEED] = int(asked)
    else:
        raise pytest.UsageError(f"cannot use --circus-seed={asked}: give a number or `random`")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which seed, if it is one for all."""
    seed = config.stash.get(SESSION_SEED, None)
    return None if seed is None else f"circus seed: {seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed of the marker."""
    if "circus_seed" not in metafunc.fixturenames or SESSION_SEED in metafunc.config.stash:
        return
    seeds = [seed for mark in metafunc.definition.iter_markers("seed") for seed in _flat(mark.args)]
    if seeds:
        names = [f"seed={seed}" for seed in seeds]
        metafunc.parametrize("circus_seed", seeds, indirect=True, ids=names)


@pytest.fixture
def circus_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test: of the command line, of the marker, or made of the test's name."""
    session = request.config.stash.get(SESSION_SEED, None)
    if session is not None:
        return session
    if hasattr(request, "param"):
        return int(request.param)
    digest = blake2b(request.node.nodeid.encode(), digest_size=SEED_BYTES).digest()
    return int.from_bytes(digest, "big")


@pytest.fixture
def world(request: pytest.FixtureRequest, circus_seed: int) -> Iterator[World]:
    """A simulated machine without a configuration yet; relative paths begin beside the test.

    After a test that passed, its whole ledger is read, folded and decided again.
    """
    from circus.testing.world import World

    name = request.node.nodeid.replace(f"[seed={circus_seed}]", "")
    repeat = f"pytest {shlex.quote(name)} --circus-seed={circus_seed}"
    made = World(circus_seed, directory=request.path.parent, repeat=repeat)
    request.node.stash[WORLD] = made
    yield made
    if not request.node.stash.get(FAILED, False):
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """To a failure: the seed, the command that repeats it, and the story, unless it is told."""
    report = yield
    made = item.stash.get(WORLD, None)
    if made is not None and report.failed:
        item.stash[FAILED] = True
        told = call.excinfo is not None and call.excinfo.type.__name__ in TELLS_ITSELF
        report.sections.append(("circus world", made.last_words(with_story=not told)))
    return report


def _flat(numbers: Iterable[Any]) -> Iterator[int]:
    for number in numbers:
        if isinstance(number, Iterable):
            yield from _flat(number)
        else:
            yield int(number)
