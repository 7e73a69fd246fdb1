"""A request that the recording has no answer to: what was asked, what comes nearest, and what is different there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from comfy_contracts.difference import differences, values_as_text
from comfy_mock.server.replay_ids import Ids, Trial
from comfy_mock.server.replay_match import comparable
from comfy_mock.server.replay_question import Question
from comfy_mock.server.replay_recording import Recorded, RecordedSocket

_DIFFERENCES_MAX = 10
NO_SUCH_REQUEST = "there is no such request in the recording"


@dataclass(frozen=True)
class Miss:
    """What was asked and has no answer, or was said on a socket though the recorded client did not say it.

    `nearest` is the recorded request that is most like it, `differences` say what is not the same, each in a line,
    and `unused` is how much of the recording had not been asked for then.
    """

    asked: str
    why: str = NO_SUCH_REQUEST
    nearest: str | None = None
    differences: tuple[str, ...] = field(default=())
    unused: int = 0

    def json(self) -> dict[str, Any]:
        """As it is answered."""
        return {
            "error": f"not as recorded: {self.why}",
            "asked": self.asked,
            "nearest": self.nearest,
            "differences": list(self.differences),
            "unused": self.unused,
        }

    def __str__(self) -> str:
        parts = [f"{self.asked}: {self.why}"]
        if self.nearest is not None and self.differences:
            more = len(self.differences) - 1
            rest = f", and {more} more" if more else ""
            parts.append(f"the nearest is {self.nearest}, but {self.differences[0]}{rest}")
        return "; ".join(parts)


class Shelf(NamedTuple):
    """What a recording has, and what its ids are called now."""

    recorded: Sequence[Recorded | RecordedSocket]
    ids: Ids


def nearest(question: Question, shelves: Sequence[Shelf]) -> tuple[str | None, tuple[str, ...]]:
    """The recorded request that is most like this one, and where they differ; nothing where nothing was recorded."""
    ranked = [(_distance(one.question, question), one, shelf.ids) for shelf in shelves for one in shelf.recorded]
    if not ranked:
        return None, ()
    closest = min(distance for distance, _, _ in ranked)
    compared = [
        (one, _differences(one.question, question, ids)) for distance, one, ids in ranked if distance == closest
    ]
    found, different = min(compared, key=lambda pair: len(pair[1]))
    return str(found), tuple(different[:_DIFFERENCES_MAX])


def _distance(recorded: Question, live: Question) -> tuple[float, bool]:
    likeness = 1.0 if recorded.path == live.path else SequenceMatcher(None, recorded.path, live.path).ratio()
    return 1 - likeness, recorded.method != live.method


def _differences(recorded: Question, live: Question, ids: Ids) -> list[str]:
    expected, asked = comparable(recorded, live)
    aligned = Trial(ids).aligned(expected, asked)
    found = differences(aligned, asked, "request", key_order=False)
    return [f"{one.where}: recorded {said}, asked {asks}" for one in found for said, asks in [values_as_text(one)]]
