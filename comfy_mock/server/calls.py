"""What other threads ask an event loop to do."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

NOT_RUNNING = "this ComfyMock does not run: use `with ComfyMock() as server:` or call start()"


class Calls:
    """Brings calls into the event loop that runs now. None of them waits for one that has ended.

    `end` is called in the loop when it is about to end, `abandon` when it has.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._ended = False
        self._open: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def submit(self, action: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Do something in the loop, from any other thread. Who cancels the future breaks it off.

        Raises `RuntimeError` where the loop is about to end; the future raises it where that happens meanwhile.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError(NOT_RUNNING)
            self._open.add(future)
            self._loop.call_soon_threadsafe(self._begin, action, future)
        return future

    def end(self) -> None:
        """Take no more calls, and break off those that are under way."""
        with self._lock:
            self._ended = True
        for task in list(self._tasks):
            task.cancel()

    def abandon(self) -> None:
        """The loop has ended: whoever waits still waits in vain."""
        with self._lock:
            self._ended = True
            left, self._open = self._open, set()
        for future in left:
            _fail(future)

    def _begin(self, action: Callable[[], Coroutine[Any, Any, Any]], future: Future[Any]) -> None:
        if self._ended:
            self._forget(future)
            _fail(future)
            return
        task = self._loop.create_task(action())
        self._tasks.add(task)
        task.add_done_callback(partial(self._settle, future))
        future.add_done_callback(partial(self._break_off, task))

    def _settle(self, future: Future[Any], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._forget(future)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            _fail(future)
        elif future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(task.result())
            else:
                future.set_exception(error)

    def _break_off(self, task: asyncio.Task[Any], future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # the loop has closed
                self._loop.call_soon_threadsafe(task.cancel)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._open.discard(future)


def _fail(future: Future[Any]) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(RuntimeError(NOT_RUNNING))
