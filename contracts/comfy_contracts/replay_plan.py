"""What a recording demands of its replay: the steps in their order, and what must have been received before each.

The recorded times are not played back. They only tell what had happened before what: a step is taken when every socket
has received what it had received in the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import UNSET

from comfy_contracts import jsontext
from comfy_contracts.har import Entry, Har

_TICK_S = 0.001
"""HAR tells the start of a request in whole milliseconds, cut off; messages have finer times."""

_CAUSED_AT_ONCE = frozenset({"status", "execution_interrupted"})
_ENDS = frozenset({"execution_success", "execution_error", "execution_interrupted", "end"})
_NOT_COUNTED = frozenset({"logs"})


@dataclass(frozen=True, slots=True)
class Step:
    """Something the client did: the entry it belongs to, and for `send` the message's position in that entry.

    `moment` is its time, in epoch seconds.
    """

    action: Literal["open", "request", "send", "close"]
    entry: int
    moment: float
    message: int = 0


def steps_of(har: Har) -> list[Step]:
    """The steps of a recording in their order. Raises `HarError` where an entry has no proper time."""
    steps = []
    for index, entry in enumerate(har.entries):
        # What the client did in answer to something happened up to a tick after the time that is told.
        started = entry.started + _TICK_S
        steps.append(Step("open" if entry.is_socket else "request", index, started))
        if entry.is_socket:
            steps.extend(
                Step("send", index, float(message.time), position)
                for position, message in enumerate(entry.messages)
                if message.type == "send"
            )
            steps.append(Step("close", index, _closed(entry)))
    return sorted(steps, key=lambda step: step.moment)


def _closed(socket: Entry) -> float:
    """When a socket was closed. Browsers tell neither that it was nor when: there it is after all it received."""
    told = socket.started + socket.time / 1000
    if socket.web_socket_close is not UNSET:
        return told
    return max([told, *(float(message.time) + _TICK_S for message in socket.messages)])


@dataclass(frozen=True, slots=True)
class Received:
    """What a message is for the purposes of waiting: its kind and the prompt it speaks of.

    `kind` is the type; `end` for the `executing` that closes a prompt; `binary <event>` for frames. `data` is that of
    the message, empty where it has none. `time` is in epoch seconds.
    """

    kind: str
    prompt: str | None
    data: dict[str, Any]
    time: float

    @classmethod
    def read(cls, payload: str | bytes, time: float) -> Received:
        """What a message of the server is; anything can be read."""
        if isinstance(payload, bytes):
            return cls(f"binary {int.from_bytes(payload[:4], 'big')}", None, {}, time)
        try:
            value = jsontext.loads(payload)
        except (ValueError, RecursionError):
            value = None
        data = value.get("data") if isinstance(value, dict) else None
        if not isinstance(data, dict):
            return cls("text", None, {}, time)
        kind = "end" if value["type"] == "executing" and data.get("node") is None else str(value.get("type"))
        prompt = data.get("prompt_id")
        return cls(kind, prompt if isinstance(prompt, str) else None, data, time)

    @property
    def is_greeting(self) -> bool:
        """Whether this is the `status` with which a server greets a socket (protocol 6.1)."""
        return self.kind == "status" and "sid" in self.data


def received_by(socket: Entry) -> list[Received]:
    """What a recorded socket received."""
    return [
        Received.read(message.payload, float(message.time)) for message in socket.messages if message.type == "receive"
    ]


def received_before(step: Step, messages: list[Received]) -> list[Received]:
    """Those of a socket's messages that it had received when the recorded client took a step."""
    return [message for message in messages if _was_before(step, message)]


def _was_before(step: Step, message: Received) -> bool:
    if step.action in ("open", "request") and message.time >= step.moment - _TICK_S:
        # In the tick of the step it was before it, unless it can be a consequence of it.
        return message.time < step.moment and message.kind not in _CAUSED_AT_ONCE
    return message.time < step.moment


class Tally:
    """How many messages of each kind, for each prompt, a socket has received."""

    def __init__(self, messages: list[Received] | None = None) -> None:
        self._counts: Counter[tuple[str, str | None]] = Counter()
        self._running: str | None = None
        for message in messages or []:
            self.add(message)

    def add(self, message: Received) -> None:
        """Count a message. Frames count for the prompt that was spoken of last."""
        if message.kind in _NOT_COUNTED:
            return
        self._running = message.prompt or self._running
        prompt = self._running if message.kind.startswith("binary") else message.prompt
        self._counts[message.kind, prompt] += 1

    def lacks(self, needed: Tally, live_id: Callable[[str], str | None]) -> Iterator[str]:
        """What is still missing of `needed`, a tally of the recording, in words.

        `live_id` gives the live id of a recorded prompt, None for one that was not accepted. Of such a prompt nothing
        is missing; of a run that has ended only its end is, for what it did not send will never come.
        """
        for (kind, recorded), count in needed._counts.items():
            prompt = None if recorded is None else live_id(recorded)
            if recorded is not None and prompt is None:
                continue
            missing = count - self._counts[kind, prompt]
            if missing > 0 and (kind in _ENDS or not self._has_ended(prompt)):
                what = "executing with node null" if kind == "end" else kind
                yield f"{missing} x {what}" + (f" of prompt {prompt}" if prompt else "")

    def _has_ended(self, prompt: str | None) -> bool:
        return prompt is not None and any(self._counts[kind, prompt] for kind in _ENDS)
