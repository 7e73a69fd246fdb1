"""A recorded WebSocket at play: what it is told, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

from comfy_contracts import jsontext
from comfy_contracts.replay_plan import Received
from comfy_mock.server.replay_ids import Ids, Trial
from comfy_mock.server.replay_recording import RecordedSocket, Said

_LONGEST = 80


@dataclass(frozen=True)
class Later:
    """It comes so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class Closing:
    """The socket is to be closed with this code."""

    code: int


Telling = Union[str, bytes, Closing, Later, None]
"""What comes next on a socket; None: something when more has been asked."""

Due = Callable[[Said, float, Sequence[Said], float], Union[float, None]]
"""In how many seconds a message is due, at most 0 for now; None: only after more has been asked.

Called with the message, the recorded moment up to which the client has come by what it said on the socket, what it has
not said there although it had before the message, and the time.
"""


class PlayedSocket:
    """Tells a recorded socket's messages, each once, to the connection that was opened last."""

    def __init__(self, recorded: RecordedSocket, ids: Ids, due: Due) -> None:
        self.recorded, self._ids, self._due = recorded, ids, due
        self.connection = 0
        self._told = 0
        self._unsaid = [one for one in recorded.said if one.by_client]
        self._come = float("-inf")
        self._greeted: str | None = None
        self._status: Any = None
        self._again = False

    def opened(self) -> int:
        """A connection begins: its number. One that is not the first is greeted with the count that was told last."""
        self.connection += 1
        self._again = self._greeted is not None
        return self.connection

    def next(self, now: float) -> Telling:
        """What is to be sent now; it counts as told."""
        if self._again and self._greeted is not None:
            self._again = False
            greeting = jsontext.loads(self._greeted)
            greeting["data"]["status"] = self._status
            return self._ids.text(jsontext.dumps(greeting))
        said = self._following()
        if said is None:
            return None
        unsaid = [] if said.greeting else [one for one in self._unsaid if one.moment < said.moment]
        seconds = self._due(said, self._come, unsaid, now)
        if seconds is None:
            return None
        if seconds > 0:
            return Later(seconds)
        if said is self.recorded.ending:
            return Closing(self.recorded.code)
        self._told += 1
        self._look_at(said)
        return self._ids.text(said.payload) if isinstance(said.payload, str) else self._ids.frame(said.payload)

    def hear(self, payload: str | bytes) -> bool:
        """The client says something. Whether the recorded one said the same, and this has not come yet."""
        for one in self._unsaid:
            trial = Trial(self._ids)
            if trial.same(_value(one.payload), _value(payload)):
                self._ids.bind(trial.pairs)
                self._unsaid.remove(one)
                self._come = max(self._come, one.moment)
                return True
        return False

    def unsaid(self) -> list[Said]:
        """What the recorded client said here, and the live one has not."""
        return list(self._unsaid)

    @property
    def untold(self) -> int:
        """How many messages wait."""
        return sum(not one.by_client for one in self.recorded.said[self._told :])

    def _look_at(self, said: Said) -> None:
        received = Received.read(said.payload, said.moment)
        if said.greeting and isinstance(said.payload, str):
            self._greeted = said.payload
        if received.kind == "status":
            self._status = received.data.get("status")

    def _following(self) -> Said | None:
        said = self.recorded.said
        while self._told < len(said) and said[self._told].by_client:
            self._told += 1
        return said[self._told] if self._told < len(said) else self.recorded.ending


def shortened(payload: str | bytes) -> str:
    """A message for people."""
    text = payload if isinstance(payload, str) else f"{len(payload)} bytes"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _value(payload: str | bytes) -> Any:
    """A message as a JSON value; one that is none as its text, or as what stands for its bytes."""
    if isinstance(payload, bytes):
        return {"binary": payload.hex()}
    try:
        return jsontext.loads(payload)
    except (ValueError, RecursionError):
        return payload
