"""Room: tests -- what good files mean, in both formats and from a program.

Knows:     circus.arbiter.config.
Known by:  pytest.
Never:     runs a daemon.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from circus.arbiter.config import Config, config_of_mappings, load, to_configure
from circus.arbiter.config_options import default_of, show_option, spec_from_mapping
from circus.arbiter.config_problems import ConfigProblems
from circus.arbiter.config_values import Settings
from circus.bus.shapes import altered
from circus.bus.spec import OPTIONS, WatcherSpec, from_data
from circus.bus.values import NS_PER_SECOND
from circus.bus.vault import Vault

EXAMPLES = Path(__file__).parents[2] / "examples"

TOML = """
[circus]
warmup_delay = 0.25
umask = "022"
loglevel = "DEBUG"
check_delay = 5
httpd = false

[env]
EVERYWHERE = "$HOME/x"
LATER = "global"

[env."w*,x"]
LATER = "pattern"

[watcher.web]
cmd = "server --port 80"
args = ["-v", "two words"]
numprocesses = 3
graceful_timeout = 2.5
stop_signal = "SIGRTMIN+1"
uid = "1000"
max_age = 60

[watcher.web.env]
OWN = "${HOME} $home $UNSET."
"""
INI = """
[circus]
warmup_delay = 0.25
umask = 022
loglevel = DEBUG
check_delay = 5
httpd = False

[env]
EVERYWHERE = $HOME/x
LATER = global

[env:w*, x]
LATER = pattern
OWN = ${HOME} $home $UNSET.

[watcher:web]
cmd = server --port 80
args = -v "two words"
numprocesses = 3
graceful_timeout = 2.5
stop_signal = sigrtmin+1
uid = 1000
max_age = 60
; what the native format has by default
backoff = 0.1
give_up = 20
leftovers = kill
copy_env = on
"""


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """
    Where an ini file names what TOML has by default, nothing but that is different.
    """
    toml = loaded(tmp_path, "same.toml", TOML)
    ini = loaded(tmp_path, "same.ini", INI)
    assert toml.watchers == ini.watchers
    assert toml.settings == altered(ini.settings, no_new_privs=True, cgroup="auto")


def test_values_arrive_in_the_units_of_the_record(tmp_path: Path) -> None:
    """
    Durations are nanoseconds, signals and masks numbers, words tuples.
    """
    config = loaded(tmp_path, "units.toml", TOML)
    spec = config.watchers[0]
    assert ("-v", "two words") == spec.args
    assert (5 * NS_PER_SECOND // 2, 60 * NS_PER_SECOND) == (spec.graceful_timeout, spec.max_age)
    assert (signal.SIGRTMIN + 1, 1000) == (spec.stop_signal, spec.uid)
    assert (NS_PER_SECOND // 4, 0o022, "debug") == (
        config.settings.warmup_delay, config.settings.umask, config.settings.loglevel,
    )  # fmt: skip


def test_the_environment_is_merged_and_sealed(tmp_path: Path) -> None:
    """
    [env], then patterns, then the watcher's own; `$UPPER` only; no value outside the vault.
    """
    vault = Vault.in_memory()
    config = loaded(tmp_path, "env.toml", TOML, environ={"HOME": "/h"}, vault=vault)
    sealed = config.watchers[0].env
    assert {"EVERYWHERE": "/h/x", "LATER": "pattern", "OWN": "${HOME} $home ."} == (
        vault.reveal_all(sealed)
    )
    assert all(value.startswith("h:") for value in sealed.values())


def test_a_file_without_options_has_the_defaults_of_its_format(tmp_path: Path) -> None:
    """
    ini: Circus's; TOML: what a new user expects.
    """
    ini = loaded(tmp_path, "a.ini", "[watcher:a]\ncmd = x").watchers[0]
    toml = loaded(tmp_path, "a.toml", '[watcher.a]\ncmd = "x"').watchers[0]
    assert WatcherSpec(name="a", cmd="x") == ini
    assert [default_of(name, "toml") for name in OPTIONS if name not in ("name", "cmd")] == [
        getattr(toml, name) for name in OPTIONS if name not in ("name", "cmd")
    ]
    assert (True, "kill") == (toml.copy_env, toml.leftovers)


def test_references_are_replaced_anywhere_whatever_their_case(tmp_path: Path) -> None:
    """
    Both of Circus's forms, from the daemon's environment and [env]; unknown ones stay.
    """
    text = """
