"""An event that somebody waits for, by what the server says of it (protocol 6.6, 6.8)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame
from comfy_contracts.messages import ProgressState, Unknown
from comfy_mock.engine.clients import Payload

_SHOWN_MAX = 40

_PROMPT, _NODE, _VALUE = "prompt_id", "node", "value"

_DETAILS: dict[str, tuple[str, ...]] = {
    "status": (),
    "execution_start": (_PROMPT,),
    "execution_cached": (_PROMPT,),
    "executing": (_NODE, _PROMPT),
    "progress_state": (_NODE, _VALUE, _PROMPT),
    "progress": (_NODE, _VALUE, _PROMPT),
    "executed": (_NODE, _PROMPT),
    "execution_success": (_PROMPT,),
    "execution_error": (_NODE, _PROMPT),
    "execution_interrupted": (_NODE, _PROMPT),
    "preview": (_NODE, _PROMPT),
    "text": (_NODE,),
    "binary": (),
}
"""What the types of ComfyUI's own events can be told apart by; custom nodes may send others, with any data."""


class EventNeverCame(Exception):
    """The server came to rest before the event that was waited for.

    The message lists what came instead, and what keeps the server from going on (`standing`), if anything does.
    """

    def __init__(self, awaited: AwaitedEvent, seen: Sequence[Payload], standing: Sequence[str] = ()) -> None:
        super().__init__(_complaint(awaited, seen, standing))


class AwaitedEvent:
    """An event of the type `event`, and of this node, step and prompt where they are given.

    `event` is the `type` of a JSON message, of ComfyUI's or of a custom node's, or `"preview"` or `"text"` for the
    binary frames that ComfyUI has, `"binary"` for others. `node` is a node id, None that of the closing `executing`;
    `value` is the step of a `progress`. In `progress_state` node and value are those of one node among those that it
    lists.

    Raises `ValueError` where no event of the type has such a thing.
    """

    def __init__(
        self,
        event: str,
        *,
        node: str | UnsetType | None = UNSET,
        value: float | None = None,
        prompt_id: str | None = None,
    ) -> None:
        given = {_NODE: node, _VALUE: UNSET if value is None else value, _PROMPT: prompt_id or UNSET}
        self.event = event
        self._wanted = {name: wanted for name, wanted in given.items() if wanted is not UNSET}
        for name in self._wanted:
            if name not in _DETAILS.get(event, given):
                has = ", ".join(_DETAILS[event]) or "neither node, value nor prompt_id"
                raise ValueError(f"no {event!r} event has a {name}; it has {has}")

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={wanted!r}" for name, wanted in self._wanted.items())])

    def matches(self, payload: Payload) -> bool:
        """Whether this is the event."""
        return _type_of(payload) == self.event and any(
            all(details.get(name, UNSET) == wanted for name, wanted in self._wanted.items())
            for details in _details_of(payload)
        )


def _type_of(payload: Payload) -> str:
    if isinstance(payload, (PreviewFrame, PreviewWithMetadata)):
        return "preview"
    if isinstance(payload, UnknownFrame):
        return "binary"
    return "text" if isinstance(payload, TextFrame) else payload.type


def _details_of(payload: Payload) -> list[dict[str, Any]]:
    """What an event says of node, value and prompt: of one node, or of each that it lists."""
    if isinstance(payload, ProgressState):
        return [
            {_NODE: node_id, _VALUE: state.value, "max": state.max, _PROMPT: payload.prompt_id}
            for node_id, state in payload.nodes.items()
        ]
    if isinstance(payload, Unknown):
        return [payload.data if isinstance(payload.data, dict) else {}]
    found = {name: getattr(payload, name, UNSET) for name in (_NODE, "node_id", _VALUE, "max", _PROMPT)}
    node_id = found.pop("node_id")
    return [{**found, _NODE: node_id} if node_id is not UNSET else found]


def _complaint(awaited: AwaitedEvent, seen: Sequence[Payload], standing: Sequence[str]) -> str:
    if not seen and standing:
        return "\n  ".join([f"the server stands still, and {awaited} cannot come", *standing])
    if not seen:
        return f"the server is at rest: {awaited} cannot come while its queue is empty. Post a prompt first"
    lines = [
        _line(payload) for payload in seen if awaited.event == "progress_state" or _type_of(payload) != "progress_state"
    ]
    left_out = len(lines) - _SHOWN_MAX
    shown = lines if left_out <= 0 else [f"({left_out} more)", *lines[left_out:]]
    close = difflib.get_close_matches(awaited.event, _DETAILS, n=1) if awaited.event not in _DETAILS else []
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return "\n  ".join([f"the server came to rest before {awaited}{hint}; what came:", *shown, *standing])


def _line(payload: Payload) -> str:
    """An event in a few words: `progress 3 1/20`."""
    words = [_type_of(payload)]
    for details in _details_of(payload):
        node, value, most = (details.get(name, UNSET) for name in (_NODE, _VALUE, "max"))
        words += [] if node is UNSET else [f"{node}"]
        words += [] if value is UNSET else [f"{value}" if most is UNSET else f"{value}/{most}"]
    return " ".join(words)
