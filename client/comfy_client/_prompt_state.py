"""What is known of one prompt: the messages and answers about it, put together."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Union

from msgspec import UNSET

from comfy_client._event_log import EventLog
from comfy_client._models import SocketImage
from comfy_client.events import (
    Blocked,
    Cached,
    CustomMessage,
    Ended,
    Event,
    NodeFinished,
    NodeOutput,
    NodeProgress,
    NodeStarted,
    NodeText,
    Outcome,
    Preview,
    Queued,
    Started,
)
from comfy_contracts.messages import (
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Message,
    ProgressState,
    Unknown,
)
from comfy_contracts.messages import (
    Progress as ProgressMessage,
)
from comfy_contracts.prompts import NodeErrors
from comfy_contracts.results import HistoryEntry

Phase = Literal["submitted", "queued", "running", "success", "error", "interrupted", "lost", "rejected"]
"""How far a prompt is. It only moves on in this order; the last five are ends."""

EVENTS_WAITING_MAX: Final = 1000
"""How many events of one reader wait before stale ones are dropped."""

_RANKS: Final = {"submitted": 0, "queued": 1, "running": 2}

EndMessage = Union[ExecutionSuccess, ExecutionError, ExecutionInterrupted, Executing]
"""What a socket says about the end; `Executing` with node None says only that it has come."""


@dataclass(frozen=True)
class NodeView:
    """How far a node is. `fraction` is between 0 and 1 and never falls, also where a node runs several bars in turn."""

    node_id: str
    display_node_id: str
    state: Literal["running", "finished", "cached"]
    value: float = 0.0
    max: float = 1.0
    fraction: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a prompt is, at one moment.

    `fraction` is of all its nodes, between 0 and 1, and never falls. `node_id` is the node at work. `nodes` has those
    that were heard of, `previews` counts the pictures so far, and `preview` is the last of them.
    """

    prompt_id: str
    phase: Phase
    position: int | None
    fraction: float
    node_id: str | None
    nodes: Mapping[str, NodeView]
    previews: int
    preview: Preview | None


