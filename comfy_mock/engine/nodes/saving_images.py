"""Nodes that write pictures, or show them (protocol 7.2)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import PIL.Image

from comfy_mock.engine.media import pictures as files_of
from comfy_mock.engine.media.exr import exr
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, ChangeCall, Output, Preview, Step, Update, node
from comfy_mock.engine.nodes.frames import with_channels
from comfy_mock.engine.saving import file_item, save_path, temp_prefix
from comfy_mock.engine.values import Frame, Image

Encode = Callable[[PIL.Image.Image], bytes]

SAVED_COMPRESSION = 4
PREVIEW_COMPRESSION = 1


def write_frames(
    call: Call, frames: Sequence[Frame], *, prefix: str, folder_type: str, ending: str, encode: Encode
) -> list[dict[str, str]]:
    """Write one file per frame, and give their file items.

    `folder_type` is `output` or `temp`; `ending` follows the number in the names. Nothing is drawn here: `encode` is
    called when somebody reads the file. Raises as `save_path` does, and torch's `IndexError` for an empty batch.
    """
    if not frames:
        raise IndexError("index 0 is out of bounds for dimension 0 with size 0")
    folder = call.folders.temp if folder_type == "temp" else call.folders.output
    where = save_path(
        prefix,
        folder,
        call.files,
        now=call.now,
        utc_offset_s=call.utc_offset_s,
        width=frames[0].width,
        height=frames[0].height,
    )
    items = []
    for index, frame in enumerate(frames):
        name = where.name(index, ending)
        call.files.write(where.path(name), partial(_encoded, frame, encode), now=call.now)
        items.append(file_item(name, where.subfolder, folder_type))
    return items


def preview_items(call: Call, frames: Sequence[Frame], prefix: str = "ComfyUI") -> list[dict[str, str]]:
    """Write frames as RGB or RGBA previews without metadata into the temp folder, under a fresh random prefix."""
    return preview_items_under(call, frames, temp_prefix(prefix, call.random))


def preview_items_under(call: Call, frames: Sequence[Frame], prefix: str) -> list[dict[str, str]]:
    """As `preview_items`, under a prefix that is complete."""
    coloured = [frame if frame.channels > 1 else with_channels(frame, 3) for frame in frames]
    encode = partial(files_of.png, compress_level=PREVIEW_COMPRESSION)
    return write_frames(call, coloured, prefix=prefix, folder_type="temp", ending="_.png", encode=encode)


@node("SaveImage", seconds=0.01)
def save_image(call: Call) -> Output:
    """One PNG per image into the output folder."""
    images = arguments.images_to_save(call, "images")
    prefix = arguments.argument(call, "filename_prefix")
    encode = partial(files_of.png, chunks=files_of.png_chunks(texts(call)), compress_level=SAVED_COMPRESSION)
    items = write_frames(call, images.frames, prefix=prefix, folder_type="output", ending="_.png", encode=encode)
    return Output((images,), {"images": items})


@node("PreviewImage", seconds=0.01)
def preview_image(call: Call) -> Output:
    """One PNG per image into the temp folder, under the prefix of this node's object."""
    images = arguments.images_to_save(call, "images")
    # The letters belong to the node's object, so the counter goes on while it lives (protocol 5.14).
    if "prefix" not in call.instance:
        call.instance["prefix"] = temp_prefix("ComfyUI", call.random)
    prefix = call.instance["prefix"]
    encode = partial(files_of.png, chunks=files_of.png_chunks(texts(call)), compress_level=PREVIEW_COMPRESSION)
    items = write_frames(call, images.frames, prefix=prefix, folder_type="temp", ending="_.png", encode=encode)
    return Output((images,), {"images": items})


@node("SaveImageAdvanced", seconds=0.01)
def save_image_advanced(call: Call) -> Output:
    """One PNG of 8 or 16 bits, or one EXR, per image; no underscore behind the number."""
    images = arguments.image(call, "images")
    prefix = arguments.argument(call, "filename_prefix")
    encode: Encode
    if call.inputs["format"] == "exr":
        linear = call.inputs.get("format.input_color_space", "sRGB") != "sRGB"
        encode, ending = partial(exr, texts=texts(call), linear=linear), ".exr"
    else:
        bits = 16 if call.inputs.get("format.bit_depth") == "16-bit" else 8
        encode, ending = partial(files_of.png_of_depth, texts=texts(call), bits=bits), ".png"
    items = write_frames(call, images.frames, prefix=prefix, folder_type="output", ending=ending, encode=encode)
    return Output((images,), {"images": items})


@node("MaskPreview", seconds=0.01)
def mask_preview(call: Call) -> Output:
    """One RGB PNG per mask into the temp folder, without metadata."""
    mask = arguments.mask(call, "mask")
    return Output((mask,), {"images": preview_items(call, mask.frames), "animated": [False]})


@node("ImageCompare", seconds=0.01)
def image_compare(call: Call) -> Output:
    """Two sides, each under its own prefix with the same letters; an absent side is an empty list."""
    letters = temp_prefix("", call.random)
    ui: dict[str, Any] = {}
    for side in ("a", "b"):
        images = arguments.optional_image(call, f"image_{side}")
        prefix = f"comfy.compare.{side}{letters}"
        shown = images is not None and images.batch > 0
        ui[f"{side}_images"] = preview_items_under(call, images.frames, prefix) if images is not None and shown else []
    return Output((), ui)


def _now(call: ChangeCall) -> float:
    return call.now


@node("SaveImageWebsocket", changed=_now)
def save_image_websocket(call: Call) -> Generator[Step, None, Output]:
    """No files: each image goes out as a full-size PNG preview, counted from 0 (protocol 7.2)."""
    images: Image = arguments.image(call, "images")
    for index, frame in enumerate(images.frames):
        yield Update(index, images.batch, Preview(frame.image, "PNG", None), first=index == 0)
    return Output()


def _encoded(frame: Frame, encode: Encode) -> bytes:
    return encode(frame.image())
