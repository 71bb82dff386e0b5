"""Room: tests -- from a spec to a launch.

Knows:     process.launch, bus.spec.
Known by:  nobody.
Never:     starts a process.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

from circus.bus.spec import WatcherSpec
from circus.process.launch import Launch, Plan, executables, from_map, resolve, spawn_failure


def launch(slot: int = 4, **options: Any) -> Launch:
    spec = WatcherSpec(name="web", **options)
    return resolve(spec, slot, secrets=lambda hashed: f"value of {hashed}", environ={"HOME": "/h"})


def test_cmd_is_split_as_a_shell_splits_words_and_args_follow() -> None:
    """No shell is involved."""
    assert ("prog", "a b", "*", "x y") == launch(cmd="prog 'a b' *", args=("x y",)).argv


def test_references_are_filled_in_once() -> None:
    """wid, env and options, in both spellings and any case; unknown ones stay."""
    made = launch(cmd="p $(circus.wid) ((CIRCUS.ENV.a)) $(circus.numprocesses) $(circus.nope)",
                  env={"A": "$(circus.wid)"})  # fmt: skip
    assert ("p", "4", "value", "of", "$(circus.wid)", "1", "$(circus.nope)") == made.argv
    assert made.by_slot
    assert not launch(cmd="p").by_slot


def test_a_shell_gets_the_text_as_it_was_written() -> None:
    """ADR-0020: pipes and variables work; shell_args become $0, $1 …"""
    made = launch(cmd="echo $HOME | cat", args=("-n",), shell=True, shell_args=("me",))
    assert ("/bin/sh", "-c", "echo $HOME | cat -n", "me") == made.argv


def test_the_environment_is_empty_unless_copied() -> None:
    """Values come from the vault by their keyed hash."""
    assert {"A": "value of h"} == launch(cmd="p", env={"A": "h"}).env
    assert {"HOME": "/h", "A": "value of h"} == launch(cmd="p", env={"A": "h"}, copy_env=True).env


def test_an_open_quote_is_refused() -> None:
    """ValueError, which the reaper turns into a failed spawn."""
    with pytest.raises(ValueError, match="No closing quotation"):
        launch(cmd="p 'x")


def test_equal_launches_have_one_digest() -> None:
    """The order of the environment does not matter, anything else does."""
    one = Launch(("p",), {"A": "1", "B": "2"})
    assert one.digest == Launch(("p",), {"B": "2", "A": "1"}, plan=Plan(9)).digest
    assert one.digest != Launch(("p",), {"A": "1", "B": "3"}).digest
    assert one.digest == from_map(one.to_map()).digest


def test_a_program_is_looked_for_in_the_childs_own_path() -> None:
    """Not in the daemon's; a slash means no search."""
    assert ("/x/p", "/y/p") == executables(Launch(("p",), {"PATH": "/x:/y"}))
    assert ("./p",) == executables(Launch(("./p",), {"PATH": "/x"}))


@pytest.mark.parametrize(
    ("step", "number", "sentence"),
    [
        ("exec", errno.ENOENT, "command not found: prog"),
        ("exec", errno.EACCES, "no permission to execute prog"),
        ("chdir", errno.ENOENT, "working directory /nope does not exist"),
        ("user", errno.ENOENT, "unknown user bob"),
    ],
)
def test_a_failure_names_what_was_wrong(step: str, number: int, sentence: str) -> None:
    """The command, the directory or the user."""
    made = Launch(("prog",), {}, cwd="/nope", uid="bob")
    assert sentence == spawn_failure(made, step, number)


def test_a_failure_names_a_program_as_it_was_written() -> None:
    """The value of a variable may be secret, and the sentence goes into the ledger (I-SECRET)."""
    spec = WatcherSpec(name="web", cmd="$(circus.env.HOME)/app -x", env={"HOME": "h:1"})
    made = resolve(spec, 1, secrets=lambda _hashed: "/taint", environ={})

    assert ("/taint/app", "-x") == made.argv
    expected = "command not found: $(circus.env.HOME)/app"
    assert expected == spawn_failure(made, "exec", errno.ENOENT)
