"""How a node's behaviour is written: a rule for its class, called once per list index as the real function is.

A rule is a plain function of a `Call` that returns an `Output`, or a generator that yields `Step`s (time passing,
progress, text, messages) and returns an `Output`. It may raise: a Python exception is reported as the real server
reports it (protocol 5.11); `NodeError` names an exception type that Python does not have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import PIL.Image

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.files import Files, Folders


@dataclass(slots=True)
class Call:
    """One call of a node.

    `inputs` has the values of this call by input name (dynamic inputs under their full dotted names); with
    `is_input_list` each value is a list. `prompt` is the graph as executed, `extra_pnginfo` what the client sent: both
    go into file metadata, unless `disable_metadata` forbids it. `instance` lives as long as the node's object does
    (protocol 5.14). `random` is seeded from the engine's seed, the node's inputs and its ancestors', so equal runs draw
    equal pictures. `now` is simulated time, seconds since the epoch; `utc_offset_s` makes it local.
    """

    class_type: str
    node_id: str
    definition: NodeDefinition
    inputs: dict[str, Any]
    files: Files
    folders: Folders
    random: random.Random
    now: float
    prompt: Mapping[str, Any] | None = None
    extra_pnginfo: Mapping[str, Any] | None = None
    unique_id: str | None = None
    instance: dict[str, Any] = field(default_factory=dict)
    preview_method: str = "none"
    preview_size: int = 512
    utc_offset_s: int = 0
    disable_metadata: bool = False
    call_index: int = 0


@dataclass(slots=True)
class Output:
    """What a call returns: one value per declared output (`output_is_list` ones are lists), ui for `executed`, or a
    subgraph to run in its place (`expand`: nodes by id; `values` may then hold links `[id, slot]` into it)."""

    values: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None
    expand: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Blocker:
    """A value whose consumers are not called; a message is reported by the first of them (protocol 5.10)."""

    message: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Simulated time passes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture shown with an update: scaled to fit `size_max` pixels (None: as it is), sent as JPEG or PNG."""

    draw: Callable[[], PIL.Image.Image]
    format: str = "JPEG"
    size_max: int | None = 512


@dataclass(frozen=True, slots=True)
class PreviewFile:
    """A picture shown with an update: a whole JPEG or PNG file, sent as it is."""

    content: bytes
    format: str = "JPEG"


@dataclass(frozen=True, slots=True)
class Update:
    """One step of a progress bar. `first` starts a new bar (the throttle of protocol 6.7 begins anew), `always` sends
    it past the throttle."""

    value: float
    max: float
    preview: Preview | PreviewFile | None = None
    first: bool = False
    always: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text shown on the node: a binary frame of type 3, to everybody."""

    text: str


@dataclass(frozen=True, slots=True)
class Send:
    """A message of the node's own, `{"type": type, "data": data}`, to everybody.

    With `to_client` it goes to the prompt's client alone; to everybody after all if the prompt has none.
    """

    type: str
    data: Any
    to_client: bool = False


Step = Union[Wait, Update, Text, Send]
Rule = Callable[[Call], Union[Output, Generator[Step, None, Output]]]


class NodeError(Exception):
    """An exception of a type that this process does not have, such as `torch.OutOfMemoryError`.

    `traceback` is what the server tells as the exception's, one string per frame; None for what it finds out itself.
    """

    def __init__(self, type_name: str, message: str, traceback: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.type_name: str = type_name
        self.traceback: list[str] | None = None if traceback is None else list(traceback)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All that is known of a class beyond its definition.

    `seconds` is how long a call takes before its rule is asked (generators add their own waits). `lazy` says, given the
    inputs that are there, which lazy ones are needed; `changed` gives the change value of protocol 5.13 from the
    constants of the node (links are None) and may raise.
    """

    rule: Rule
    seconds: float | Callable[[Call], float] = 0.002
    lazy: Callable[[Mapping[str, Any]], Sequence[str]] | None = None
    changed: Callable[[ChangeCall], Any] | None = None


@dataclass(frozen=True, slots=True)
class ChangeCall:
    """What a change function may look at."""

    inputs: Mapping[str, Any]
    files: Files
    folders: Folders
    now: float


BEHAVIOURS: dict[str, Behaviour] = {}
"""The behaviours of the core classes, filled by the modules of this package."""


def node(
    *class_types: str,
    seconds: float | Callable[[Call], float] = 0.002,
    lazy: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    changed: Callable[[ChangeCall], Any] | None = None,
) -> Callable[[Rule], Rule]:
    """Register a rule for one or more classes."""

    def register(rule: Rule) -> Rule:
        for class_type in class_types:
            if class_type in BEHAVIOURS:
                raise ValueError(f"two rules for {class_type}")
            BEHAVIOURS[class_type] = Behaviour(rule, seconds, lazy, changed)
        return rule

    return register
