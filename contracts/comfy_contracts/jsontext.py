"""JSON as a ComfyUI server writes and reads it: Python's default dump (protocol 1.1).

Separators are `", "` and `": "`, non-ASCII is escaped, keys keep their order, and `NaN`, `Infinity` and `-Infinity` are
legal both ways. msgspec's own encoder writes another text, so wire structs are turned to builtins first.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from comfy_contracts.structs import Lossless


def dumps(value: Any, *, indent: int | None = None) -> str:
    """The wire text of `value`: builtins, msgspec structs, or any mixture of both."""
    return json.dumps(value, default=_to_builtins, indent=indent)


def loads(text: str | bytes) -> Any:
    """The value of a wire text. Raises `ValueError` where it is not JSON."""
    return json.loads(text)


def _to_builtins(value: Any) -> Any:
    return value.to_builtins() if isinstance(value, Lossless) else msgspec.to_builtins(value)
