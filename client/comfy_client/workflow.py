"""Workflows, built or edited in Python and checked before anything is sent.

workflow = Workflow()
nodes = workflow.nodes
model, clip, vae = nodes.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
...
client.run(workflow)
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from comfy_client._errors import InvalidWorkflow, WorkflowError
from comfy_client._graph import Graph, raise_for
from comfy_client._input_checks import Consequence
from comfy_client._node_namespace import NodeClass, NodeNamespace
from comfy_client._nodes import InputValue, Node, NodeInputs, Output, wire, wire_inputs
from comfy_client._seeds import check_seed, seed_inputs
from comfy_client._workflow_checks import Checks, Problem
from comfy_client.images import MetadataError, is_picture, read_metadata
from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.prompts import parse_prompt
from comfy_contracts.structs import ShapeError

__all__ = [
    "Consequence",
    "InputValue",
    "InvalidWorkflow",
    "Node",
    "NodeClass",
    "NodeInputs",
    "NodeNamespace",
    "Output",
    "Problem",
    "Workflow",
]


class Workflow:
    """A graph of nodes: what `POST /prompt` calls a prompt, in API format.

    `catalogue` is what `GET /object_info` of the server answers: with it every class, input, range, choice and link is
    checked as the server would. Without it the catalogue of ComfyUI 0.33.0 that comes with this package is used, and
    models, files and custom nodes, which only the server knows, are left to the server. With `defaults`, required
    inputs that are left out get their class's default, as in the editor.
    """

    def __init__(
        self, catalogue: Catalogue | Mapping[str, Mapping[str, Any]] | None = None, *, defaults: bool = False
    ) -> None:
        if catalogue is not None and not isinstance(catalogue, Catalogue):
            catalogue = Catalogue(catalogue)
        self._graph = Graph(Checks(catalogue), defaults=defaults)
        self.nodes = NodeNamespace(self._graph)
        """The node classes, each a function that adds a node."""

    @classmethod
    def from_dict(
        cls, prompt: Mapping[str, Any], catalogue: Catalogue | Mapping[str, Mapping[str, Any]] | None = None
    ) -> Workflow:
        """The workflow of a prompt in API format. It is copied, and not checked before `check` or `to_prompt`.

        Raises `WorkflowError` where it is something else: a workflow as the editor saves it, or the whole body of
        `POST /prompt`.
        """
        inner = prompt.get("prompt") if isinstance(prompt, Mapping) else None
        if isinstance(inner, Mapping) and "class_type" not in inner:
            raise WorkflowError(
                "this is the body of POST /prompt, not a prompt: give what stands under its key `prompt`"
            )
        try:
            # Lists and dicts are what JSON has; and the copy is the workflow's own.
            own = jsontext.loads(jsontext.dumps(dict(prompt)))
            parse_prompt(own)
        except ShapeError as error:
            raise WorkflowError(f"this is no workflow in API format: {error}") from error
        except (TypeError, ValueError) as error:
            raise WorkflowError(f"this is no workflow in API format, as it is not JSON: {error}") from error
        workflow = cls(catalogue)
        workflow._graph.prompt = own
        return workflow

    @classmethod
    def from_json(
        cls, text: str | bytes, catalogue: Catalogue | Mapping[str, Mapping[str, Any]] | None = None
    ) -> Workflow:
        """The workflow of a JSON text in API format. Raises `WorkflowError` where it is something else."""
        try:
            prompt = jsontext.loads(text)
        except (ValueError, RecursionError) as error:
            raise WorkflowError(f"the workflow is not JSON: {error}") from error
        if not isinstance(prompt, dict):
            raise WorkflowError(f"a workflow is a JSON object of nodes, not {type(prompt).__name__}")
        return cls.from_dict(prompt, catalogue)

    @classmethod
    def from_image(
        cls, content: bytes, catalogue: Catalogue | Mapping[str, Mapping[str, Any]] | None = None
    ) -> Workflow:
        """The workflow that made a picture, from the metadata that ComfyUI wrote into it (protocol 7.3).

        What the server noted in it of its own (`is_changed`) is left out, as it would make a server reuse old results.
        Raises `WorkflowError` where the picture holds none.
        """
        try:
            metadata = read_metadata(content)
        except MetadataError as error:
            raise WorkflowError(str(error)) from error
        if not isinstance(metadata.prompt, dict):
            only_editor = metadata.workflow is not None
            raise WorkflowError(
                "the picture holds the editor's workflow only: open it in ComfyUI and choose Workflow > Export (API)"
                if only_editor
                else "the picture holds no workflow: it was not saved by ComfyUI, or its metadata were removed"
            )
        return cls.from_dict(_without_is_changed(metadata.prompt), catalogue)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], catalogue: Catalogue | Mapping[str, Mapping[str, Any]] | None = None
    ) -> Workflow:
        """The workflow in a file: JSON in API format, or a picture that ComfyUI saved.

        Raises `WorkflowError`, which names the file, where it cannot be read or holds none.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise WorkflowError(f"cannot read the workflow {os.fspath(path)}: {error.strerror or error}") from error
        try:
            return cls.from_image(content, catalogue) if is_picture(content) else cls.from_json(content, catalogue)
        except WorkflowError as error:
            raise WorkflowError(f"{os.fspath(path)}: {error}") from error

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue that it is checked against."""
        return self._graph.checks.catalogue

    def add(
        self,
        class_type: str,
        inputs: Mapping[str, InputValue] | None = None,
        /,
        *,
        title: str | None = None,
        node_id: str | None = None,
        check: bool = True,
    ) -> Node:
        """Add a node, with a title and an id of your own if you like; else the id is the next number.

        Raises `WorkflowError` for an id that is taken and, unless `check` is false, for an unknown class and for all
        that is missing, unknown or wrong among the inputs. Unchecked nodes are checked by `check` and `to_prompt`.
        """
        values = wire_inputs(self._graph, class_type, inputs or {})
        return Node(self._graph, self._graph.add(class_type, values, title=title, node_id=node_id, check=check))

    def __getitem__(self, node_id: str) -> Node:
        """The node with this id. Raises `WorkflowError` where there is none."""
        self._graph.require(node_id)
        return Node(self._graph, node_id)

    def __iter__(self) -> Iterator[Node]:
        return (Node(self._graph, node_id) for node_id in list(self._graph.prompt))

    def __len__(self) -> int:
        return len(self._graph.prompt)

    def __contains__(self, node: object) -> bool:
        return node in self._graph.prompt if isinstance(node, str) else node in list(self)

    def find(self, class_type: str | None = None, *, title: str | None = None) -> list[Node]:
        """The nodes of this class, with this title, or both."""
        return [
            node
            for node in self
            if (class_type is None or node.class_type == class_type) and (title is None or node.title == title)
        ]

    def one(self, class_type: str | None = None, *, title: str | None = None) -> Node:
        """The only node of this class, with this title, or both. Raises `WorkflowError` where there is not just one."""
        found = self.find(class_type, title=title)
        if len(found) == 1:
            return found[0]
        asked = " and ".join(
            [f"class {class_type}"] * (class_type is not None) + [f"title {title!r}"] * (title is not None)
        )
        if found:
            listed = ", ".join(map(repr, found))
            raise WorkflowError(f"{len(found)} nodes have {asked or 'anything'}: {listed}. Choose by id or title")
        listed = ", ".join(map(repr, self)) or "none"
        raise WorkflowError(f"no node has {asked}; the workflow has {listed}")

    def remove(self, node: Node | str) -> None:
        """Remove a node. Raises `WorkflowError` where others are linked to it: give them another source first."""
        node_id = node if isinstance(node, str) else node.id
        self._graph.require(node_id)
        users = [f"`{name}` of node {user}" for user, name in self._graph.consumers(node_id) if user != node_id]
        if users:
            raise WorkflowError(
                f"node {node_id} is still linked to {', '.join(users)}: link those to another node first"
            )
        del self._graph.prompt[node_id]

    def relink(self, old: Output, new: Output | Node) -> None:
        """Link all inputs that come from `old` to `new` instead, except those of `new`'s own node.

        So a node is put between two others. Raises `WorkflowError`, with the inputs before it relinked, where the types
        do not fit.
        """
        source = wire(self._graph, "new", new)
        for user, name in self._graph.consumers(old.node.id):
            if user != source[0] and self._graph.prompt[user]["inputs"][name] == old.link:
                self._graph.set_inputs(user, {name: source})

    def seeds(self) -> dict[tuple[str, str], int]:
        """The seeds by node id and input name: what the editor may change after each run."""
        found = seed_inputs(self._graph.prompt, self.catalogue)
        return {(node_id, name): value for node_id, name, value in found}

    def set_seeds(self, seed: int) -> None:
        """Set all seeds to `seed`, 0 to 2**64 - 1. Raises `WorkflowError` where it is out of range."""
        check_seed(seed)
        for node_id, name in self.seeds():
            self._graph.set_inputs(node_id, {name: seed})

    def problems(self, targets: Iterable[str | Node] | Node | None = None) -> list[Problem]:
        """All that is wrong, harmless things too: each has its `consequence`. `targets` are the outputs to run."""
        if isinstance(targets, (str, Node)):
            targets = [targets]
        ids = None if targets is None else [target if isinstance(target, str) else target.id for target in targets]
        return self._graph.checks.prompt(self._graph.prompt, ids)

    def check(self, targets: Iterable[str | Node] | Node | None = None) -> None:
        """Raise `WorkflowError`, with all reasons, where the server would refuse the workflow or the run would fail."""
        raise_for(self.problems(targets))

    def to_prompt(self, *, targets: Iterable[str | Node] | Node | None = None, check: bool = True) -> dict[str, Any]:
        """The prompt in API format, as a copy. Raises `WorkflowError` as `check` does, unless that is false."""
        if check:
            self.check(targets)
        return copy.deepcopy(self._graph.prompt)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The prompt in API format as JSON text, unchecked."""
        return jsontext.dumps(self._graph.prompt, indent=indent)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the prompt in API format to a file, unchecked. A file that is there is replaced."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    def copy(self) -> Workflow:
        """An independent copy. Nodes of the one cannot be linked to nodes of the other."""
        twin = Workflow(defaults=self._graph.defaults)
        twin._graph.checks = self._graph.checks
        twin._graph.prompt = copy.deepcopy(self._graph.prompt)
        return twin

    def __repr__(self) -> str:
        return f"<Workflow of {len(self)} nodes>"


def _without_is_changed(prompt: Mapping[str, Any]) -> dict[str, Any]:
    return {
        node_id: {key: value for key, value in node.items() if key != "is_changed"} if isinstance(node, dict) else node
        for node_id, node in prompt.items()
    }
