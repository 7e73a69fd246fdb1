"""What `POST /prompt` takes and answers (protocol 3.1, 3.6), and the graph that a prompt is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType, field

from comfy_contracts.structs import Lossless, ShapeError, read_map


class Link(NamedTuple):
    """The value of an input that comes from another node: the JSON list `[node_id, slot]`."""

    node_id: str
    slot: int

    @classmethod
    def of(cls, value: Any) -> Link | None:
        """The link that an input's value is, or None where it is a constant (or a list that is no sound link)."""
        if not isinstance(value, list) or len(value) != 2:
            return None
        node_id, slot = value
        if not isinstance(node_id, str) or not isinstance(slot, int) or isinstance(slot, bool):
            return None
        return cls(node_id, slot)


class Node(Lossless, frozen=True):
    """A node of a prompt. `meta` is the key `_meta`, where editors put the `title` that users see."""

    class_type: str
    inputs: dict[str, Any]
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")

    @property
    def title(self) -> str | None:
        """The title that an editor gave, or None."""
        title = None if self.meta is UNSET else self.meta.get("title")
        return title if isinstance(title, str) else None

    def links(self) -> Iterator[tuple[str, Link]]:
        """The inputs that come from other nodes, by name."""
        for name, value in self.inputs.items():
            link = Link.of(value)
            if link is not None:
                yield name, link


class PromptRequest(Lossless, frozen=True, kw_only=True):
    """The body of `POST /prompt`, as a sound client writes it; what is `UNSET` is not sent.

    `number` is the place in the queue, lowest first; without it the server counts, and `front` goes before all others.
    `partial_execution_targets` names the output nodes to run; None or `UNSET` runs all.
    """

    prompt: dict[str, Node]
    client_id: str | UnsetType = UNSET
    prompt_id: str | UnsetType | None = UNSET
    number: int | float | UnsetType = UNSET
    front: bool | UnsetType = UNSET
    extra_data: dict[str, Any] | UnsetType = UNSET
    partial_execution_targets: list[str] | UnsetType | None = UNSET


class ValidationReason(Lossless, frozen=True):
    """Why a prompt or an input was refused; the types are those of protocol 3.6."""

    type: str
    message: str
    details: str
    extra_info: dict[str, Any]


class NodeErrors(Lossless, frozen=True):
    """What is wrong with one node. `dependent_outputs` may name outputs that do not depend on it (protocol 3.4)."""

    errors: list[ValidationReason]
    dependent_outputs: list[str]
    class_type: str


class PromptAccepted(Lossless, frozen=True):
    """The answer with status 200. `node_errors` tells of outputs that will not run, by node id."""

    prompt_id: str
    number: int | float
    node_errors: dict[str, NodeErrors]


class PromptRefused(Lossless, frozen=True):
    """The answer with status 400: nothing was queued."""

    error: ValidationReason
    node_errors: dict[str, NodeErrors]


def parse_prompt(value: Any) -> dict[str, Node]:
    """The nodes of a prompt in API format, by id.

    Raises `ShapeError` where `value` is something else; a workflow as the editor saves it is told apart by name.
    """
    if isinstance(value, dict) and isinstance(value.get("nodes"), list) and "links" in value:
        raise ShapeError(
            "this is a workflow as the editor saves it, not a prompt; in ComfyUI choose Workflow > Export (API)"
        )
    return read_map(Node, value, "a prompt")
