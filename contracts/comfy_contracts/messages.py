"""The JSON messages of `/ws` as typed structs (protocol 6.6).

A message is `{"type": …, "data": {…}}`; a struct has the fields of `data`, in the order in which the server writes
them. `decode` loses nothing: a type that is not known here, and a known one whose data has another shape, becomes
`Unknown`; fields beyond the known ones stand in `extra` (those of `data`) and `envelope` (those beside `type` and
`data`). Messages are values: give each its own lists and dicts, for a queue of messages must not change behind them.
"""

from __future__ import annotations

import math
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType

from comfy_contracts import jsontext
from comfy_contracts.structs import Lossless, ShapeError


class MessageError(ValueError):
    """A text is not a message: not JSON, not an object, or without a `type` that is a string."""


class _Message(Lossless, frozen=True, kw_only=True):
    bookkeeping: ClassVar[frozenset[str]] = frozenset({"extra", "envelope"})

    envelope: dict[str, Any] = msgspec.field(default_factory=dict)


class Status(_Message, frozen=True):
    """The length of the queue, pending and running together.

    With `sid` it is a socket's first message (protocol 6.1).
    """

    type: ClassVar[Literal["status"]] = "status"

    queue_remaining: int
    sid: str | None = None

    @classmethod
    def from_builtins(cls, value: Any) -> Status:
        """The struct of a message's `data`. Raises `ShapeError` where it does not fit."""
        wire = _StatusData.from_builtins(value)
        if wire.sid is None:
            raise ShapeError("a sid is a string or absent", "sid")
        extra = dict(wire.extra)
        if wire.status.extra or wire.status.exec_info.extra:
            extra["status"] = {**wire.status.extra, "exec_info": wire.status.exec_info.extra}
        sid = None if wire.sid is UNSET else wire.sid
        return cls(wire.status.exec_info.queue_remaining, sid, extra=extra)

    def to_builtins(self) -> dict[str, Any]:
        """The `data` of the message."""
        inside = self.extra.get("status", {})
        exec_info = {"queue_remaining": self.queue_remaining, **inside.get("exec_info", {})}
        data: dict[str, Any] = {"status": {"exec_info": exec_info}}
        if self.sid is not None:
            data["sid"] = self.sid
        if self.extra:
            data["status"].update((key, value) for key, value in inside.items() if key != "exec_info")
            data.update((key, value) for key, value in self.extra.items() if key != "status")
        return data


class _ExecInfo(Lossless, frozen=True):
    queue_remaining: int


class _QueueStatus(Lossless, frozen=True):
    exec_info: _ExecInfo


class _StatusData(Lossless, frozen=True):
    status: _QueueStatus
    sid: str | UnsetType | None = UNSET


class ExecutionStart(_Message, frozen=True):
    """A prompt begins to run. `timestamp` is in milliseconds since the epoch, as in all messages."""

    type: ClassVar[Literal["execution_start"]] = "execution_start"

    prompt_id: str
    timestamp: int


class ExecutionCached(_Message, frozen=True):
    """The nodes of the prompt whose results were in the cache when it began; none is an empty list."""

    type: ClassVar[Literal["execution_cached"]] = "execution_cached"

    nodes: list[str]
    prompt_id: str
    timestamp: int


class Executing(_Message, frozen=True):
    """A node begins its turn; with `node` None the prompt has ended.

    A socket that connects in the middle of a run is told the running node alone: then `display_node` and `prompt_id`
    are `UNSET` (protocol 6.1).
    """

    type: ClassVar[Literal["executing"]] = "executing"

    node: str | None
    display_node: str | UnsetType = UNSET
    prompt_id: str | UnsetType = UNSET


