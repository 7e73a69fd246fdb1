"""Subgraph expansion: nodes that a node puts in its own place (protocol 5.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from comfy_mock.engine.calls import CallResult
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.order import PromptGraph


@dataclass(slots=True)
class Expansion:
    """A node that waits for its children. `sources` are the children that its values refer to."""

    ui: dict[str, Any]
    results: list[CallResult]
    children: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def resolve(self, outputs_of: Callable[[str], list[list[Any]]]) -> list[CallResult]:
        """The results with the children's values in place of the links to them."""
        return [
            result if result.expand is None else CallResult(self._values(result, outputs_of)) for result in self.results
        ]

    @staticmethod
    def _values(result: CallResult, outputs_of: Callable[[str], list[list[Any]]]) -> tuple[Any, ...]:
        values: list[Any] = []
        for value in result.values:
            if is_link(value):
                values.extend(outputs_of(value[0])[value[1]])
            else:
                values.append(value)
        return tuple(values)


def expand(graph: PromptGraph, node_id: str, results: list[CallResult], ui: dict[str, Any]) -> Expansion:
    """Add the nodes of every call's subgraph to the graph, under the usual ids `<parent>.<call>.<graph>.<n>`."""
    expansion = Expansion(ui, [])
    for index, result in enumerate(results):
        if result.expand is None:
            expansion.results.append(result)
            continue
        names = {child: f"{node_id}.{index}.0.{child}" for child in result.expand}
        for child, node in result.expand.items():
            inputs = {name: _renamed(value, names) for name, value in node.get("inputs", {}).items()}
            graph.add_child(names[child], {**node, "inputs": inputs}, node_id, graph.display(node_id))
            expansion.children.append(names[child])
        values = tuple(_renamed(value, names) for value in result.values)
        expansion.sources.extend(value[0] for value in values if is_link(value))
        expansion.results.append(CallResult(values, None, None, result.expand))
    return expansion


def _renamed(value: Any, names: dict[str, str]) -> Any:
    return [names.get(value[0], value[0]), value[1]] if is_link(value) else value
