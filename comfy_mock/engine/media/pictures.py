"""Image files: PNG, animated PNG and animated WEBP, each with the prompt's metadata in its own place (protocol 7.2)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from comfy_mock.engine.media import Texts

_FIRST_EXIF_TAG = 0x0110
_WEBP_EFFORT = {"default": 4, "fastest": 0, "slowest": 6}


def file_of(image: PIL.Image.Image, file_format: str, **options: Any) -> bytes:
    """The picture as a file of one of Pillow's formats.

    A copy is saved: Pillow notes on a picture how it is being saved, and other threads may save the same one.
    """
    data = io.BytesIO()
    image.copy().save(data, format=file_format, **options)
    return data.getvalue()


def png_chunks(texts: Texts) -> PngInfo | None:
    """The `tEXt` chunks of `texts`, or None where there are none (protocol 7.3). Raises `UnicodeEncodeError` for a key
    that Latin-1 cannot write, as the real savers do."""
    if not texts:
        return None
    chunks = PngInfo()
    for key, text in texts:
        chunks.add_text(key, text)
    return chunks


def png(image: PIL.Image.Image, *, chunks: PngInfo | None = None, compress_level: int) -> bytes:
    """A PNG file with the text chunks before the image data; `compress_level` is zlib's, 0 to 9."""
    return file_of(image, "PNG", pnginfo=chunks, compress_level=compress_level)


def png_of_depth(image: PIL.Image.Image, *, texts: Texts, bits: int) -> bytes:
    """A PNG file as SaveImageAdvanced writes it, with a `pHYs` chunk, in 8 or 16 `bits` per channel (protocol 7.2)."""
    colour_type = {"RGB": 2, "RGBA": 6, "L": 0}[image.mode]
    pixels = image.tobytes()
    if bits == 16:
        # v * 257 stretches 0..255 to 0..65535, and its two bytes are v and v.
        wide = bytearray(2 * len(pixels))
        wide[0::2] = wide[1::2] = pixels
        pixels = bytes(wide)
    row = len(pixels) // image.height
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    header = struct.pack(">IIBBBBB", image.width, image.height, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"pHYs", struct.pack(">IIB", 0, 1, 0))]
    chunks += [(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1")) for key, text in texts]
    chunks += [(b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def animated_png_chunks(texts: Texts) -> PngInfo:
    """The private `comf` chunks behind the image data: key, NUL, JSON (protocol 7.2)."""
    chunks = PngInfo()
    for key, text in texts:
        chunks.add(b"comf", key.encode("latin-1") + b"\0" + text.encode("latin-1"), after_idat=True)
    return chunks


def animated_png(
    images: Sequence[PIL.Image.Image], *, chunks: PngInfo, frames_per_second: float, compress_level: int
) -> bytes:
    """An animated PNG; equal neighbours become one frame, and one frame makes a plain PNG (protocol 7.2)."""
    return file_of(
        images[0],
        "PNG",
        pnginfo=chunks,
        compress_level=compress_level,
        save_all=True,
        duration=int(1000.0 / frames_per_second),
        append_images=[image.copy() for image in images[1:]],
    )


def animated_webp(
    images: Sequence[PIL.Image.Image],
    *,
    texts: Texts,
    frames_per_second: float,
    lossless: bool,
    quality: int,
    method: str,
) -> bytes:
    """An animated WEBP with the texts in its EXIF data: `key:json` at tag 0x0110, 0x010F, … downwards (protocol 7.2).

    `quality` is 0 to 100, `method` one of `default`, `fastest`, `slowest`.
    """
    exif = PIL.Image.Exif()
    for number, (key, text) in enumerate(texts):
        exif[_FIRST_EXIF_TAG - number] = f"{key}:{text}"
    return file_of(
        images[0],
        "WEBP",
        save_all=True,
        duration=int(1000.0 / frames_per_second),
        append_images=[image.copy() for image in images[1:]],
        exif=exif,
        lossless=lossless,
        quality=quality,
        method=_WEBP_EFFORT[method],
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
