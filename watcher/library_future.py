"""Room: watcher -- what the library's methods return: done when called, waited for as one likes.

Knows:     concurrent.futures; asyncio only where the host has loaded it.
Known by:  the public Watcher and Arbiter.
Never:     starts a loop or a thread; lets the sequencer's thread wait for itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from typing import Any


class Promise(Future[Any]):
    """A future for `await` (asyncio), `yield` (tornado), `result()` and `exception()`.

    The work goes on whether anybody waits or not; it cannot be cancelled. `barred` is the thread
    whose waiting would be waiting for itself: there `result()` raises RuntimeError.
    """

    def __init__(self, barred: int | None = None) -> None:
        super().__init__()
        self.barred = barred
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """The outcome, waited for; what went wrong is raised. `timeout`: seconds."""
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What went wrong, waited for; None if nothing did."""
        self._check()
        return super().exception(timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            asyncio = sys.modules.get("asyncio")
            if asyncio is not None and asyncio._get_running_loop() is not None:
                return (yield from asyncio.wrap_future(self).__await__())
            yield self  # no loop: `carried` steps the coroutine on
        return super().result()

    __iter__ = __await__

    def _check(self) -> None:
        if self.barred == threading.get_ident() and not self.done():
            raise RuntimeError(
                "cannot wait here: this thread carries out what is waited for; await it, or use "
                "add_done_callback"
            )


def finished(value: Any = None) -> Promise:
    """One whose work is done."""
    promise = Promise()
    promise.set_result(value)
    return promise


def failed(error: BaseException) -> Promise:
    """One whose work went wrong."""
    promise = Promise()
    promise.set_exception(error)
    return promise


def mapped(before: Promise, change: Callable[[Any], Any]) -> Promise:
    """The same outcome, its value changed."""
    after = Promise(before.barred)

    def pass_on(done: Future[Any]) -> None:
        error = done.exception()
        if error is not None:
            after.set_exception(error)
        else:
            after.set_result(change(done.result()))

    before.add_done_callback(pass_on)
    return after


def together(promises: Sequence[Promise]) -> Promise:
    """Done when all are; the values in order, or the first exception."""
    if not promises:
        return finished([])
    after = Promise(promises[0].barred)
    lock = threading.Lock()
    left = len(promises)

    def count(_done: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if not last:
            return
        errors = [error for one in promises if (error := one.exception()) is not None]
        if errors:
            after.set_exception(errors[0])
        else:
            after.set_result([one.result() for one in promises])

    for promise in promises:
        promise.add_done_callback(count)
    return after


def carried(
    work: Coroutine[Any, Any, Any], resume: Callable[[Callable[[], None]], None]
) -> Promise:
    """Carry an `async def` of the user from one of our futures to the next.

    There is no event loop here: what is not ours cannot be awaited, and says so. `resume` calls a
    function on the thread that the work belongs to.
    """
    promise = Promise()

    def step() -> None:
        try:
            awaited = work.send(None)
            while not isinstance(awaited, Promise):
                awaited = work.throw(
                    RuntimeError(
                        f"cannot await {awaited!r} here: no event loop runs; await the futures of "
                        "this library only"
                    )
                )
        except StopIteration as end:
            promise.set_result(end.value)
        except Exception as error:  # noqa: BLE001 - the user's error belongs to who waits for it
            promise.set_exception(error)
        else:
            awaited.add_done_callback(lambda _: resume(step))

    step()
    return promise
