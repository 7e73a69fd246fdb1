"""Binary glTF: a small cube, so that every viewer has something to show."""

from __future__ import annotations

import json
import struct
from itertools import product

from comfy_mock.engine.media import Texts

_TRIANGLES = (
    (0, 1, 3, 0, 3, 2),
    (4, 6, 7, 4, 7, 5),
    (0, 4, 5, 0, 5, 1),
    (2, 3, 7, 2, 7, 6),
    (0, 2, 6, 0, 6, 4),
    (1, 5, 7, 1, 7, 3),
)
_FLOAT, _SHORT = 5126, 5123
_VERTICES, _INDICES = 34962, 34963


def glb(texts: Texts = ()) -> bytes:
    """A GLB file; the texts stand in the `extras` of its asset, parsed from JSON."""
    corners = list(product((-0.5, 0.5), repeat=3))
    points = b"".join(struct.pack("<3f", *corner) for corner in corners)
    indices = [index for side in _TRIANGLES for index in side]
    data = points + struct.pack(f"<{len(indices)}H", *indices)
    asset = {"version": "2.0", "generator": "comfy-mock", **({"extras": _parsed(texts)} if texts else {})}
    tree = {
        "asset": asset,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(points), "target": _VERTICES},
            {"buffer": 0, "byteOffset": len(points), "byteLength": 2 * len(indices), "target": _INDICES},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(corners),
                "type": "VEC3",
                "min": [-0.5] * 3,
                "max": [0.5] * 3,
            },
            {"bufferView": 1, "componentType": _SHORT, "count": len(indices), "type": "SCALAR"},
        ],
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _parsed(texts: Texts) -> dict[str, object]:
    return {key: json.loads(text) for key, text in texts}