@dataclass(eq=False)
class PromptState:
    """Everything about one prompt; only a `Tracker` changes it.

    `nodes_total` are the ids of the graph that was sent, and `senders` those of its nodes that send their pictures by
    socket; empty where this client did not send it. `sent` are these pictures.
    """

    prompt_id: str
    nodes_total: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    phase: Phase = "submitted"
    position: int | None = None
    number: int | float | None = None
    node_errors: dict[str, NodeErrors] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[SocketImage] = field(default_factory=list)
    end_message: EndMessage | None = None
    entry: HistoryEntry | None = None
    stale: HistoryEntry | None = None
    """The entry of an earlier run with the same id, as it was before this one was posted."""
    error: ExecutionError | None = None
    interrupted: ExecutionInterrupted | None = None
    version: int = 0
    """Grows whenever something was learned, or there is something else to do."""

    def __post_init__(self) -> None:
        self._nodes: dict[str, NodeView] = {}
        self._node_id: str | None = None
        self._fraction = 0.0
        self._previews = 0
        self._preview: Preview | None = None
        self._knows_states = False
        self._knows_cached = False
        self._log = EventLog(limit=0)
        self._readers: weakref.WeakSet[EventLog] = weakref.WeakSet()
        self.progress_listeners: list[Callable[[Progress], None]] = []
        self._told = 0
        self._told_listeners = 0

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.phase not in _RANKS

    def subscribe(self) -> EventLog:
        """A reader of the events, those before included; of stale ones only the last. Let go of it when done."""
        reader = EventLog(EVENTS_WAITING_MAX)
        for event in self._log:
            reader.add(event)
        self._readers.add(reader)
        return reader

    def progress(self) -> Progress:
        """A snapshot."""
        return Progress(
            self.prompt_id,
            self.phase,
            self.position,
            self._fraction,
            self._node_id,
            dict(self._nodes),
            self._previews,
            self._preview,
        )

    def progress_to_tell(self) -> list[Callable[[Progress], None]]:
        """The listeners, where something has happened since they were asked for last."""
        if self._told == self._told_listeners:
            return []
        self._told_listeners = self._told
        return list(self.progress_listeners)

    def node_running(self, node_id: str) -> bool:
        """Whether that node is at work, as far as is known."""
        node = self._nodes.get(node_id)
        return node is not None and node.state == "running"

    # What a tracker tells

    def queued_at(self, position: int | None) -> None:
        """It waits behind `position` others."""
        if self.phase not in ("submitted", "queued"):
            return
        if self.phase == "submitted" or position != self.position:
            self.phase, self.position = "queued", position
            self._tell(Queued(self.prompt_id, position))

    def running(self) -> None:
        """It runs."""
        if self.phase in ("submitted", "queued"):
            self.phase, self.position = "running", None
            self._tell(Started(self.prompt_id))

    def hear(self, message: Message) -> None:
        """Take in a message about this prompt."""
        if self.ended:
            return
        if isinstance(message, Unknown):
            self._tell(CustomMessage(self.prompt_id, message))
        elif isinstance(message, ExecutionError) and message.timestamp is UNSET:
            text = message.exception_message.removeprefix("Execution Blocked: ")
            self._tell(Blocked(self.prompt_id, message.node_id, text))
        elif isinstance(message, (ExecutionSuccess, ExecutionError, ExecutionInterrupted)) or (
            isinstance(message, Executing) and message.node is None
        ):
            if self.end_message is None or isinstance(self.end_message, Executing):
                self.end_message = message
        else:
            self.running()
            self._hear_run(message)
        self._count()

    def preview(self, node_id: str | None, image_type: str, image: bytes) -> None:
        """A picture of this prompt came."""
        if self.ended:
            return
        self._previews += 1
        self._preview = Preview(self.prompt_id, node_id, image_type, image)
        if node_id is not None and node_id in self.senders:
            self.sent.append(SocketImage(node_id, image_type, image))
        self._tell(self._preview)

    def text(self, node_id: str, text: str) -> None:
        """A line of text of a node of this prompt came."""
        if not self.ended:
            self._tell(NodeText(self.prompt_id, node_id, text))

    def end_with(self, entry: HistoryEntry) -> None:
        """It is over, and this is its entry in the history."""
        outcome, said = verdict(entry)
        self.running()
        self.entry = entry
        self.number = entry.prompt.number
        displayed = {} if entry.meta is UNSET else {node_id: meta.display_node for node_id, meta in entry.meta.items()}
        for node_id, output in entry.outputs.items():
            self._output(node_id, displayed.get(node_id, node_id), output)
        self.outputs = dict(entry.outputs)
        self._end(outcome, said)

    def end_without_entry(self, outcome: Outcome) -> None:
        """It is over, and the history does not have it: what messages said has to do."""
        self._end(outcome, self.end_message)

    def reject(self) -> None:
        """The server refused it."""
        self.phase = "rejected"

    # Messages of a run

    def _hear_run(self, message: Message) -> None:
        if isinstance(message, ExecutionCached):
            self._cached(message.nodes)
        elif isinstance(message, Executing):
            assert message.node is not None
            display = message.node if message.display_node is UNSET else message.display_node
            if not self._knows_states and self._node_id not in (None, message.node):
                # Before progress_state a node's end was told by the beginning of the next (protocol 10).
                self._finished(str(self._node_id), None)
            self._started(message.node, display)
            self._node_id = message.node
        elif isinstance(message, ProgressState):
            self._knows_states = True
            for node in message.nodes.values():
                if node.state == "finished":
                    self._finished(node.node_id, node.display_node_id)
                else:
                    self._started(node.node_id, node.display_node_id)
                    self._advanced(node.node_id, node.value, node.max)
        elif isinstance(message, ProgressMessage):
            self._started(message.node, message.node)
            self._advanced(message.node, message.value, message.max)
        elif isinstance(message, Executed):
            if not self._knows_states:
                self._finished(message.node, message.display_node)
            if message.output is not None:
                self._output(message.node, message.display_node, message.output)
        else:
            assert isinstance(message, ExecutionStart)

    def _cached(self, nodes: Sequence[str]) -> None:
        new = [node_id for node_id in nodes if node_id not in self._nodes]
        if not self._knows_cached:
            self._knows_cached = True
            self._tell(Cached(self.prompt_id, tuple(nodes)))
        for node_id in new:
            self._nodes[node_id] = NodeView(node_id, node_id, "cached", 1.0, 1.0, 1.0)

    def _started(self, node_id: str, display_node_id: str) -> None:
        if node_id not in self._nodes:
            self._nodes[node_id] = NodeView(node_id, display_node_id, "running")
            self._tell(NodeStarted(self.prompt_id, node_id, display_node_id))

    def _advanced(self, node_id: str, value: float, max_value: float) -> None:
        node = self._nodes[node_id]
        # Whole numbers of JSON can be too large for a float: OverflowError, and the message is left out.
        value, max_value = float(value), float(max_value)
        fraction = min(value / max_value, 1.0) if max_value > 0 else 0.0
        if node.state == "running" and fraction > node.fraction:
            self._nodes[node_id] = NodeView(node_id, node.display_node_id, "running", value, max_value, fraction)
            self._tell(NodeProgress(self.prompt_id, node_id, node.display_node_id, value, max_value, fraction))

    def _finished(self, node_id: str, display_node_id: str | None) -> None:
        node = self._nodes.get(node_id)
        if node is not None and node.state == "finished":
            return
        display = display_node_id or (node.display_node_id if node else node_id)
        total = node.max if node else 1.0
        self._nodes[node_id] = NodeView(node_id, display, "finished", total, total, 1.0)
        self._tell(NodeFinished(self.prompt_id, node_id, display))

    def _output(self, node_id: str, display_node_id: str, output: dict[str, Any]) -> None:
        if self.outputs.get(node_id) != output:
            self.outputs[node_id] = output
            self._tell(NodeOutput(self.prompt_id, node_id, display_node_id, output))

    def _end(self, outcome: Outcome, said: EndMessage | None) -> None:
        if isinstance(said, ExecutionError):
            self.error = said
        elif isinstance(said, ExecutionInterrupted):
            self.interrupted = said
        self.phase, self.position = outcome, None
        if outcome == "success":
            self._fraction = 1.0
        self._tell(Ended(self.prompt_id, outcome))

    def _count(self) -> None:
        if self.nodes_total:
            done = sum(node.fraction for node_id, node in self._nodes.items() if node_id in self.nodes_total)
            self._fraction = max(self._fraction, min(done / len(self.nodes_total), 1.0))

    def _tell(self, event: Event) -> None:
        self._told += 1
        self._log.add(event)
        for reader in list(self._readers):
            reader.add(event)


def verdict(entry: HistoryEntry) -> tuple[Outcome, EndMessage | None]:
    """How the prompt of a history entry ended, and the message that says so.

    Its messages count before `status_str`, which calls a run-time cycle a success (protocol 5.11). Old servers have
    entries without a status, of prompts that did not fail.
    """
    if entry.status is UNSET or entry.status is None:
        return "success", None
    for message in reversed(list(entry.status.typed_messages())):
        if isinstance(message, ExecutionError):
            return "error", message
        if isinstance(message, ExecutionInterrupted):
            return "interrupted", message
        if isinstance(message, ExecutionSuccess):
            return "success", message
    return ("success" if entry.status.status_str == "success" else "error"), None
