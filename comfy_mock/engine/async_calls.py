"""Asynchronous nodes: all calls of a turn are under way at once, while other nodes run (protocol 5.9)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from comfy_mock.engine.calls import CallResult, Turn


@dataclass(slots=True)
class _Started:
    steps: Generator[float, None, CallResult]
    due: float
    over: bool = False
    result: CallResult | None = None
    error: Exception | None = None


class AsyncNode:
    """The calls of one asynchronous node, begun at `now`. Raises what a call raises before it waits for anything."""

    def __init__(self, turn: Turn, calls: Iterable[Generator[float, None, CallResult]], now: float) -> None:
        self.turn = turn
        self._calls: list[_Started] = []
        for steps in calls:
            call = _Started(steps, now)
            self._calls.append(call)
            self._step(call)
            if call.error is not None:
                raise call.error

    @property
    def due(self) -> float:
        """When `advance` is wanted next; infinity when all calls are over or held."""
        return min((call.due for call in self._calls), default=math.inf)

    @property
    def done(self) -> bool:
        """Whether all calls are over."""
        return all(call.over for call in self._calls)

    def advance(self, now: float) -> None:
        """Let happen what is due by `now`; those that are held look whether they still are."""
        for call in self._calls:
            if call.due == math.inf and not call.over:
                call.due = now
            while call.due <= now:
                self._step(call)

    def results(self) -> list[CallResult]:
        """What the calls gave. Raises the error of the first that failed."""
        for call in self._calls:
            if call.error is not None:
                raise call.error
        return [call.result for call in self._calls if call.result is not None]

    @staticmethod
    def _step(call: _Started) -> None:
        try:
            call.due += next(call.steps)
        except StopIteration as stop:
            call.result, call.due, call.over = stop.value, math.inf, True
        except Exception as error:
            # shown when the node has its second turn
            call.error, call.due, call.over = error, math.inf, True
