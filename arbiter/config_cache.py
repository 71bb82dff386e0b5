"""Room: arbiter -- a configuration compiled once, found again by what it was made of.

Knows:     arbiter.config_values, bus.spec, bus.codec, bus.vault; arbiter.config on a miss.
Known by:  the daemon.
Never:     answers for files, variables or a version of this program that differ from those seen.

Parsers and their imports cost some 15 ms, a tenth of the time to the first worker; a
configuration that was read before costs one small file. What is compared: each source's content,
each include's result, the variables of the daemon that the text mentions, --insecure-tcp and the
program's own files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from glob import glob
from typing import TYPE_CHECKING, Any, Final

from circus.arbiter.config_values import Config, Settings
from circus.bus.blake import blake2b
from circus.bus.codec import from_ledger, pack
from circus.bus.shapes import fields_of
from circus.bus.spec import from_data, to_data
from circus.bus.vault import Vault, write_private

if TYPE_CHECKING:
    from circus.arbiter.config_problems import Document

MADE_OF: Final = ("config*.py", "../bus/spec.py")
_MENTIONED: Final = re.compile(rb"\$([A-Z][A-Z0-9_]*)|circus\.env\.([^()\s]+)", re.IGNORECASE)


def load_cached(
    path: str, environ: Mapping[str, str], *, vault: Vault, cache: str, insecure_tcp: bool = False
) -> Config:
    """`config.load`, through the file `cache`. Call `vault.save()` before anything is recorded."""
    seal = vault.digest
    key = [os.path.abspath(path), insecure_tcp, _program()]
    found = _recalled(cache, key, environ, seal)
    if found is not None and _all_sealed(found, vault):
        return found
    return _loaded(path, environ, vault, cache, key)


def last_good(cache: str, vault: Vault) -> Config | None:
    """The configuration that was compiled last, whatever the files say now."""
    try:
        with open(cache, "rb") as file:
            found = _config(from_ledger(file.read()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if _all_sealed(found, vault) else None


def _loaded(
    path: str, environ: Mapping[str, str], vault: Vault, cache: str, key: list[Any]
) -> Config:
    from circus.arbiter.config import load_document
    from circus.arbiter.config_files import read_document

    document = read_document(path)
    config = load_document(path, document, environ, vault=vault, insecure_tcp=key[1])
    content = {
        "key": key,
        "sources": [[s.path, _digest(s.content)] for s in document.sources],
        "includes": [[pattern, list(found)] for pattern, found in document.includes],
        "mentioned": (names := _mentioned(document)),
        "environ": _environ(names, environ, vault.digest),
        "watchers": [to_data(spec) for spec in config.watchers],
        "settings": fields_of(config.settings),
        "sockets": config.sockets,
        "digest": config.digest,
    }
    write_private(cache, pack(content))
    return config


def _recalled(
    cache: str, key: list[Any], environ: Mapping[str, str], seal: Callable[[str], str]
) -> Config | None:
    """What the file holds, if all that it was made of is the same; None otherwise."""
    try:
        with open(cache, "rb") as file:
            content = from_ledger(file.read())
        same = (
            content["key"] == tuple(key)
            and all(_digest(_read(name)) == was for name, was in content["sources"])
            and all(tuple(sorted(glob(name))) == was for name, was in content["includes"])
            and content["environ"] == _environ(content["mentioned"], environ, seal)
        )
        return _config(content) if same else None
    except (OSError, ValueError, TypeError, KeyError):
        return None  # no cache, a damaged one or one of another version: the files themselves say


def _config(content: Mapping[str, Any]) -> Config:
    return Config(
        watchers=tuple(from_data(data) for data in content["watchers"]),
        settings=Settings(**content["settings"]),
        digest=content["digest"],
        source="file",
        sockets=content["sockets"],
    )


def _all_sealed(config: Config, vault: Vault) -> bool:
    """A cache may outlive its vault; then the values must be read again."""
    return all(sealed in vault for spec in config.watchers for sealed in spec.env.values())


def _mentioned(document: Document) -> list[str]:
    names = {
        (one or other).decode("utf-8", "replace").lower()
        for source in document.sources
        for one, other in _MENTIONED.findall(source.content)
    }
    return sorted(names)


def _environ(
    mentioned: list[str], environ: Mapping[str, str], seal: Callable[[str], str]
) -> dict[str, str]:
    """Digests only: the values belong into the vault alone."""
    names = set(mentioned)
    return {name: seal(value) for name, value in environ.items() if name.lower() in names}


def _program() -> str:
    """A digest of the sizes and times of the modules whose change may change the result."""
    here = os.path.dirname(os.path.abspath(__file__))
    files = sorted(name for pattern in MADE_OF for name in glob(f"{here}/{pattern}"))
    stats = [(name, (s := os.stat(name)).st_size, s.st_mtime_ns) for name in files]
    return _digest(repr(stats).encode())


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
