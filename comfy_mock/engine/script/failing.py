"""The exceptions that a script has nodes raise, and tracebacks for them (protocol 5.11)."""

from __future__ import annotations

import zlib

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.failures import SERVER_FRAMES
from comfy_mock.engine.nodes.api import NodeError
from comfy_mock.engine.script.model import OUT_OF_MEMORY, Failure

MEMORY_ERROR = "torch.OutOfMemoryError"
"""The type of running out of memory on the graphics card: with it the server gives a tip."""

_NO_MEMORY = "Allocation on device "
"""What it says, where a script does not."""

_V3_FRAMES = (
    '  File "/comfyui/comfy_api/internal/__init__.py", line 149, in wrapped_func\n',
    '  File "/comfyui/comfy_api/latest/_io.py", line 1990, in EXECUTE_NORMALIZED\n',
)


def failure_of(raises: Failure | str) -> Failure:
    """The failure of a rule: as it says, or the one of a name, of which there is `out_of_memory`."""
    if isinstance(raises, Failure):
        return raises
    assert raises == OUT_OF_MEMORY
    return Failure(type=MEMORY_ERROR)


def error_of(failure: Failure, definition: NodeDefinition) -> NodeError:
    """The exception to raise in a node of this class."""
    message = _NO_MEMORY if failure.type == MEMORY_ERROR and not failure.message else failure.message
    traceback = made_up_traceback(definition) if failure.traceback is None else failure.traceback
    return NodeError(failure.type, message, traceback)


def made_up_traceback(definition: NodeDefinition) -> list[str]:
    """A traceback that ends in the file where a node's class would stand, in a line that is our own invention."""
    module = str(definition.entry.get("python_module") or "nodes")
    path = module.replace(".", "/")
    file = f"{path}/__init__.py" if path.count("/") == 1 and path.startswith("custom_nodes/") else f"{path}.py"
    line = 40 + zlib.crc32(definition.class_type.encode("utf-8", "surrogatepass")) % 900
    where = f'  File "/comfyui/{file}", line {line}, in {"execute" if definition.is_v3 else "run"}\n'
    return [*SERVER_FRAMES, *(_V3_FRAMES if definition.is_v3 else ()), f"{where}    outputs = work(inputs)\n"]
