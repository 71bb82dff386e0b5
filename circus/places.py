"""Room: front -- where things live: state and runtime directories, their modes, their names.

Knows:     nothing but the standard library: the keeper loads this.
Known by:  circusd, circusctl, the library, the daemon.
Never:     opens the ledger, takes the lock.

Under the state directory: `ledger/`, `lock`, `vault`, `run/`. Where the runtime directory is
another one (/run/circus for root), `run` is a link to it, so that the state directory alone says
everything.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import stat
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

SOCKET_PATH_BYTES_MAX: Final = 107
LIBRARY_DIRS_KEPT: Final = 10
ROOT_STATE: Final = "/var/lib/circus"
ROOT_RUN: Final = "/run/circus"
PROGRAM_CHARACTERS_MAX: Final = 32
LIBRARY: Final = "library"


class PlaceError(Exception):
    """A directory cannot be used; the text says which and what to do."""


class Places(NamedTuple):
    """The paths of one daemon. `run` is what the link points to, when `run` is a link."""

    state: str
    run: str

    @property
    def ledger(self) -> str:
        """The directory of the segments."""
        return f"{self.state}/ledger"

    @property
    def lock(self) -> str:
        """Held with flock by the keeper for life."""
        return f"{self.state}/lock"

    @property
    def vault(self) -> str:
        """Environment values, mode 0600."""
        return f"{self.state}/vault"

    @property
    def ctl(self) -> str:
        """The socket file for commands."""
        return f"{self.run}/ctl.sock"

    @property
    def events(self) -> str:
        """The socket file for subscribers."""
        return f"{self.run}/events.sock"

    @property
    def pids(self) -> str:
        """Who keeper and core are."""
        return f"{self.run}/pids"

    @property
    def ctl_endpoint(self) -> str:
        """The default control endpoint."""
        return f"ipc://{self.ctl}"

    @property
    def events_endpoint(self) -> str:
        """The default endpoint of events."""
        return f"ipc://{self.events}"


class Running(NamedTuple):
    """A daemon whose lock is held."""

    name: str
    places: Places


def places_in(state_dir: str) -> Places:
    """The paths under `state_dir`, whether it exists or not."""
    state = os.path.abspath(state_dir)
    run = f"{state}/run"
    return Places(state, os.path.realpath(run) if os.path.islink(run) else run)


def identity_of(config_path: str) -> str:
    """`<file name>-<8 hex digits of its absolute path>`: one name for one configuration."""
    path = os.path.abspath(config_path)
    return f"{os.path.basename(path)}-{binascii.crc32(os.fsencode(path)):08x}"


def state_root(environ: Mapping[str, str], uid: int) -> str:
    """Where state directories without a name of their own are made."""
    if uid == 0:
        return ROOT_STATE
    home = environ.get("HOME") or os.path.expanduser("~")
    return f"{_absolute(environ.get('XDG_STATE_HOME')) or home + '/.local/state'}/circus"


def run_root(environ: Mapping[str, str], uid: int) -> str | None:
    """Where runtime directories are made; None: inside the state directory."""
    if uid == 0:
        return ROOT_RUN
    runtime = _absolute(environ.get("XDG_RUNTIME_DIR"))
    return f"{runtime}/circus" if runtime and os.path.isdir(runtime) else None


def _absolute(path: str | None) -> str | None:
    """The XDG rules: a relative path is ignored."""
    return path if path and os.path.isabs(path) else None


def prepare(state_dir: str | None, config_path: str, environ: Mapping[str, str]) -> Places:
    """Make and check the directories of one daemon; the lock and all files are left alone."""
    uid = os.geteuid()
    if state_dir is not None:
        return prepare_state(state_dir)
    name = identity_of(config_path)
    state, root = f"{state_root(environ, uid)}/{name}", run_root(environ, uid)
    return prepare_state(state, run_dir=_short_run(state) if root is None else f"{root}/{name}")


def prepare_state(state_dir: str, *, run_dir: str | None = None) -> Places:
    """Make `state_dir` (0700) and its `ledger/` and `run/`, or `run` as a link to `run_dir`."""
    state = os.path.abspath(state_dir)
    _make_private(state)
    if run_dir is not None:
        _make_private(run_dir)
        _link_run(f"{state}/run", run_dir)
    places = places_in(state)
    _make_private(places.run)
    _make_private(places.ledger)
    for path in (places.ctl, places.events):
        check_socket_path(path)
    return places


def check_socket_path(path: str) -> None:
    """The kernel takes no longer path for a socket."""
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES_MAX:
        raise PlaceError(
            f"cannot use {path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes and "
            f"this one has {length}; choose a shorter --state-dir"
        )


def _make_private(path: str) -> None:
    try:
        parent = os.path.dirname(path)
        os.makedirs(parent, mode=0o755, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # made by an earlier start; its owner and mode are checked like a new one's
        status = os.stat(path)
    except OSError as error:
        raise PlaceError(
            f"cannot make the directory {path}: {error.strerror} ({error.filename}); "
            "choose another --state-dir"
        ) from error
    _check_private(path, status)


def _check_private(path: str, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise PlaceError(f"cannot use {path}: it is not a directory; choose another --state-dir")
    if status.st_uid != os.geteuid():
        raise PlaceError(
            f"cannot use {path}: it belongs to user {status.st_uid}; "
            "run as that user or choose another --state-dir"
        )
    if status.st_mode & 0o022:
        raise PlaceError(
            f"cannot use {path}: others may write into it "
            f"(mode {stat.S_IMODE(status.st_mode):04o}); chmod 700 it"
        )


def _link_run(link: str, target: str) -> None:
    """A directory that is there already, from a time without a runtime directory, stays."""
    try:
        if os.path.islink(link):
            if os.readlink(link) == target:
                return
            os.unlink(link)
        elif os.path.isdir(link):
            return
        os.symlink(target, link)
    except OSError as error:
        raise PlaceError(f"cannot link {link} to {target}: {error.strerror}") from error


def running_daemons(environ: Mapping[str, str]) -> list[Running]:
    """The daemons of this user that run now in state directories found by name."""
    return running_in(state_root(environ, os.geteuid()))


def running_in(root: str) -> list[Running]:
    """The daemons whose state directories are below `root`."""
    found = [Running(name, places_in(f"{root}/{name}")) for name in _entries(root)]
    library = [
        Running(f"{LIBRARY}/{name}", places_in(f"{root}/{LIBRARY}/{name}"))
        for name in _entries(f"{root}/{LIBRARY}")
    ]
    return [running for running in found + library if is_locked(running.places.lock)]


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_locked(path: str) -> bool:
    """Whether somebody holds the flock on `path`.

    /proc/locks is read where it lists our inode, because taking the lock to try it could make a
    daemon that starts in this very moment believe that another one runs.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if _listed_in_proc(os.fstat(fd).st_ino):
            return True
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _listed_in_proc(inode: int) -> bool:
    """Only the inode is compared: on overlay and btrfs the device differs from stat's."""
    try:
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    suffix = f":{inode}"
    return any("FLOCK" in row and any(word.endswith(suffix) for word in row) for row in rows)


