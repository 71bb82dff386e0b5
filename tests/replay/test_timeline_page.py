"""Room: tests -- the timeline in a browser: looked at, zoomed, searched, clicked, as by a person.

Knows:     tests/replay/browser.py; a Chromium, without which there is nothing to test.
Known by:  pytest.
Never:     sleeps, patches; asks the network for anything, and sees that the page does not.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser import SIZE, Browser, chromium
from written import records_in, written

from circus.replay.pictures.timeline import draw

PROGRAM: Final = chromium()
WIDTH: Final = SIZE[0]
MIDDLE: Final = WIDTH / 2

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed; .ci/run installs one"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The page of a ledger of two watchers, opened anew."""
    file = tmp_path / "page.html"
    records = records_in(written(tmp_path / "state"))
    file.write_text(draw(records).page("a ledger"), encoding="utf-8")
    browser.events.clear()
    browser.open(file)
    browser.until("document.getElementById('status').textContent")
    return browser


def text(page: Browser, name: str) -> str:
    found = page.see(f"document.getElementById('{name}').textContent")
    assert isinstance(found, str)
    return found


def span(page: Browser) -> tuple[float, float]:
    """What the chart shows, after the next frame."""
    page.see("new Promise(requestAnimationFrame)")
    found: Any = page.see("[page.view.from, page.view.to]")
    return float(found[0]), float(found[1])


def place_of(page: Browser, watcher: str, slot: int) -> tuple[float, float]:
    """The middle of the first life of a slot that can be hit."""
    x, y = page.see(
        f"""(() => {{
          const row = page.rows.list.find(
            (one) => one.group.watcher === "{watcher}" && one.slot === {slot});
          const life = page.tale.laneLives[row.subject][0];
          const x = page.painter.x((page.tale.from[life] + page.tale.to[life]) / 2);
          const box = document.getElementById("chart").getBoundingClientRect();
          const top = box.top + AXIS - document.getElementById("scroller").scrollTop;
          return [x + box.left, row.y + row.height / 2 + top];
        }})()"""
    )
    return float(x), float(y)


def test_the_page_draws_and_asks_nobody(page: Browser) -> None:
    """
    It says how much there is; nothing is fetched, nothing fails.
    """
    assert "lives" in text(page, "status")
    assert "a ledger" == text(page, "title")
    assert page.see("[...document.getElementById('legend').children].length") > 1
    fetched = [
        e["params"]["request"]["url"]
        for e in page.events
        if e["method"] == "Network.requestWillBeSent"
    ]
    assert [] == [url for url in fetched if not url.startswith("file:")]
    assert [] == [
        e for e in page.events if e["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}
    ]


def test_a_click_on_a_life_tells_it_with_its_causes(page: Browser) -> None:
    """
    Who asked for it, and how it ended; a cause is a button that goes there.
    """
    page.click(*place_of(page, "db", 1))
    told = text(page, "details")
    assert "db (slot 1)" in told
    assert "Why it began" in told
    assert "process.spawn" in told
    page.see("[...document.querySelectorAll('#details li button')].at(-1).click()")
    assert "record" in text(page, "details")
    page.press("Escape")
    assert page.see("document.getElementById('details').hidden")


def test_the_causes_are_shown_under_the_pointer(page: Browser) -> None:
    """
    Without a click; they go with the pointer.
    """
    x, y = place_of(page, "db", 1)
    page.hover(x, y)
    assert "process.spawn" in page.until("document.getElementById('tip').textContent")
    page.hover(MIDDLE, 10)
    assert page.see("document.getElementById('tip').hidden")


def test_the_wheel_zooms_to_where_the_pointer_is(page: Browser) -> None:
    """
    What is under the pointer stays there.
    """
    before = span(page)
    at = page.see("page.painter.time(700)")
    page.wheel(700, 300, -600)
    page.until(f"page.view.to - page.view.from < {(before[1] - before[0]) / 3}")
    assert abs(page.see("page.painter.time(700)") - at) < (before[1] - before[0]) / 1000


def test_a_drag_moves_and_a_drag_in_the_strip_chooses_a_part(page: Browser) -> None:
    """
    And `0` shows all again.
    """
    whole = span(page)
    strip = page.see("document.getElementById('overview').getBoundingClientRect().top") + 20
    page.click(WIDTH * 0.25, strip, to=(WIDTH * 0.5, strip))
    part = span(page)
    assert (part[1] - part[0]) / (whole[1] - whole[0]) == pytest.approx(0.24, abs=0.03)
    page.click(700, 400, to=(500, 400))
    moved = span(page)
    assert moved[0] > part[0]
    assert moved[1] - moved[0] == pytest.approx(part[1] - part[0])
    page.press("0")
    assert whole == pytest.approx(span(page))


def test_the_keys_zoom_and_move(page: Browser) -> None:
    """
    No hand has to leave the keyboard.
    """
    whole = span(page)
    for key in "+++":
        page.press(key)
    part = span(page)
    assert (part[1] - part[0]) * 3 < whole[1] - whole[0]
    page.press("ArrowRight")
    assert span(page)[0] > part[0]
    page.press("-")
    assert span(page)[1] - span(page)[0] > part[1] - part[0]


def test_a_search_finds_and_steps_and_says_how_many(page: Browser) -> None:
    """
    By a watcher's name; the first match is chosen by Enter, the one before by `N`.
    """
    page.press("/")
    page.write("db watcher.added")
    assert "1 found" == page.until("document.getElementById('found').textContent")
    page.press("Enter")
    assert "1 of 1" == text(page, "found")
    assert "db" in text(page, "details")
    page.press("Escape")  # out of the field; `/` comes back, and what is typed replaces the words
    page.press("/")
    page.write("slot.filled")
    found = int(text(page, "found").split()[0])
    page.press("Escape")
    page.press("N")
    assert f"{found} of {found}" == text(page, "found")


def test_the_brackets_go_from_life_to_life(page: Browser) -> None:
    """
    In the lane of the one that is chosen.
    """
    page.click(*place_of(page, "db", 1))
    first = page.see("page.marked.chosenLife")
    page.press("]")
    assert first + 1 == page.see("page.marked.chosenLife")
    page.press("[")
    assert first == page.see("page.marked.chosenLife")


def test_a_watchers_slots_can_be_folded(page: Browser) -> None:
    """
    By a click on its name.
    """
    lanes = page.see("page.rows.list.length")
    y = place_of(page, "web", 1)[1] - 20  # the name is above its first slot
    page.click(40, y)
    assert lanes > page.see("page.rows.list.length")
    page.click(40, y)
    assert lanes == page.see("page.rows.list.length")


def test_it_is_dark_or_light_as_the_reader_likes(page: Browser) -> None:
    """
    As the system says, and by a key; the chart is drawn anew in the other colours.
    """
    light = page.see("page.painter.colour.back")
    page.press("d")
    assert "dark" == page.see("document.documentElement.dataset.theme")
    assert light != page.see("page.painter.colour.back")
    pixel = (
        "[...document.getElementById('chart').getContext('2d').getImageData(900, 600, 1, 1).data]"
    )
    page.see("new Promise(requestAnimationFrame)")
    assert page.see(pixel)[0] < 64
