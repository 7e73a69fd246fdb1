"""The prompt that a workflow builds, and the one place where it changes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from comfy_client._declared_inputs import declared_inputs
from comfy_client._errors import InvalidWorkflow, WorkflowError
from comfy_client._workflow_checks import Checks, Problem, did_you_mean, nearest
from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.prompts import Link


class Graph:
    """A prompt in API format, with the checks it is held to. Every change is checked before it is made."""

    def __init__(self, checks: Checks, *, defaults: bool) -> None:
        self.checks = checks
        self.defaults = defaults
        self.prompt: dict[str, dict[str, Any]] = {}

    def add(
        self, class_type: str, inputs: Mapping[str, Any], *, title: str | None, node_id: str | None, check: bool
    ) -> str:
        """Add a node and return its id. `inputs` are wire values.

        Raises `WorkflowError` for an unknown class, an id that is taken, and, as all checks unless `check` is false,
        for whatever a server would refuse in its inputs.
        """
        new_id = self._free_id() if node_id is None else node_id
        if new_id in self.prompt:
            raise WorkflowError(f"node id {new_id!r} is taken by a {self.prompt[new_id]['class_type']}: choose another")
        definition = self.checks.definition(class_type)
        if definition is None and check:
            raise WorkflowError(
                f"{self.checks.unknown_class(class_type)}. Or add it unchecked: add({class_type!r}, ..., check=False)"
            )
        node: dict[str, Any] = {"class_type": class_type, "inputs": dict(inputs)}
        if definition is not None and self.defaults:
            node["inputs"] = with_defaults(definition, inputs)
        if title is not None:
            node["_meta"] = {"title": title}
        if check:
            candidate = {**self.prompt, new_id: node}
            raise_for(self.checks.node(candidate, new_id), unknown_inputs=True)
        self.prompt[new_id] = node
        return new_id

    def set_inputs(self, node_id: str, changes: Mapping[str, Any]) -> None:
        """Give inputs of a node new wire values. Raises `InvalidWorkflow`, and changes nothing, if one is wrong."""
        node = self.prompt[node_id]
        changed = {**node, "inputs": {**node["inputs"], **changes}}
        raise_for(self.checks.node({**self.prompt, node_id: changed}, node_id, changes), unknown_inputs=True)
        node["inputs"] = changed["inputs"]

    def consumers(self, node_id: str) -> list[tuple[str, str]]:
        """The inputs that are linked to a node: pairs of node id and input name."""
        return [
            (consumer_id, name)
            for consumer_id, node in self.prompt.items()
            for name, value in node["inputs"].items()
            if (link := Link.of(value)) is not None and link.node_id == node_id
        ]

    def require(self, node_id: str) -> None:
        """Raise `WorkflowError` where there is no such node."""
        if node_id not in self.prompt:
            hint = did_you_mean(nearest(node_id, self.prompt)) or f"; there are {', '.join(self.prompt) or 'none'}"
            raise WorkflowError(f"there is no node {node_id!r} in the workflow{hint}")

    def _free_id(self) -> str:
        return str(1 + max((int(node_id) for node_id in self.prompt if node_id.isdecimal()), default=0))


def raise_for(problems: Iterable[Problem], *, unknown_inputs: bool = False) -> None:
    """Raise `InvalidWorkflow` with all problems that keep a run from succeeding.

    With `unknown_inputs` also for inputs that the class does not have, which a server would silently drop.
    """
    told = [
        problem
        for problem in problems
        if problem.consequence in ("refused", "fails") or (unknown_inputs and problem.kind == "unknown_input")
    ]
    if told:
        raise InvalidWorkflow(told)


def with_defaults(definition: NodeDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given inputs, and those required ones that are missing and for which the class has a default.

    As in the editor, a choice without a default stands at its first.
    """
    inputs = dict(given)
    while True:
        found = {
            name: copy.deepcopy(declared.default)
            for name, declared in declared_inputs(definition, inputs).items()
            if declared.required and name not in inputs and declared.has_default
        }
        if not found:
            return inputs
        inputs.update(found)
