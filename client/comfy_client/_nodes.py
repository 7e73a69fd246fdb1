"""Nodes of a workflow and their outputs, as handles on the prompt that is being built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Union

from comfy_client._declared_inputs import spread
from comfy_client._errors import WorkflowError
from comfy_client._graph import Graph
from comfy_client._workflow_checks import describe_outputs, did_you_mean, nearest, output_names
from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.prompts import Link


class Output:
    """One output of a node, to be given to the inputs of others. `slot` is its number, from 0."""

    __slots__ = ("node", "slot")

    def __init__(self, node: Node, slot: int) -> None:
        self.node = node
        self.slot = slot

    @property
    def name(self) -> str:
        """What the class calls the output; its number where the class is unknown."""
        definition = self.node.definition
        names = [] if definition is None else output_names(definition)
        return names[self.slot] if self.slot < len(names) else str(self.slot)

    @property
    def type(self) -> str:
        """The type of its values, such as `IMAGE`; `*` where the class is unknown."""
        definition = self.node.definition
        if definition is None or self.slot >= len(definition.outputs):
            return "*"
        kind = definition.outputs[self.slot]
        return kind if isinstance(kind, str) else "COMBO"

    @property
    def link(self) -> list[Any]:
        """The link as the wire has it: `[node id, slot]`."""
        return [self.node.id, self.slot]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Output) and (self.node, self.slot) == (other.node, other.slot)

    def __hash__(self) -> int:
        return hash((self.node, self.slot))

    def __repr__(self) -> str:
        return f"<Output {self.slot} {self.name} of node {self.node.id} ({self.node.class_type})>"


class Node:
    """A node of a workflow.

    Its outputs are had by name (`loader.MODEL`), by number or any name (`loader[0]`, `loader["3D Model Path"]`), or all
    at once (`model, clip, vae = loader`). A node with one output may be given to an input itself.
    """

    __slots__ = ("_graph", "_id")

    def __init__(self, graph: Graph, node_id: str) -> None:
        self._graph = graph
        self._id = node_id

    @property
    def id(self) -> str:
        """Its key in the prompt."""
        return self._id

    @property
    def class_type(self) -> str:
        """The name of its class."""
        return str(self._raw["class_type"])

    @property
    def definition(self) -> NodeDefinition | None:
        """Its class in the catalogue, or None where that does not know it."""
        return self._graph.checks.definition(self.class_type)

    @property
    def title(self) -> str:
        """The title that users see; without one of its own, the class's display name."""
        title = (self._raw.get("_meta") or {}).get("title")
        if isinstance(title, str):
            return title
        definition = self.definition
        return str((definition.entry.get("display_name") if definition else None) or self.class_type)

    @title.setter
    def title(self, title: str) -> None:
        self._raw["_meta"] = {**(self._raw.get("_meta") or {}), "title": title}

    @property
    def inputs(self) -> NodeInputs:
        """Its inputs by name. Setting one checks it; a link is read as the `Output` it comes from."""
        return NodeInputs(self._graph, self._id)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All its outputs. Raises `WorkflowError` where the class is unknown."""
        definition = self.definition
        if definition is None:
            raise self._outputs_unknown()
        return tuple(Output(self, slot) for slot in range(len(definition.outputs)))

    def set(self, inputs: Mapping[str, InputValue] | None = None, /, **named: InputValue) -> Node:
        """Give inputs new values, by name or in a mapping (for names such as `format.codec`), and return the node.

        Raises `WorkflowError`, and changes nothing, where a server would refuse one of them.
        """
        changes = {**(inputs or {}), **named}
        self._graph.set_inputs(self._id, wire_inputs(self._graph, self.class_type, changes))
        return self

    def __getitem__(self, which: int | str) -> Output:
        definition = self.definition
        if definition is None:
            if isinstance(which, int):
                return Output(self, which)
            raise self._outputs_unknown()
        names = output_names(definition)
        slot = _slot(which, names)
        if slot is None:
            near = (did_you_mean(nearest(which, names)) if isinstance(which, str) else "") or "."
            raise WorkflowError(f"{self} has no output {which!r}{near} It has {describe_outputs(definition)}")
        return Output(self, slot)

    def __getattr__(self, name: str) -> Output:
        # Python asks for __deepcopy__ and the like here: those are no outputs.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except WorkflowError as error:
            raise AttributeError(str(error)) from error

    def __iter__(self) -> Iterator[Output]:
        return iter(self.outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self._graph is other._graph and self._id == other._id

    def __hash__(self) -> int:
        return hash((id(self._graph), self._id))

    def __str__(self) -> str:
        return f"node {self._id} ({self.class_type})"

    def __repr__(self) -> str:
        return f"<Node {self._id} {self.class_type} {self.title!r}>"

    def _outputs_unknown(self) -> WorkflowError:
        return WorkflowError(
            f"the outputs of {self} are unknown, as its class is not in the catalogue: choose one by number, "
            "such as node[0]"
        )

    @property
    def _raw(self) -> dict[str, Any]:
        self._graph.require(self._id)
        return self._graph.prompt[self._id]


InputValue = Union[Output, Node, str, int, float, bool, None, Sequence[Any], Mapping[str, Any]]
"""What an input may be given: an output (or a node that has only one), or a JSON value.

