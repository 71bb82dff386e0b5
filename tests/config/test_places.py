"""Room: tests -- directories: names, modes, limits, and who runs where.

Knows:     circus.places.
Known by:  pytest.
Never:     touches the real state directories.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.places import (
    PlaceError,
    Places,
    identity_of,
    is_locked,
    library_start,
    places_in,
    prepare,
    prepare_state,
    run_root,
    running_in,
    state_root,
)


def test_a_state_directory_has_everything_under_it(tmp_path: Path) -> None:
    """
    ledger, lock, vault, run/ctl.sock, run/events.sock; private to us.
    """
    state = str(tmp_path / "s")
    places = prepare(state, "any.toml", {})
    assert Places(state, f"{state}/run") == places
    assert [f"{state}/ledger", f"{state}/lock", f"{state}/run/ctl.sock"] == [
        places.ledger, places.lock, places.ctl,
    ]  # fmt: skip
    assert f"ipc://{state}/run/events.sock" == places.events_endpoint
    assert [0o700] * 3 == [os.stat(p).st_mode & 0o777 for p in (state, places.run, places.ledger)]


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    """
    A restart finds its directories.
    """
    first = prepare_state(str(tmp_path / "s"))
    assert first == prepare_state(str(tmp_path / "s"))


def test_another_runtime_directory_is_linked(tmp_path: Path) -> None:
    """
    The state directory alone says where the sockets are, also after a new boot has removed them.
    """
    run = tmp_path / "run"
    places = prepare_state(str(tmp_path / "s"), run_dir=str(run))
    assert f"{run}/ctl.sock" == places.ctl
    assert places == places_in(str(tmp_path / "s"))
    run.rmdir()
    assert places == prepare_state(str(tmp_path / "s"), run_dir=str(run))
    assert run.is_dir()


def test_xdg_says_where_and_root_has_its_own_places(tmp_path: Path) -> None:
    """
    A relative path in XDG's variables is ignored, as its rules say.
    """
    environ = {"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert ("/s/circus", f"{tmp_path}/circus") == (state_root(environ, 7), run_root(environ, 7))
    assert ("/h/.local/state/circus", None) == (
        state_root({"HOME": "/h", "XDG_STATE_HOME": "x"}, 7), run_root({"HOME": "/h"}, 7),
    )  # fmt: skip
    assert ("/var/lib/circus", "/run/circus") == (state_root(environ, 0), run_root(environ, 0))


def test_one_file_has_one_identity_and_its_namesake_another() -> None:
    """
    The file's name and eight hex digits of its absolute path.
    """
    name, _, digits = identity_of("/a/web.toml").rpartition("-")
    assert ("web.toml", 8) == (name, len(digits))
    assert identity_of("/a/web.toml") == identity_of("/a/./web.toml")
    assert identity_of("/a/web.toml") != identity_of("/b/web.toml")


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """
    The remedy is in the text.
    """
    state = tmp_path / "s"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(PlaceError, match=r"others may write into it \(mode 0777\); chmod 700 it"):
        prepare_state(str(state))


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """
    Also in the way of a parent.
    """
    (tmp_path / "s").write_text("")
    with pytest.raises(PlaceError, match="it is not a directory"):
        prepare_state(str(tmp_path / "s"))
    with pytest.raises(PlaceError, match="cannot make the directory"):
        prepare_state(str(tmp_path / "s" / "deeper"))


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """
    The kernel's limit, said before anything is bound.
    """
    with pytest.raises(PlaceError, match="a socket's path has at most 107 bytes"):
        prepare_state(str(tmp_path / ("x" * 120)))


def test_a_daemon_runs_where_its_lock_is_held(tmp_path: Path) -> None:
    """
    No file, a free lock, a held one.
    """
    lock = tmp_path / "lock"
    assert not is_locked(str(lock))
    with lock.open("w") as file:
        assert not is_locked(str(lock))
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_locked(str(lock))
    assert not is_locked(str(lock))


@pytest.fixture
def short() -> Iterator[str]:
    """A directory whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:
        yield folder


def test_a_long_state_directory_of_a_program_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    """
    Nobody named it, so nobody can be asked for a shorter one.
    """
    places = library_start(f"{tmp_path}/{'x' * 80}", "prog")
    try:
        assert f"/tmp/circus-{os.geteuid()}" == os.path.dirname(places.run)
        assert places == places_in(places.state)
    finally:
        os.rmdir(places.run)


def test_the_newest_ten_starts_of_a_program_are_kept(short: str) -> None:
    """
    Each start has a fresh directory; another program's and one in use are left alone.
    """
    root = f"{short}/library"
    other = library_start(root, "prog-other")
    first = library_start(root, "prog")
    with open(first.lock, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        starts = [library_start(root, "prog") for _ in range(12)]
    kept = {os.path.basename(places.state) for places in (other, first, *starts[-10:])}
    assert kept == set(os.listdir(root))


def test_what_runs_is_found_by_name(short: str) -> None:
    """
    Directories whose lock is held, the library's too; free ones are not running.
    """
    root = short
    daemon, library = prepare_state(f"{root}/web-1"), library_start(f"{root}/library", "prog")
    prepare_state(f"{root}/idle-2")
    with open(daemon.lock, "w") as one, open(library.lock, "w") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(two, fcntl.LOCK_EX)
        found = running_in(root)
    assert ["web-1", f"library/{os.path.basename(library.state)}"] == [r.name for r in found]
    assert [] == running_in(root)
