"""A mock server for the ComfyUI API: a fake that a client cannot tell from a real server, other than by the pictures.

from comfy_mock import ComfyMock

with ComfyMock() as server:
    ...  # a ComfyUI listens at server.url
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfy_contracts.catalogue import Catalogue
    from comfy_mock.engine.awaited_event import EventNeverCame
    from comfy_mock.engine.custom_nodes import CustomNode
    from comfy_mock.engine.options import Options
    from comfy_mock.engine.script.model import Script
    from comfy_mock.engine.script.problems import ScriptError
    from comfy_mock.server.instance import Instance
    from comfy_mock.server.journal import Journal, NeverCame
    from comfy_mock.server.listening import PortTaken
    from comfy_mock.server.network import ComfyMock
    from comfy_mock.server.replay import NotAsRecorded, Replay

__version__ = "0.1.0"

__all__ = [
    "Catalogue",
    "ComfyMock",
    "CustomNode",
    "EventNeverCame",
    "Instance",
    "Journal",
    "NeverCame",
    "NotAsRecorded",
    "Options",
    "PortTaken",
    "Replay",
    "Script",
    "ScriptError",
    "__version__",
]

_HOMES = {
    "Catalogue": "comfy_contracts.catalogue",
    "ComfyMock": "comfy_mock.server.network",
    "CustomNode": "comfy_mock.engine.custom_nodes",
    "EventNeverCame": "comfy_mock.engine.awaited_event",
    "Instance": "comfy_mock.server.instance",
    "Journal": "comfy_mock.server.journal",
    "NeverCame": "comfy_mock.server.journal",
    "NotAsRecorded": "comfy_mock.server.replay",
    "Options": "comfy_mock.engine.options",
    "PortTaken": "comfy_mock.server.listening",
    "Replay": "comfy_mock.server.replay",
    "Script": "comfy_mock.engine.script.model",
    "ScriptError": "comfy_mock.engine.script.problems",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import comfy_mock` alone costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
