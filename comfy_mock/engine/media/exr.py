"""OpenEXR files: uncompressed scan lines of 32-bit floats, enough for every reader."""

from __future__ import annotations

import struct
from array import array

import PIL.Image

from comfy_mock.engine.media import Texts

_MAGIC = b"\x76\x2f\x31\x01"
_LONG_NAMES = 0x400
_SHORT_NAME_MAX = 31


def exr(image: PIL.Image.Image, *, texts: Texts, linear: bool) -> bytes:
    """An EXR file of `image` with a string attribute for each text (protocol 7.2).

    With `linear` the values are those of the picture as they are; otherwise it is taken as sRGB and made linear.
    """
    width, height = image.size
    levels = [level / 255 if linear else _linear(level / 255) for level in range(256)]
    bands = {name: band.tobytes() for name, band in zip(image.mode, image.split(), strict=True)}
    names = sorted(bands)
    header = _header(width, height, names, texts)
    line_size = 8 + width * 4 * len(names)
    first = len(header) + 8 * height
    offsets = struct.pack(f"<{height}Q", *(first + line_size * y for y in range(height)))
    lines = []
    for y in range(height):
        lines.append(struct.pack("<II", y, line_size - 8))
        for name in names:
            row = bands[name][y * width : (y + 1) * width]
            lines.append(struct.pack(f"<{width}f", *array("d", map(levels.__getitem__, row))))
    return header + offsets + b"".join(lines)


def _header(width: int, height: int, names: list[str], texts: Texts) -> bytes:
    channels = b"".join(name.encode() + b"\0" + struct.pack("<IIII", 2, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    attributes: list[tuple[str, str, bytes]] = [
        ("channels", "chlist", channels),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
        *((key, "string", text.encode()) for key, text in texts),
    ]
    long_names = any(len(name.encode()) > _SHORT_NAME_MAX for name, _, _ in attributes)
    version = struct.pack("<I", 2 | (_LONG_NAMES if long_names else 0))
    packed = b"".join(
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value
        for name, kind, value in attributes
    )
    return _MAGIC + version + packed + b"\0"


def _linear(value: float) -> float:
    """The linear light of a value of the sRGB curve, both 0.0 to 1.0."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)
