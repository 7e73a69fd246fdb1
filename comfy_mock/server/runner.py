"""Moves the engine through time, and its messages to the sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from comfy_mock.engine.engine import Engine
from comfy_mock.server.clocks import Clock
from comfy_mock.server.sockets import Sockets

ANSWER_S_MAX = 0.2
"""How long an answer holds messages back: one that takes longer waits for a client that does not read."""


class Runner:
    """Advances `engine` by `clock` in a task of the running event loop.

    While an answer is being sent (`answering`) no message goes to any socket, so that `POST /prompt` is answered before
    the prompt's first event is seen.
    """

    def __init__(self, engine: Engine, clock: Clock, sockets: Sockets) -> None:
        self.engine, self.clock, self.sockets = engine, clock, sockets
        self._answers: set[object] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Hold messages back while a request is handled and its answer sent."""
        self._ensure_running()
        self.engine.advance(self.clock.now())
        # what has happened by now is told before the answer shows it
        self.flush()
        answer = object()
        self._answers.add(answer)
        timer = asyncio.get_running_loop().call_later(ANSWER_S_MAX, self._answered, answer)
        try:
            yield
        finally:
            timer.cancel()
            self._answered(answer)

    def _answered(self, answer: object) -> None:
        self._answers.discard(answer)
        self._wake.set()

    def wake(self) -> None:
        """Something outside of a request changed the engine: look at it now."""
        self._ensure_running()
        self._wake.set()

    def flush(self) -> None:
        """Hand over what the engine has to send, unless an answer is under way."""
        if not self._answers:
            for outgoing in self.engine.take_outgoing():
                self.sockets.deliver(outgoing)

    async def stop(self) -> None:
        """End the task; time stands still from now on."""
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _ensure_running(self) -> None:
        """Start the task, anew in another event loop: a bare ASGI app is not told when one begins or ends."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._loop is not loop:
            self._loop, self._wake = loop, asyncio.Event()
            self._task = loop.create_task(self._run(), name="comfy-mock runner")

    async def _run(self) -> None:
        wake = self._wake
        while True:
            wake.clear()
            if not self._answers:
                self.engine.advance(self.clock.now())
                self.flush()
                await self.clock.wait(self.engine.next_wakeup(), wake)
            else:
                await wake.wait()
