"""Definitions for classes that nobody knows, made up from how a prompt uses them (`accept_any_node`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from comfy_contracts.catalogue import NodeDefinition, complete_entry
from comfy_mock.engine.graph import is_link

_OUTPUT_WORDS = ("save", "preview", "show", "display", "output")
_SLOTS_MAX = 256


class UnknownNodes:
    """What was learned of unknown classes: every input that was seen is optional, every output is of any type.

    A class is an output node if its name sounds like it, or if a node of it was seen that nothing consumes.
    """

    def __init__(self) -> None:
        self._inputs: dict[str, dict[str, list[Any]]] = {}
        self._slots: dict[str, int] = {}
        self._sinks: set[str] = set()
        self._definitions: dict[str, NodeDefinition] = {}

    def definition(self, class_type: str) -> NodeDefinition | None:
        """The made-up definition of a class; None if no prompt has used it."""
        return self._definitions.get(class_type)

    def learn(self, prompt: Any, *, known: Callable[[str], bool]) -> None:
        """Look at how `prompt` uses classes that are not `known`. What is no prompt teaches nothing."""
        nodes = {node_id: node for node_id, node in _nodes(prompt) if not known(node["class_type"])}
        if not nodes:
            return
        consumed: dict[str, int] = {}
        for _, node in _nodes(prompt):
            for value in node["inputs"].values():
                if is_link(value):
                    slots = value[1] + 1 if isinstance(value[1], int) and value[1] < _SLOTS_MAX else 1
                    consumed[value[0]] = max(consumed.get(value[0], 1), slots)
        for node_id, node in nodes.items():
            class_type = node["class_type"]
            self._inputs.setdefault(class_type, {}).update({name: ["*", {}] for name in node["inputs"]})
            self._slots[class_type] = max(self._slots.get(class_type, 1), consumed.get(node_id, 0))
            if node_id not in consumed or any(word in class_type.lower() for word in _OUTPUT_WORDS):
                self._sinks.add(class_type)
            self._definitions[class_type] = NodeDefinition(class_type, self._entry(class_type))

    def _entry(self, class_type: str) -> dict[str, Any]:
        entry = {
            "input": {"required": {}, "optional": dict(self._inputs[class_type])},
            "output": ["*"] * self._slots[class_type],
            "output_node": class_type in self._sinks,
            "python_module": "custom_nodes",
        }
        return complete_entry(entry, class_type)


def _nodes(prompt: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The nodes of a prompt that have a class and inputs."""
    if isinstance(prompt, dict):
        for node_id, node in prompt.items():
            if (
                isinstance(node, dict)
                and isinstance(node.get("class_type"), str)
                and isinstance(node.get("inputs"), dict)
            ):
                yield node_id, node
