"""Room: tests -- a compiled configuration answers only for what it was made of.

Knows:     circus.arbiter.config_cache, circus.arbiter.config_docs.
Known by:  pytest.
Never:     measures time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from circus.arbiter.config import Config, load
from circus.arbiter.config_cache import load_cached
from circus.arbiter.config_docs import page
from circus.arbiter.config_problems import ConfigProblems
from circus.bus.vault import Vault

ROOT = Path(__file__).parents[2]
TEXT = """
[circus]
include = ["more*.toml"]
[watcher.a]
cmd = "x $(circus.env.Who)"
env.A = "$WHAT"
"""


def test_a_second_start_answers_the_same(tmp_path: Path) -> None:
    """
    Also what is in the vault.
    """
    main, vault = start(tmp_path), Vault.in_memory()
    first = cached(tmp_path, {"WHO": "me", "WHAT": "it"}, vault=vault)
    second = cached(tmp_path, {"WHO": "me", "WHAT": "it", "OTHER": "1"}, vault=vault)
    assert first == second == load(str(main), {"WHO": "me", "WHAT": "it"}, vault=vault)
    assert {"A": "it"} == vault.reveal_all(second.watchers[0].env)


def test_whatever_it_depends_on_is_noticed(tmp_path: Path) -> None:
    """
    A variable of either case, an include that comes or changes, the file itself.
    """
    main, vault, seen = start(tmp_path), Vault.in_memory(), []
    for who, what in (("me", "it"), ("you", "it"), ("you", "that")):
        seen.append(cached(tmp_path, {"who": who, "WHAT": what}, vault=vault).digest)
    for text in ('[watcher.b]\ncmd = "y"', '[watcher.b]\ncmd = "z"'):
        (tmp_path / "more.toml").write_text(text)
        seen.append(cached(tmp_path, {}, vault=vault).digest)
    main.write_text(TEXT.replace("cmd", "numprocesses = 2\ncmd"))
    seen.append(cached(tmp_path, {}, vault=vault).digest)
    assert len(seen) == len(set(seen))


def test_a_cache_without_its_vault_is_not_used(tmp_path: Path) -> None:
    """
    The digests would stand for nothing.
    """
    start(tmp_path)
    cached(tmp_path, {"WHAT": "it"}, vault=Vault.in_memory())
    fresh = Vault.in_memory()
    config = cached(tmp_path, {"WHAT": "it"}, vault=fresh)
    assert {"A": "it"} == fresh.reveal_all(config.watchers[0].env)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", b"\x90"])
def test_a_damaged_cache_is_read_past(tmp_path: Path, content: bytes) -> None:
    """
    The files say what holds.
    """
    start(tmp_path)
    (tmp_path / "cache").write_bytes(content)
    assert ["a"] == [spec.name for spec in cached(tmp_path, {}, vault=Vault.in_memory()).watchers]


def test_a_bad_file_is_not_hidden_by_a_good_cache(tmp_path: Path) -> None:
    """
    A change for the worse is told.
    """
    main, vault = start(tmp_path), Vault.in_memory()
    cached(tmp_path, {}, vault=vault)
    main.write_text("[circus]\nx = 1")
    with pytest.raises(ConfigProblems):
        cached(tmp_path, {}, vault=vault)


def test_a_compiled_configuration_needs_no_parser(tmp_path: Path) -> None:
    """
    tomllib is not imported on the way to the first worker.
    """
    start(tmp_path)
    vault = Vault.open(str(tmp_path / "vault"))
    cached(tmp_path, {}, vault=vault)
    vault.save()
    program = (
        "import sys\n"
        "from circus.arbiter.config_cache import load_cached\n"
        "from circus.bus.vault import Vault\n"
        "main, vault, cache = sys.argv[1:]\n"
        "load_cached(main, {}, vault=Vault.open(vault), cache=cache)\n"
        "print(sorted({'tomllib', 'difflib', 'zmq'} & set(sys.modules)))"
    )
    paths = [str(tmp_path / name) for name in ("main.toml", "vault", "cache")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )
    assert "[]" == done.stdout.strip()


def test_the_page_of_options_is_current() -> None:
    """
    Print it again with `python -m circus.arbiter.config_docs > docs/options.md`.
    """
    assert page() == (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


def start(folder: Path) -> Path:
    """A configuration that depends on variables and includes."""
    main = folder / "main.toml"
    main.write_text(TEXT)
    return main


def cached(folder: Path, environ: Mapping[str, str], *, vault: Vault) -> Config:
    """Load it through its cache."""
    path = os.fspath(folder / "main.toml")
    return load_cached(path, environ, vault=vault, cache=os.fspath(folder / "cache"))
