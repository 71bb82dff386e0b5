"""The built distribution, installed in a fresh environment: what a user gets is what we tested."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import circus

ROOT: Final = Path(__file__).parent.parent
LEFT_BEHIND: Final = {".git", ".venv", "build", "dist"}
SECONDS_MAX: Final = 240

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Built(NamedTuple):
    """Both archives, and the interpreter of an environment in which the wheel is installed."""

    tree: Path
    sdist: Path
    wheel: Path
    python: Path


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """The command's standard output; its words are in the failure if it fails."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS_MAX
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """
    Build the sdist, the wheel from it, and a fresh environment with the wheel.

    The libraries come from this environment by a path file, which does not carry over its own
    path files: our editable install is not visible, and no network is needed.
    """
    place = tmp_path_factory.mktemp("wheel")
    dist = place / "dist"
    tree = place / "tree"
    _export(tree)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, tree, cwd=place)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    venv.create(place / "env", with_pip=False, symlinks=True)
    python = place / "env/bin/python"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, wheel)
    (site,) = (place / "env/lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return Built(tree, sdist, wheel, python)


def _export(tree: Path) -> None:
    """The files that git would commit, so that no left-over of an earlier build is packed."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        source, target = ROOT / name, tree / name
        if Path(name).parts[0] in LEFT_BEHIND or not (source.is_symlink() or source.exists()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())


def modules(tree: Path) -> set[str]:
    """Every module of the package, as it is called inside an archive."""
    rooms = [path for path in (tree / "circus").iterdir() if path.is_dir()]
    found = list((tree / "circus").glob("*.py"))
    found += [path for room in rooms for path in room.rglob("*.py")]
    return {str(path.relative_to(tree)) for path in found}


def parts_of_pages(tree: Path) -> set[str]:
    """What `circus-replay timeline` makes its page of."""
    found = (tree / "circus/replay/pictures").glob("page*.*")
    return {str(path.relative_to(tree)) for path in found}


def test_the_wheel_holds_every_module_and_nothing_else(built: Built) -> None:
    """
    The rooms are under `circus/` as real files, once, with the parts of the timeline's page; no
    test and no top-level `bus` is packed.
    """
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    pages = parts_of_pages(built.tree)
    assert 5 == len(pages)
    assert modules(built.tree) | pages | {"circus/py.typed"} == names


def test_the_source_distribution_holds_files_and_no_links(built: Built) -> None:
    """
    An sdist unpacks anywhere: every module under `circus/` is a regular file with its content.
    """
    with tarfile.open(built.sdist) as archive:
        top = built.sdist.name.removesuffix(".tar.gz")
        members = {m.name.removeprefix(f"{top}/"): m for m in archive.getmembers()}
    assert [] == sorted(
        name for name in modules(built.tree) if name not in members or not members[name].isreg()
    )


def test_the_licence_is_in_the_wheel(built: Built) -> None:
    """
    Apache-2.0 asks that its text and the NOTICE go along.
    """
    with zipfile.ZipFile(built.wheel) as archive:
        names = {Path(name).name for name in archive.namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_package_comes_from_the_wheel(built: Built, tmp_path: Path) -> None:
    """
    In the fresh environment `circus` is the installed one, with this version.
    """
    script = "import circus, circus.bus.names; print(circus.__version__, circus.__file__)"
    version, file = run(built.python, "-c", script, cwd=tmp_path).split()
    assert circus.__version__ == version
    assert Path(file).is_relative_to(built.python.parent.parent)


@pytest.mark.skipif(
    not (ROOT / "arbiter/library.py").exists(),
    reason="the library comes with circus.arbiter.library",
)
def test_the_library_is_imported_as_documented(built: Built, tmp_path: Path) -> None:
    """
    `from circus import get_arbiter`, the first line of Circus's documentation.
    """
    script = "from circus import get_arbiter; print(callable(get_arbiter))"
    assert "True" == run(built.python, "-c", script, cwd=tmp_path).strip()


def test_the_kit_for_users_is_found_by_pytest(built: Built, tmp_path: Path) -> None:
    """
    The plugin is an entry point of the wheel: a test that asks for a `world` has one.
    """
    test = 'def test_one(world):\n    world.given_watchers([{"name": "web", "cmd": "web"}])\n'
    test += '    world.expect("watcher.started", watcher="web").within(1)\n'
    (tmp_path / "test_shop.py").write_text(test, encoding="utf-8")
    assert "1 passed" in run(built.python, "-m", "pytest", "-q", cwd=tmp_path)


@pytest.mark.parametrize(
    ("program", "option", "said"),
    [
        ("circusd", "--version", circus.__version__),
        ("circusctl", "--help", "Usage"),
        ("circus-replay", "--help", "verify"),
    ],
)
def test_the_programs_are_installed_and_answer(
    built: Built, tmp_path: Path, program: str, option: str, said: str
) -> None:
    """
    All console scripts run in the fresh environment.
    """
    output = run(built.python.with_name(program), option, cwd=tmp_path)
    assert said.lower() in output.lower()
