"""Nodes that change the size of pictures and masks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator

from comfy_mock.engine.nodes.api import Call, Output, Step, Update, Wait, node
from comfy_mock.engine.nodes.arguments import argument, checked, image
from comfy_mock.engine.nodes.frames import each, fitted, pasted, resized, uniform
from comfy_mock.engine.values import Frame, Image, Mask, Opaque

_MEGAPIXEL = 1024 * 1024
_UPSCALE_TILE = 512
_UPSCALE_OVERLAP = 32
_UPSCALE_TILE_SECONDS = 0.1

Size = tuple[int, int]

_UPRIGHT: tuple[Size, ...] = (
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
    (1024, 1024),
)
_KONTEXT_SIZES = (*_UPRIGHT, *((height, width) for width, height in _UPRIGHT[:-1]))


def wanted_size(given: Size, width: int, height: int) -> Size:
    """The size that is asked for, where 0 means "in proportion", and twice 0 "as it is"."""
    if width == 0 and height == 0:
        return given
    if width == 0:
        return max(1, round(given[0] * height / given[1])), height
    if height == 0:
        return width, max(1, round(given[1] * width / given[0]))
    return width, height


def size_of_pixels(given: Size, megapixels: float, multiple: int = 1) -> Size:
    """The size in proportion that has so many times 1024 x 1024 pixels, rounded to a multiple."""
    scale = math.sqrt(megapixels * _MEGAPIXEL / (given[0] * given[1]))
    return round(given[0] * scale / multiple) * multiple, round(given[1] * scale / multiple) * multiple


def size_of_side(given: Size, side: int, choose: Callable[[int, int], int]) -> Size:
    """The size in proportion whose longer (`choose` is `max`) or shorter (`min`) side is `side`."""
    width, height = given
    if choose(width, height) == width:
        return side, round(height / width * side)
    return round(width / height * side), side


def scaled(given: Image, size: Size, method: str, crop: str = "disabled") -> Image:
    """All frames at another size, `(width, height)`."""
    return Image(each(given.frames, lambda frame: fitted(frame, *size, method, crop)))


@node("ImageScale")
def image_scale(call: Call) -> Output:
    """To a width and height."""
    given = image(call, "image")
    size = wanted_size((given.width, given.height), call.inputs["width"], call.inputs["height"])
    return Output((scaled(given, size, call.inputs["upscale_method"], call.inputs["crop"]),))


@node("ImageScaleBy")
def image_scale_by(call: Call) -> Output:
    """By a factor."""
    given, factor = image(call, "image"), call.inputs["scale_by"]
    size = (round(given.width * factor), round(given.height * factor))
    return Output((scaled(given, size, call.inputs["upscale_method"]),))


@node("ImageScaleToTotalPixels")
def image_scale_to_total_pixels(call: Call) -> Output:
    """To a number of pixels."""
    given = image(call, "image")
    steps = call.inputs.get("resolution_steps", 1)
    size = size_of_pixels((given.width, given.height), call.inputs["megapixels"], steps)
    return Output((scaled(given, size, call.inputs["upscale_method"]),))


@node("ImageScaleToMaxDimension")
def image_scale_to_max_dimension(call: Call) -> Output:
    """To a longest side."""
    given = image(call, "image")
    size = size_of_side((given.width, given.height), call.inputs["largest_size"], max)
    return Output((scaled(given, size, call.inputs["upscale_method"]),))


@node("ResizeImagesByLongerEdge")
def resize_images_by_longer_edge(call: Call) -> Output:
    """To a longest side."""
    given = image(call, "images")
    return Output(
        (scaled(given, size_of_side((given.width, given.height), call.inputs["longer_edge"], max), "lanczos"),)
    )


@node("ResizeImagesByShorterEdge")
def resize_images_by_shorter_edge(call: Call) -> Output:
    """To a shortest side."""
    given = image(call, "images")
    return Output(
        (scaled(given, size_of_side((given.width, given.height), call.inputs["shorter_edge"], min), "lanczos"),)
    )


@node("FluxKontextImageScale")
def flux_kontext_image_scale(call: Call) -> Output:
    """To that of the sizes which Flux Kontext was trained on whose shape is nearest."""
    given = image(call, "image")
    shape = given.width / given.height
    size = min(_KONTEXT_SIZES, key=lambda size: abs(shape - size[0] / size[1]))
    return Output((scaled(given, size, "lanczos", "center"),))


@node("ResizeImageMaskNode")
def resize_image_mask(call: Call) -> Output:
    """An image or a mask, by one of the ways of its dynamic input `resize_type`.

    Raises `TypeError` where that input is absent (protocol 3.9).
    """
    given = argument(call, "input")
    if not isinstance(given, Mask):
        given = checked(given, Image)
    way = argument(call, "resize_type")
    crop = call.inputs.get("resize_type.crop", "center" if way == "scale to multiple" else "disabled")
    size = _resized(call, way, (given.width, given.height))
    method = call.inputs["scale_method"]
    return Output((type(given)(each(given.frames, lambda frame: fitted(frame, *size, method, crop))),))


def _resized(call: Call, way: str, given: Size) -> Size:
    def option(name: str) -> int:
        value: int = argument(call, f"resize_type.{name}")
        return value

    if way == "scale dimensions":
        return wanted_size(given, option("width"), option("height"))
    if way == "scale by multiplier":
        return round(given[0] * option("multiplier")), round(given[1] * option("multiplier"))
    if way == "scale longer dimension":
        return size_of_side(given, option("longer_size"), max)
    if way == "scale shorter dimension":
        return size_of_side(given, option("shorter_size"), min)
    if way == "scale width":
        return wanted_size(given, option("width"), 0)
    if way == "scale height":
        return wanted_size(given, 0, option("height"))
    if way == "scale total pixels":
        return size_of_pixels(given, option("megapixels"))
    if way == "match size":
        match = argument(call, "resize_type.match")
        match = match if isinstance(match, Mask) else checked(match, Image)
        return match.width, match.height
    multiple = option("multiple")
    width, height = given[0] // multiple * multiple, given[1] // multiple * multiple
    return (width, height) if width and height else given


@node("ResizeAndPadImage")
def resize_and_pad_image(call: Call) -> Output:
    """Into a size, with a border where the shape differs."""
    given = image(call, "image")
    width, height = call.inputs["target_width"], call.inputs["target_height"]
    scale = min(width / given.width, height / given.height)
    inner = (int(given.width * scale), int(given.height * scale))
    level = 1.0 if call.inputs["padding_color"] == "white" else 0.0

    def padded(frame: Frame) -> Frame:
        ground = uniform(width, height, (level,) * frame.channels)
        part = resized(frame, *inner, call.inputs["interpolation"])
        return pasted(ground, part, (width - inner[0]) // 2, (height - inner[1]) // 2)

    return Output((Image(each(given.frames, padded)),))


@node("ImageUpscaleWithModel")
def image_upscale_with_model(call: Call) -> Generator[Step, None, Output]:
    """By the factor in the model's file name, with one step of progress for each tile of each image (protocol 6.7)."""
    given = image(call, "image")
    factor = _upscale_factor(call.inputs["upscale_model"])
    steps = given.batch * tile_count(given.width, given.height, _UPSCALE_TILE, _UPSCALE_TILE, _UPSCALE_OVERLAP)
    for step in range(1, steps + 1):
        yield Wait(_UPSCALE_TILE_SECONDS)
        yield Update(step, steps, first=step == 1)
    return Output((scaled(given, (given.width * factor, given.height * factor), "lanczos"),))


def tile_count(width: int, height: int, tile_width: int, tile_height: int, overlap: int) -> int:
    """How many overlapping tiles it takes to go over a picture."""

    def along(length: int, tile: int) -> int:
        return 1 if length <= tile else math.ceil((length - overlap) / max(1, tile - overlap))

    return along(width, tile_width) * along(height, tile_height)


def _upscale_factor(model: object) -> int:
    name = str(model.facts.get("name", "")) if isinstance(model, Opaque) else ""
    found = re.search(r"(\d)x|x(\d)", name, re.IGNORECASE)
    return int(found.group(1) or found.group(2)) or 1 if found else 4
