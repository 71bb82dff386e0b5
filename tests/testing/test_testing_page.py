"""Room: tests -- docs/testing.md: each Python block is a test file, run as a user would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
BLOCK: Final = re.compile(r"^```(?:python|toml) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README_TEST: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README_CONFIG: Final = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS_MAX: Final = 280

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run_pytest(directory: Path) -> subprocess.CompletedProcess[str]:
    """As a user would, in a directory that knows nothing of ours."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=directory, capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
    )  # fmt: skip


def test_every_block_of_the_page_is_a_test_that_passes(tmp_path: Path) -> None:
    """
    What a reader copies from the page runs, with the configuration that the page shows.
    """
    text = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    for name, block in blocks:
        (tmp_path / name).write_text(block, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(blocks) == text.count("```python") + text.count("```toml")


def test_what_the_readme_shows_passes(tmp_path: Path) -> None:
    """
    The few lines of the README, with its own `hello.toml`.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (test,) = [block for block in README_TEST.findall(text) if "(world)" in block]
    (config,) = README_CONFIG.findall(text)
    (tmp_path / "test_hello.py").write_text(test, encoding="utf-8")
    (tmp_path / "hello.toml").write_text(config, encoding="utf-8")

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_worked_examples_find_what_they_say() -> None:
    """
    Each shows the bug in the bad version, and its absence in the mended one.
    """
    done = run_pytest(ROOT / "examples/testing")

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
