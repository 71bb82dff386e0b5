"""Room: tests -- a headless Chromium, spoken to over a pipe: started, asked, ended by pid.

Knows:     the DevTools protocol's few methods that a person's hands and eyes come down to.
Known by:  tests/replay/test_timeline_page.py.
Never:     sleeps: a wait is a question asked again in the page's own frames, with a deadline.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from base64 import b64decode
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

PROGRAMS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DEADLINE_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 10
READ_BYTES: Final = 1 << 20
SIZE: Final = (1200, 700)
FIRST_FREE: Final = 10
# Chromium reads its orders from 3 and answers on 4.
_LAUNCH: Final = """if True:
    import os, sys
    os.dup2(int(sys.argv[1]), 3)
    os.dup2(int(sys.argv[2]), 4)
    os.execv(sys.argv[3], sys.argv[3:])
"""
# Asks once a frame, until what is asked for is so.
_UNTIL: Final = """new Promise((found) => {
  const look = () => {
    const seen = (%s);
    if (seen) found(seen); else requestAnimationFrame(look);
  };
  look();
})"""


def chromium() -> str | None:
    """The browser that is installed here, if one is."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Pipe:
    """One Chromium, and the two pipes to it."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        options = (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "--hide-scrollbars",
            "--force-prefers-color-scheme=light", f"--window-size={SIZE[0]},{SIZE[1]}",
            "about:blank",
        )  # fmt: skip
        ends = [fcntl(end, F_DUPFD, FIRST_FREE) for end in (to_browser, from_browser)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, ends), program, *options],
            pass_fds=ends, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def end(self) -> None:
        """In order, so that its own children end as well; by force if it does not listen."""
        os.close(self._out)  # Chromium ends when nobody gives it orders any more.
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
        os.close(self._in)

    def ask(self, method: str, **parameters: Any) -> Any:
        """One order, and its answer."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            order["sessionId"] = self.session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        deadline = monotonic() + DEADLINE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - monotonic()))
            assert ready, "the browser says nothing"
            data = os.read(self._in, READ_BYTES)
            assert data, "the browser is gone"
            self._buffer += data
        whole, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(whole)
        return message


class Browser:
    """One page, and what a person does with it."""

    def __init__(self, program: str, profile: Path) -> None:
        self.pipe = Pipe(program, profile)
        self.ask = self.pipe.ask
        self.events = self.pipe.events

    def __enter__(self) -> Self:
        try:
            targets = self.ask("Target.getTargets")["targetInfos"]
            (page,) = [one["targetId"] for one in targets if one["type"] == "page"]
            answer = self.ask("Target.attachToTarget", targetId=page, flatten=True)
            self.pipe.session = answer["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.pipe.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.pipe.end()

    def open(self, page: Path) -> None:
        """Look at a file."""
        self.ask("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete'")

    def see(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until it is so."""
        return self.see(_UNTIL % expression)

    def click(self, x: float, y: float, *, to: tuple[float, float] | None = None) -> None:
        """Press here, move to there if there is one, let go."""
        self._mouse("mouseMoved", x, y)
        self._mouse("mousePressed", x, y)
        if to is not None:
            for share in (0.3, 0.7, 1.0):
                self._mouse("mouseMoved", x + (to[0] - x) * share, y + (to[1] - y) * share)
            x, y = to
        self._mouse("mouseReleased", x, y)

    def hover(self, x: float, y: float) -> None:
        """Move the pointer there."""
        self._mouse("mouseMoved", x, y, button="none")

    def wheel(self, x: float, y: float, by: int) -> None:
        """Turn the wheel; towards oneself is positive."""
        self.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def press(self, key: str) -> None:
        """One key: a character, or the name of another."""
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.ask("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """What is seen, as a PNG."""
        path.write_bytes(b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def _mouse(self, kind: str, x: float, y: float, button: str = "left") -> None:
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button,
            clickCount=0 if kind == "mouseMoved" else 1,
        )  # fmt: skip
