"""Where simulated time comes from: one interface, three clocks."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

START = 1767225600.0
"""Where the instant and the manual clock begin, seconds since the epoch: 2026-01-01 00:00:00 UTC, in every run."""


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

    def now(self) -> float:
        """The time of the last thing that was due."""
        return self._now

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        """Jump to `due`; with nothing due, wait for `wake`."""
        if due is None:
            await wake.wait()
            return
        # not only when nobody woke it: a client that polls without a pause would stop time
        await asyncio.sleep(0)
        self._now = max(self._now, due)


class ManualClock:
    """Simulated time that moves only when it is told to: nothing happens between two calls of `move_to`."""

    def __init__(self, start: float = START) -> None:
        self._now = start

    def now(self) -> float:
        """The time it was moved to."""
        return self._now

    def move_to(self, now: float) -> None:
        """Go forward to this time; to an earlier one it does not go."""
        self._now = max(self._now, now)

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:  # noqa: ARG002 - of the protocol
        """Wait for `wake`, whatever is due."""
        await wake.wait()


class RealClock:
    """Time as it passes, `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}; use the instant clock for no waiting at all")
        self._speed = speed
        self._epoch, self._origin = time.time(), time.monotonic()

    def now(self) -> float:
        """Wall time at the start, plus what has passed since, times the speed."""
        return self._epoch + (time.monotonic() - self._origin) * self._speed

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        """Sleep until `due`, unless woken."""
        if due is None:
            await wake.wait()
            return
        seconds = (due - self.now()) / self._speed
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = asyncio.get_running_loop().call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()
