"""What a message says of itself: its type, its nodes and its prompt (protocol 6.6, 6.8)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from comfy_contracts import jsontext
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame
from comfy_contracts.messages import (
    Executed,
    ExecutionCached,
    ExecutionError,
    Progress,
    ProgressState,
    Status,
    Unknown,
)

BINARY, PREVIEW, TEXT = "binary", "preview", "text"

_NUMBERS = (int, float)


def type_of(payload: Any) -> str:
    """The type of a JSON message, or `preview`, `text` or `binary`."""
    if isinstance(payload, (PreviewFrame, PreviewWithMetadata)):
        return PREVIEW
    return TEXT if isinstance(payload, TextFrame) else getattr(payload, "type", BINARY)


def data_of(payload: Any) -> Any:
    """The `data` of a JSON message as plain data; `UNSET` of a binary one, and where there is none."""
    return UNSET if type_of(payload) in (BINARY, PREVIEW, TEXT) else payload.to_builtins()


def nodes_of(payload: Any) -> tuple[tuple[str | None, float | None], ...]:
    """The nodes that a message speaks of, each with its value; a `progress_state` has several, many have none."""
    if isinstance(payload, ProgressState):
        return tuple((node_id, state.value) for node_id, state in payload.nodes.items())
    node = _field(payload, "node", "node_id")
    if node is not None and not isinstance(node, str):
        return ()
    value = _field(payload, "value")
    return ((node, value if isinstance(value, _NUMBERS) else None),)


def largest_of(payload: Any) -> float | None:
    """The `max` of a progress."""
    found = _field(payload, "max")
    return found if isinstance(found, _NUMBERS) else None


def prompt_id_of(payload: Any) -> str | None:
    """The prompt that a message is about; None where it names none."""
    found = _field(payload, "prompt_id")
    return found if isinstance(found, str) else None


def weight_of(payload: Any) -> int:
    """How many bytes of content a message has beside its fields."""
    return len(getattr(payload, "image", getattr(payload, "payload", b"")))


def _field(payload: Any, *names: str) -> Any:
    """The first of these fields that a message has, a custom node's message in its `data`; else `UNSET`."""
    if isinstance(payload, Unknown):
        data = payload.data if isinstance(payload.data, dict) else {}
        return next((data[name] for name in names if name in data), UNSET)
    return next((getattr(payload, name) for name in names if hasattr(payload, name)), UNSET)


def words_of(payload: Any) -> str:
    """A message in a few words: `progress 3 1/20`."""
    words = [type_of(payload)]
    if not isinstance(payload, ProgressState):
        words += ["null" if node is None else node for node, _value in nodes_of(payload)]
    numbers = _numbers_of(payload)
    words += [] if numbers is None else [numbers]
    details = _details_of(payload)
    return f"{' '.join(words)}: {details}" if details else " ".join(words)


def _numbers_of(payload: Any) -> str | None:
    if isinstance(payload, Status):
        return str(payload.queue_remaining)
    if isinstance(payload, Progress):
        return f"{payload.value:g}/{payload.max:g}"
    return None


def _details_of(payload: Any) -> str:
    if isinstance(payload, ProgressState):
        return ", ".join(f"{node_id} {state.value:g}/{state.max:g}" for node_id, state in payload.nodes.items())
    if isinstance(payload, ExecutionCached):
        return ", ".join(payload.nodes) or "nothing"
    if isinstance(payload, Executed):
        return ", ".join(_shown(key, value) for key, value in (payload.output or {}).items()) or "nothing"
    if isinstance(payload, ExecutionError):
        return f"{payload.exception_type}: {payload.exception_message.strip()}"
    if isinstance(payload, TextFrame):
        return repr(payload.text)
    if isinstance(payload, UnknownFrame):
        return f"event {payload.event}, {len(payload.payload)} bytes"
    if isinstance(payload, Unknown) and payload.data is not UNSET:
        return jsontext.dumps(payload.data)
    return ""


def _shown(key: str, value: Any) -> str:
    return f"{key} ({len(value)})" if isinstance(value, list) else key
