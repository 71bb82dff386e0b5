"""Room: tests -- everything wrong with a configuration is said at once, with its place.

Knows:     circus.arbiter.config.
Known by:  pytest.
Never:     runs a daemon.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.arbiter.config import load
from circus.arbiter.config_problems import ConfigProblems, Problem
from circus.bus.vault import Vault

NO_OPTION = "cannot use it: there is no such option"
LATER = "this version does not have {} yet; remove it"
NAME_RULE = "use 1 to 128 printable characters without `/`"

TOML_CASES = {
    "an unknown option": (
        '[watcher.web]\ncmd = "a"\nnumproceses = 2',
        f"3: [watcher.web] numproceses: {NO_OPTION}; did you mean 'numprocesses'?",
    ),
    "an unknown option like no other": (
        '[watcher.web]\ncmd = "a"\nzzz = 2',
        f"3: [watcher.web] zzz: {NO_OPTION}",
    ),
    "an unknown setting": (
        '[circus]\nlogleve = "info"',
        f"2: [circus] logleve: {NO_OPTION}; did you mean 'loglevel'?",
    ),
    "an unknown section": (
        '[watchers.web]\ncmd = "a"',
        "1: cannot use section 'watchers'; did you mean 'watcher'?",
    ),
    "a section that is a value": (
        "circus = 3",
        "1: cannot use 'circus' as a value: write it as [circus]",
    ),
    "an option above the watchers": (
        '[watcher]\ncmd = "a"',
        "2: cannot use 'cmd' here: options belong below [watcher.NAME]",
    ),
    "text for a number": (
        '[watcher.web]\ncmd = "a"\nnumprocesses = "two"',
        "3: [watcher.web] numprocesses: cannot use 'two': it must be a whole number",
    ),
    "a boolean for a number": (
        '[watcher.web]\ncmd = "a"\nnumprocesses = true',
        "3: [watcher.web] numprocesses: cannot use True: it must be a whole number",
    ),
    "a number for a boolean": (
        '[watcher.web]\ncmd = "a"\nrespawn = 1',
        "3: [watcher.web] respawn: cannot use 1: it must be true or false",
    ),
    "a negative number": (
        '[watcher.web]\ncmd = "a"\nnumprocesses = -1',
        "3: [watcher.web] numprocesses: cannot use -1: it must be 0 or more",
    ),
    "negative seconds": (
        '[watcher.web]\ncmd = "a"\ngraceful_timeout = -0.5',
        "3: [watcher.web] graceful_timeout: cannot use -0.5: it must be 0 or more",
    ),
    "endless seconds": (
        '[watcher.web]\ncmd = "a"\ngraceful_timeout = inf',
        "3: [watcher.web] graceful_timeout: cannot use inf: it must be a number of seconds",
    ),
    "an unknown signal": (
        '[watcher.web]\ncmd = "a"\nstop_signal = "TREM"',
        "3: [watcher.web] stop_signal: cannot use 'TREM': it must be a signal: its name or 1 to 64",
    ),
    "a signal out of range": (
        '[watcher.web]\ncmd = "a"\nstop_signal = 65',
        "3: [watcher.web] stop_signal: cannot use 65: it must be a signal: its name or 1 to 64",
    ),
    "a word that is no choice": (
        '[watcher.web]\ncmd = "a"\nleftovers = "eat"',
        "3: [watcher.web] leftovers: cannot use 'eat': it must be 'kill' or 'leave'",
    ),
    "no program": (
        "[watcher.web]\nnumprocesses = 1",
        "1: [watcher.web] cmd: cannot run a watcher without cmd: name the program to run",
    ),
    "an empty program": (
        '[watcher.web]\ncmd = " "',
        "2: [watcher.web] cmd: cannot run a watcher without cmd: name the program to run",
    ),
    "an open quote in cmd": (
        '[watcher.web]\ncmd = "echo \'a"',
        '2: [watcher.web] cmd: cannot split "echo \'a" as a shell does: no closing quotation',
    ),
    "a singleton of several": (
        '[watcher.web]\ncmd = "a"\nsingleton = true\nnumprocesses = 2',
        "4: [watcher.web] numprocesses: cannot be more than 1 with singleton: "
        "set numprocesses = 1 or singleton = false",
    ),
    "one name in two cases": (
        '[watcher.web]\ncmd = "a"\n[watcher.Web]\ncmd = "a"',
        "3: [watcher.Web] cannot have this name twice: "
        "watcher 'web' has it (case does not count); rename",
    ),
    "a slash in a name": (
        '[watcher."a/b"]\ncmd = "a"',
        f"1: [watcher.a/b] cannot use 'a/b' as a watcher's name: {NAME_RULE}",
    ),
    "a variable that is no text": (
        '[watcher.web]\ncmd = "a"\n[watcher.web.env]\nPORT = 80',
        "3: [watcher.web.env] PORT: cannot use 80: it must be a string, in quotes",
    ),
    "a stream": (
        '[watcher.web]\ncmd = "a"\nstdout_stream.class = "QueueStream"',
        "3: [watcher.web] stdout_stream.class: cannot use 'QueueStream': "
        "this version does not have it yet; use FileStream or StdoutStream",
    ),
    "a hook": (
        '[watcher.web]\ncmd = "a"\nhooks.before_start = "m.f"',
        "3: [watcher.web] hooks.before_start: cannot use 'hooks.before_start': "
        + LATER.format("hooks"),
    ),
    "a limit": (
        '[watcher.web]\ncmd = "a"\nrlimit_nofile = 5',
        "3: [watcher.web] rlimit_nofile: cannot use 'rlimit_nofile': "
        + LATER.format("resource limits"),
    ),
    "the web page": (
        "[circus]\nhttpd = true",
        "2: [circus] httpd: cannot use 'httpd': " + LATER.format("the web page"),
    ),
    "a socket": (
        '[socket.web]\nhost = "web.example.com"',
        "2: [socket.web] host: cannot use 'web.example.com': names are not looked up; "
        "write its address in numbers",
    ),
    "plain tcp": (
        '[circus]\nendpoint = "tcp://127.0.0.1:5555"',
        "2: [circus] endpoint: cannot listen on tcp://127.0.0.1:5555: plain tcp has no protection, "
        "whoever reaches it commands this daemon; use an ipc:// endpoint or start with "
        "--insecure-tcp",
    ),
    "an abstract socket": (
        '[circus]\nendpoint = "ipc://@x"',
        "2: [circus] endpoint: cannot listen on ipc://@x: an abstract socket is open to every user "
        "of the machine; name a file, ipc:///PATH",
    ),
    "another transport": (
        '[circus]\npubsub_endpoint = "udp://x"',
        "2: [circus] pubsub_endpoint: cannot listen on 'udp://x': "
        "write ipc:///PATH or tcp://HOST:PORT",
    ),
    "a umask that is none": (
        '[circus]\numask = "888"',
        "2: [circus] umask: cannot use '888': it must be octal digits, 000 to 777",
    ),
    "a missing include": (
        '[circus]\ninclude = ["gone.toml"]',
        "2: [circus] include: cannot find gone.toml: create it, correct the path or remove it",
    ),
    "broken syntax": (
        "[circus\n",
        "1: cannot read it as TOML: expected ']' at the end of a table declaration",
    ),
}


@pytest.mark.parametrize("case", TOML_CASES)
def test_one_fault_in_toml_is_one_message_with_its_place(tmp_path: Path, case: str) -> None:
    """
    What is wrong, where, and what to do: in one line.
    """
    text, message = TOML_CASES[case]
    path = written(tmp_path, "circus.toml", text)
    assert [f"{path}:{message}"] == messages(path)


INI_CASES = {
    "a boolean that is none": (
        "[watcher:web]\ncmd = a\nrespawn = maybe",
        "3: [watcher:web] respawn: cannot use 'maybe': "
        "it must be yes, true, on or 1, or no, false, off or 0",
    ),
    "a number that is none": (
        "[watcher:web]\ncmd = a\nmax_retry = many",
        "3: [watcher:web] max_retry: cannot use 'many': it must be a whole number",
    ),
    "a line that is none": (
        "[watcher:web]\ncmd = a\nnonsense",
        "3: 'nonsense': cannot read it: write it as `option = value`",
    ),
    "a line before all sections": (
        "cmd = a",
        "1: 'cmd = a': cannot read it: no [section] comes before it",
    ),
    "a missing directory": (
        "[circus]\ninclude_dir = gone",
        "2: [circus] include_dir: cannot find gone: create it, correct the path or remove it",
    ),
    "a plugin": (
        "[plugin:x]\nuse = a.b",
        "1: [plugin:x] cannot use [plugin] sections: "
        "this version does not have plugins yet; "
        "remove the section, or make it a watcher whose program reads `circus.subscribe`",
    ),
}


@pytest.mark.parametrize("case", INI_CASES)
def test_one_fault_in_ini_is_one_message_with_its_place(tmp_path: Path, case: str) -> None:
    """
    What is wrong, where, and what to do: in one line.
    """
    text, message = INI_CASES[case]
    path = written(tmp_path, "circus.ini", text)
    assert [f"{path}:{message}"] == messages(path)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """
    Nobody corrects a file one message at a time.
    """
    other = written(tmp_path, "other.ini", "[watcher:b]\nsingleton = maybe\ncmd = a")
    text = "[circus]\ninclude = other.ini\nx = 1\n[watcher:a]\ny = 2"
    main = written(tmp_path, "main.ini", text)
    assert [
        (str(main), 3, "x"), (str(main), 4, "cmd"), (str(main), 5, "y"),
        (str(other), 2, "singleton"),
    ] == [(p.file, p.line, p.key) for p in problems(main)]  # fmt: skip


def test_a_file_that_cannot_be_read_is_told_apart(tmp_path: Path) -> None:
    """
    A missing main file is EX_NOINPUT, a bad one EX_CONFIG.
    """
    dangling = tmp_path / "dangling.toml"
    dangling.symlink_to(tmp_path / "nowhere")
    folder = tmp_path / "folder.ini"
    folder.mkdir()
    assert [f"{dangling}: cannot read it: no such file or directory"] == messages(dangling)
    assert [f"{folder}: cannot read it: is a directory"] == messages(folder)
    with pytest.raises(ConfigProblems) as caught:
        load(str(dangling), {}, vault=Vault.in_memory())
    assert caught.value.unreadable


@pytest.mark.parametrize("folder", [False, True])
def test_a_missing_or_unreadable_include_counts_as_an_unreadable_file(
    tmp_path: Path, *, folder: bool
) -> None:
    """
    EX_NOINPUT too, unlike a fault in what could be read.
    """
    if folder:
        (tmp_path / "gone.toml").mkdir()
    path = written(tmp_path, "main.toml", 'circus.include = ["gone.toml"]')
    with pytest.raises(ConfigProblems) as caught:
        load(str(path), {}, vault=Vault.in_memory())
    assert caught.value.unreadable
    path = written(tmp_path, "other.toml", "[watcher.a]\n")
    with pytest.raises(ConfigProblems) as caught:
        load(str(path), {}, vault=Vault.in_memory())
    assert not caught.value.unreadable


def test_an_included_directory_or_dangling_link_is_a_problem_of_the_main_file(
    tmp_path: Path,
) -> None:
    """
    An include that is there and no file is named, with the place that includes it.
    """
    (tmp_path / "sub.ini").mkdir()
    path = written(tmp_path, "main.ini", "[circus]\ninclude = sub.ini")
    assert [
        f"{path}:2: [circus] include: cannot read {tmp_path}/sub.ini: is a directory; "
        "make it readable or remove it"
    ] == messages(path)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    """
    Latin-1 is not guessed.
    """
    path = tmp_path / "latin.ini"
    path.write_bytes(b"[watcher:a]\ncmd = caf\xe9\n")
    text = "cannot read it: it is not UTF-8; save it in that encoding"
    assert [f"{path}:2: {text}"] == messages(path)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """
    The suffix chooses the format; nothing is guessed.
    """
    path = written(tmp_path, "circus.yaml", "")
    text = "cannot tell its format: name it *.toml, or *.ini for Circus's format"
    assert [f"{path}: {text}"] == messages(path)


def test_an_endpoint_longer_than_a_socket_path_is_refused(tmp_path: Path) -> None:
    """
    107 bytes are good, 108 are not.
    """
    good = written(tmp_path, "good.toml", f'[circus]\nendpoint = "ipc:///{"x" * 106}"')
    bad = written(tmp_path, "bad.toml", f'[circus]\nendpoint = "ipc:///{"x" * 107}"')
    assert f"ipc:///{'x' * 106}" == load(str(good), {}, vault=Vault.in_memory()).settings.endpoint
    assert "at most 107 bytes and this one has 108" in messages(bad)[0]


def test_insecure_tcp_lets_plain_tcp_pass(tmp_path: Path) -> None:
    """
    Who asks for it on the command line gets it.
    """
    path = written(tmp_path, "circus.ini", "[circus]\nendpoint = tcp://127.0.0.1:5555")
    config = load(str(path), {}, vault=Vault.in_memory(), insecure_tcp=True)
    assert config.settings.endpoint == "tcp://127.0.0.1:5555"


def written(folder: Path, name: str, text: str) -> Path:
    """A configuration file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> tuple[Problem, ...]:
    """Everything that is wrong with it."""
    with pytest.raises(ConfigProblems) as caught:
        load(str(path), {}, vault=Vault.in_memory())
    return caught.value.problems


def messages(path: Path) -> list[str]:
    """The same as text."""
    return [str(problem) for problem in problems(path)]
