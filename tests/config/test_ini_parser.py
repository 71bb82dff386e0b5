"""Room: tests -- Circus's ini dialect, rule by rule and by properties.

Knows:     circus.arbiter.config_ini.
Known by:  pytest.
Never:     touches a file.
"""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as some

from circus.arbiter.config_ini import IniReader

KEYS = some.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=12).filter(
    lambda key: not key.lower().startswith("rem")
)
VALUES = some.text(
    some.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"], blacklist_characters=";"),
    max_size=30,
).map(str.strip)
NAMES = some.text(string.ascii_letters + "-_. ", min_size=1, max_size=10)
FILES = some.dictionaries(NAMES, some.dictionaries(KEYS, VALUES, min_size=1), max_size=4)


def test_comments_and_blank_lines_are_left_out() -> None:
    """
    `#`, `;` and `rem` begin a comment in the first column, ` ;` one at the end of a value.
    """
    text = "[circus]\n# a = 1\n; b = 1\nREM c = 1\n\nd = 1 ; e\nf = 1;g\nremark = 2\n"
    assert {"d": "1", "f": "1;g", "remark": "2"} == read(text)["circus"]


def test_both_separators_are_good_and_the_first_one_counts() -> None:
    """
    What follows may contain more of them.
    """
    assert {"a": "b=c", "d": "e:f"} == read("[circus]\na = b=c\nd: e:f")["circus"]


def test_names_of_options_keep_their_case() -> None:
    """
    Unlike configparser's.
    """
    assert {"A": "1", "a": "2"} == read("[env]\nA = 1\na = 2")["env"]


def test_indented_lines_go_on_with_the_value() -> None:
    """
    Joined by newlines, as in Circus.
    """
    assert {"a": "1\n2\n3"} == read("[circus]\na = 1\n  2\n\t3")["circus"]


def test_what_follows_a_definition_that_lost_is_not_joined_to_the_one_that_won() -> None:
    """
    A continuation belongs to its own definition.
    """
    assert {"a": "1"} == read("[circus]\na = 1\na = 2\n  3")["circus"]


def test_two_quotes_are_the_empty_string() -> None:
    """
    `""` is nothing; other quotes are kept.
    """
    assert {"a": "", "b": '"x"'} == read('[circus]\na = ""\nb = "x"')["circus"]


def test_the_first_definition_wins_and_repeated_sections_are_one() -> None:
    """
    Inside a section, and when it comes again.
    """
    text = "[watcher:a]\nx = 1\nx = 2\n[circus]\nz = 1\n[watcher:a]\nx = 3\ny = 4"
    assert {"x": "1", "y": "4"} == read(text)["watcher:a"]


def test_defaults_are_in_every_section_that_does_not_say_otherwise() -> None:
    """
    `[DEFAULT]` may stand anywhere.
    """
    text = "[watcher:a]\nx = 1\n[DEFAULT]\nx = 0\ny = 0\n[env]\n"
    assert {"watcher:a": {"x": "1", "y": "0"}, "env": {"x": "0", "y": "0"}} == read(text)


def test_empty_and_unknown_sections_are_left_out() -> None:
    """
    As Circus does: other tools may keep theirs in the same file.
    """
    assert {} == read("[watcher:a]\n[other]\na = 1\n[watcher]\nb = 2")


def test_percent_signs_mean_nothing() -> None:
    """
    There is no interpolation.
    """
    assert {"a": "%(x)s %% %"} == read("[circus]\na = %(x)s %% %")["circus"]


@given(FILES)
def test_what_is_written_is_read_back(content: dict[str, dict[str, str]]) -> None:
    """
    Any names and values that the dialect can write.
    """
    lines: list[str] = []
    for name, options in content.items():
        lines.append(f"[watcher:{name}]")
        lines += [f"{key} = {value}" for key, value in options.items()]
    expected = {
        f"watcher:{name}": {k: "" if v == '""' else v for k, v in options.items()}
        for name, options in content.items()
    }
    assert expected == read("\n".join(lines))


@given(some.text(max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    """
    Whatever it is, there are sections and problems and no exception.
    """
    reader = IniReader()
    reader.read("any", text)
    assert all(problem.line for problem in reader.problems)
    assert all(section.settings for section in reader.sections())


@given(some.lists(some.sampled_from(["[circus]", "a = 1", "b = 2", "  c", "rem", "[env]"])))
def test_reading_a_file_twice_changes_nothing(lines: list[str]) -> None:
    """
    The first definition wins, so the second reading adds nothing.
    """
    once, twice = IniReader(), IniReader()
    text = "\n".join(lines)
    once.read("a", text)
    twice.read("a", text)
    twice.read("b", text)
    assert once.sections() == twice.sections()


def read(text: str) -> dict[str, dict[str, str]]:
    """Sections and values, without their places."""
    reader = IniReader()
    reader.read("any.ini", text)
    assert [] == reader.problems
    return {
        section.title: {key: setting.value for key, setting in section.settings.items()}
        for section in reader.sections()
    }
