"""Moves the engine through time, and its messages to the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator

from comfy_mock.engine.awaited_event import AwaitedEvent, EventNeverCame
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.engine import Engine
from comfy_mock.server.clocks import Clock, ManualClock
from comfy_mock.server.sockets import Sockets

ANSWER_S_MAX = 0.2
"""How long an answer holds messages back: one that takes longer waits for a client that does not read."""

SLICE_S_MAX = 0.005
"""How long the simulation may keep the event loop to itself, in real seconds."""

_ROUNDING_S = 0.0001
"""What the sum of many durations may be off by, in floats that count seconds from 1970."""

_SERVICE_RESTART = 1012


class Runner:
    """Advances `engine` by `clock` in a task of the running event loop.

    While an answer is being sent (`answering`) no message goes to any socket, so that `POST /prompt` is answered before
    the prompt's first event is seen. By a manual clock nothing happens but in `advance` and `run_until`.
    """

    def __init__(self, engine: Engine, clock: Clock, sockets: Sockets) -> None:
        self.engine, self.clock, self.sockets = engine, clock, sockets
        self._answers: set[object] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake, self._all_answered = asyncio.Event(), asyncio.Event()
        self._retired = False

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Hold messages back while a request is handled and its answer sent."""
        self._ensure_running()
        self._catch_up()
        # what has happened by now is told before the answer shows it
        self.flush()
        answer = object()
        self._answers.add(answer)
        self._all_answered.clear()
        timer = asyncio.get_running_loop().call_later(ANSWER_S_MAX, self._answered, answer)
        try:
            yield
        finally:
            timer.cancel()
            self._answered(answer)

    def _answered(self, answer: object) -> None:
        self._answers.discard(answer)
        if not self._answers:
            self._all_answered.set()
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

    async def advance(self, seconds: float) -> None:
        """Let `seconds` of simulated time pass; returns when what happened in them was handed to the sockets.

        No request is answered meanwhile. Raises `ValueError` for less than 0 seconds, and `RuntimeError` where the
        clock is not a manual one.
        """
        clock = self._manual_clock()
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time advances by a number of seconds from 0 up, not by {seconds}")
        await self._settle()
        target = clock.now() + seconds
        while self.engine.advance_once(target + _ROUNDING_S):
            pass
        self.engine.advance(target)
        clock.move_to(target)
        self.flush()

    async def run_until(self, awaited: AwaitedEvent) -> Payload:
        """Let simulated time pass until the event comes, and return it when it was handed to the sockets.

        Raises `EventNeverCame` where the server comes to rest first, and `RuntimeError` where the clock is not a manual
        one.
        """
        clock = self._manual_clock()
        await self._settle()
        seen: list[Payload] = []
        self.engine.witness = seen.append
        try:
            return self._run_until(awaited, clock, seen)
        finally:
            self.engine.witness = None
            self.flush()

    def _run_until(self, awaited: AwaitedEvent, clock: ManualClock, seen: list[Payload]) -> Payload:
        looked_at = 0
        while (due := self.engine.next_wakeup()) is not None:
            clock.move_to(due)
            self.engine.advance_once(clock.now())
            for payload in seen[looked_at:]:
                if awaited.matches(payload):
                    return payload
            looked_at = len(seen)
        raise EventNeverCame(awaited, seen)

    def _manual_clock(self) -> ManualClock:
        if isinstance(self.clock, ManualClock):
            return self.clock
        raise RuntimeError(
            f"advance() and run_until() are for clock='manual'; by this server's {type(self.clock).__name__} "
            "time moves by itself"
        )

    async def _settle(self) -> None:
        """Return when no answer is under way: what the caller asked for before has come to him."""
        self._ensure_running()
        while self._answers:
            await self._all_answered.wait()

    async def stop(self) -> None:
        """End the task; time stands still from now on."""
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def retire(self) -> None:
        """Stop for good, and close the sockets as a server does that restarts."""
        self._retired = True
        self.sockets.close_all(_SERVICE_RESTART)
        await self.stop()

    def _ensure_running(self) -> None:
        """Start the task, anew in another event loop: a bare ASGI app is not told when one begins or ends."""
        loop = asyncio.get_running_loop()
        if not self._retired and (self._task is None or self._task.done() or self._loop is not loop):
            self._loop, self._wake, self._all_answered = loop, asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._run(), name="comfy-mock runner")

    def _catch_up(self) -> bool:
        """Let happen what is due by the clock, for as long as others can wait for it; whether there is more."""
        if isinstance(self.clock, ManualClock):
            return False
        now, loop = self.clock.now(), asyncio.get_running_loop()
        begun = loop.time()
        while self.engine.advance_once(now):
            if loop.time() - begun > SLICE_S_MAX:
                return True
        self.engine.advance(now)
        return False

    async def _run(self) -> None:
        wake = self._wake
        while True:
            wake.clear()
            if not self._answers:
                behind = self._catch_up()
                self.flush()
                await self.sockets.relieved()
                if behind:
                    await asyncio.sleep(0)
                else:
                    await self.clock.wait(self.engine.next_wakeup(), wake)
            else:
                await wake.wait()
