"""Waiting on purpose: answers that come late, WebSockets that stall, gaps that a script holds open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from comfy_mock.engine.clients import Payload
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import PointRule
from comfy_mock.server.clocks import Clock, call_later, call_later_simulated

Waiting = asyncio.Future[bool]
"""Done when the wait is over: with true where the server went on meanwhile, with false where it has restarted."""

Told = Callable[[Payload], bool]
"""Whether this message, which was just handed over, is the one."""


class Waits:
    """All that waits in one life of a server, from its start to its stop or restart. It belongs to one event loop.

    `look` is called when the clock has to look at what is due anew.
    """

    def __init__(self, clock: Clock, director: Director, look: Callable[[], None] = lambda: None) -> None:
        self._clock, self._director, self._look = clock, director, look
        self._open: set[Waiting] = set()
        self._polls: dict[Waiting, int] = {}
        self._watching: dict[Waiting, Told] = {}
        self._outcome: bool | None = None

    def begin(
        self,
        *,
        seconds: float | None = None,
        hold: str | None = None,
        polls: int | None = None,
        told: Told | None = None,
        simulated: bool = False,
    ) -> Waiting:
        """Wait from now on for the first of these, and be over at once where none is given.

        `seconds` are the network's (`clocks.call_later`), unless they are `simulated`, `hold` is what must be released,
        `polls` how many questions about prompts must be answered, and `told` says which message must be handed over.
        """
        waiting: Waiting = asyncio.get_running_loop().create_future()
        if self._outcome is not None or (seconds, hold, polls, told) == (None, None, None, None):
            waiting.set_result(self._outcome is not False)
            return waiting
        self._open.add(waiting)
        waiting.add_done_callback(self._forget)
        go_on = partial(_end, waiting, True)
        if seconds is not None:
            timer = (call_later_simulated if simulated else call_later)(self._clock, seconds, go_on)
            waiting.add_done_callback(lambda _: timer.cancel())
            self._look()
        if hold is not None:
            gate = self._director.hold(hold)
            gate.on_open.append(go_on)
            waiting.add_done_callback(lambda _: self._director.let_go(gate))
        if polls is not None:
            self._polls[waiting] = polls
        if told is not None:
            self._watching[waiting] = told
        return waiting

    def begin_point(self, rule: PointRule, *, told: Told | None = None) -> Waiting:
        """Hold a gap open as its rule says, and until `told` where the rule does not say how long."""
        says = (rule.seconds, rule.hold, rule.polls) != (None, None, None)
        told = None if says else told
        return self.begin(seconds=rule.seconds, hold=rule.hold, polls=rule.polls, told=told, simulated=True)

    def polled(self) -> None:
        """A question about prompts was answered."""
        for waiting in list(self._polls):
            self._polls[waiting] -= 1
            if self._polls[waiting] <= 0:
                _end(waiting, True)

    def told(self, payload: Payload) -> None:
        """A message was handed over."""
        if self._watching:
            for waiting, is_it in list(self._watching.items()):
                if is_it(payload):
                    _end(waiting, True)

    def resume(self) -> None:
        """The server was stopped and is started again."""
        self._outcome = None

    def end(self, *, going_on: bool) -> None:
        """Nothing waits any more: what was late goes out now where the server is `going_on`, else it is lost."""
        self._outcome = going_on
        for waiting in list(self._open):
            _end(waiting, going_on)

    def _forget(self, waiting: Waiting) -> None:
        self._open.discard(waiting)
        self._polls.pop(waiting, None)
        self._watching.pop(waiting, None)


def _end(waiting: Waiting, going_on: bool) -> None:
    if not waiting.done():
        waiting.set_result(going_on)
