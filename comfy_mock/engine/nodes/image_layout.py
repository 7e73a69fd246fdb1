"""Nodes that cut, turn, pad and join pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import PIL.Image
import PIL.ImageChops

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import checked, image, optional_image
from comfy_mock.engine.nodes.frames import (
    Picture,
    cropped,
    each,
    flipped,
    pasted,
    quarter_turns,
    resized,
    turned,
    uniform,
    with_channels,
)
from comfy_mock.engine.values import FRAMES_MAX, Frame, Image, Mask, allocate

_SPACING = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}
_OUTPAINT_LEVEL = 0.5

Box = tuple[int, int, int, int]


@node("ImageFlip")
def image_flip(call: Call) -> Output:
    """Upside down or mirrored."""
    return Output((Image(each(image(call, "image").frames, lambda frame: flipped(frame, call.inputs["flip_method"]))),))


@node("ImageRotate")
def image_rotate(call: Call) -> Output:
    """Clockwise by quarters."""
    quarters = quarter_turns(call.inputs["rotation"])
    return Output((Image(each(image(call, "image").frames, lambda frame: turned(frame, quarters))),))


@node("ImageCrop")
def image_crop(call: Call) -> Output:
    """A part, as far as the picture reaches: at least one pixel."""
    given = image(call, "image")
    left, top = min(call.inputs["x"], given.width - 1), min(call.inputs["y"], given.height - 1)
    width, height = min(call.inputs["width"], given.width - left), min(call.inputs["height"], given.height - top)
    return Output((_part(given, (left, top, width, height)),))


@node("CenterCropImages")
def center_crop_images(call: Call) -> Output:
    """The middle part."""
    given = image(call, "images")
    width, height = min(call.inputs["width"], given.width), min(call.inputs["height"], given.height)
    left, top = (given.width - width) // 2, (given.height - height) // 2
    return Output((_part(given, (left, top, width, height)),))


@node("ImagePadForOutpaint")
def image_pad_for_outpaint(call: Call) -> Output:
    """A grey border, and a mask that is set there and fades into the picture."""
    given = image(call, "image")
    left, top, right, bottom = (call.inputs[side] for side in ("left", "top", "right", "bottom"))
    width, height = given.width + left + right, given.height + top + bottom

    def padded(frame: Frame) -> Frame:
        return pasted(uniform(width, height, (_OUTPAINT_LEVEL,) * frame.channels), frame, left, top)

    inner = _feathered(given.width, given.height, (left, top, right, bottom), call.inputs["feathering"])
    mask = pasted(uniform(width, height, (1.0,)), inner, left, top)
    return Output((Image(each(given.frames, padded)), Mask((mask,))))


def _feathered(width: int, height: int, sides: Box, feathering: int) -> Frame:
    if not 0 < feathering * 2 < min(width, height) or not any(sides):
        return uniform(width, height, (0.0,))
    left, top, right, bottom = sides

    def ramp(length: int, before: int, after: int) -> list[int]:
        far = length + feathering
        nearest = (min(at if before else far, length - at if after else far) for at in range(length))
        return [round(255 * max(0.0, (feathering - distance) / feathering) ** 2) for distance in nearest]

    def draw() -> Picture:
        across = PIL.Image.new("L", (width, 1))
        across.putdata(ramp(width, left, right))
        down = PIL.Image.new("L", (1, height))
        down.putdata(ramp(height, top, bottom))
        nearest = PIL.Image.Resampling.NEAREST
        return PIL.ImageChops.lighter(across.resize((width, height), nearest), down.resize((width, height), nearest))

    return Frame(width, height, 1, draw)


@node("ImageStitch")
def image_stitch(call: Call) -> Output:
    """Two pictures side by side or one above the other, with a stripe between them if asked for."""
    first, second = image(call, "image1"), optional_image(call, "image2")
    if second is None:
        return Output((first,))
    length = max(first.batch, second.batch)
    channels = max(first.channels, second.channels)
    spacing = call.inputs["spacing_width"]
    spacing += spacing % 2
    frames = []
    for index in range(length):
        pair = [first.frames[min(index, first.batch - 1)], second.frames[min(index, second.batch - 1)]]
        ones = [with_channels(frame, channels) for frame in _matched(call, *pair)]
        if call.inputs["direction"] in ("left", "up"):
            ones.reverse()
        frames.append(_side_by_side(ones, call, spacing))
    return Output((Image(tuple(frames)),))


def _is_row(call: Call) -> bool:
    return call.inputs["direction"] in ("left", "right")


def _matched(call: Call, first: Frame, second: Frame) -> tuple[Frame, Frame]:
    row = _is_row(call)
    if call.inputs["match_image_size"]:
        shape = second.width / second.height
        size = (int(first.height * shape), first.height) if row else (first.width, int(first.width / shape))
        return first, resized(second, *size, "lanczos")
    width, height = max(first.width, second.width), max(first.height, second.height)

    def padded(frame: Frame) -> Frame:
        size = (frame.width, height) if row else (width, frame.height)
        if size == (frame.width, frame.height):
            return frame
        ground = uniform(*size, (0.0,) * frame.channels)
        return pasted(ground, frame, (size[0] - frame.width) // 2, (size[1] - frame.height) // 2)

    return padded(first), padded(second)


def _side_by_side(frames: list[Frame], call: Call, spacing: int) -> Frame:
    first, second = frames
    row = _is_row(call)
    size = (
        (first.width + spacing + second.width, first.height)
        if row
        else (first.width, first.height + spacing + second.height)
    )
    color = _SPACING[call.inputs["spacing_color"]]
    ground = uniform(*size, color if first.channels == len(color) else (*color, 1.0))
    whole = pasted(ground, first, 0, 0)
    return pasted(whole, second, *((first.width + spacing, 0) if row else (0, first.height + spacing)))


@node("SplitImageToTileList")
def split_image_to_tile_list(call: Call) -> Output:
    """Overlapping tiles, row by row, each a batch as large as the whole."""
    given = image(call, "image")
    tile = (call.inputs["tile_width"], call.inputs["tile_height"])
    boxes = list(islice(tile_boxes((given.width, given.height), tile, call.inputs["overlap"]), FRAMES_MAX + 1))
    allocate(len(boxes), *boxes[0][2:], 1)
    return Output(([_part(given, box) for box in boxes],))


def _part(given: Image, box: Box) -> Image:
    return Image(each(given.frames, lambda frame: cropped(frame, *box)))


@node("ImageMergeTileList")
def image_merge_tile_list(call: Call) -> Output:
    """Tiles back into one picture, as they were split."""
    tiles = [checked(value, Image) for value in call.inputs["image_list"]]
    width, height = call.inputs["final_width"][0], call.inputs["final_height"][0]
    first = tiles[0]
    boxes = tile_boxes((width, height), (first.width, first.height), call.inputs["overlap"][0])
    placed = list(zip(tiles, boxes, strict=False))
    return Output((Image(tuple(_merged(placed, index, (width, height)) for index in range(first.batch))),))


def _merged(placed: list[tuple[Image, Box]], index: int, size: tuple[int, int]) -> Frame:
    channels = placed[0][0].channels
    parts = [with_channels(tile.frames[index % tile.batch], channels) for tile, _ in placed]

    def draw() -> Picture:
        whole = uniform(*size, (0.0,) * channels).image().copy()
        for part, (_, (left, top, _, _)) in zip(parts, placed, strict=True):
            whole.paste(part.image(), (left, top))
        return whole

    return Frame(*size, channels, draw, made_of=parts)


def tile_boxes(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Iterator[Box]:
    """Left, top, width and height of the tiles of a picture, row by row; those at the far edges are moved inside."""

    def along(length: int, part: int) -> list[int]:
        step = max(1, part - overlap)
        return [*range(0, length - part, step), length - part]

    width, height = max(1, min(tile[0], size[0])), max(1, min(tile[1], size[1]))
    columns = along(size[0], width)
    for top in along(size[1], height):
        for left in columns:
            yield left, top, width, height