[env]
Kind = fast
[watcher:a]
cmd = run-((circus.env.kind)) $(CIRCUS.ENV.HOME) $(circus.env.nobody) $(circus.wid)
numprocesses = $(circus.env.n)
"""
    spec = loaded(tmp_path, "a.ini", text, environ={"HOME": "/h", "N": "4"}).watchers[0]
    assert "run-fast /h $(circus.env.nobody) $(circus.wid)" == spec.cmd
    assert 4 == spec.numprocesses


def test_a_reference_may_stand_for_a_number_in_toml_too(tmp_path: Path) -> None:
    """
    What comes out of a reference is text in every format.
    """
    text = '[watcher.a]\ncmd = "x"\nnumprocesses = "$(circus.env.N)"\nrespawn = "$(circus.env.R)"'
    spec = loaded(tmp_path, "a.toml", text, environ={"N": "4", "R": "no"}).watchers[0]
    assert (4, False) == (spec.numprocesses, spec.respawn)


def test_ini_watchers_come_by_name_and_toml_in_the_order_of_the_file(tmp_path: Path) -> None:
    """
    Circus sorts; the native format lets the writer decide.
    """
    ini = loaded(tmp_path, "a.ini", "[watcher:b]\ncmd=x\n[watcher:a]\ncmd=x")
    toml = loaded(tmp_path, "a.toml", '[watcher.b]\ncmd="x"\n[watcher.a]\ncmd="x"')
    assert ["a", "b"] == [spec.name for spec in ini.watchers]
    assert ["b", "a"] == [spec.name for spec in toml.watchers]


def test_includes_are_read_and_the_first_definition_wins(tmp_path: Path) -> None:
    """
    Names, patterns and directories, relative to the main file; a pattern may match nothing.
    """
    (tmp_path / "d").mkdir()
    (tmp_path / "one.ini").write_text("[watcher:a]\nnumprocesses = 9\nrespawn = no")
    (tmp_path / "d" / "two.ini").write_text("[watcher:b]\ncmd = y")
    (tmp_path / "d" / "not.txt").write_text("nonsense")
    text = (
        "[circus]\ninclude = one.ini none*.ini\ninclude_dir = d\n"
        "[watcher:a]\ncmd = x\nnumprocesses = 2"
    )
    first, second = loaded(tmp_path, "main.ini", text).watchers
    assert ("a", 2, False) == (first.name, first.numprocesses, first.respawn)
    assert "b" == second.name


def test_toml_includes_toml(tmp_path: Path) -> None:
    """
    The same options, with lists.
    """
    (tmp_path / "one.toml").write_text('[watcher.b]\ncmd = "y"')
    text = '[circus]\ninclude = ["one.toml"]\n[watcher.a]\ncmd = "x"'
    assert ["a", "b"] == [s.name for s in loaded(tmp_path, "main.toml", text).watchers]


def test_the_digest_follows_what_is_said_and_not_how(tmp_path: Path) -> None:
    """
    A comment changes nothing; a value does.
    """
    plain = loaded(tmp_path, "a.ini", "[watcher:a]\ncmd = x")
    comment = loaded(tmp_path, "a.ini", "# hello\n[watcher:a]\ncmd = x ; y")
    other = loaded(tmp_path, "a.ini", "[watcher:a]\ncmd = x\nmax_retry = 6")
    assert plain.digest == comment.digest
    assert plain.digest != other.digest


def test_the_command_to_the_arbiter_carries_every_option(tmp_path: Path) -> None:
    """
    A spec comes back from the record as it went in.
    """
    config = loaded(tmp_path, "a.toml", TOML)
    command = to_configure(config)
    assert config.watchers == tuple(from_data(data) for data in command.watchers)
    assert ({"warmup_delay": NS_PER_SECOND // 4}, config.digest, "file") == (
        command.settings, command.digest, command.source,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["hello.toml", "hello.ini"])
def test_the_examples_are_good(name: str) -> None:
    """
    What the README starts has three watchers.
    """
    config = load(str(EXAMPLES / name), {"PATH": "/bin"}, vault=Vault.in_memory())
    assert {"greeter", "counter", "unsteady"} == {spec.name for spec in config.watchers}


def test_a_program_may_leave_the_name_away() -> None:
    """
    Circus takes the program's, without its directory.
    """
    spec = spec_from_mapping(
        {"cmd": "/bin/sleep 5", "numprocesses": 3, "env": None, "stream_backend": "thread"},
        "library", vault=Vault.in_memory(),
    )  # fmt: skip
    assert WatcherSpec(name="sleep", cmd="/bin/sleep 5", numprocesses=3) == spec


def test_a_program_hears_of_all_faults_at_once() -> None:
    """
    Wrong types, unknown options and names given twice, in one exception.
    """
    mappings: list[dict[str, object]] = [
        {"cmd": "a", "numprocesses": "3", "x": 1}, {"cmd": "b"}, {"cmd": "/bin/B"},
    ]  # fmt: skip
    with pytest.raises(ConfigProblems) as caught:
        config_of_mappings(mappings, vault=Vault.in_memory())
    assert ["numprocesses", "x", "name"] == [p.key for p in caught.value.problems]


def test_a_configuration_of_a_program_has_the_library_as_its_source() -> None:
    """
    The record says where a configuration came from.
    """
    config = config_of_mappings([{"cmd": "a"}], vault=Vault.in_memory())
    assert ("library", Settings()) == (config.source, config.settings)


def test_options_are_shown_in_circus_units() -> None:
    """
    Seconds as numbers, lists as lists.
    """
    assert 30 == show_option("graceful_timeout", 30 * NS_PER_SECOND)
    assert 0.1 == show_option("backoff", NS_PER_SECOND // 10)
    assert ["a"] == show_option("args", ("a",))
    assert 15 == show_option("stop_signal", 15)


def loaded(
    folder: Path,
    name: str,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    vault: Vault | None = None,
) -> Config:
    """The configuration in `text`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load(str(path), environ or {}, vault=vault or Vault.in_memory())
