"""Room: tests -- the vault keeps values, and keeps them to itself.

Knows:     circus.bus.vault.
Known by:  pytest.
Never:     needs another user.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from circus.bus.codec import pack
from circus.bus.vault import Vault, VaultError


def test_a_saved_vault_reveals_what_it_sealed(tmp_path: Path) -> None:
    """
    Also what is not UTF-8, as variables may be.
    """
    path = str(tmp_path / "vault")
    vault = Vault.open(path)
    sealed = [vault.seal(value) for value in ("", "secret", "caf\udce9")]
    vault.save()
    assert ["", "secret", "caf\udce9"] == [Vault.open(path).reveal(one) for one in sealed]
    assert 0o600 == os.stat(path).st_mode & 0o777
    assert ["vault"] == os.listdir(tmp_path)


def test_equal_values_are_equal_within_one_ledger_and_not_beyond(tmp_path: Path) -> None:
    """
    The key is the ledger's own.
    """
    one, other = Vault.open(str(tmp_path / "a")), Vault.open(str(tmp_path / "b"))
    assert one.seal("x") == one.seal("x")
    assert one.seal("x") != other.seal("x")


def test_a_vault_without_values_keeps_its_key(tmp_path: Path) -> None:
    """
    A digest made before the first save is the same after it.
    """
    path = str(tmp_path / "vault")
    vault = Vault.open(path)
    vault.save()
    assert vault.digest("x") == Vault.open(path).digest("x")


def test_an_unchanged_vault_is_not_written_again(tmp_path: Path) -> None:
    """
    Nothing to do is nothing done.
    """
    path = tmp_path / "vault"
    vault = Vault.open(str(path))
    vault.seal("x")
    vault.save()
    path.unlink()
    vault.seal("x")
    vault.save()
    assert not path.exists()


def test_a_digest_that_is_not_there_is_an_error_with_a_remedy() -> None:
    """
    A ledger with another's vault.
    """
    with pytest.raises(
        VaultError, match=r"cannot find the value of h:00 .*put the right file back"
    ):
        Vault.in_memory().reveal("h:00")


@pytest.mark.parametrize("content", [b"", b"\xc1", pack([]), pack({"key": b"x", "values": {}})])
def test_a_damaged_vault_is_refused(tmp_path: Path, content: bytes) -> None:
    """
    It is never taken for an empty one.
    """
    path = tmp_path / "vault"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(VaultError, match="it is damaged"):
        Vault.open(str(path))


def test_a_vault_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """
    The remedy is in the text.
    """
    path = tmp_path / "vault"
    path.write_bytes(b"")
    path.chmod(0o640)
    with pytest.raises(VaultError, match=r"mode 0640\); chmod 600 it"):
        Vault.open(str(path))


def test_a_link_or_a_directory_is_no_vault(tmp_path: Path) -> None:
    """
    Nobody may lead us to another file.
    """
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "folder").mkdir()
    with pytest.raises(VaultError, match="cannot open the vault"):
        Vault.open(str(tmp_path / "link"))
    with pytest.raises(VaultError, match="not a regular file"):
        Vault.open(str(tmp_path / "folder"))


def test_a_vault_that_cannot_be_saved_says_so(tmp_path: Path) -> None:
    """
    A directory that is not there.
    """
    vault = Vault.open(str(tmp_path / "gone" / "vault"))
    with pytest.raises(VaultError, match="cannot save the vault"):
        vault.save()
