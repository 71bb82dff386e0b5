"""Room: tests -- `stdout_stream.*` and `[socket]` sections: what they mean, and what is refused.

Knows:     circus.arbiter.config.
Known by:  pytest.
Never:     binds a socket, opens a log.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from circus.arbiter.config import Config, ConfigProblems, config_of_mappings, load, to_configure
from circus.arbiter.config_cache import load_cached
from circus.arbiter.config_wire import OptionRefused, spec_to_add, validate_options
from circus.bus.spec import WatcherSpec
from circus.bus.vault import Vault

WEB = '[watcher.web]\ncmd = "a"\n'
FILE = {"class": "FileStream", "filename": "/var/log/web"}
TERMS = {
    "family": "AF_INET", "type": "SOCK_STREAM", "host": "127.0.0.1", "port": 8080, "path": "",
    "backlog": 2048, "umask": None, "replace": False, "so_reuseport": False, "blocking": False,
}  # fmt: skip

STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "a file alone": ('stdout_stream.filename = "/var/log/web"', FILE),
    "a class by its Circus name": (
        'stdout_stream = {class = "circus.stream.FileStream", filename = "/var/log/web"}', FILE,
    ),
    "numbers in quotes, as Circus has them": (
        'stdout_stream.backup_count = "2"\nstdout_stream.max_bytes = 9\n'
        'stdout_stream.filename = "/var/log/web"',
        FILE | {"max_bytes": 9, "backup_count": 2},
    ),
    "a format of the time": (
        'stdout_stream.time_format = "%H"\nstdout_stream.filename = "/var/log/web"',
        FILE | {"time_format": "%H"},
    ),
    "standard output": ('stdout_stream.class = "StdoutStream"', {"class": "StdoutStream"}),
    "nothing": ('stdout_stream.class = ""', {}),
    "what has no effect in Circus either": (
        'stdout_stream.refresh_time = 1\nstdout_stream.filename = "/var/log/web"', FILE,
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[str, str]] = {
    "no class": (
        WEB + "stdout_stream.max_bytes = 5",
        "[watcher.web] stdout_stream.class: cannot capture without it: "
        "use FileStream or StdoutStream",
    ),
    "a class of nobody": (
        WEB + 'stderr_stream.class = "my.Stream"',
        "[watcher.web] stderr_stream.class: cannot use 'my.Stream': there is no such class here; "
        "use FileStream or StdoutStream",
    ),
    "no name": (
        WEB + 'stdout_stream.class = "FileStream"',
        "[watcher.web] stdout_stream.filename: cannot write to a file without a name: "
        "set stdout_stream.filename",
    ),
    "an empty name": (
        WEB + 'stdout_stream.class = "FileStream"\nstdout_stream.filename = ""',
        "[watcher.web] stdout_stream.filename: cannot write to a file without a name",
    ),
    "a name too long": (
        WEB + f'stdout_stream.filename = "{"x" * 5000}"',
        "[watcher.web] stdout_stream.filename: cannot use it: a path has at most 4096 bytes",
    ),
    "less than nothing": (
        WEB + 'stdout_stream.filename = "f"\nstdout_stream.max_bytes = -1',
        "[watcher.web] stdout_stream.max_bytes: cannot use -1: it must be 0 or more",
    ),
    "a stranger's option": (
        WEB + 'stdout_stream.filename = "f"\nstdout_stream.max_byte = 1',
        "[watcher.web] stdout_stream.max_byte: cannot use it: a FileStream has no such option; "
        "did you mean 'max_bytes'?",
    ),
    "captured and closed": (
        WEB + 'stdout_stream.filename = "f"\nclose_child_stdout = true',
        "[watcher.web] close_child_stdout: cannot close it and capture it: "
        "leave one of stdout_stream and this one out",
    ),
    "a stream that is text": (
        WEB + 'stdout_stream = "f"',
        "[watcher.web] stdout_stream: cannot use an object here: name its class, "
        "stdout_stream.class = 'FileStream'",
    ),
    "nobody's socket": (
        WEB.replace('"a"', '"a $(circus.sockets.api)"') + '[socket.apis]\npath = "/s"',
        "[watcher.web] cmd: cannot find a section [socket] called 'api'; did you mean 'apis'?",
    ),
    "a socket that is not inherited": (
        WEB.replace('"a"', '"a ((circus.sockets.API))"') + '[socket.api]\npath = "/s"',
        "[watcher.web] use_sockets: cannot refer to socket 'api' without it: "
        "set use_sockets = true",
    ),
    "sockets set by hand": (
        WEB + 'sockets = "a"',
        "[watcher.web] sockets: cannot use it: there is no such option; "
        "did you mean 'use_sockets'?",
    ),
    "a port too high": (
        "[socket.api]\nport = 65536",
        "[socket.api] port: cannot use 65536: it must be 0 to 65535",
    ),
    "a family of nobody": (
        '[socket.api]\nfamily = "AF_CAN"',
        "[socket.api] family: cannot use 'AF_CAN': it must be one of AF_INET, AF_INET6, AF_UNIX",
    ),
    "a path without a path": (
        '[socket.api]\nfamily = "AF_UNIX"',
        "[socket.api] path: cannot bind an AF_UNIX socket without it: name a file",
    ),
    "a path too long": (
        f'[socket.api]\npath = "/{"x" * 107}"',
        "[socket.api] path: cannot use it: a socket's path has at most 107 bytes "
        "and this one has 108; choose a shorter one",
    ),
    "a packet to an address": (
        '[socket.api]\ntype = "SOCK_SEQPACKET"',
        "[socket.api] type: cannot use it with an address: give a path, or SOCK_STREAM",
    ),
    "a port that everybody chooses": (
        "[socket.api]\nso_reuseport = true\nport = 0",
        "[socket.api] so_reuseport: cannot be shared by workers without a number: give a port",
    ),
    "a path that everybody binds": (
        '[socket.api]\nso_reuseport = true\npath = "/s"',
        "[socket.api] so_reuseport: cannot use it with a path: one socket has it",
    ),
    "an interface": (
        '[socket.api]\ninterface = "eth0"',
        "[socket.api] interface: cannot use it: this version binds to addresses; "
        "give the address of that interface as host",
    ),
    "digits that are not octal": (
        '[socket.api]\numask = "8"',
        "[socket.api] umask: cannot use '8': it must be octal digits, 000 to 777",
    ),
    "an option of no socket": (
        "[socket.api]\nbacklogs = 1",
        "[socket.api] backlogs: cannot use it: a socket has no such option; "
        "did you mean 'backlog'?",
    ),
    "a name with a blank": (
        '[socket."a b"]\nport = 1',
        "[socket.a b] cannot use this name: use letters, digits, `_`, `-` and `.`",
    ),
    "a name twice": (
        "[socket.api]\nport = 1\n[socket.API]\nport = 2",
        "[socket.API] cannot have this name twice: rename socket 'api'",
    ),
}


def _load(place: Path, text: str, suffix: str = ".toml") -> Config:
    path = place / f"circus{suffix}"
    path.write_text(text, encoding="utf-8")
    return load(str(path), {}, vault=Vault.in_memory())


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_is_one_value_whatever_its_spelling(tmp_path: Path, case: str) -> None:
    """What is said of a stream becomes one map, with its keys in one order."""
    text, sink = STREAMS[case]
    (spec,) = _load(tmp_path, WEB + text).watchers
    assert list(sink.items()) == list(spec.stdout_stream.items())
    assert {} == spec.stderr_stream


def test_an_ini_file_says_the_same_of_a_stream(tmp_path: Path) -> None:
    """Circus's format, with a variable of circusd in the name."""
    text = "[watcher:web]\ncmd = a\nstderr_stream.filename = /var/log/$(circus.env.name)\n"
    (tmp_path / "circus.ini").write_text(text + "stderr_stream.max_bytes = 9", encoding="utf-8")
    config = load(str(tmp_path / "circus.ini"), {"NAME": "web"}, vault=Vault.in_memory())
    assert FILE | {"max_bytes": 9} == config.watchers[0].stderr_stream


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_a_remedy(tmp_path: Path, case: str) -> None:
    """One fault, one sentence, at its place."""
    text, message = REFUSED[case]
    with pytest.raises(ConfigProblems) as caught:
        _load(tmp_path, text)
    (problem,) = caught.value.problems
    assert message == str(problem).partition(": ")[2]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ("port = 80", {"port": 80}),
        ('host = "*"', {"host": str(IPv4Address(0))}),
        ('host = "::1"', {"host": "::1", "family": "AF_INET6"}),
        ('family = "AF_INET6"', {"host": "::1", "family": "AF_INET6"}),
        ('path = "/run/s"', {"path": "/run/s", "family": "AF_UNIX", "host": "", "port": 0}),
        ('umask = "022"\nblocking = true', {"umask": 0o22, "blocking": True}),
        ('proto = ""\nbacklog = 1', {"backlog": 1}),
        ("so_reuseport = true", {"so_reuseport": True}),
    ],
)
def test_the_terms_of_a_socket_are_definite(
    tmp_path: Path, given: str, changed: dict[str, Any]
) -> None:
    """Circus's defaults; what follows from something else is worked out here."""
    config = _load(tmp_path, f"[socket.Api]\n{given}\n{WEB}use_sockets = true")
    assert {"api": TERMS | changed} == config.sockets
    assert {"api": TERMS | changed} == config.watchers[0].sockets
    assert {"api": TERMS | changed} == to_configure(config).settings["sockets"]


