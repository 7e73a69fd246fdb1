"""Where simulated time comes from: one interface, three clocks."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

START = 1767225600.0
"""Where the instant and the manual clock begin, seconds since the epoch: 2026-01-01 00:00:00 UTC, in every run."""

ROUNDING_S = 0.0001
"""What the sum of many durations may be off by, in floats that count seconds from 1970."""


class Clock(Protocol):
    """Simulated time, in seconds since the epoch."""

    def now(self) -> float:
        """The time."""

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        """Return when it is `due` (never, for None), or as soon as `wake` is set."""


class InstantClock:
    """Simulated durations elapse at once; the event loop runs between two events.

    Time jumps to whatever is due, so timestamps advance as scripted and are the same in every run.
    """

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._timers = _Timers()

    def now(self) -> float:
        """The time of the last thing that was due."""
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call this when so many simulated seconds have passed; whoever waits must be woken, to look at it."""
        return self._timers.add(self._now + seconds, callback)

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        """Jump to `due`, or to what is to be called before that; with nothing due, wait for `wake`."""
        first = self._timers.first
        if first is not None and (due is None or first < due):
            due = first
        if due is None:
            await wake.wait()
            return
        # not only when nobody woke it: a client that polls without a pause would stop time
        await asyncio.sleep(0)
        self._now = max(self._now, due)
        self._timers.call(self._now)


class Timer(Protocol):
    """A call that is to be made later."""

    def cancel(self) -> None:
        """Do not make it."""


@dataclass(order=True)
class _SimulatedTimer:
    due: float
    place: int
    callback: Callable[[], object] | None = field(compare=False)

    def cancel(self) -> None:
        self.callback = None


class _Timers:
    """Calls that are to be made at simulated times, in their order."""

    def __init__(self) -> None:
        self._heap: list[_SimulatedTimer] = []
        self._made = 0

    def add(self, due: float, callback: Callable[[], object]) -> Timer:
        self._made += 1
        timer = _SimulatedTimer(due, self._made, callback)
        heapq.heappush(self._heap, timer)
        return timer

    @property
    def first(self) -> float | None:
        while self._heap and self._heap[0].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0].due if self._heap else None

    def call(self, now: float) -> None:
        while self._heap and self._heap[0].due <= now:
            callback = heapq.heappop(self._heap).callback
            if callback is not None:
                callback()


class ManualClock:
    """Simulated time that moves only when it is told to: nothing happens between two calls of `move_to`."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._timers = _Timers()

    def now(self) -> float:
        """The time it was moved to."""
        return self._now

    def move_to(self, now: float) -> None:
        """Go forward to this time, and make the calls that are due by then; to an earlier one it does not go."""
        self._now = max(self._now, now)
        self._timers.call(self._now + ROUNDING_S)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call this when so many seconds will have passed."""
        return self._timers.add(self._now + seconds, callback)

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:  # noqa: ARG002 - of the protocol
        """Wait for `wake`, whatever is due."""
        await wake.wait()


class RealClock:
    """Time as it passes, `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}; use the instant clock for no waiting at all")
        self.speed = speed
        self._epoch, self._origin = time.time(), time.monotonic()

    def now(self) -> float:
        """Wall time at the start, plus what has passed since, times the speed."""
        return self._epoch + (time.monotonic() - self._origin) * self.speed

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        """Sleep until `due`, unless woken."""
        if due is None:
            await wake.wait()
            return
        seconds = (due - self.now()) / self.speed
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = asyncio.get_running_loop().call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()


def call_later(clock: Clock, seconds: float, callback: Callable[[], object]) -> Timer:
    """Call this in the running event loop when `seconds` of the network's time have passed.

    That is simulated time by a manual clock, real time by all others: `speed` times as fast by a real one, and as it
    passes by the instant one, for it runs out the clients' own timers.
    """
    if isinstance(clock, ManualClock):
        return clock.call_later(seconds, callback)
    return asyncio.get_running_loop().call_later(real_seconds(clock, seconds), callback)


def call_later_simulated(clock: Clock, seconds: float, callback: Callable[[], object]) -> Timer:
    """Call this when `seconds` of simulated time have passed: as `call_later`, but the instant clock jumps to it."""
    return (
        clock.call_later(seconds, callback) if isinstance(clock, InstantClock) else call_later(clock, seconds, callback)
    )


def real_seconds(clock: Clock, seconds: float) -> float:
    """How long `seconds` of the network's time take by a clock that is not a manual one."""
    return seconds / clock.speed if isinstance(clock, RealClock) else seconds


class Deadline:
    """A moment `seconds` of the network's time from now, as `call_later` counts them."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        if isinstance(clock, ManualClock):
            self._due = clock.now() + seconds - ROUNDING_S
        else:
            self._due = time.monotonic() + real_seconds(clock, seconds)

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        now = self._clock.now() if isinstance(self._clock, ManualClock) else time.monotonic()
        return now >= self._due
