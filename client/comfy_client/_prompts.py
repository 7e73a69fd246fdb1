"""What is sent to `POST /prompt`, from what users give."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Union, get_args

from comfy_client._errors import WorkflowError
from comfy_client._seeds import check_seed, seed_inputs
from comfy_client._workflow_checks import did_you_mean, nearest
from comfy_client.workflow import Workflow
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.prompts import Link, parse_prompt
from comfy_contracts.structs import ShapeError

AnyWorkflow = Union[Workflow, Mapping[str, Any]]
"""A workflow of the builder, or a prompt in API format."""

_SENDS_PICTURES = "SaveImageWebsocket"

FollowPath = Literal["auto", "websocket", "polling"]


class SubmitOptions(TypedDict, total=False):
    """How a prompt is submitted; all of it may be left out."""

    path: FollowPath
    """`websocket` hears of it by socket, and fails without one; `polling` asks; `auto` takes a socket if it can."""
    seed: Union[int, Literal["random"], None]
    """Replaces all seeds, by a number from 0 to 2**64 - 1 or at random."""
    front: bool
    """Puts it before all that waits."""
    number: Union[float, None]
    """Its place in the queue, lowest first (protocol 4.1)."""
    prompt_id: Union[str, None]
    """A UUID of your own."""
    extra_data: Union[Mapping[str, Any], None]
    """Goes into queue and history (protocol 3.1)."""
    workflow_metadata: Union[Mapping[str, Any], None]
    """The editor's form of the workflow, to be written into files."""
    targets: Union[Iterable[str], None]
    """The ids of the output nodes to run; all, where it is left out."""
    poll_interval: Union[float, None]
    """The seconds between two looks at it without a socket."""


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `TypeError` for options that are not in `SubmitOptions`, `ValueError` for values that they cannot have."""
    for name in options:
        if name not in SubmitOptions.__annotations__:
            known = list(SubmitOptions.__annotations__)
            raise TypeError(
                f"there is no option {name!r}{did_you_mean(nearest(name, known))}; there are: {', '.join(known)}"
            )
    check_following(options.get("path", "auto"), options.get("poll_interval"))


def check_following(path: str, poll_interval: float | None = None) -> None:
    """Raise `ValueError` where that is no way to follow a prompt."""
    if path not in get_args(FollowPath):
        raise ValueError(f"path is one of {', '.join(map(repr, get_args(FollowPath)))}, not {path!r}")
    if poll_interval is not None and not poll_interval > 0:
        raise ValueError(f"poll_interval is a number of seconds above 0, not {poll_interval!r}")


def graph_of(workflow: AnyWorkflow, seed: int | None, targets: Sequence[str] | None = None) -> dict[str, Any]:
    """The prompt in API format, with other seeds where `seed` is given.

    Of a `Workflow` is checked what runs: all, or what the `targets` need. Raises `WorkflowError` where it is none.
    """
    if isinstance(workflow, Workflow):
        if seed is not None:
            workflow = workflow.copy()
            workflow.set_seeds(seed)
        return workflow.to_prompt(targets=targets)
    if not isinstance(workflow, Mapping):
        raise WorkflowError(_no_workflow(workflow))
    graph = dict(workflow)
    try:
        parse_prompt(graph)
    except ShapeError as error:
        raise WorkflowError(str(error)) from error
    return graph if seed is None else _with_seed(graph, seed)


def _with_seed(graph: Mapping[str, Any], seed: int) -> dict[str, Any]:
    check_seed(seed)
    changed = copy.deepcopy(dict(graph))
    for node_id, name, _ in list(seed_inputs(changed, Catalogue({}))):
        changed[node_id]["inputs"][name] = seed
    return changed


def _no_workflow(value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        return (
            f"a workflow is wanted, not a text: {value!r}; read it first, by Workflow.from_file or Workflow.from_json"
        )
    return f"a workflow is a Workflow, or a dict in API format, not {type(value).__name__}"


def nodes_of(graph: Mapping[str, Any], targets: Sequence[str] | None) -> set[str]:
    """The ids of the nodes that a run is made of: all, or those that the `targets` need."""
    if targets is None:
        return set(graph)
    found: set[str] = set()
    waiting = [target for target in targets if target in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found.add(node_id)
            links = (Link.of(value) for value in graph[node_id]["inputs"].values())
            waiting += [link.node_id for link in links if link is not None and link.node_id in graph]
    return found


def senders_of(graph: Mapping[str, Any]) -> set[str]:
    """The ids of the nodes that send their pictures over the WebSocket, and write no files (protocol 7.2)."""
    return {node_id for node_id, node in graph.items() if node["class_type"] == _SENDS_PICTURES}


def titles_of(graph: Mapping[str, Any]) -> dict[str, str]:
    """The titles that an editor gave to nodes, by id."""
    titles = {node_id: (node.get("_meta") or {}).get("title") for node_id, node in graph.items()}
    return {node_id: title for node_id, title in titles.items() if isinstance(title, str)}


def prompt_body(
    graph: Mapping[str, Any],
    client_id: str,
    prompt_id: str,
    *,
    front: bool,
    number: float | None,
    extra_data: Mapping[str, Any] | None,
    workflow_metadata: Mapping[str, Any] | None,
    targets: Iterable[str] | None,
) -> dict[str, Any]:
    """The body of `POST /prompt` (protocol 3.1)."""
    body: dict[str, Any] = {"prompt": dict(graph), "client_id": client_id, "prompt_id": prompt_id}
    extra = dict(extra_data or {})
    if workflow_metadata is not None:
        extra["extra_pnginfo"] = {**(extra.get("extra_pnginfo") or {}), "workflow": dict(workflow_metadata)}
    if extra:
        body["extra_data"] = extra
    if front:
        body["front"] = True
    if number is not None:
        body["number"] = number
    if targets is not None:
        body["partial_execution_targets"] = list(targets)
    return body
