"""What every driver shares: the URL and the workflow that it was given. It needs the standard library only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

URL = os.environ["COMFYUI_URL"]
HOST = URL.removeprefix("http://")
PATH = os.environ["COMFYUI_WORKFLOW"]
WORKFLOW: dict[str, Any] = json.loads(Path(PATH).read_text(encoding="utf-8"))
PICTURES = [node_id for node_id, node in WORKFLOW.items() if node["class_type"] in ("SaveImage", "PreviewImage")]
"""The nodes that give pictures."""


def title(node_id: str) -> str:
    """The title of a node, by which some clients ask for it."""
    return WORKFLOW[node_id]["_meta"]["title"]


def tell(outputs: dict[str, Any]) -> None:
    """Print what the client got."""
    print("\n" + json.dumps(outputs), flush=True)
