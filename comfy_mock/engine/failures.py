"""What ends a run before its time, and how the real server words it (protocol 5.11, 5.12)."""

from __future__ import annotations

import traceback as tracebacks
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_mock.engine.nodes.api import NodeError

_MEMORY_TIP = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)
_SHAPES_TIP = (
    '\n\nTIPS: If you have any "Load CLIP" or "*CLIP Loader" nodes in your workflow connected to this sampler node '
    "make sure the correct file(s) and type is selected."
)
_OWN_CODE = str(Path(__file__).parent)

SERVER_FRAMES = (
    '  File "/comfyui/execution.py", line 545, in execute\n',
    '  File "/comfyui/execution.py", line 344, in get_output_data\n',
    '  File "/comfyui/execution.py", line 318, in _async_map_node_over_list\n',
    '  File "/comfyui/execution.py", line 306, in process_inputs\n',
)
"""The frames of the server, which every traceback begins with."""


class Interrupted(Exception):
    """The interrupt flag was seen in a node."""

    def __init__(self, node_id: str) -> None:
        super().__init__(f"interrupted in node {node_id}")
        self.node_id = node_id


class NodeFailed(Exception):
    """A node raised. `current_inputs` is what `execution_error` shows of its inputs."""

    def __init__(self, node_id: str, error: Exception, class_type: str, current_inputs: dict[str, Any]) -> None:
        super().__init__(f"node {node_id} failed: {error}")
        self.node_id, self.error, self.class_type, self.current_inputs = node_id, error, class_type, current_inputs


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure in the words of `execution_error`."""

    node_id: str
    message: str
    type_name: str
    traceback: list[str]
    current_inputs: dict[str, Any]


def describe(error: Exception, node_id: str, *, shapes_tip: bool = True) -> Failure:
    """Word an exception; `node_id` is the node whose turn it was, for one that says nothing of its own.

    `shapes_tip` says whether a sampler's error about shapes comes with a tip.
    """
    class_type, current_inputs = "", {}
    if isinstance(error, NodeFailed):
        node_id, class_type, current_inputs, error = error.node_id, error.class_type, error.current_inputs, error.error
    kind = type_name(error)
    message = f"{error}\n{_tip(kind, str(error), class_type, shapes_tip=shapes_tip)}"
    return Failure(node_id, message, kind, _traceback(error), current_inputs)


def without_tip(message: str) -> str:
    """The text of an exception, of the `exception_message` that tells it (protocol 5.11)."""
    for tip in (_MEMORY_TIP, _SHAPES_TIP, ""):
        if message.endswith(f"\n{tip}"):
            return message[: len(message) - len(tip) - 1]
    return message


def type_name(error: BaseException) -> str:
    """The type of an exception as `exception_type` has it: with its module, unless that is Python's own."""
    if isinstance(error, NodeError):
        return error.type_name
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _tip(kind: str, text: str, class_type: str, *, shapes_tip: bool) -> str:
    if kind == "torch.OutOfMemoryError":
        return _MEMORY_TIP
    if shapes_tip and kind == "RuntimeError" and "mat1 and mat2 shapes" in text and "Sampler" in class_type:
        return _SHAPES_TIP
    return ""


def _traceback(error: Exception) -> list[str]:
    """One string per frame: the server's own, then those of code that is not the simulation (a user's custom node)."""
    if isinstance(error, NodeError) and error.traceback is not None:
        return list(error.traceback)
    frames = list(SERVER_FRAMES)
    for frame in tracebacks.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_OWN_CODE):
            frames.extend(tracebacks.format_list([frame]))
    return frames
