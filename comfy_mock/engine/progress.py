"""The progress of one prompt: the growing `progress_state`, and when an update is sent at all (protocol 6.7)."""

from __future__ import annotations

from comfy_contracts.messages import NodeProgress, ProgressState
from comfy_mock.engine.order import PromptGraph

PAUSE_S = 0.1
"""How long an update waits for the next one to go out, unless it is the last."""
_SHARE = 0.005


class PromptProgress:
    """Every node that has started, finished or been answered from the cache, in order of first mention."""

    def __init__(self, prompt_id: str, graph: PromptGraph) -> None:
        self._prompt_id, self._graph = prompt_id, graph
        self._nodes: dict[str, NodeProgress] = {}

    def start(self, node_id: str) -> ProgressState:
        """The node begins its turn: running, 0.0 of 1.0."""
        return self._set(node_id, 0.0, 1.0, "running")

    def update(self, node_id: str, value: float, maximum: float) -> ProgressState:
        """The node's bar moves; numbers are shown as the node gave them."""
        return self._set(node_id, value, maximum, "running")

    def finish(self, node_id: str) -> ProgressState:
        """The node is done: its value jumps to its maximum, which is 1 for one that never started."""
        seen = self._nodes.get(node_id)
        maximum = 1 if seen is None else seen.max
        return self._set(node_id, maximum, maximum, "finished")

    def _set(self, node_id: str, value: float, maximum: float, state: str) -> ProgressState:
        self._nodes[node_id] = NodeProgress(
            value=value,
            max=maximum,
            state=state,
            node_id=node_id,
            prompt_id=self._prompt_id,
            display_node_id=self._graph.display(node_id),
            parent_node_id=self._graph.parent(node_id),
            real_node_id=self._graph.real(node_id),
        )
        return ProgressState(prompt_id=self._prompt_id, nodes=dict(self._nodes))


class Throttle:
    """Decides which updates of one progress bar are sent."""

    def __init__(self) -> None:
        self._sent_at: float | None = None
        self._sent_value = 0.0

    def restart(self) -> None:
        """A new bar begins."""
        self._sent_at = None

    def passes(self, value: float, maximum: float, now: float, *, always: bool) -> bool:
        """Whether this update goes out: if it is to go `always` (it has a preview), as the first or the last of a bar,
        or 100 ms after the last one that went out if the bar has moved by half a percent."""
        moved = abs(value - self._sent_value) >= maximum * _SHARE
        # simulated steps of exactly the pause add up with rounding errors
        waited = self._sent_at is not None and now - self._sent_at >= PAUSE_S - 1e-6
        if always or self._sent_at is None or value >= maximum or (waited and moved):
            self._sent_at, self._sent_value = now, value
            return True
        return False
