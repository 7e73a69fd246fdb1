"""Writes the parts of scripts into the description of the control API anew, after the model of scripts has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from comfy_mock.engine.script.model import Script

PATH = Path(__file__).resolve().parents[3] / "comfy_mock" / "data" / "control-openapi.json"


def script_schemas() -> dict[str, Any]:
    """The schemas of a script and all its parts, by name."""
    _, parts = msgspec.json.schema_components([Script], ref_template="#/components/schemas/{name}")
    schemas: dict[str, Any] = json.loads(json.dumps(parts))
    return schemas


if __name__ == "__main__":
    described = json.loads(PATH.read_text("utf-8"))
    schemas = described["components"]["schemas"]
    described["components"]["schemas"] = {**schemas, **script_schemas()}
    PATH.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", "utf-8")
