"""What is known of the nodes of a running prompt: definitions, change values, and what seeds their random numbers."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.host import Host
from comfy_mock.engine.nodes.api import ChangeCall
from comfy_mock.engine.order import PromptGraph


class NodeFacts:
    """The facts of one run's nodes, each found once."""

    def __init__(self, host: Host, graph: PromptGraph) -> None:
        self._host, self._graph = host, graph
        self._definitions: dict[str, NodeDefinition] = {}
        self._changes: dict[str, Any] = {}
        self._digests: dict[str, bytes] = {}

    def definition(self, node_id: str) -> NodeDefinition:
        """The definition of a node's class."""
        class_type = self._graph.node(node_id).get("class_type", "")
        found = self._definitions.get(class_type)
        if found is None:
            found = self._host.definition(class_type) or NodeDefinition(str(class_type), {})
            self._definitions[class_type] = found
        return found

    def is_lazy(self, node_id: str, name: str) -> bool:
        """Whether an input of a node is followed only when the node asks for it (protocol 5.7)."""
        definition = self.definition(node_id)
        spec = definition.required.get(name) or definition.optional.get(name)
        return bool(spec and len(spec) > 1 and isinstance(spec[1], dict) and spec[1].get("lazy"))

    def wants_id(self, node_id: str) -> bool:
        """Whether the node's id is part of its cache key (protocol 5.13)."""
        definition = self.definition(node_id)
        return not definition.is_v3 and "UNIQUE_ID" in definition.hidden.values()

    def change_value(self, node_id: str) -> Any:
        """The change value of a node, found once per prompt and written into the node (protocol 5.13)."""
        if node_id in self._changes:
            return self._changes[node_id]
        node = self._graph.node(node_id)
        definition = self.definition(node_id)
        changed = self._host.behaviour(definition).changed
        value: Any = False
        if changed is not None:
            if "is_changed" not in node:
                inputs = node.get("inputs")
                constants = (
                    {k: None if is_link(v) else v for k, v in inputs.items()} if isinstance(inputs, dict) else {}
                )
                call = ChangeCall(constants, self._host.files, self._host.folders, self._host.now)
                try:
                    node["is_changed"] = [changed(call)]
                except Exception:
                    # the real server counts any failure of a change function as a value that equals nothing
                    node["is_changed"] = float("nan")
            value = node["is_changed"]
        self._changes[node_id] = value
        return value

    def random(self, node_id: str) -> random.Random:
        """Fresh numbers for each execution, the same in every run of the same program."""
        self._host.executions += 1
        return random.Random(f"{self._host.options.seed}/{self._host.executions}/{self._digest(node_id).hex()}")

    def _digest(self, node_id: str) -> bytes:
        """A number for a node, made of its class, its constants and its ancestors'."""
        stack = [node_id]
        while stack:
            current = stack[-1]
            if current in self._digests:
                stack.pop()
                continue
            inputs = self._graph.node(current).get("inputs") or {}
            sources = [value[0] for value in inputs.values() if is_link(value) and value[0] in self._graph]
            todo = [source for source in sources if source not in self._digests and source not in stack]
            if todo:
                stack.extend(todo)
                continue
            digest = hashlib.blake2b(repr(self._graph.node(current).get("class_type")).encode(), digest_size=16)
            for name, value in sorted(inputs.items()):
                digest.update(repr((name, value[1] if is_link(value) else value)).encode("utf-8", "surrogatepass"))
                if is_link(value):
                    digest.update(self._digests.get(value[0], b""))
            self._digests[current] = digest.digest()
            stack.pop()
        return self._digests[node_id]
