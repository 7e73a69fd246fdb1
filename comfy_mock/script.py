"""Scripts: what a fake server is told to do differently from a sunny day (docs/scripts.md).

from comfy_mock import ComfyMock
from comfy_mock.script import Script, on_node, on_request

script = Script(rules=[
    on_request("POST /prompt", times=1, status=503, retry_after=1),
    on_node("KSampler", raises="out_of_memory"),
])
with ComfyMock(script=script) as server:
    ...
"""

from __future__ import annotations

from pathlib import Path

from comfy_mock.engine.script.builders import at_point, on_message, on_node, on_request, on_server, on_socket
from comfy_mock.engine.script.model import (
    OUT_OF_MEMORY,
    BinaryAt,
    EventMatch,
    Expand,
    Failure,
    Hold,
    Legality,
    LogAt,
    Memory,
    MessageAt,
    MessageMatch,
    MessageRule,
    ModelChange,
    NodeMatch,
    NodeRule,
    OutputFile,
    Point,
    PointRule,
    Previews,
    PromptMatch,
    RequestMatch,
    RequestRule,
    Rule,
    Script,
    ServerRule,
    SocketMatch,
    SocketRule,
    TextAt,
)
from comfy_mock.engine.script.problems import Problem, ScriptError
from comfy_mock.engine.script.reading import read_script, to_json, to_yaml
from comfy_mock.server.script_files import load_script

__all__ = [
    "OUT_OF_MEMORY",
    "BinaryAt",
    "EventMatch",
    "Expand",
    "Failure",
    "Hold",
    "Legality",
    "LogAt",
    "Memory",
    "MessageAt",
    "MessageMatch",
    "MessageRule",
    "ModelChange",
    "NodeMatch",
    "NodeRule",
    "OutputFile",
    "Point",
    "PointRule",
    "Previews",
    "Problem",
    "PromptMatch",
    "RequestMatch",
    "RequestRule",
    "Rule",
    "Script",
    "ScriptError",
    "ServerRule",
    "SocketMatch",
    "SocketRule",
    "TextAt",
    "at_point",
    "load_file",
    "load_previews",
    "load_script",
    "on_message",
    "on_node",
    "on_request",
    "on_server",
    "on_socket",
    "read_script",
    "to_json",
    "to_yaml",
]


def load_previews(*paths: str | Path) -> Previews:
    """Previews that are these JPEG or PNG files, one per step. Raises `OSError`."""
    return Previews(images=[Path(path).read_bytes() for path in paths])


def load_file(path: str | Path, *, filename: str | None = None, key: str = "images", subfolder: str = "") -> OutputFile:
    """A file that a node makes, with the content of the one at `path`, and its name if `filename` does not say another.

    It is listed in the node's ui under `key`. Raises `OSError`.
    """
    path = Path(path)
    return OutputFile(filename=filename or path.name, data=path.read_bytes(), key=key, subfolder=subfolder)
