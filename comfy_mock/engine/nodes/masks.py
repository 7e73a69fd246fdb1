"""Nodes that make, change and convert masks."""

from __future__ import annotations

from collections.abc import Callable

import PIL.Image
import PIL.ImageChops
import PIL.ImageFilter

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import checked, grown, image, mask
from comfy_mock.engine.nodes.frames import (
    Picture,
    broadcast,
    channel,
    check_shape,
    clamp,
    combined,
    cropped,
    each,
    fitted,
    inverted,
    mapped,
    pasted,
    uniform,
)
from comfy_mock.engine.values import Frame, Image, Mask

_CHANNELS = ("red", "green", "blue", "alpha")
_RGB = 3
_HALF = 0.5


@node("SolidMask")
def solid_mask(call: Call) -> Output:
    """One level everywhere."""
    width, height = call.inputs["width"], call.inputs["height"]
    check_shape(1, height, width)
    return Output((Mask((uniform(width, height, (call.inputs["value"],)),)),))


@node("InvertMask")
def invert_mask(call: Call) -> Output:
    """One minus every level."""
    return Output((Mask(each(mask(call, "mask").frames, inverted)),))


@node("CropMask")
def crop_mask(call: Call) -> Output:
    """A part, as far as the mask reaches; nothing where it does not."""
    given = mask(call, "mask")
    left, top = min(call.inputs["x"], given.width), min(call.inputs["y"], given.height)
    width, height = min(call.inputs["width"], given.width - left), min(call.inputs["height"], given.height - top)
    return Output((Mask(each(given.frames, lambda frame: cropped(frame, left, top, width, height))),))


@node("ThresholdMask")
def threshold_mask(call: Call) -> Output:
    """Set where the level is above the threshold."""
    threshold = call.inputs["value"]
    table = [255 if level / 255 > threshold else 0 for level in range(256)]

    def changed(frame: Frame) -> Frame:
        return mapped(frame, lambda picture: picture.point(table), lambda levels: (float(levels[0] > threshold),))

    return Output((Mask(each(mask(call, "mask").frames, changed)),))


@node("GrowMask")
def grow_mask(call: Call) -> Output:
    """Wider by some pixels, or narrower where they are negative; tapered corners leave out the diagonals."""
    given, expand = mask(call, "mask"), call.inputs["expand"]
    tapered = call.inputs["tapered_corners"]
    # After as many rounds as the mask is long every pixel has seen every other.
    rounds = min(abs(expand), max(given.width, given.height))
    higher = expand > 0

    def grow(picture: Picture) -> Picture:
        for _ in range(rounds):
            picture = _grown_cross(picture, higher) if tapered else _grown_square(picture, higher)
        return picture

    return Output((Mask(each(given.frames, lambda frame: mapped(frame, grow, lambda levels: levels))),))


def _grown_square(picture: Picture, higher: bool) -> Picture:
    return picture.filter(PIL.ImageFilter.MaxFilter(3) if higher else PIL.ImageFilter.MinFilter(3))


def _grown_cross(picture: Picture, higher: bool) -> Picture:
    choose = PIL.ImageChops.lighter if higher else PIL.ImageChops.darker
    result = picture
    for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        moved = picture.copy()
        moved.paste(picture, (across, down))
        result = choose(result, moved)
    return result


@node("FeatherMask")
def feather_mask(call: Call) -> Output:
    """Fading to nothing towards the four edges, over so many pixels each."""
    given = mask(call, "mask")
    left, top, right, bottom = (call.inputs[side] for side in ("left", "top", "right", "bottom"))
    if not any((left, top, right, bottom)):
        return Output((given,))

    def ramp(length: int, before: int, after: int) -> list[int]:
        before, after = min(length, before), min(length, after)
        levels = [1.0] * length
        for at in range(before):
            levels[at] *= (at + 1) / before
        for at in range(after):
            levels[-1 - at] *= (at + 1) / after
        return [round(level * 255) for level in levels]

    def fade(picture: Picture) -> Picture:
        width, height = picture.size
        across, down = PIL.Image.new("L", (width, 1)), PIL.Image.new("L", (1, height))
        across.putdata(ramp(width, left, right))
        down.putdata(ramp(height, top, bottom))
        for edge in (across, down):
            picture = PIL.ImageChops.multiply(picture, edge.resize((width, height), PIL.Image.Resampling.NEAREST))
        return picture

    return Output((Mask(each(given.frames, lambda frame: mapped(frame, fade))),))


