"""What came of trying a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comfy_mock.conformance.situations import Situation
from comfy_mock.conformance.verdicts import Verdict


class NotConforming(AssertionError):
    """A client does not end as it must in some situations; the message says which, and what was wrong."""


@dataclass(frozen=True)
class Outcome:
    """What a client did in one situation.

    `why` says how it ended, `timeline` what the server was asked and what it said, one line each. `came_up` is false
    where nothing of what the situation is about happened, as the client never asked for it.
    """

    situation: Situation
    verdict: Verdict
    why: str
    timeline: str = ""
    seconds: float = 0.0
    came_up: bool = True

    @property
    def passed(self) -> bool:
        """Whether it ended as it must."""
        return self.verdict == "passes"

    def __str__(self) -> str:
        lines = [f"{self.situation.name}: {self.verdict}: {self.why}"]
        if not self.passed:
            lines += [f"  What the server did: {self.situation.does}", f"  A client should: {self.situation.should}"]
            lines += [f"    {line}" for line in self.timeline.splitlines()]
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "situation": self.situation.name,
            "verdict": self.verdict,
            "why": self.why,
            "came_up": self.came_up,
            "seconds": round(self.seconds, 3),
            "server": self.situation.does,
            "client_should": self.situation.should,
            "timeline": self.timeline.splitlines(),
        }


@dataclass(frozen=True)
class Report:
    """What a client did in all situations that it was put into, in the order of the catalogue."""

    outcomes: Sequence[Outcome]

    @property
    def failed(self) -> list[Outcome]:
        """Those in which it did not end as it must."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def passed(self) -> bool:
        """Whether it passed in all."""
        return not self.failed

    def check(self) -> None:
        """Raise `NotConforming` unless it passed in all."""
        __tracebackhide__ = True
        if self.failed:
            raise NotConforming(str(self))

    def __str__(self) -> str:
        total = f"{len(self.failed)} of {len(self.outcomes)} situations failed"
        return "\n".join([total, *map(str, self.failed)])

    def plain(self) -> dict[str, Any]:
        """It as JSON."""
        return {"passed": self.passed, "situations": [outcome.plain() for outcome in self.outcomes]}