A list is sent as a value, unless it is a link as the wire has it (`["4", 0]`), or goes to a row of equal inputs, which
it fills (protocol 3.5, 3.9).
"""


class NodeInputs(MutableMapping[str, Any]):
    """The inputs of a node, by full name in their order."""

    def __init__(self, graph: Graph, node_id: str) -> None:
        self._graph = graph
        self._id = node_id

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        link = Link.of(value)
        if link is not None:
            return Output(Node(self._graph, link.node_id), link.slot)
        return value["__value__"] if isinstance(value, dict) and "__value__" in value else value

    def __setitem__(self, name: str, value: InputValue) -> None:
        Node(self._graph, self._id).set({name: value})

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    @property
    def _values(self) -> dict[str, Any]:
        self._graph.require(self._id)
        values: dict[str, Any] = self._graph.prompt[self._id]["inputs"]
        return values


def wire_inputs(graph: Graph, class_type: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of a node of this class as the wire has them. Raises `WorkflowError` for what no input can be given."""
    definition = graph.checks.definition(class_type)
    full = inputs if definition is None else spread(definition, inputs)
    return {name: wire(graph, name, value) for name, value in full.items()}


def wire(graph: Graph, name: str, value: Any) -> Any:
    """The value of input `name` as the wire has it. Raises `WorkflowError` for what no input can be given."""
    if isinstance(value, Node):
        value = _only_output(name, value)
    if isinstance(value, Output):
        if value.node._graph is not graph:
            raise WorkflowError(
                f"`{name}` is given {value!r}, which belongs to another Workflow: add its node to this one"
            )
        return value.link
    if isinstance(value, Mapping):
        return {str(key): wire(graph, name, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return _wire_list(graph, name, value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise WorkflowError(
        f"`{name}` is given an object of type {type(value).__name__}: an input takes an output of a node, text, a "
        "number, true or false, or a list or mapping of these. Files are uploaded first, and then given by their name"
    )


def _wire_list(graph: Graph, name: str, value: Sequence[Any]) -> Any:
    if Link.of(list(value)) is not None:
        return list(value)
    items = [wire(graph, name, item) for item in value]
    if any(isinstance(item, (Node, Output)) for item in value):
        # No input takes several links: the check says so, with the node and input.
        return items
    return {"__value__": items}


def _only_output(name: str, node: Node) -> Output:
    outputs = node.outputs
    if len(outputs) == 1:
        return outputs[0]
    definition = node.definition
    has = "" if definition is None else describe_outputs(definition)
    choose = ", ".join(f"node[{output.slot}]" for output in outputs)
    advice = f": choose one, {choose}" if outputs else ""
    raise WorkflowError(f"`{name}` is given {node}, which has {has}{advice}")


def _slot(which: int | str, names: Sequence[str]) -> int | None:
    if isinstance(which, str):
        return names.index(which) if which in names else None
    return which % len(names) if -len(names) <= which < len(names) else None
