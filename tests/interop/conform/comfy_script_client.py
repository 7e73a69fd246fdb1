"""comfy-script: the workflow is built of its runtime's nodes, and waited for."""

from __future__ import annotations

import os
from typing import Any

from comfy_script.runtime import Workflow, load
from job import PICTURES, URL, WORKFLOW, tell

load(f"{URL}/")
from comfy_script.runtime import nodes  # noqa: E402  the names exist once a server's catalogue was loaded

made: dict[str, Any] = {}


def outputs_of(node_id: str) -> Any:
    """The outputs of a node, which is made where it is not there yet."""
    if node_id not in made:
        node = WORKFLOW[node_id]
        inputs = {name: linked(value) for name, value in node["inputs"].items()}
        made[node_id] = getattr(nodes, node["class_type"])(**inputs)
    return made[node_id]


def linked(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    outputs = outputs_of(value[0])
    return outputs[value[1]] if isinstance(outputs, (list, tuple)) else outputs


def own_id(node_id: str, graph: dict[str, Any]) -> str:
    """The id that it has given a node."""
    wanted = WORKFLOW[node_id]
    for own, node in graph.items():
        prefix = node["inputs"].get("filename_prefix")
        if node["class_type"] == wanted["class_type"] and prefix == wanted["inputs"].get("filename_prefix"):
            return own
    raise LookupError(node_id)


with Workflow(wait=True) as workflow:
    for node_id in WORKFLOW:
        outputs_of(node_id)
    graph = workflow.api_format()
if workflow.task is None:
    tell({"error": "the workflow was not queued"})
else:
    results = {node_id: made[node_id].wait() for node_id in PICTURES}
    if any(pictures is None for pictures in results.values()):
        tell({"error": "an output has no result"})
    else:
        sizes = {
            own_id(node_id, graph): [picture.size for picture in pictures] for node_id, pictures in results.items()
        }
        tell({own: [{"width": width, "height": height} for width, height in each] for own, each in sizes.items()})
os._exit(0)  # its watching thread would go on
