"""Room: tests -- circusd's command line: what it says and how it exits when it starts nothing.

Knows:     circus.circusd, circus.pidfile.
Known by:  pytest.
Never:     starts a daemon.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from circus.circusd import CannotStart, check_other_circus, check_platform, main
from circus.pidfile import Pidfile

NOBODY = 65534
GOOD = '[watcher.a]\ncmd = "x"\nnumprocesses = 2\n'


def test_check_prints_a_summary_and_exits_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A good file: how many watchers and processes, and which.
    """
    path = written(tmp_path, GOOD)
    assert 0 == main(["--check", path])
    expected = f"{path}: good, 1 watcher, 2 processes\n  a: 2 x x\n"
    assert (expected, "") == capsys.readouterr()


def test_check_prints_every_problem_and_exits_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    EX_CONFIG; nothing is made.
    """
    path = written(tmp_path, "[circus]\nx = 1\ny = 2\n")
    assert 78 == main(["--check", "--state-dir", str(tmp_path / "s"), path])
    errors = capsys.readouterr().err.splitlines()
    assert [f"{path}:2:", f"{path}:3:", "circusd:"] == [line.split(" ")[0] for line in errors]
    assert "circusd: 2 problems, nothing started" == errors[-1]
    assert ["circus.toml"] == os.listdir(tmp_path)


@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_a_file_that_is_not_there_exits_66(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    EX_NOINPUT, and nothing is made.
    """
    path = str(tmp_path / "gone.toml")
    assert 66 == main([*flags, "--state-dir", str(tmp_path / "s"), path])
    expected = f"circusd: cannot read {path}: no such file or directory\n"
    assert ("", expected) == capsys.readouterr()
    assert [] == os.listdir(tmp_path)


@contextmanager
def not_root() -> Generator[None]:
    """As a user who may not read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="circus-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("main.toml", "circusd: cannot read {0}/main.toml: permission denied\n"),
        (
            "more.toml",
            "{0}/main.toml:1: [circus] include: cannot read {0}/more.toml: permission denied; "
            "make it readable or remove it\ncircusd: 1 problem, nothing started\n",
        ),
    ],
)
def test_a_file_that_may_not_be_read_exits_66(
    open_folder: Path, capsys: pytest.CaptureFixture[str], secret: str, said: str
) -> None:
    """
    EX_NOINPUT with one sentence and the place, for the configuration and for what it includes.
    """
    main_file, more = open_folder / "main.toml", open_folder / "more.toml"
    main_file.write_text('circus.include = ["more.toml"]\n', encoding="utf-8")
    more.write_text(GOOD, encoding="utf-8")
    assert 0 == main(["--check", str(main_file)])  # also loads what another user could not
    capsys.readouterr()
    (open_folder / secret).chmod(0)
    with not_root():
        code = main(["--check", str(main_file)])
    assert 66 == code
    assert ("", said.format(open_folder)) == capsys.readouterr()


@pytest.mark.parametrize("argv", [[], ["--nonsense", "a.ini"], ["a.ini", "b.ini"], ["--che", "a"]])
def test_wrong_usage_exits_64(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    EX_USAGE with the usage.
    """
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert 64 == caught.value.code
    assert "circusd: cannot understand the arguments: " in capsys.readouterr().err


def test_insecure_tcp_is_a_flag(tmp_path: Path) -> None:
    """
    Refused without it.
    """
    path = written(tmp_path, '[circus]\nendpoint = "tcp://127.0.0.1:1"\n')
    assert (78, 0) == (main(["--check", path]), main(["--check", "--insecure-tcp", path]))


def test_a_state_directory_that_cannot_be_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    EX_CANTCREAT.
    """
    path = written(tmp_path, GOOD)
    assert 73 == main(["--state-dir", path, path])
    assert "it is not a directory" in capsys.readouterr().err


def test_a_live_stranger_in_the_pid_file_is_respected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Circus's text; the file stays.
    """
    path, pidfile = written(tmp_path, GOOD), tmp_path / "pid"
    pidfile.write_text(f"{os.getppid()}\n")
    state = str(tmp_path / "s")
    assert 73 == main(["--state-dir", state, "--pidfile", str(pidfile), path])
    assert f"pid file '{pidfile}' is stale, current pid {os.getppid()}" in capsys.readouterr().err
    assert f"{os.getppid()}\n" == pidfile.read_text()


@pytest.mark.parametrize("content", [None, "", "nonsense", "0"])
def test_a_pid_file_without_a_live_process_is_replaced(tmp_path: Path, content: str | None) -> None:
    """
    No file, no number, nobody; and it is removed at the end.
    """
    path = tmp_path / "pid"
    if content is not None:
        path.write_text(content)
    pidfile = Pidfile(str(path))
    pidfile.create(os.getpid())
    assert (f"{os.getpid()}\n", 0o644) == (path.read_text(), path.stat().st_mode & 0o777)
    pidfile.unlink()
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("release", ["5.3.18", "4.19.0-amd64"])
def test_an_old_kernel_is_refused(release: str) -> None:
    """
    pidfd needs 5.4.
    """
    with pytest.raises(CannotStart, match=r"it needs 5\.4 or newer") as caught:
        check_platform("linux", release)
    assert 69 == caught.value.code


@pytest.mark.parametrize("release", ["5.4", "5.4.0-1-generic", "6.1.0", "10.0", "odd"])
def test_a_new_kernel_is_good(release: str) -> None:
    """
    A name that says no number is no reason to refuse.
    """
    check_platform("linux", release)


def test_another_system_is_refused() -> None:
    """
    With a sentence.
    """
    with pytest.raises(CannotStart, match="cannot run on darwin: it needs Linux"):
        check_platform("darwin", "22.0")


@pytest.mark.parametrize("name", ["circus-0.19.0.dist-info", "circus-0.12.egg-info"])
def test_the_other_circus_is_noticed(tmp_path: Path, name: str) -> None:
    """
    Both own the same import package.
    """
    (tmp_path / name).mkdir()
    with pytest.raises(CannotStart, match="cannot run while PyPI's circus is installed too"):
        check_other_circus(["/nowhere", str(tmp_path)])


def test_relatives_of_the_other_circus_are_not_it(tmp_path: Path) -> None:
    """
    Our own distribution and circus-web's.
    """
    for name in ("circus_ledger-0.1.0.dist-info", "circus_web-1.0.dist-info", "circus"):
        (tmp_path / name).mkdir()
    check_other_circus([str(tmp_path)])


def test_what_becomes_the_keeper_has_loaded_the_standard_library_only() -> None:
    """
    msgpack comes with the keeper's own modules; attrs, zmq and the configuration never.
    """
    program = (
        "import sys; before = set(sys.modules); import circus.circusd\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\n"
        "print(sorted(name for name in sys.modules if name.startswith('circus.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    own = ["circus.circusd", "circus.pidfile", "circus.places"]
    assert f"['circus']\n{own}\n" == done.stdout


def test_reading_the_arguments_loads_no_compressor() -> None:
    """
    argparse asks shutil for the terminal's width, unless it is told; the keeper would keep that.
    """
    program = (
        "import sys; from circus.circusd import parsed; parsed(['c.toml'])\n"
        "print(sorted({'shutil', 'bz2', 'lzma'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", program]
    assert "[]\n" == subprocess.run(run, capture_output=True, text=True, check=True).stdout


def written(folder: Path, text: str) -> str:
    """A configuration file."""
    path = folder / "circus.toml"
    path.write_text(text)
    return str(path)
