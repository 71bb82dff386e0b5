"""The pages agree with the code, and their links lead somewhere."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest

import circus
from circus.arbiter import state as arbiter_state
from circus.bus.names import NAME_OF, TAGS
from circus.bus.record import ENVELOPE_KEYS, Body
from circus.process import core as process_core
from circus.watcher.state import SLOT_LIFE, WATCHER_LIFE

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS: Final = sorted((ROOT / "docs/adr").glob("*.md"))
LIVES_PAGE: Final = ROOT / "docs/life-of-a-process.md"
GLOSSARY: Final = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").lower()
LINK: Final = re.compile(r"\[[^\]]+\]\((?!https?:|mailto:|#)([^)#]+)(?:#[^)]*)?\)")
FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LIVES: Final[dict[str, Mapping[Any, Mapping[type[Body], Any]]]] = {
    "A process, as far as it is on record": process_core.LIFE,
    "A slot": SLOT_LIFE,
    "A watcher": WATCHER_LIFE,
    "The arbiter": arbiter_state.LIFE,
}
SECTIONS: Final = ("## Context", "## Decision", "## Consequence", "## What would change our mind")
LINES_PER_DECISION_MAX: Final = 70


def page_name(page: Path) -> str:
    """The page as pytest names its case."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_a_link_leads_to_a_file(page: Path) -> None:
    """
    A relative link in a page names a file or folder of the repository.
    """
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    assert [] == [to for to in LINK.findall(text) if not (page.parent / to).exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_a_cited_decision_is_written(page: Path) -> None:
    """
    `ADR-NNNN` in a page is a page in docs/adr.
    """
    known = {decision.name[:4] for decision in DECISIONS}
    cited = set(re.findall(r"ADR-(\d{4})", page.read_text(encoding="utf-8")))
    assert set() == cited - known


@pytest.mark.parametrize("page", DECISIONS, ids=page_name)
def test_a_decision_is_one_page_with_its_four_parts(page: Path) -> None:
    """
    Headed `# NNNN: verb phrase`; context, decision, consequence, what would change our mind.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(rf"# {page.name[:4]}: [A-Z].+", lines[0])
    assert list(SECTIONS) == [line for line in lines if line.startswith("## ")]
    assert len(lines) <= LINES_PER_DECISION_MAX


def test_a_decision_has_a_number_of_its_own() -> None:
    """
    `ADR-NNNN` leads to one page.
    """
    numbers = [page.name[:4] for page in DECISIONS]
    assert sorted(set(numbers)) == numbers


@pytest.mark.parametrize("noun", sorted({tag.partition(".")[0] for tag in TAGS}))
def test_every_noun_of_a_tag_is_in_the_glossary(noun: str) -> None:
    """
    One word per idea: what the wire says is explained.
    """
    assert f"**{noun}**" in GLOSSARY


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_every_name_on_the_wire_is_in_the_glossary(tag: str) -> None:
    """
    The glossary's last table lists every record by its name.
    """
    assert f"`{tag.partition('/')[0]}`" in GLOSSARY


@pytest.mark.parametrize("key", ENVELOPE_KEYS)
def test_every_key_of_the_envelope_is_in_the_glossary(key: str) -> None:
    """
    The envelope is the one structure that all readers share.
    """
    assert f"`{key}`" in GLOSSARY


def mermaid(life: Mapping[Any, Mapping[type[Body], Any]]) -> str:
    """A life table as a diagram; the names of its moves are the names on the wire."""
    first = next(iter(life))
    lines = [f"    [*] --> {word(first)}"]
    for phase, moves in life.items():
        by_end: dict[Enum, list[str]] = {}
        for kind, end in moves.items():
            by_end.setdefault(end, []).append(NAME_OF[kind][0])
        lines += [
            f"    {word(phase)} --> {word(end)}: {', '.join(kinds)}"
            for end, kinds in by_end.items()
        ]
        if not moves:
            lines.append(f"    {word(phase)} --> [*]")
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def word(phase: Enum) -> str:
    """A phase as the diagram names it: one word."""
    return str(phase.value).replace(" ", "_")


def lives_page(text: str) -> str:
    """The page as it should be: each section ends with its diagram."""
    head, *sections = FENCED.sub("", text).split("\n## ")
    parts = [head.rstrip()]
    for section in sections:
        title = section.partition("\n")[0]
        parts.append(f"## {section.rstrip()}\n\n{mermaid(LIVES[title])}")
    return "\n\n".join(parts) + "\n"


def test_the_diagrams_are_printed_from_the_life_tables() -> None:
    """
    A table that changes changes its diagram: `python tests/test_docs.py` prints them anew.
    """
    text = LIVES_PAGE.read_text(encoding="utf-8")
    assert list(LIVES) == re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert lives_page(text) == text


def test_the_readme_names_the_test_command() -> None:
    """
    `.ci/run` calls what README.md tells a contributor to call.
    """
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make --no-print-directory test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_changelog_has_this_version_or_work_in_progress() -> None:
    """
    Keep a Changelog: the newest heading is `Unreleased` or the package's version.
    """
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in {"Unreleased", circus.__version__}


def test_the_readme_configuration_is_valid_toml() -> None:
    """
    What a reader copies from the README parses.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert blocks
    assert all("watcher" in tomllib.loads(block) for block in blocks)


def test_the_readme_python_examples_compile() -> None:
    """
    The Python blocks of the README are Python.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


if __name__ == "__main__":
    page = lives_page(LIVES_PAGE.read_text(encoding="utf-8"))
    LIVES_PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{LIVES_PAGE.name} has the diagrams of the tables\n")
