"""What each node did in a recorded run, as its messages tell it (protocol 5.5, 6.6 to 6.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import UNSET

from comfy_contracts import messages
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnencodedPreview, UnknownFrame
from comfy_contracts.messages import ExecutionError
from comfy_mock.engine.learning.recorded import Heard, RecordedRun, Said, is_among, prompt_of


class Tick(NamedTuple):
    """An update of a progress bar."""

    value: float
    max: float
    time: float


class Event(NamedTuple):
    """Something a node sent on its own after the update `step` (0: before the first one): a `TextFrame`, a message, or
    a binary frame; `to_client` where other clients did not get it."""

    step: int
    time: float
    said: Said
    to_client: bool = False


@dataclass
class NodeCall:
    """What one node did in one run. Times are in seconds since the epoch, None where no message tells.

    `ui` is None where it showed nothing. `ran` is false where it was answered from the cache. `failure` is how it
    ended, where it failed; `cut` says that it was interrupted, or that the recording ends in the middle of it.
    """

    node: str
    class_type: str
    inputs: dict[str, Any]
    began: float | None = None
    ended: float | None = None
    ran: bool = False
    cut: bool = False
    ticks: list[Tick] = field(default_factory=list)
    has_progress: bool = False
    previews: list[tuple[int, str, bytes]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ui: dict[str, Any] | None = None
    failure: ExecutionError | None = None

    @property
    def step(self) -> int:
        """The step at which its bar stands."""
        return int(self.ticks[-1].value) if self.ticks else 0

    @property
    def at(self) -> str:
        """What it is called in notes."""
        return f"node {self.node} ({self.class_type})"


def watch(run: RecordedRun, chatter: set[str], note: Callable[[str], None]) -> list[NodeCall]:
    """What the nodes of a run did, in the order in which they began. Types in `chatter` are not theirs.

    `note` is told what cannot be understood, or not be learned.
    """
    watcher = _Watcher(run, chatter, note)
    for heard in run.heard:
        watcher.hear(heard)
    return watcher.calls()


class _Watcher:
    def __init__(self, run: RecordedRun, chatter: set[str], note: Callable[[str], None]) -> None:
        self._run, self._chatter, self._note = run, chatter, note
        self._calls: dict[str, NodeCall] = {}
        self._current: NodeCall | None = None
        self._tells_states = any(isinstance(heard.said, messages.ProgressState) for heard in run.heard)
        self._is_over = False

    def calls(self) -> list[NodeCall]:
        for node, shown in self._run.shown.items():
            call = self._call(node)
            if call is not None and call.ui is None and call.failure is None and isinstance(shown, dict):
                call.ui = shown
        for call in self._calls.values():
            if call.ran and call.ended is None and call.failure is None:
                call.cut = True
        return list(self._calls.values())

    def hear(self, heard: Heard) -> None:
        time, said = heard
        if isinstance(said, messages.ProgressState):
            for state in said.nodes.values():
                self._state(state, time)
        elif isinstance(said, messages.Executing):
            self._executing(said, time)
        elif isinstance(said, messages.Progress):
            self._progress(said, time)
        elif isinstance(said, messages.Executed):
            self._executed(said, time)
        elif isinstance(said, (ExecutionError, messages.ExecutionInterrupted)):
            self._broken(said)
        elif isinstance(said, (PreviewFrame, PreviewWithMetadata)):
            self._preview(said)
        elif isinstance(said, (TextFrame, UnknownFrame, UnencodedPreview, messages.Unknown)):
            self._event(said, time)

    def _call(self, node: str) -> NodeCall | None:
        """The call of a node of the prompt; None for one that stands in no prompt, as children of an expansion."""
        entry = self._run.graph.get(node)
        if not isinstance(entry, dict) or not isinstance(entry.get("class_type"), str):
            return None
        inputs = entry.get("inputs")
        new = NodeCall(node, entry["class_type"], inputs if isinstance(inputs, dict) else {})
        return self._calls.setdefault(node, new)

    def _begin(self, node: str, time: float) -> NodeCall | None:
        call = self._call(node)
        if call is not None and not call.ran:
            call.ran, call.began = True, time
            self._current = call
        return call

    def _state(self, state: messages.NodeProgress, time: float) -> None:
        if state.parent_node_id is not None:
            self._note(
                f"node {state.real_node_id} was expanded into others: what those did cannot be learned, for no message "
                "tells their classes"
            )
            return
        known = self._calls.get(state.node_id)
        if state.state == "running":
            is_new = known is None or not known.ran
            call = self._begin(state.node_id, time)
            if call is not None and not is_new:
                self._tick(call, state.value, state.max, time)
        elif known is not None and known.ran and known.ended is None:
            known.ended = time
        elif known is None:
            self._call(state.node_id)

    def _tick(self, call: NodeCall, value: float, maximum: float, time: float) -> None:
        last = call.ticks[-1] if call.ticks else Tick(0.0, 1.0, time)
        # a state is sent again with every change of another node
        if (value, maximum) != (last.value, last.max):
            call.ticks.append(Tick(value, maximum, time))
            self._current = call

    def _executing(self, said: messages.Executing, time: float) -> None:
        if not self._tells_states:
            for before in self._calls.values():
                if before.ran and before.ended is None:
                    before.ended = time
        if said.node is None:
            self._is_over = True
            return
        self._current = self._begin(said.node, time) or self._current

    def _progress(self, said: messages.Progress, time: float) -> None:
        call = self._begin(said.node, time)
        if call is not None:
            call.has_progress = True
            self._tick(call, said.value, said.max, time)
            self._current = call

    def _executed(self, said: messages.Executed, time: float) -> None:
        call = self._call(said.node)
        if call is not None:
            call.ui = said.output
            if call.ran and not self._tells_states:
                call.ended = time

    def _broken(self, said: ExecutionError | messages.ExecutionInterrupted) -> None:
        if isinstance(said, ExecutionError) and said.timestamp is UNSET:
            self._note(
                f"node {said.node_id} ({said.node_type}) was blocked ({said.exception_message}): a script has no "
                "blockers, here it runs"
            )
            return
        call = self._call(said.node_id)
        if call is None:
            return
        if isinstance(said, ExecutionError):
            call.failure = said
        else:
            call.cut = True

    def _preview(self, said: PreviewFrame | PreviewWithMetadata) -> None:
        call = self._calls.get(said.node_id) if isinstance(said, PreviewWithMetadata) else self._current
        if call is not None:
            kind = said.format_name if isinstance(said, PreviewFrame) else said.image_type.rpartition("/")[2].upper()
            call.previews.append((call.step, kind, said.image))

    def _event(self, said: TextFrame | UnknownFrame | UnencodedPreview | messages.Unknown, time: float) -> None:
        if isinstance(said, messages.Unknown) and said.type in self._chatter:
            self._note(f"{_called(said)} comes though nothing runs: it is no node's, and is left out")
            return
        call = self._whose(said)
        if call is None or not call.ran or self._is_over:
            self._note(f"{_called(said)} came while no node ran, and is left out")
            return
        if prompt_of(said) is not None or self._run.prompt_id in _text_of(said):
            self._note(f"{_called(said)} of {call.at} names the recorded prompt, and will go on doing so")
        call.events.append(Event(call.step, time, said, self._is_for_client_alone(said, time)))

    def _whose(self, said: Said) -> NodeCall | None:
        names: list[Any] = [getattr(said, "node_id", None)] if isinstance(said, TextFrame) else []
        if isinstance(said, messages.Unknown) and isinstance(said.data, dict):
            names = [said.data.get(name) for name in ("node", "node_id", "unique_id")]
        named = [self._calls[name] for name in map(str, names) if name in self._calls]
        return next((call for call in named if call.ran and call.ended is None), self._current)

    def _is_for_client_alone(self, said: Said, time: float) -> bool:
        there = [socket for socket in self._run.sockets if socket.opened <= time <= socket.closed]
        got = {socket.client_id: is_among(socket.heard, Heard(time, said)) for socket in there}
        return sum(got.values()) == 1 < len(got)


def _called(said: Said) -> str:
    if isinstance(said, messages.Unknown):
        return f"a message of type {said.type!r}"
    return "a line of text" if isinstance(said, TextFrame) else "a binary message"


def _text_of(said: Said) -> str:
    return repr(said.to_builtins()) if isinstance(said, messages.Unknown) else repr(said)
