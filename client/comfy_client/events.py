"""What happens to a prompt, as `Job.events()` tells it.

The events of one prompt come in the order in which they happened and none comes twice, whatever the network did. By
polling there are fewer: `Queued`, `Started`, then `NodeOutput` for each output and `Ended`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Union

from comfy_contracts.messages import Unknown

Outcome = Literal["success", "error", "interrupted", "lost"]
"""How a prompt ended. `interrupted` is also a prompt that was cancelled while pending."""


@dataclass(frozen=True)
class Queued:
    """It waits. `position` counts the prompts that run before it, the running one included; None while unknown."""

    prompt_id: str
    position: int | None


@dataclass(frozen=True)
class Started:
    """It began to run."""

    prompt_id: str


@dataclass(frozen=True)
class Cached:
    """The nodes whose results were in the server's cache when it began."""

    prompt_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class NodeStarted:
    """A node began its turn. `display_node_id` is the one that the user sees, another one inside of an expansion."""

    prompt_id: str
    node_id: str
    display_node_id: str


@dataclass(frozen=True)
class NodeProgress:
    """A node got further: `value` of `max` steps, `fraction` between 0 and 1. It never gets less."""

    prompt_id: str
    node_id: str
    display_node_id: str
    value: float
    max: float
    fraction: float


@dataclass(frozen=True)
class NodeFinished:
    """A node is done, also one that was answered from the cache."""

    prompt_id: str
    node_id: str
    display_node_id: str


@dataclass(frozen=True)
class Preview:
    """A picture of a node at work. `image` is a whole JPEG or PNG file, `image_type` its MIME type.

    `node_id` is None where an older server did not say which node it is of.
    """

    prompt_id: str
    node_id: str | None
    image_type: str
    image: bytes = field(repr=False)


@dataclass(frozen=True)
class NodeText:
    """A line of text of a node at work. Servers do not say of which prompt; it is told only where that is certain."""

    prompt_id: str
    node_id: str
    text: str


@dataclass(frozen=True)
class NodeOutput:
    """What a node shows: `output` maps kinds (`images`, `text` …) to lists."""

    prompt_id: str
    node_id: str
    display_node_id: str
    output: dict[str, Any]


@dataclass(frozen=True)
class Blocked:
    """A node was not called, for a node before it blocked it with a message. The prompt goes on (protocol 5.10)."""

    prompt_id: str
    node_id: str
    message: str


@dataclass(frozen=True)
class CustomMessage:
    """A message of a type that only a custom node knows, with this prompt's id in its data."""

    prompt_id: str
    message: Unknown


@dataclass(frozen=True)
class Ended:
    """It is over; always the last event."""

    prompt_id: str
    outcome: Outcome


Event = Union[
    Queued,
    Started,
    Cached,
    NodeStarted,
    NodeProgress,
    NodeFinished,
    Preview,
    NodeText,
    NodeOutput,
    Blocked,
    CustomMessage,
    Ended,
]
