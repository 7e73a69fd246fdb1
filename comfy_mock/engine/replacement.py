"""Nodes of classes that a server no longer has, rewritten for their successors before validation (protocol 3.12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from comfy_contracts.catalogue import DEFAULT_VERSION, NodeDefinition
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.graph import is_link

Definitions = Callable[[str], "NodeDefinition | None"]
"""The definition of a class as the server has it now, or None for an unknown class."""


@lru_cache(maxsize=8)
def node_replacements(version: str = DEFAULT_VERSION) -> Mapping[str, list[dict[str, Any]]]:
    """What `GET /node_replacements` answers: old class to its replacements, best first. Shared: treat it as frozen."""
    name = f"node_replacements-{version}.json"
    text = resources.files("comfy_contracts").joinpath("data").joinpath(name).read_text("utf-8")
    table: dict[str, list[dict[str, Any]]] = json.loads(text)
    return table


def replace_nodes(
    prompt: Any,
    definitions: Definitions,
    replacements: Mapping[str, list[dict[str, Any]]] | None = None,
) -> None:
    """Replace, in place, each node whose class is unknown but has a registered replacement of a known class.

    `replacements` is the table of `node_replacements`, the packaged one by default. Raises `ServerTrouble` where the
    real server stumbles over the shape of the prompt (protocol 3.3): it looks at every node here, needed or not.
    """
    table = node_replacements() if replacements is None else replacements
    if not isinstance(prompt, dict):
        raise ServerTrouble(f"prompt is not an object but {type(prompt).__name__}")
    consumers: dict[str, list[list[Any]]] = {}
    outdated: list[str] = []
    for node_id, node in prompt.items():
        if not _has_class_and_inputs(node_id, node):
            continue
        class_type, inputs = node["class_type"], node["inputs"]
        if isinstance(class_type, (list, dict)):
            raise ServerTrouble(f"class_type of node {node_id!r} is not hashable")
        if class_type in table and definitions(class_type) is None:
            outdated.append(node_id)
        if not isinstance(inputs, dict):
            raise ServerTrouble(f"inputs of node {node_id!r} is not an object but {type(inputs).__name__}")
        for value in inputs.values():
            if is_link(value):
                consumers.setdefault(value[0], []).append(value)
    for node_id in outdated:
        replacement = table[prompt[node_id]["class_type"]][0]
        if definitions(replacement["new_node_id"]) is not None:
            prompt[node_id] = _rewritten(node_id, prompt[node_id], replacement)
            _renumber(consumers.get(node_id, []), replacement)


def _has_class_and_inputs(node_id: str, node: Any) -> bool:
    """Whether the walk looks into this node. Strings and lists stand its tests of membership, and fail later."""
    if isinstance(node, dict):
        return "class_type" in node and "inputs" in node
    if not isinstance(node, (str, list)) or ("class_type" in node and "inputs" in node):
        raise ServerTrouble(f"node {node_id!r} is not an object but {type(node).__name__}")
    return False


def _rewritten(node_id: str, node: dict[str, Any], replacement: Mapping[str, Any]) -> dict[str, Any]:
    if "_meta" not in node:
        raise ServerTrouble(f"node {node_id!r} is to be replaced but has no _meta")
    inputs: dict[str, Any] = {}
    for step in replacement["input_mapping"] or []:
        if "set_value" in step:
            inputs[step["new_id"]] = step["set_value"]
        elif step["old_id"] in node["inputs"]:
            inputs[step["new_id"]] = node["inputs"][step["old_id"]]
        else:
            raise ServerTrouble(f"node {node_id!r} is to be replaced but lacks the input {step['old_id']!r}")
    return {"class_type": replacement["new_node_id"], "inputs": inputs, "_meta": node["_meta"]}


def _renumber(links: list[list[Any]], replacement: Mapping[str, Any]) -> None:
    slots = {step["old_idx"]: step["new_idx"] for step in replacement["output_mapping"] or []}
    for link in links:
        link[1] = slots.get(link[1], link[1])
