"""A trace, and how a run is told: messages to the prompt's own socket, and what the history keeps (protocol 4.3, 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Union

from comfy_contracts import frames, messages

Payload = Union[messages.Message, frames.Frame]
"""A JSON message or a binary frame."""

Ending = Literal["success", "error", "interrupted"]
"""How a run ends."""

_JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
"""As little of a JPEG file as can be, for previews whose picture nobody looks at."""


@dataclass(frozen=True, repr=False)
class Trace:
    """One prompt's run, as the socket of its client is told of it, and what the server knows of it afterwards.

    `payloads` begins with the `status` of the moment in which the prompt was queued, and ends with the closing
    `executing` whose `node` is None. `entry` is what `/history` then has under `prompt_id`. `cached` are the nodes
    whose results were there at the start, `order` those that were begun, children of expansions included.
    """

    prompt: dict[str, Any]
    prompt_id: str
    client_id: str
    ending: Ending
    payloads: list[Payload]
    entry: dict[str, Any]
    cached: list[str]
    order: list[str]

    def __repr__(self) -> str:
        """What it is a trace of, and the course of it, for payloads as they are fill pages."""
        course = " · ".join(_in_short(payload) for payload in self.payloads)
        return f"Trace(prompt={self.prompt!r}, prompt_id={self.prompt_id!r}, ending={self.ending!r}, course={course!r})"

    @property
    def outputs(self) -> dict[str, Any]:
        """What the nodes showed, by node id."""
        outputs: dict[str, Any] = self.entry["outputs"]
        return outputs

    def encoded(self) -> list[str | bytes]:
        """The payloads as they are on the wire: texts, and bytes of binary frames."""
        return [
            frames.encode(payload) if isinstance(payload, _FRAMES) else messages.encode(payload)
            for payload in self.payloads
        ]


_FRAMES = (
    frames.PreviewFrame,
    frames.PreviewWithMetadata,
    frames.TextFrame,
    frames.UnencodedPreview,
    frames.UnknownFrame,
)


def _in_short(payload: Payload) -> str:
    """A payload in the notation of protocol 6.10: `PS{1 f, 2 r 1/4}`, `executing 2`, `binary 1`."""
    if isinstance(payload, messages.Status):
        return f"status {payload.queue_remaining}"
    if isinstance(payload, messages.ProgressState):
        nodes = (f"{key} {state.state[0]} {state.value}/{state.max}" for key, state in payload.nodes.items())
        return f"PS{{{', '.join(nodes)}}}"
    if isinstance(payload, messages.ExecutionCached):
        return f"execution_cached {payload.nodes}"
    if isinstance(payload, messages.Progress):
        return f"progress {payload.node} {payload.value}/{payload.max}"
    if isinstance(payload, (messages.Executing, messages.Executed)):
        return f"{payload.type} {payload.node or 'null'}"
    if isinstance(payload, (messages.ExecutionError, messages.ExecutionInterrupted)):
        return f"{payload.type} {payload.node_id}"
    if isinstance(payload, frames.PreviewFrame):
        return "binary 1"
    if isinstance(payload, frames.TextFrame):
        return f"text {payload.node_id}"
    return "binary 4" if isinstance(payload, frames.PreviewWithMetadata) else getattr(payload, "type", "binary")


@dataclass
class Teller:
    """Writes down a run as it goes. `displays` and `parents` are those of children of expansions."""

    prompt_id: str
    metadata: bool
    now: int
    payloads: list[Payload] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    log: list[list[Any]] = field(default_factory=list)
    displays: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    _states: dict[str, messages.NodeProgress] = field(default_factory=dict)

    def say(self, payload: Payload) -> None:
        """Send it as it is."""
        self.payloads.append(payload)

    def report(self, message: messages.Message) -> None:
        """Send it, and keep it for the history."""
        self.say(message)
        self.log.append([message.type, message.to_builtins()])

    def stamp(self) -> dict[str, Any]:
        """Whose message it is, and when, each a little later than the one before."""
        self.now += 1
        return {"prompt_id": self.prompt_id, "timestamp": self.now}

    def status(self, remaining: int) -> None:
        self.say(messages.Status(remaining))

    def real(self, node_id: str) -> str:
        """The node of the prompt that this one comes from."""
        return self.displays.get(node_id, node_id)

    def executing(self, node_id: str) -> None:
        self.say(messages.Executing(node_id, self.real(node_id), self.prompt_id))

    def state(self, node_id: str, value: float, maximum: float, state: str = "running") -> None:
        """A `progress_state`, with this node so far."""
        self._states[node_id] = messages.NodeProgress(
            value,
            maximum,
            state,
            node_id,
            self.prompt_id,
            self.real(node_id),
            self.parents.get(node_id),
            self.real(node_id),
        )
        self.say(messages.ProgressState(self.prompt_id, dict(self._states)))

    def finish(self, node_id: str) -> None:
        """A node that ran is done: it is at its maximum, a float if it never said how far it was."""
        maximum = self._states[node_id].max
        self.state(node_id, maximum, maximum, "finished")

    def update(self, node_id: str, value: int, maximum: int, *, preview: bool) -> None:
        """One step of a progress bar; a preview with metadata comes before its `progress`, one without behind it."""
        self.state(node_id, value, maximum)
        if preview and self.metadata:
            self.say(self._marked_preview(node_id))
        self.say(messages.Progress(value, maximum, self.prompt_id, node_id))
        if preview and not self.metadata:
            self.say(frames.PreviewFrame(frames.JPEG, _JPEG))

    def _marked_preview(self, node_id: str) -> frames.Frame:
        display, parent = self.real(node_id), self.parents.get(node_id)
        return frames.PreviewWithMetadata(
            node_id, self.prompt_id, display, parent, display, image_type="image/jpeg", image=_JPEG
        )

    def executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        """What a node shows; the history keeps it, if it is anything."""
        self.say(messages.Executed(node_id, self.real(node_id), ui, self.prompt_id))
        if ui is not None:
            self.outputs[node_id] = ui
            self.meta[node_id] = {
                "node_id": node_id,
                "display_node": self.real(node_id),
                "parent_node": self.parents.get(node_id),
                "real_node_id": self.real(node_id),
            }

    def blocked(self, node_id: str, node_type: str, executed: list[str], message: str) -> None:
        """A node was not called as one before it blocked it: no end, whatever the message is called."""
        self.say(
            messages.ExecutionError(
                self.prompt_id,
                self.real(node_id),
                node_type,
                executed,
                exception_message=f"Execution Blocked: {message}",
                exception_type="ExecutionBlocked",
                traceback=[],
                current_inputs=[],
                current_outputs=[],
            )
        )
