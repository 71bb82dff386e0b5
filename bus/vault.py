"""Room: bus -- the vault: what environment variables contain, kept out of every record.

Knows:     bus.codec.
Known by:  configuration, the ctl gateway (`set`, `add`), the reaper (to start a process).
Never:     writes a value anywhere but into its own file, mode 0600.

A record holds `h:` and a keyed digest of the value; the key is random and belongs to one ledger,
so that equal values are recognised within it and nothing is learnt from a copy of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from circus.bus.blake import blake2b
from circus.bus.codec import from_ledger, pack

KEY_BYTES: Final = 32
HASH_BYTES: Final = 16
PREFIX: Final = "h:"


class VaultError(Exception):
    """The vault cannot be used; the text says which file and what to do."""


class Vault:
    """Values by their keyed digests. `save` before a record with a new digest is appended."""

    def __init__(self, path: str | None, key: bytes, values: Mapping[str, bytes]) -> None:
        self._path = path
        self._key = key
        self._values = dict(values)
        self._unsaved = path is not None and not values

    @classmethod
    def open(cls, path: str) -> Vault:
        """The vault in the file `path`, which need not exist yet."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return cls(path, os.urandom(KEY_BYTES), {})
        except OSError as error:
            raise VaultError(f"cannot open the vault {path}: {error.strerror}") from error
        try:
            _check_owner(path, os.fstat(fd))
            with open(fd, "rb", closefd=False) as file:
                return cls(path, *_unpacked(path, file.read()))
        finally:
            os.close(fd)

    @classmethod
    def in_memory(cls, key: bytes = b"\0" * KEY_BYTES) -> Vault:
        """A vault without a file, for the simulation: same key, same digests."""
        return cls(None, key, {})

    def seal(self, value: str) -> str:
        """Keep `value` and answer the digest that stands for it in records."""
        sealed = self.digest(value)
        if sealed not in self._values:
            self._values[sealed] = value.encode("utf-8", "surrogateescape")
            self._unsaved = self._path is not None
        return sealed

    def digest(self, value: str) -> str:
        """What stands for `value`, without keeping it."""
        raw = value.encode("utf-8", "surrogateescape")
        return PREFIX + blake2b(raw, digest_size=HASH_BYTES, key=self._key).hexdigest()

    def __contains__(self, sealed: str) -> bool:
        return sealed in self._values

    def reveal(self, sealed: str) -> str:
        """The value that `sealed` stands for."""
        raw = self._values.get(sealed)
        if raw is None:
            raise VaultError(
                f"cannot find the value of {sealed} in the vault {self._path or '(in memory)'}: "
                "the file does not belong to this ledger or was replaced; "
                "put the right file back or load the configuration again"
            )
        return raw.decode("utf-8", "surrogateescape")

    def seal_all(self, values: Mapping[str, str]) -> dict[str, str]:
        """An environment as a record may hold it."""
        return {name: self.seal(value) for name, value in values.items()}

    def reveal_all(self, sealed: Mapping[str, str]) -> dict[str, str]:
        """Back to the environment that a process gets."""
        return {name: self.reveal(value) for name, value in sealed.items()}

    def save(self) -> None:
        """Put what is new on disk, synced; nothing to do is nothing done."""
        if self._path is None or not self._unsaved:
            return
        try:
            write_private(self._path, pack({"key": self._key, "values": self._values}))
        except OSError as error:
            raise VaultError(f"cannot save the vault {self._path}: {error.strerror}") from error
        self._unsaved = False


def _check_owner(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise VaultError(f"cannot use the vault {path}: it is not a regular file; move it away")
    if status.st_uid != os.geteuid():
        raise VaultError(
            f"cannot use the vault {path}: it belongs to user {status.st_uid}; "
            "run as that user or choose another --state-dir"
        )
    if status.st_mode & 0o077:
        raise VaultError(
            f"cannot use the vault {path}: others may read or write it "
            f"(mode {stat.S_IMODE(status.st_mode):04o}); chmod 600 it"
        )


def _unpacked(path: str, data: bytes) -> tuple[bytes, dict[str, bytes]]:
    damaged = f"cannot read the vault {path}: it is damaged; restore it from a copy or move it away"
    try:
        content = from_ledger(data)
    except ValueError as error:  # msgpack's errors about bytes are ValueErrors
        raise VaultError(damaged) from error
    if not isinstance(content, dict):
        raise VaultError(damaged)
    key, values = content.get("key"), content.get("values")
    if not (isinstance(key, bytes) and len(key) == KEY_BYTES and isinstance(values, dict)):
        raise VaultError(damaged)
    return key, values


def write_private(path: str, data: bytes) -> None:
    """Replace a file, mode 0600: write beside the old one, sync, rename, sync the directory."""
    fresh = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(fresh, flags, 0o600)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o600)  # a leftover of an earlier attempt may have another mode
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.rename(fresh, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