def library_state_dir(program: str, environ: Mapping[str, str]) -> Places:
    """A fresh directory for one start of one program; the newest ten are kept."""
    name = os.path.basename(program) or "python"
    return library_start(f"{state_root(environ, os.geteuid())}/{LIBRARY}", name)


def _short_run(state: str) -> str | None:
    """A runtime directory with a short path, where sockets below `state` would have too long ones.

    Its parent is checked like itself: in /tmp anybody may have made one of that name.
    """
    if len(os.fsencode(f"{state}/run/events.sock")) <= SOCKET_PATH_BYTES_MAX:
        return None
    parent = f"/tmp/circus-{os.geteuid()}"
    _make_private(parent)
    return f"{parent}/{binascii.crc32(os.fsencode(state)):08x}"


def library_start(root: str, name: str) -> Places:
    """The same below `root`."""
    _prune_library(root, f"{name[:PROGRAM_CHARACTERS_MAX]}-")
    state = f"{root}/{name[:PROGRAM_CHARACTERS_MAX]}-{time.time_ns():x}-{os.getpid()}"
    return prepare_state(state, run_dir=_short_run(state))


def _prune_library(root: str, prefix: str) -> None:
    """Names sort by time of birth: the hexadecimal nanoseconds have one length till 2554."""
    from shutil import rmtree

    mine = [name for name in _entries(root) if _is_start_of(name, prefix)]
    for name in mine[: max(0, len(mine) - (LIBRARY_DIRS_KEPT - 1))]:
        if not is_locked(f"{root}/{name}/lock"):
            run = places_in(f"{root}/{name}").run
            rmtree(f"{root}/{name}")
            if os.path.isdir(run):  # it was a link: its target goes too
                rmtree(run)


def _is_start_of(name: str, prefix: str) -> bool:
    """`a-b` is not a start of the program `a`: what follows must be a time and a pid."""
    rest = name.removeprefix(prefix)
    birth, dash, pid = rest.partition("-")
    return rest != name and bool(dash) and len(birth) == 16 and pid.isdigit()
