"""What came over a socket, as lines to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from comfy_contracts.frames import Frame, PreviewFrame, PreviewWithMetadata
from comfy_contracts.messages import (
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    Message,
    Progress,
    ProgressState,
    Status,
)

PREVIEW = "preview"


class Trace:
    """The events of one prompt in their order. `titles` names its nodes by id.

    A sampler's progress is one line, however many messages it took; `counts` has them all, by type.
    """

    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles
        self._lines: list[str] = []
        self._in_progress = False
        self.counts: Counter[str] = Counter()

    def add(self, seconds: float, event: Message | Frame) -> None:
        """Note what came `seconds` after the start."""
        kind = _kind(event)
        self.counts[kind] += 1
        if kind in (ProgressState.type, PREVIEW):
            return
        line = f"{seconds:7.2f} s  {kind:<17} {self._detail(event)}".rstrip()
        if isinstance(event, Progress) and self._in_progress:
            self._lines[-1] = line
        else:
            self._lines.append(line)
        self._in_progress = isinstance(event, Progress)

    def lines(self) -> list[str]:
        """The lines so far, and how many events of each type there were."""
        total = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())
        return [*self._lines, f"{self.counts.total()} events: {total}"]

    def _detail(self, event: Message | Frame) -> str:
        if isinstance(event, Status):
            return f"queue_remaining {event.queue_remaining}"
        if isinstance(event, Executing):
            return "null: the end" if event.node is None else self._node(event.node)
        if isinstance(event, Progress):
            return f"{self._node(event.node)}: {event.value}/{event.max}"
        if isinstance(event, Executed):
            return f"{self._node(event.node)}: {event.output}"
        if isinstance(event, ExecutionCached):
            return f"nodes {event.nodes}"
        if isinstance(event, ExecutionError):
            return f"{self._node(event.node_id)}: {event.exception_message.strip()}"
        return ""

    def _node(self, node_id: str) -> str:
        return f"{node_id} {self._titles.get(node_id, '')}".rstrip()


def _kind(event: Message | Frame) -> str:
    if isinstance(event, (PreviewFrame, PreviewWithMetadata)):
        return PREVIEW
    return getattr(event, "type", type(event).__name__)