@node("MaskComposite")
def mask_composite(call: Call) -> Output:
    """One mask on another, at a place, by an operation.

    Raises `RuntimeError` with torch's message where the source has more masks than the destination.
    """
    destination, source = mask(call, "destination"), mask(call, "source")
    left, top = call.inputs["x"], call.inputs["y"]
    level, draw = _OPERATIONS[call.inputs["operation"]]
    width = min(source.width, destination.width - left)
    height = min(source.height, destination.height - top)
    if width <= 0 or height <= 0:
        return Output((destination,))
    bases, parts = broadcast(destination.frames, source.frames)
    if len(bases) != destination.batch:
        raise RuntimeError(_no_room(destination.batch, len(bases), height, width))

    def composed(base: Frame, part: Frame) -> Frame:
        over, under = cropped(part, 0, 0, width, height), cropped(base, left, top, width, height)
        return pasted(base, combined(under, over, draw, level), left, top)

    return Output((Mask(tuple(map(composed, bases, parts))),))


def _no_room(target: int, existing: int, height: int, width: int) -> str:
    return (
        f"The expanded size of the tensor ({target}) must match the existing size ({existing}) at non-singleton "
        f"dimension 0.  Target sizes: [{target}, {height}, {width}].  Tensor sizes: [{existing}, {height}, {width}]"
    )


def _binary(
    decide: Callable[[bool, bool], bool], draw: Callable[[Picture, Picture], Picture]
) -> tuple[Callable[[float, float], float], Callable[[Picture, Picture], Picture]]:
    table = [255 if level > 255 * _HALF else 0 for level in range(256)]
    return (
        lambda one, other: float(decide(one > _HALF, other > _HALF)),
        lambda one, other: draw(one.point(table), other.point(table)),
    )


_OPERATIONS: dict[str, tuple[Callable[[float, float], float], Callable[[Picture, Picture], Picture]]] = {
    "multiply": (lambda one, other: one * other, PIL.ImageChops.multiply),
    "add": (lambda one, other: clamp(one + other), PIL.ImageChops.add),
    "subtract": (lambda one, other: clamp(one - other), PIL.ImageChops.subtract),
    "and": _binary(lambda one, other: one and other, PIL.ImageChops.darker),
    "or": _binary(lambda one, other: one or other, PIL.ImageChops.lighter),
    "xor": _binary(lambda one, other: one != other, PIL.ImageChops.difference),
}


@node("BatchMasksNode")
def batch_masks(call: Call) -> Output:
    """All batches in one, in the size of the first."""
    masks = [checked(value, Mask) for value in grown(call, "masks")]
    width, height = masks[0].width, masks[0].height

    def alike(frame: Frame) -> Frame:
        return fitted(frame, width, height, "bilinear", "center")

    return Output((Mask(tuple(frame for one in masks for frame in each(one.frames, alike))),))


@node("MaskToImage")
def mask_to_image(call: Call) -> Output:
    """The mask as grey picture."""

    def grey(frame: Frame) -> Frame:
        return mapped(frame, lambda picture: picture.convert("RGB"), lambda levels: levels * _RGB, channels=_RGB)

    return Output((Image(each(mask(call, "mask").frames, grey)),))


@node("ImageToMask")
def image_to_mask(call: Call) -> Output:
    """One channel as a mask. Raises `IndexError` with torch's message for the alpha of a picture without."""
    given, index = image(call, "image"), _CHANNELS.index(call.inputs["channel"])
    if index >= given.channels:
        raise IndexError(f"index {index} is out of bounds for dimension 3 with size {given.channels}")
    return Output((Mask(each(given.frames, lambda frame: channel(frame, index))),))


@node("ImageColorToMask")
def image_color_to_mask(call: Call) -> Output:
    """Set where the picture has exactly the colour, given as 0xRRGGBB."""
    color = call.inputs["color"]
    wanted = tuple((color >> shift) & 0xFF for shift in (16, 8, 0))

    def draw(picture: Picture) -> Picture:
        found = PIL.Image.new("L", picture.size, 255)
        for band, value in zip(picture.split(), wanted, strict=False):
            found = PIL.ImageChops.darker(found, band.point([255 if level == value else 0 for level in range(256)]))
        return found

    def levels(levels: tuple[float, ...]) -> tuple[float, ...]:
        return (float(tuple(round(clamp(level) * 255) for level in levels[:_RGB]) == wanted),)

    return Output((Mask(each(image(call, "image").frames, lambda frame: mapped(frame, draw, levels, channels=1))),))
