"""Room: bus -- the disk seam: what the ledger asks of a file system, and nothing more.

Knows:     nothing.
Known by:  ledger, recovery, reader; the simulator implements it with torn writes and power cuts.
Never:     retries, buffers, follows a symbolic link.

Every method raises OSError as the kernel gave it, except that a lock held by another writer is
`Locked`. A handle is a small integer; `append` may write less than it was given.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final, Protocol

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE
_CANNOT_RESERVE: Final = frozenset((errno.EOPNOTSUPP, errno.ENOSYS))


class Locked(Exception):
    """Another process writes this ledger."""


class Disk(Protocol):
    """Whole contract of the ledger with the world; a crash is possible at each of these calls.

    `create` with `room` reserves so many bytes that nobody else can take; the file does not grow,
    and `truncate` gives back what lies behind its end. A directory that was made is safe when
    `make_dir` returns; files and their names are not before `sync` and `sync_dir`.
    """

    def make_dir(self, path: str) -> None: ...
    def list_dir(self, path: str) -> list[str]: ...
    def lock(self, path: str) -> int: ...
    def create(self, path: str, room: int = 0) -> int: ...
    def open_to_append(self, path: str) -> int: ...
    def open_to_read(self, path: str) -> int: ...
    def size(self, handle: int) -> int: ...
    def read(self, handle: int, offset: int, length: int) -> bytes: ...
    def append(self, handle: int, data: bytes | memoryview) -> int: ...
    def truncate(self, handle: int, size: int) -> None: ...
    def sync(self, handle: int) -> None: ...
    def sync_dir(self, path: str) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def close(self, handle: int) -> None: ...


class RealDisk:
    """The kernel's. A handle is a file descriptor, closed on exec, never of a symbolic link."""

    def make_dir(self, path: str) -> None:
        try:
            os.mkdir(path, DIRECTORY_MODE)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        else:
            self.sync_dir(os.path.dirname(path) or ".")

    def list_dir(self, path: str) -> list[str]:
        return os.listdir(path)

    def lock(self, path: str) -> int:
        """Create the file if need be and hold flock(LOCK_EX) on it until `close`."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Locked(
                f"cannot open the ledger: another process holds {path}; stop it first"
            ) from error
        return handle

    def create(self, path: str, room: int = 0) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _FLAGS
        handle = os.open(path, flags, FILE_MODE)
        try:
            if room:
                _reserve(handle, room)
        except OSError:
            os.close(handle)
            raise
        return handle

    def open_to_append(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)

    def open_to_read(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | _FLAGS)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def read(self, handle: int, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        data = os.pread(handle, length, offset)
        while len(data) < length:
            more = os.pread(handle, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def append(self, handle: int, data: bytes | memoryview) -> int:
        return os.write(handle, data)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def sync_dir(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def close(self, handle: int) -> None:
        os.close(handle)


def await_unlocked(path: str) -> None:
    """Wait until nobody holds the lock; at once where there is no such file."""
    try:
        handle = os.open(path, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def _reserve(handle: int, size: int) -> None:
    """Where the file system cannot do that, shortage is seen when it comes."""
    # Python's posix_fallocate grows the file. Needed once in 16 MiB, so imported then.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate64(handle, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
        number = ctypes.get_errno()
        if number not in _CANNOT_RESERVE:
            raise OSError(number, os.strerror(number))


def read_whole(disk: Disk, path: str, offset: int = 0) -> bytes:
    """A file from `offset` to its present end."""
    handle = disk.open_to_read(path)
    try:
        return disk.read(handle, offset, max(0, disk.size(handle) - offset))
    finally:
        disk.close(handle)


def append_whole(disk: Disk, handle: int, data: bytes) -> None:
    """All of `data`: a short write is continued, until the disk says why it was short."""
    done = disk.append(handle, data)
    while done < len(data):
        done += disk.append(handle, memoryview(data)[done:])
