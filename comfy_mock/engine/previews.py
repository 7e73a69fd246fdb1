"""The pictures that are shown while a node works: scaled, encoded, and drawn step by step (protocol 6.8)."""

from __future__ import annotations

import random
from functools import lru_cache

import PIL.Image

from comfy_mock.engine.media.pictures import file_of
from comfy_mock.engine.nodes.api import Preview, PreviewFile
from comfy_mock.engine.pictures import draw_subject
from comfy_mock.engine.values import Subject

_CELL = 8
_DRAWN_CELLS_MAX = 64


def preview_bytes(preview: Preview | PreviewFile) -> tuple[str, bytes]:
    """The format (`JPEG` or `PNG`) and the image file of a preview, as they stand in a binary frame (protocol 6.8).

    With a `size_max` the picture is scaled, up as well as down, to fit a square of that many pixels.
    """
    if isinstance(preview, PreviewFile):
        return preview.format, preview.content
    image = preview.draw()
    if preview.size_max is not None:
        size = fit_inside(image.width, image.height, preview.size_max)
        if size != image.size:
            image = image.resize(size, PIL.Image.Resampling.BILINEAR)
    if preview.format == "JPEG":
        flat = image if image.mode in ("RGB", "L") else image.convert("RGB")
        return preview.format, file_of(flat, "JPEG", quality=95)
    return preview.format, file_of(image, "PNG", compress_level=1)


def fit_inside(width: int, height: int, size_max: int) -> tuple[int, int]:
    """The size of a picture of `width` x `height` pixels scaled to fit a square: the longer side is `size_max`, the
    shorter one is rounded, but is at least one pixel."""
    if width >= height:
        return size_max, max(1, round(height / width * size_max))
    return max(1, round(width / height * size_max)), size_max


def sampler_preview(subject: Subject, width: int, height: int, step: int, steps: int) -> PIL.Image.Image:
    """What a sampler shows after step `step` of `steps`: the subject coming out of noise, an RGB image.

    `width` and `height` are in latent cells, an eighth of the picture's pixels for most models; the image has one pixel
    per cell, as the real previews are made from the latent.
    """
    clear = min(1.0, step / steps) if steps > 0 else 1.0
    goal = _goal(subject, width, height)
    if clear == 1.0:
        return goal.copy()
    noise = random.Random(f"noise/{subject.seed}/{step}").randbytes(width * height * 3)
    return PIL.Image.blend(PIL.Image.frombytes("RGB", (width, height), noise), goal, clear)


@lru_cache(maxsize=8)
def _goal(subject: Subject, width: int, height: int) -> PIL.Image.Image:
    cell = max(1, min(_CELL, _CELL * _DRAWN_CELLS_MAX // max(width, height)))
    drawn = draw_subject(subject, width * cell, height * cell, 0)
    return drawn.resize((width, height), PIL.Image.Resampling.BOX)
