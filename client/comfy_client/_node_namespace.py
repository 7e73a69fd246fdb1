"""Node classes as functions: `nodes.KSampler(model=..., steps=20)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfy_client._core_nodes import CoreNodes
from comfy_client._graph import Graph
from comfy_client._nodes import InputValue, Node, wire_inputs
from comfy_contracts.catalogue import NodeDefinition


class NodeClass:
    """A class of nodes. Calling it adds a node to the workflow it comes from."""

    def __init__(self, graph: Graph, class_type: str) -> None:
        self._graph = graph
        self.class_type = class_type

    @property
    def definition(self) -> NodeDefinition | None:
        """The class in the catalogue, or None where that does not know it."""
        return self._graph.checks.definition(self.class_type)

    def __call__(self, inputs: Mapping[str, InputValue] | None = None, /, **named: InputValue) -> Node:
        """Add a node of this class with these inputs, by name or in a mapping (for names such as `format.codec`).

        Raises `WorkflowError` for an unknown class, and for all that is missing, unknown or wrong among the inputs.
        """
        values = wire_inputs(self._graph, self.class_type, {**(inputs or {}), **named})
        return Node(self._graph, self._graph.add(self.class_type, values, title=None, node_id=None, check=True))

    def __repr__(self) -> str:
        definition = self.definition
        if definition is None:
            return f"<NodeClass {self.class_type}, which is not in the catalogue>"
        optional = [f"{name}=..." for name in definition.optional]
        return f"<NodeClass {self.class_type}({', '.join([*definition.required, *optional])})>"


class NodeNamespace(CoreNodes):
    """The classes of the catalogue, as attributes or, for names that are no Python names, by `nodes["Video Slice"]`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __getattr__(self, class_type: str) -> NodeClass:
        # Python asks for __wrapped__ and the like here: those are no classes.
        if class_type.startswith("__"):
            raise AttributeError(class_type)
        return self[class_type]

    def __getitem__(self, class_type: str) -> NodeClass:
        return NodeClass(self._graph, class_type)

    def __contains__(self, class_type: object) -> bool:
        return class_type in self._graph.checks.catalogue

    def __iter__(self) -> Iterator[str]:
        return iter(self._graph.checks.catalogue)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *filter(str.isidentifier, self)]
