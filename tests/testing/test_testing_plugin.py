"""Room: tests -- the pytest plugin of circus.testing, run as a user's pytest runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SECONDS_MAX: Final = 280
WEB: Final = '[{"name": "web", "cmd": "web"}]'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Project:
    """A directory with one test file in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, text: str, *arguments: str) -> str:
        """What pytest prints about a file of this text."""
        (self._directory / "test_shop.py").write_text(text, encoding="utf-8")
        (self._directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments],
            cwd=self._directory, capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
        )  # fmt: skip
        return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A user's project."""
    return Project(tmp_path)


SEEDS: Final = """
import pytest

def test_of_its_name(world):
    assert world.seed == 0

@pytest.mark.seed(3, range(5, 7))
def test_of_the_marker(world):
    print("seed", world.seed)
"""


def test_seeds_come_from_the_name_or_the_marker(project: Project) -> None:
    """
    A test has a seed of its own, the same each time; the marker makes a test of each number.
    """
    first, second = project.run(SEEDS, "-rA"), project.run(SEEDS, "-rA")

    for seed in (3, 5, 6):
        assert f"PASSED test_shop.py::test_of_the_marker[seed={seed}]" in first
    assert "1 failed, 3 passed" in first
    (line,) = [line for line in first.splitlines() if line.startswith("seed") and "again" in line]
    assert line in second


def test_a_failure_shows_the_command_that_repeats_it(project: Project) -> None:
    """
    Seed, story and command line; that command line has the same seed and no parameter.
    """
    text = f"""
import pytest

@pytest.mark.seed(41)
def test_that_fails(world):
    world.given_watchers({WEB})
    world.run_for(1)
    assert world.workers("web") == ()
"""
    shown = project.run(text)

    assert "seed 41; again: pytest test_shop.py::test_that_fails --circus-seed=41" in shown
    assert "web is active" in shown
    again = project.run(text, "test_shop.py::test_that_fails", "--circus-seed=41")
    assert "seed 41; again: pytest test_shop.py::test_that_fails --circus-seed=41" in again
    assert "circus seed: 41" in again


def test_a_seed_of_the_command_line_is_for_all_tests(project: Project) -> None:
    """
    It takes the place of markers; `random` draws one and says which.
    """
    shown = project.run(SEEDS, "-rA", "--circus-seed=0")
    assert "2 passed" in shown
    assert "circus seed: 0" in shown
    assert "circus seed: " in project.run(SEEDS, "--circus-seed=random")
    assert "cannot use --circus-seed=x" in project.run(SEEDS, "--circus-seed=x")


def test_an_expectation_left_unasked_fails_the_test(project: Project) -> None:
    """
    At the end of a test that has passed otherwise.
    """
    text = f"""
def test_that_asks_nothing(world):
    world.given_watchers({WEB})
    world.expect("watcher.failed")
"""
    shown = project.run(text)

    assert "1 passed, 1 error" in shown
    assert "add .within(seconds)" in shown


def test_paths_begin_beside_the_test(project: Project, tmp_path: Path) -> None:
    """
    Wherever pytest was started.
    """
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/shop.toml").write_text('[watcher.web]\ncmd = "web"\n', encoding="utf-8")
    test = 'def test_one(world):\n    world.given_config("shop.toml")\n'
    (tmp_path / "sub/test_sub.py").write_text(test, encoding="utf-8")

    assert "1 passed" in project.run("", "sub/test_sub.py")


def test_the_plugin_loads_nothing_for_tests_without_a_world(project: Project) -> None:
    """
    It costs nothing when unused: neither the simulator nor the product is imported.
    """
    text = """
import sys

def test_of_somebody_else():
    ours = sorted(name for name in sys.modules if name.split(".")[0] == "circus")
    assert ours == ["circus", "circus.testing", "circus.testing.plugin"]
"""
    assert "1 passed" in project.run(text)