class NodeProgress(Lossless, frozen=True, dict=True):
    """How far a node is, inside a `ProgressState`.

    `value` and `max` are floats or ints as the server had them: the difference is on the wire (protocol 6.7). `state`
    is `running` or `finished`. `display_node_id` is the node that the user sees when this one came from an expansion.
    """

    value: int | float
    max: int | float
    state: str
    node_id: str
    prompt_id: str
    display_node_id: str
    parent_node_id: str | None
    real_node_id: str

    @cached_property
    def wire_text(self) -> str:
        """This object's JSON text. Kept, because a run sends its finished nodes again with every progress."""
        if self.extra:
            return jsontext.dumps(self.to_builtins())
        quote = encode_basestring_ascii
        parent = "null" if self.parent_node_id is None else quote(self.parent_node_id)
        return (
            f'{{"value": {_number(self.value)}, "max": {_number(self.max)}, "state": {quote(self.state)}, '
            f'"node_id": {quote(self.node_id)}, "prompt_id": {quote(self.prompt_id)}, '
            f'"display_node_id": {quote(self.display_node_id)}, "parent_node_id": {parent}, '
            f'"real_node_id": {quote(self.real_node_id)}}}'
        )


class ProgressState(_Message, frozen=True):
    """Every node of the prompt that has been mentioned so far, in the order of first mention (protocol 6.7)."""

    type: ClassVar[Literal["progress_state"]] = "progress_state"

    prompt_id: str
    nodes: dict[str, NodeProgress]


class Progress(_Message, frozen=True):
    """One step of a node's progress bar; `value` and `max` as in `NodeProgress`."""

    type: ClassVar[Literal["progress"]] = "progress"

    value: int | float
    max: int | float
    prompt_id: str
    node: str


class Executed(_Message, frozen=True):
    """What a node shows: `output` maps kinds (`images`, `text` …) to lists. None: a cached node that shows nothing."""

    type: ClassVar[Literal["executed"]] = "executed"

    node: str
    display_node: str
    output: dict[str, Any] | None
    prompt_id: str


class ExecutionSuccess(_Message, frozen=True):
    """A prompt ended well. Its history entry comes a moment later (protocol 6.9)."""

    type: ClassVar[Literal["execution_success"]] = "execution_success"

    prompt_id: str
    timestamp: int


class ExecutionError(_Message, frozen=True):
    """A node raised (protocol 5.11), or an execution blocker with a message was met (5.10).

    The latter has no `timestamp`, and its prompt goes on. `current_inputs` maps an input to the list of its values, and
    is an empty list where no node ran.
    """

    type: ClassVar[Literal["execution_error"]] = "execution_error"

    prompt_id: str
    node_id: str
    node_type: str
    executed: list[str]
    exception_message: str
    exception_type: str
    traceback: list[str]
    current_inputs: dict[str, Any] | list[Any]
    current_outputs: list[str]
    timestamp: int | UnsetType = UNSET


class ExecutionInterrupted(_Message, frozen=True):
    """A prompt was interrupted; `node_id` and `node_type` say where, `executed` what had run (protocol 5.12)."""

    type: ClassVar[Literal["execution_interrupted"]] = "execution_interrupted"

    prompt_id: str
    node_id: str
    node_type: str
    executed: list[str]
    timestamp: int


class FeatureFlags(_Message, frozen=True):
    """What a side can do; sent by clients first, and answered by the server (protocol 6.3).

    A client may send null, or no data at all (`UNSET`), which the server takes for no flags.
    """

    type: ClassVar[Literal["feature_flags"]] = "feature_flags"

    data: dict[str, Any] | UnsetType | None = UNSET

    @classmethod
    def from_builtins(cls, value: Any) -> FeatureFlags:
        """The struct of a message's `data`. Raises `ShapeError` where it does not fit."""
        if not (value is None or value is UNSET or isinstance(value, dict)):
            raise ShapeError(f"feature flags are an object or null, not {value.__class__.__name__}")
        return cls(value)

    def to_builtins(self) -> dict[str, Any] | UnsetType | None:
        """The `data` of the message."""
        return self.data


