"""Opening picture files, however large the pictures are: Pillow's own limit is for files of strangers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import PIL.Image

from comfy_mock.engine.values import TENSOR_BYTES_MAX

PIXELS_MAX = TENSOR_BYTES_MAX // 16
"""The most pixels that a picture of four floats per pixel can have as a value."""


class _PixelLimit:
    """Pillow's limit, which is one for the whole process: off while anybody is at work, then as it was."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._working = 0
        self._before: int | None = None

    def lift(self) -> None:
        with self._lock:
            if self._working == 0:
                self._before, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
            self._working += 1

    def restore(self) -> None:
        with self._lock:
            self._working -= 1
            # A limit that somebody set meanwhile is what he wants now.
            if self._working == 0 and PIL.Image.MAX_IMAGE_PIXELS is None:
                PIL.Image.MAX_IMAGE_PIXELS = self._before


_LIMIT = _PixelLimit()


@contextmanager
def without_pixel_limit() -> Iterator[None]:
    """Meanwhile Pillow neither warns of large pictures nor refuses them. For any thread, and more than one at once."""
    _LIMIT.lift()
    try:
        yield
    finally:
        _LIMIT.restore()


@contextmanager
def opened_picture(content: bytes) -> Iterator[PIL.Image.Image]:
    """The picture file with these bytes, open; its pixels are decoded when they are asked for, inside the block.

    Raises what Pillow raises: `PIL.UnidentifiedImageError` for other files, `PIL.Image.DecompressionBombError` for more
    than `PIXELS_MAX` pixels.
    """
    with without_pixel_limit(), PIL.Image.open(io.BytesIO(content)) as picture:
        if picture.width * picture.height > PIXELS_MAX:
            raise PIL.Image.DecompressionBombError(
                f"a picture of {picture.width} x {picture.height} pixels; there can be {PIXELS_MAX}"
            )
        yield picture