def test_who_does_not_use_sockets_does_not_depend_on_them(tmp_path: Path) -> None:
    """A changed socket is no change of such a watcher."""
    config = _load(tmp_path, f"[socket.api]\nport = 1\n{WEB}")
    assert {} == config.watchers[0].sockets
    assert "sockets" not in to_configure(_load(tmp_path, WEB)).settings


def test_a_compiled_configuration_has_its_sockets(tmp_path: Path) -> None:
    """The cache gives what the files gave."""
    path, cache = tmp_path / "circus.toml", str(tmp_path / "cache")
    path.write_text(f"[socket.api]\n{WEB}use_sockets = true", encoding="utf-8")
    vault = Vault.in_memory()
    first = load_cached(str(path), {}, vault=vault, cache=cache)
    assert first == load_cached(str(path), {}, vault=vault, cache=cache)
    assert {"api": TERMS} == first.sockets


def test_one_option_of_a_stream_can_be_set(tmp_path: Path) -> None:
    """`set web stdout_stream.max_bytes 9` keeps what else is said; a whole map replaces it."""
    spec, vault = WatcherSpec(name="web", cmd="a", stdout_stream=FILE), Vault.in_memory()
    one = validate_options({"stdout_stream.max_bytes": 9}, spec, vault)
    assert {"stdout_stream": FILE | {"max_bytes": 9}} == one
    whole = validate_options({"stdout_stream": {"class": "StdoutStream"}}, spec, vault)
    assert {"stdout_stream": {"class": "StdoutStream"}} == whole
    with pytest.raises(OptionRefused, match=r"'stdout_stream.class' cannot use 'QueueStream'"):
        validate_options({"stdout_stream": {"class": "QueueStream"}}, spec, vault)
    with pytest.raises(OptionRefused, match="'close_child_stdout' cannot close it and capture it"):
        validate_options({"close_child_stdout": True}, spec, vault)


def test_a_watcher_that_is_added_may_be_captured_but_has_no_sockets() -> None:
    """Sockets are those of a file, and nobody sets what follows from it."""
    vault = Vault.in_memory()
    spec = spec_to_add("web", "a", {"stdout_stream": FILE}, args=None, vault=vault)
    assert spec.stdout_stream == FILE
    for option in ("use_sockets", "sockets"):
        with pytest.raises(OptionRefused, match=option):
            spec_to_add("web", "a", {option: True}, args=None, vault=vault)


def test_a_program_captures_but_has_no_sockets() -> None:
    """The library takes a stream as a map; an object, or sockets, are refused by name."""
    vault = Vault.in_memory()
    config = config_of_mappings([{"cmd": "a", "stdout_stream": FILE}], vault=vault)
    assert FILE == config.watchers[0].stdout_stream
    for given, text in (
        ({"stdout_stream": {"stream": object()}}, "stdout_stream.stream: cannot use an object"),
        ({"use_sockets": True}, "use_sockets: cannot be used here"),
    ):
        with pytest.raises(ConfigProblems, match=text):
            config_of_mappings([{"cmd": "a", **given}], vault=vault)