class LogEntry(Lossless, frozen=True):
    """A piece of the server's log: `t` is its time in ISO form, `m` the text with its newline and colours."""

    t: str
    m: str


class TerminalSize(Lossless, frozen=True):
    """The size of the server's terminal, in characters."""

    cols: int
    rows: int


class Logs(_Message, frozen=True):
    """New log entries, for those who subscribed (protocol 2.7)."""

    type: ClassVar[Literal["logs"]] = "logs"

    entries: list[LogEntry]
    size: TerminalSize | None


class Unknown(_Message, frozen=True):
    """A message that this module has no struct for: custom nodes may send any type with any data.

    `data` is `UNSET` where the message has none.
    """

    type: str
    data: Any = UNSET

    def to_builtins(self) -> Any:
        """The `data` of the message."""
        return self.data


Message = Union[
    Status,
    ExecutionStart,
    ExecutionCached,
    Executing,
    ProgressState,
    Progress,
    Executed,
    ExecutionSuccess,
    ExecutionError,
    ExecutionInterrupted,
    FeatureFlags,
    Logs,
    Unknown,
]

_Known = Union[
    type[Status],
    type[ExecutionStart],
    type[ExecutionCached],
    type[Executing],
    type[ProgressState],
    type[Progress],
    type[Executed],
    type[ExecutionSuccess],
    type[ExecutionError],
    type[ExecutionInterrupted],
    type[FeatureFlags],
    type[Logs],
]

_KNOWN: dict[str, _Known] = {
    cls.type: cls
    for cls in (
        Status,
        ExecutionStart,
        ExecutionCached,
        Executing,
        ProgressState,
        Progress,
        Executed,
        ExecutionSuccess,
        ExecutionError,
        ExecutionInterrupted,
        FeatureFlags,
        Logs,
    )
}


def encode(message: Message) -> str:
    """The text of a message, as the real server writes it."""
    if isinstance(message, ProgressState) and not message.extra and not message.envelope:
        return _progress_state_text(message)
    wire: dict[str, Any] = {"type": message.type}
    data = message.to_builtins()
    if data is not UNSET:
        wire["data"] = data
    if message.envelope:
        wire.update(message.envelope)
    return jsontext.dumps(wire)


def decode(text: str | bytes) -> Message:
    """The message of a text.

    Raises `MessageError` where the text is not a JSON object with a `type` that is a string.
    """
    try:
        value = jsontext.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message must be JSON: {error}; got {_start_of(text)}") from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise MessageError(f'a message must be a JSON object with a "type" that is a string; got {_start_of(text)}')
    kind, data = value["type"], value.get("data", UNSET)
    message = typed(kind, data)
    if len(value) > (1 if data is UNSET else 2):
        envelope = {key: item for key, item in value.items() if key not in ("type", "data")}
        return msgspec.structs.replace(message, envelope=envelope)
    return message


def typed(kind: str, data: Any) -> Message:
    """The message of a type and its data, as history keeps them; `Unknown` where no struct fits."""
    cls = _KNOWN.get(kind)
    if cls is not None:
        try:
            return cls.from_builtins(data)
        except ShapeError:
            pass
    return Unknown(kind, data)


def message_data(message: Message) -> Any:
    """The `data` of a message as builtins; history keeps some messages in this form (protocol 4.3)."""
    return message.to_builtins()


def _progress_state_text(message: ProgressState) -> str:
    quote = encode_basestring_ascii
    nodes = ", ".join([f"{quote(node_id)}: {node.wire_text}" for node_id, node in message.nodes.items()])
    return f'{{"type": "progress_state", "data": {{"prompt_id": {quote(message.prompt_id)}, "nodes": {{{nodes}}}}}}}'


def _number(value: float) -> str:
    """A number in JSON, as Python's default dump writes it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _start_of(text: str | bytes) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:80]!r} and {len(text) - 80} more"
