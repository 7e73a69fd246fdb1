"""Nodes that write a batch of pictures as one animated file (protocol 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import PIL.Image

from comfy_mock.engine.files import Content
from comfy_mock.engine.media import pictures as files_of
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.saving import file_item, save_path
from comfy_mock.engine.values import Frame, Image


def write_one(call: Call, frames: Sequence[Frame], prefix: str, ending: str, content: Content) -> dict[str, str]:
    """Write one file for all of `frames` into the output folder, and give its file item.

    Raises as `save_path` does, and torch's `IndexError` for an empty batch.
    """
    if not frames:
        raise IndexError("index 0 is out of bounds for dimension 0 with size 0")
    where = save_path(
        prefix,
        call.folders.output,
        call.files,
        now=call.now,
        utc_offset_s=call.utc_offset_s,
        width=frames[0].width,
        height=frames[0].height,
    )
    name = where.name(0, ending)
    call.files.write(where.path(name), content, now=call.now)
    return file_item(name, where.subfolder, "output")


@node("SaveAnimatedWEBP", seconds=0.02)
def save_animated_webp(call: Call) -> Output:
    """One WEBP; the ui says "animated" only if it has more than one frame."""
    images = arguments.image(call, "images")
    encode = partial(
        files_of.animated_webp,
        texts=texts(call),
        frames_per_second=call.inputs["fps"],
        lossless=call.inputs["lossless"],
        quality=call.inputs["quality"],
        method=call.inputs["method"],
    )
    item = write_one(
        call, images.frames, call.inputs["filename_prefix"], "_.webp", lambda: encode(_drawn(images.frames))
    )
    return Output((images,), _ui(item, images))


@node("SaveAnimatedPNG", seconds=0.02)
def save_animated_png(call: Call) -> Output:
    """One animated PNG; the ui as that of SaveAnimatedWEBP."""
    images = arguments.image(call, "images")
    encode = partial(
        files_of.animated_png,
        chunks=files_of.animated_png_chunks(texts(call)),
        frames_per_second=call.inputs["fps"],
        compress_level=call.inputs["compress_level"],
    )
    item = write_one(
        call, images.frames, call.inputs["filename_prefix"], "_.png", lambda: encode(_drawn(images.frames))
    )
    return Output((images,), _ui(item, images))


def _drawn(frames: Sequence[Frame]) -> list[PIL.Image.Image]:
    return [frame.image() for frame in frames]


def _ui(item: dict[str, str], images: Image) -> dict[str, Any]:
    return {"images": [item], "animated": [True]} if images.batch > 1 else {"images": [item]}
