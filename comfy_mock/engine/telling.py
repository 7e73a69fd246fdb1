"""What a run tells its client, and what of it the history keeps (protocol 4.3, 5.5, 5.11, 5.12)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from comfy_contracts import messages
from comfy_mock.engine.failures import describe
from comfy_mock.engine.host import Host
from comfy_mock.engine.order import PromptGraph
from comfy_mock.engine.progress import PromptProgress
from comfy_mock.engine.queue import PromptItem

logger = logging.getLogger("comfy_mock.engine")


class Telling:
    """The messages of one run. `outputs`, `meta` and `status()` are what its history entry has."""

    def __init__(self, host: Host, item: PromptItem, graph: PromptGraph) -> None:
        self._host = host
        self.item, self.graph, self.prompt_id = item, graph, item.prompt_id
        self.progress = PromptProgress(item.prompt_id, graph)
        self.executed: dict[str, None] = {}
        self.outputs: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.told: list[list[Any]] = []

    def status(self) -> dict[str, Any]:
        """The `status` of the history entry."""
        success = self._host.success
        return {"status_str": "success" if success else "error", "completed": success, "messages": self.told}

    def send_progress(self, state: messages.ProgressState) -> None:
        """Send the progress of the prompt to its client, to everybody if it has none."""
        if self._host.profile.has("progress_state"):
            self._host.to_client_or_all(state)

    def report_start(self) -> None:
        """The run begins (protocol 5.2)."""
        self._tell(messages.ExecutionStart(prompt_id=self.prompt_id, timestamp=self._ms()))

    def report_cached(self, nodes: list[str]) -> None:
        """The results of these nodes are in the cache (protocol 5.2)."""
        self._tell(messages.ExecutionCached(nodes=nodes, prompt_id=self.prompt_id, timestamp=self._ms()))

    def report_success(self) -> None:
        """The run is over, and well (protocol 5.16)."""
        self._tell(messages.ExecutionSuccess(prompt_id=self.prompt_id, timestamp=self._ms()))

    def _ms(self) -> int:
        return int(self._host.now * 1000)

    def _note(self, message: messages.Message) -> None:
        self.told.append([message.type, messages.message_data(message)])

    def _tell(self, message: messages.Message) -> None:
        self._note(message)
        self._host.to_client(message)

    def send_executing(self, node_id: str) -> None:
        """The node has its turn; a socket that comes later is told so too (protocol 6.1)."""
        display = self.graph.display(node_id)
        if self._host.client_id is not None:
            self._host.last_node_id = display
        self._host.to_client(messages.Executing(node=node_id, display_node=display, prompt_id=self.prompt_id))

    def send_executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        """What the node shows, null for a cached one that shows nothing (protocol 5.5)."""
        display = self.graph.display(node_id)
        self._host.to_client(messages.Executed(node=node_id, display_node=display, output=ui, prompt_id=self.prompt_id))

    def record(self, node_id: str, ui: dict[str, Any], meta: Mapping[str, Any]) -> None:
        """Note ui for the history."""
        self.outputs[node_id] = ui
        self.meta[node_id] = dict(meta)

    def meta_of(self, node_id: str) -> dict[str, Any]:
        """What the history notes of a node beside its ui."""
        return {
            "node_id": node_id,
            "display_node": self.graph.display(node_id),
            "parent_node": self.graph.parent(node_id),
            "real_node_id": self.graph.real(node_id),
        }

    def report_cycle(self, pending: list[str]) -> None:
        """No pending node can ever run (protocol 5.11)."""
        # posted nodes were looked at by validation, so a cycle is rather the fault of an expansion
        expanded = next((node_id for node_id in pending if self.graph.parent(node_id) is not None), pending[0])
        blamed = self.graph.display(expanded)
        self._tell_error(
            blamed, "Dependency cycle detected", "graph.DependencyCycleError", traceback=[], current_inputs=[]
        )

    def report_interruption(self, node_id: str) -> None:
        """The run was interrupted in a node (protocol 5.12)."""
        self._host.log("Processing interrupted")
        real = self.graph.real(node_id)
        message = messages.ExecutionInterrupted(
            prompt_id=self.prompt_id,
            node_id=real,
            node_type=self.graph.node(real).get("class_type", ""),
            executed=list(self.executed),
            timestamp=self._ms(),
        )
        self._note(message)
        self._host.to_client_or_all(message)

    def report_error(self, error: Exception, node_id: str) -> None:
        """The run failed; `node_id` is the node whose turn it was (protocol 5.11)."""
        failure = describe(error, node_id, shapes_tip=self._host.profile.has("mat_shapes_tip"))
        self._host.log(f"!!! Exception during processing !!! {failure.message}", level="ERROR")
        self._host.log("Traceback (most recent call last):\n" + "".join(failure.traceback), level="ERROR")
        logger.debug("prompt %s failed in node %s", self.prompt_id, failure.node_id, exc_info=error)
        self._tell_error(
            failure.node_id,
            failure.message,
            failure.type_name,
            traceback=failure.traceback,
            current_inputs=failure.current_inputs,
        )

    def _tell_error(self, node_id: str, message: str, kind: str, *, traceback: list[str], current_inputs: Any) -> None:
        real = self.graph.real(node_id)
        outputs = [] if self._host.cache.mode == "none" else [*self.graph.posted, *self.graph.ephemeral]
        self._tell(
            messages.ExecutionError(
                prompt_id=self.prompt_id,
                node_id=real,
                node_type=self.graph.node(real).get("class_type", "") if real in self.graph else "",
                executed=list(self.executed),
                exception_message=message,
                exception_type=kind,
                traceback=traceback,
                current_inputs=current_inputs,
                current_outputs=outputs,
                timestamp=self._ms(),
            ),
        )
