"""Room: tests -- options that come over the wire: what is accepted, and the reasons of refusals.

Knows:     circus.arbiter.config_wire, circus.arbiter.config_options.
Known by:  pytest.
Never:     opens a socket.
"""

from __future__ import annotations

import pytest

from circus.arbiter.config_options import signal_number
from circus.arbiter.config_wire import OptionRefused, spec_to_add, validate_options
from circus.bus.spec import WatcherSpec
from circus.bus.values import NS_PER_SECOND
from circus.bus.vault import Vault

WEB = WatcherSpec(name="web", cmd="server")
SINGLE = WatcherSpec(name="one", cmd="server", singleton=True)

REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "an unknown option": ({"zz": 1}, "unknown key 'zz'"),
    "text for a number": ({"numprocesses": "3"}, "'numprocesses' isn't an integer"),
    "a boolean for a number": ({"max_retry": True}, "'max_retry' isn't an integer"),
    "text for seconds": ({"warmup_delay": "1"}, "'warmup_delay' isn't a number"),
    "a number for a boolean": ({"respawn": 1}, "'respawn' isn't a valid boolean"),
    "a list for an environment": ({"env": [1]}, "'env' isn't a valid object"),
    "a list for a user": ({"uid": [1]}, "'uid' isn't an integer or string"),
    "too few": ({"numprocesses": -1}, "'numprocesses' must be 0 or more"),
    "a later option": (
        {"rlimit_nofile": 5},
        "cannot use 'rlimit_nofile': this version does not have resource limits yet; remove it",
    ),
    "a fixed option": (
        {"singleton": True},
        "cannot set 'singleton' of a watcher that exists: "
        "change the configuration and restart, or rm and add the watcher",
    ),
    "no program": ({"cmd": ""}, "'cmd' cannot run a watcher without cmd: name the program to run"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_set_refuses_with_the_reason_that_circus_gives(case: str) -> None:
    """
    Clients compare these texts.
    """
    options, reason = REFUSED[case]
    with pytest.raises(OptionRefused) as caught:
        validate_options(options, WEB, Vault.in_memory())
    assert reason == str(caught.value)


def test_set_answers_values_in_the_units_of_the_record() -> None:
    """
    Seconds become nanoseconds, names of signals numbers, words tuples.
    """
    options = {"graceful_timeout": 0.5, "stop_signal": "INT", "args": "a b", "retry_in": 3}
    expected = {"graceful_timeout": NS_PER_SECOND // 2, "stop_signal": 2, "args": ("a", "b")}
    assert expected == validate_options(options, WEB, Vault.in_memory())


def test_set_seals_an_environment() -> None:
    """
    No value may reach a record.
    """
    vault = Vault.in_memory()
    found = validate_options({"env": {"TOKEN": "secret"}}, WEB, vault)
    assert {"TOKEN": "secret"} == vault.reveal_all(found["env"])
    assert "secret" not in repr(found)


def test_a_singleton_stays_one() -> None:
    """
    The rule about a whole watcher holds for what `set` would make of it.
    """
    with pytest.raises(OptionRefused, match="cannot be more than 1 with singleton"):
        validate_options({"numprocesses": 2}, SINGLE, Vault.in_memory())


def test_add_makes_a_spec_with_circus_defaults() -> None:
    """
    What `add` does not say is as in an ini file.
    """
    spec = spec_to_add("web", "server", {"numprocesses": 2}, args=["-v"], vault=Vault.in_memory())
    assert WatcherSpec(name="web", cmd="server", args=("-v",), numprocesses=2) == spec


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 129, None, 3])
def test_add_refuses_a_name_that_cannot_be_one(name: object) -> None:
    """
    1 to 128 printable characters without a slash.
    """
    with pytest.raises(OptionRefused, match="use 1 to 128 printable characters"):
        spec_to_add(name, "server", {}, args=None, vault=Vault.in_memory())


@pytest.mark.parametrize(
    ("text", "number"),
    [("INT", 2), ("sigint", 2), ("2", 2), ("SIGRTMIN+1", 35), ("RTMIN", 34), ("X", None),
     ("INT+x", None), ("", None), ("SIG_IGN", None)],
)  # fmt: skip
def test_signals_have_names_and_numbers(text: str, number: int | None) -> None:
    """
    As Circus takes them.
    """
    assert number == signal_number(text)
