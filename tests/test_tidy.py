"""The house rules, read off the syntax trees. A breach names file, line, rule and remedy.

Breaches that are there already stand in `tidy_ratchet.json`, counted by rule and file: the count
may fall (write it down with `make ratchet`), never rise.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent
RATCHET: Final = Path(__file__).with_name("tidy_ratchet.json")
ROOMS: Final = ("bus", "process", "watcher", "arbiter", "replay")
PRODUCT: Final = (*ROOMS, "circus")
EVERYTHING: Final = (*PRODUCT, "tests", "tools", "bench", "campaign", "examples")

LINES_PER_FUNCTION_MAX: Final = 40
LINES_PER_MODULE_MAX: Final = 400
PARAMETERS_MAX: Final = 5
METHODS_MAX: Final = 15
# Circus's own public classes: how many methods they have was decided there (ADR-0085).
CIRCUS_CLASSES: Final = {"Arbiter", "Process", "WatchedProcess", "Watcher"}
ATTRIBUTES_MAX: Final = 10
NESTING_MAX: Final = 3
FILES_PER_ROOM_MAX: Final = 20
# Rooms of several subjects, each with a prefix or a line of its own in ADR-0085.
FILES_PER_WIDE_ROOM_MAX: Final = {"bus": 48, "arbiter": 48, "process": 40}
SUPPRESSIONS_MAX: Final = 5
WORDS_PER_TEST_NAME_MIN: Final = 4  # with `test`

VAGUE: Final = {"util", "utils", "helper", "helpers", "manager", "common", "base", "misc"}
HEADER: Final = re.compile(
    r"\ARoom: (?P<room>\w+) -- \S.*?\n\nKnows: +\S.*\nKnown by: +\S.*\nNever: +\S",
    re.DOTALL,
)
SUPPRESSION: Final = re.compile(
    r"#\s*(?P<what>noqa|type:\s*ignore|pyright:\s*ignore)"
    r"(?P<code>:\s*[A-Z]+\d+(?:, ?[A-Z]+\d+)*|\[[\w, -]+\])?(?P<reason>.*)"
)
UNFINISHED: Final = re.compile(r"#.*\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
DECISION: Final = re.compile(r"ADR-(\d{4})")
REFUSALS: Final = {"Refused", "Unintelligible"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Blocks = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


class Breach(NamedTuple):
    """One broken rule at one place."""

    rule: str
    path: str
    line: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.remedy}"


class Source(NamedTuple):
    """One file, read and parsed once."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder at the top: a room, `circus`, `tests` …"""
        return self.path.partition("/")[0]

    @property
    def functions(self) -> Iterator[Function]:
        """Every function and method, the inner ones too."""
        return (
            n for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        """Every class."""
        return (n for n in ast.walk(self.tree) if isinstance(n, ast.ClassDef))


@cache
def sources() -> tuple[Source, ...]:
    """Every module of the project once, by its real folder and not through the links."""
    found = (
        path
        for room in EVERYTHING
        for path in sorted((ROOT / room).rglob("*.py"))
        if not any((ROOT / room / part).is_symlink() for part in _parents(path, room))
    )
    return tuple(_read(path) for path in found)


def _parents(path: Path, room: str) -> list[Path]:
    inside = path.relative_to(ROOT / room)
    return [p for p in inside.parents if p != Path()]


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(str(path.relative_to(ROOT)), text, ast.parse(text, str(path)))


def module_says_where_it_is(source: Source) -> Iterator[Breach]:
    """P10: room, what it is, Knows, Known by, Never; an empty `__init__` says nothing."""
    if source.room not in PRODUCT or not source.text.strip():
        return
    header = HEADER.match(ast.get_docstring(source.tree) or "")
    want = "front" if source.room == "circus" else source.room
    if header is None or header["room"] != want:
        remedy = f'begin with """Room: {want} -- what it is. / Knows: / Known by: / Never:'
        yield Breach("header", source.path, 1, remedy)


def module_is_short(source: Source) -> Iterator[Breach]:
    """At most 400 lines."""
    lines = source.text.count("\n")
    if lines > LINES_PER_MODULE_MAX:
        remedy = f"{lines} lines, at most {LINES_PER_MODULE_MAX}: split it by idea"
        yield Breach("module length", source.path, 1, remedy)


def function_is_short(source: Source) -> Iterator[Breach]:
    """At most 40 lines of body, the docstring not counted."""
    for node in source.functions:
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
        if lines > LINES_PER_FUNCTION_MAX:
            remedy = f"split {node.name}: {lines} lines, at most {LINES_PER_FUNCTION_MAX}"
            yield Breach("function length", source.path, node.lineno, remedy)


def function_asks_for_little(source: Source) -> Iterator[Breach]:
    """At most five parameters; `self` and `cls` are not counted."""
    for node in source.functions:
        a = node.args
        names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        count = len([n for n in names if n not in {"self", "cls"}])
        if count > PARAMETERS_MAX:
            remedy = (
                f"{node.name} takes {count}, at most {PARAMETERS_MAX}: pass a value that has them"
            )
            yield Breach("parameters", source.path, node.lineno, remedy)


def function_is_flat(source: Source) -> Iterator[Breach]:
    """At most three blocks inside one another: push ifs up, fors down."""
    for node in source.functions:
        depth = max((_depth(statement) for statement in node.body), default=0)
        if depth > NESTING_MAX:
            remedy = (
                f"{node.name} nests {depth} deep, at most {NESTING_MAX}: return early, name a part"
            )
            yield Breach("nesting", source.path, node.lineno, remedy)


def _depth(node: ast.AST) -> int:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 0  # counted by itself
    inner = max((_depth(child) for child in _statements(node)), default=0)
    return inner + isinstance(node, Blocks)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for field, value in ast.iter_fields(node):
        # `elif` is an If in an `orelse` of one: the same level to the reader.
        if field == "orelse" and isinstance(node, ast.If) and [type(v) for v in value] == [ast.If]:
            yield from _statements(value[0])
            continue
        for item in value if isinstance(value, list) else ():
            if isinstance(item, ast.match_case):
                yield from _statements(item)
            elif isinstance(item, ast.AST):
                yield item


def class_is_narrow(source: Source) -> Iterator[Breach]:
    """At most 15 methods and 10 attributes; tests' classes and protocols too."""
    for node in source.classes:
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        attributes = {
            n.attr
            for method in methods
            for n in ast.walk(method)
            if isinstance(n, ast.Attribute)
            and isinstance(n.ctx, ast.Store)
            and isinstance(n.value, ast.Name)
            and n.value.id == "self"
        }
        for what, count, most in (
            ("methods", len(methods), METHODS_MAX),
            ("attributes", len(attributes), ATTRIBUTES_MAX),
        ):
            if count > most and not (what == "methods" and node.name in CIRCUS_CLASSES):
                remedy = f"{node.name} has {count} {what}, at most {most}: it is two things"
                yield Breach("class width", source.path, node.lineno, remedy)


def names_say_something(source: Source) -> Iterator[Breach]:
    """No util, helper, manager, common, base in the name of a module, class or function."""
    named = [(Path(source.path).stem, 1)]
    named += [(node.name, node.lineno) for node in (*source.functions, *source.classes)]
    for name, line in named:
        words = re.findall(r"[A-Z]?[a-z]+", name)
        if VAGUE & {word.lower() for word in words}:
            yield Breach("vague name", source.path, line, f"say what {name} is for")


def nothing_is_left_for_later(source: Source) -> Iterator[Breach]:
    """What is to be done is done, or is an issue."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if UNFINISHED.search(line):
            yield Breach(
                "unfinished", source.path, number, "do it, or open an issue and delete this"
            )


def suppressions_have_reasons(source: Source) -> Iterator[Breach]:
    """`noqa` and `type: ignore` name their code and why."""
    for line, found in suppressions(source):
        if not found["code"] or len(found["reason"].strip(" -#")) < len("why so"):
            remedy = "name the code and, behind it, the reason"
            yield Breach("suppression", source.path, line, remedy)


def suppressions(source: Source) -> Iterator[tuple[int, re.Match[str]]]:
    """Every comment that silences a checker."""
    lines = iter(source.text.splitlines(keepends=True))
    for token in tokenize.generate_tokens(lambda: next(lines, "")):
        if token.type == tokenize.COMMENT and (found := SUPPRESSION.search(token.string)):
            yield token.start[0], found


def no_test_sleeps(source: Source) -> Iterator[Breach]:
    """No sleeping in tests."""
    if source.room != "tests":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
            remedy = "wait on what you wait for: poll, a pidfd, a pipe, an event of the ledger"
            yield Breach("sleep", source.path, node.lineno, remedy)


def each_test_is_a_sentence(source: Source) -> Iterator[Breach]:
    """A test's name is a sentence, its docstring the rule."""
    if source.room != "tests":
        return
    for node in source.functions:
        if not node.name.startswith("test_"):
            continue
        if len(node.name.split("_")) < WORDS_PER_TEST_NAME_MIN:
            yield Breach("test name", source.path, node.lineno, f"make {node.name} a sentence")
        if not ast.get_docstring(node):
            remedy = f"state the rule that {node.name} shows in its docstring"
            yield Breach("test docstring", source.path, node.lineno, remedy)


def refusals_begin_with_cannot(source: Source) -> Iterator[Breach]:
    """A refusal's text says what cannot be done, and why."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        if ast.unparse(node.func).rpartition(".")[2] not in REFUSALS:
            continue
        text = node.args[0]
        if isinstance(text, ast.JoinedStr) and text.values:
            text = text.values[0]
        if isinstance(text, ast.Constant) and not str(text.value).startswith("cannot "):
            remedy = f"begin {str(text.value)[:30]!r} with 'cannot', then the reason and the remedy"
            yield Breach("refusal", source.path, node.lineno, remedy)


def cited_decisions_exist(source: Source) -> Iterator[Breach]:
    """`ADR-NNNN` in the code is a page in docs/adr."""
    known = {path.name[:4] for path in (ROOT / "docs/adr").glob("*.md")}
    for number, line in enumerate(source.text.splitlines(), 1):
        for cited in DECISION.findall(line):
            if cited not in known:
                remedy = f"write docs/adr/{cited}-verb-phrase.md, or cite another"
                yield Breach("decision", source.path, number, remedy)


RULES: Final[tuple[Callable[[Source], Iterator[Breach]], ...]] = (
    module_says_where_it_is, module_is_short, function_is_short, function_asks_for_little,
    function_is_flat, class_is_narrow, names_say_something, nothing_is_left_for_later,
    suppressions_have_reasons, no_test_sleeps, each_test_is_a_sentence,
    refusals_begin_with_cannot, cited_decisions_exist,
)  # fmt: skip


def breaches(rule: Callable[[Source], Iterator[Breach]]) -> list[Breach]:
    """Every breach of one rule in the project."""
    return [breach for source in sources() for breach in rule(source)]


def counted() -> Counter[str]:
    """Everything that the ratchet holds, as it is today."""
    count = Counter(f"{b.rule} in {b.path}" for rule in RULES for b in breaches(rule))
    count |= Counter({f"files in {one}": n for one, n in folders().items() if n > files_max(one)})
    silenced = len(silencings())
    return count | Counter({"suppressions": silenced} if silenced > SUPPRESSIONS_MAX else {})


def folders() -> Counter[str]:
    """The rooms, and the rooms within them, with the number of their modules."""
    return Counter(str(Path(source.path).parent) for source in sources() if source.room in ROOMS)


def files_max(folder: str) -> int:
    """How many modules a room may have."""
    return FILES_PER_WIDE_ROOM_MAX.get(folder, FILES_PER_ROOM_MAX)


def silencings() -> list[str]:
    """Where the product silences a checker."""
    return [
        f"{source.path}:{line}"
        for source in sources()
        if source.room in PRODUCT
        for line, _ in suppressions(source)
    ]


def ratchet() -> Counter[str]:
    """What was there before, by `rule in path`."""
    return Counter(json.loads(RATCHET.read_text(encoding="utf-8")))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_house_rule_is_not_broken_anew(rule: Callable[[Source], Iterator[Breach]]) -> None:
    """
    No file breaks a rule more often than the ratchet has on record.
    """
    allowed = ratchet()
    found = breaches(rule)
    count = Counter(f"{breach.rule} in {breach.path}" for breach in found)
    worse = {key for key in count if count[key] > allowed[key]}
    assert [] == [str(b) for b in found if f"{b.rule} in {b.path}" in worse]


def test_the_ratchet_only_goes_down() -> None:
    """
    What is on record as broken is still broken: what was mended is struck out (`make ratchet`).
    """
    found = counted()
    assert {} == {key: n - found[key] for key, n in ratchet().items() if n > found[key]}


@pytest.mark.parametrize("folder", sorted(folders()))
def test_a_room_is_small_enough_to_know(folder: str) -> None:
    """
    At most 20 modules in a room of one subject, and in a room within a room.
    """
    assert folders()[folder] <= max(files_max(folder), ratchet()[f"files in {folder}"])


def test_checkers_are_rarely_silenced() -> None:
    """
    At most five suppressions in the product; more only with the ratchet's leave.
    """
    found = silencings()
    assert len(found) <= max(SUPPRESSIONS_MAX, ratchet()["suppressions"]), found


def rewrite() -> None:
    """Write down today's breaches."""
    count = counted()
    text = json.dumps(count, indent=2, sort_keys=True, ensure_ascii=False)
    RATCHET.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(count)} kinds of breach are on record in {RATCHET.name}\n")


if __name__ == "__main__":
    rewrite()
