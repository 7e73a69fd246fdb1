"""Definitions for classes that nobody knows, made up from how a prompt uses them (`accept_any_node`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from comfy_contracts.catalogue import NodeDefinition, complete_entry
from comfy_mock.engine.graph import is_link

_OUTPUT_WORDS = ("save", "preview", "show", "display", "output")
_SLOTS_MAX = 256
_ANY = ("*", "COMFY_MATCHTYPE_V3", "COMBO")


class UnknownNodes:
    """What was learned of unknown classes: every input that was seen is optional, and an output has the type that its
    consumers want, any type where none of them is known or two of them disagree.

    A class is an output node if its name sounds like it, or if a node of it was seen that nothing consumes.
    """

    def __init__(self) -> None:
        self._inputs: dict[str, dict[str, list[Any]]] = {}
        self._outputs: dict[str, dict[int, str | None]] = {}
        self._sinks: set[str] = set()
        self._definitions: dict[str, NodeDefinition] = {}

    def definition(self, class_type: str) -> NodeDefinition | None:
        """The made-up definition of a class; None if no prompt has used it."""
        return self._definitions.get(class_type)

    def learn(self, prompt: Any, *, known: Callable[[str], NodeDefinition | None]) -> None:
        """Look at how `prompt` uses classes that are not `known`. What is no prompt teaches nothing."""
        nodes = dict(_nodes(prompt))
        unknown = {node_id: node["class_type"] for node_id, node in nodes.items() if known(node["class_type"]) is None}
        if not unknown:
            return
        consumed = set()
        for node in nodes.values():
            for name, value in node["inputs"].items():
                if is_link(value):
                    consumed.add(value[0])
                    if value[0] in unknown and isinstance(value[1], int) and 0 <= value[1] < _SLOTS_MAX:
                        self._learn_output(unknown[value[0]], value[1], _wanted(known(node["class_type"]), name))
        for node_id, class_type in unknown.items():
            self._inputs.setdefault(class_type, {}).update({name: ["*", {}] for name in nodes[node_id]["inputs"]})
            if node_id not in consumed or any(word in class_type.lower() for word in _OUTPUT_WORDS):
                self._sinks.add(class_type)
            self._definitions[class_type] = NodeDefinition(class_type, self._entry(class_type))

    def _learn_output(self, class_type: str, slot: int, wanted: str | None) -> None:
        slots = self._outputs.setdefault(class_type, {})
        if slots.get(slot) is None:
            slots[slot] = wanted
        elif wanted not in (None, slots[slot]):
            slots[slot] = "*"

    def _entry(self, class_type: str) -> dict[str, Any]:
        slots = self._outputs.get(class_type, {})
        entry = {
            "input": {"required": {}, "optional": dict(self._inputs[class_type])},
            "output": [slots.get(slot) or "*" for slot in range(max(slots, default=0) + 1)],
            "output_node": class_type in self._sinks,
            "python_module": "custom_nodes",
        }
        return complete_entry(entry, class_type)


def _wanted(consumer: NodeDefinition | None, name: str) -> str | None:
    """The one type that an input of a known class takes, None if it takes several."""
    declared = None if consumer is None else {**consumer.required, **consumer.optional}.get(name)
    wanted = declared[0] if isinstance(declared, list) and declared else None
    several = not isinstance(wanted, str) or wanted in _ANY or "," in wanted
    return None if several else wanted


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
