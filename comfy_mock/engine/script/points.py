"""The gaps of the protocol that the worker goes through, and a script can hold open."""

from __future__ import annotations

import math
from collections.abc import Callable

from comfy_mock.engine.host import Doze, Steps
from comfy_mock.engine.queue import PromptItem
from comfy_mock.engine.script.director import Director, Gate
from comfy_mock.engine.script.matching import PromptSubject
from comfy_mock.engine.script.model import Point, PointRule


class Points:
    """Holds gaps open as the rules of `director` say.

    `now` tells the simulated time; `look_again` is called when one may have closed.
    """

    def __init__(self, director: Director, now: Callable[[], float], look_again: Callable[[], None]) -> None:
        self._director, self._now, self._look_again = director, now, look_again
        self._polls: dict[Gate, int] = {}

    def standing(self) -> list[str]:
        """The gaps that wait for questions about prompts, each with how many it waits for."""
        return [f"{gate.what} waits for {left} more polls" for gate, left in self._polls.items()]

    def polled(self) -> None:
        """A question about prompts was answered: one less for the gaps that wait for them."""
        for gate in list(self._polls):
            self._polls[gate] -= 1
            if self._polls[gate] <= 0:
                del self._polls[gate]
                gate.open()
                self._look_again()

    def hold_open(self, point: Point, item: PromptItem) -> Steps:
        """The simulation of a gap of this prompt: over at once where no rule holds it open."""
        rule = self.rule(point, item)
        if rule is not None:
            yield from self.wait(rule, item)

    def rule(self, point: Point, item: PromptItem) -> PointRule | None:
        """The rule that holds a gap of this prompt open; its use is counted."""
        if not self._director.has(PointRule):
            return None
        client_id = item.extra_data.get("client_id")
        subject = PromptSubject(item.place, client_id if isinstance(client_id, str) else None)
        rule = self._director.choose(subject, point=point)
        assert rule is None or isinstance(rule, PointRule)
        return rule

    def wait(self, rule: PointRule, item: PromptItem) -> Steps:
        """The simulation of an open gap, until the first of what its rule says."""
        if rule.hold is None and rule.polls is None and rule.seconds is None:
            return
        what = f"{rule.point} of prompt {item.place}"
        gate = Gate("", what) if rule.hold is None else self._director.hold(rule.hold, what)
        if rule.polls is not None:
            self._polls[gate] = rule.polls
        until = math.inf if rule.seconds is None else self._now() + rule.seconds
        try:
            while not gate.opened and self._now() < until:
                yield Doze(until - self._now())
        finally:
            self._polls.pop(gate, None)
            self._director.let_go(gate)
