"""Nodes that reckon with latents and change their shape.

The numbers of an untouched latent are known and reckoned with. Of a sampled one only its subject is, and of an encoded
one its picture: they go with the latent through all changes of shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import latent, mask
from comfy_mock.engine.nodes.frames import (
    cropped,
    each,
    fitted,
    flipped,
    quarter_turns,
    size_mismatch,
    turned,
)
from comfy_mock.engine.nodes.image_sizes import wanted_size
from comfy_mock.engine.nodes.images import unequal_sizes
from comfy_mock.engine.values import Frame, Image, Latent

_CELL = 8
_SMALLEST = 64


def reshaped(given: Latent, width: int, height: int, change: Callable[[Frame], Frame]) -> Latent:
    """The latent at another size in cells; `change` does the same to the frames of the picture it came from."""
    image = Image(each(given.image.frames, change)) if given.image else None
    return replace(given, width=width, height=height, image=image)


def resized(given: Latent, width: int, height: int, method: str = "bilinear", crop: str = "disabled") -> Latent:
    """The latent scaled to a size in cells."""
    if (width, height) == (given.width, given.height):
        return given
    pixels = (width * given.downscale, height * given.downscale)
    return reshaped(given, width, height, lambda frame: fitted(frame, *pixels, method, crop))


def alike(given: Latent, other: Latent, method: str = "bilinear") -> Latent:
    """The latent scaled to fill the size of another one."""
    return resized(given, other.width, other.height, method, "center")


def reckoned(one: Latent, other: Latent, level: Callable[[float, float], float]) -> Latent:
    """The first latent with the number that `level` makes of both; unknown where one of them is.

    Raises `RuntimeError` with torch's message for latents of different models.
    """
    if one.channels != other.channels:
        raise RuntimeError(size_mismatch(one.channels, other.channels, 1))
    if one.fill is not None and other.fill is not None:
        return replace(one, fill=level(one.fill, other.fill))
    seen = one if one.fill is None else other
    return replace(one, fill=None, subject=seen.subject, image=seen.image)


@node("LatentAdd")
def latent_add(call: Call) -> Output:
    """The sum."""
    one, other = latent(call, "samples1"), latent(call, "samples2")
    return Output((reckoned(one, alike(other, one), lambda first, second: first + second),))


@node("LatentSubtract")
def latent_subtract(call: Call) -> Output:
    """The difference."""
    one, other = latent(call, "samples1"), latent(call, "samples2")
    return Output((reckoned(one, alike(other, one), lambda first, second: first - second),))


@node("LatentMultiply")
def latent_multiply(call: Call) -> Output:
    """All numbers times a factor."""
    given = latent(call, "samples")
    return Output((replace(given, fill=None if given.fill is None else given.fill * call.inputs["multiplier"]),))


@node("LatentInterpolate")
def latent_interpolate(call: Call) -> Output:
    """Between the directions of two latents and between their lengths."""
    one, other = latent(call, "samples1"), latent(call, "samples2")
    ratio: float = call.inputs["ratio"]

    def level(first: float, second: float) -> float:
        direction = _sign(_sign(first) * ratio + _sign(second) * (1 - ratio))
        return direction * (abs(first) * ratio + abs(second) * (1 - ratio))

    return Output((reckoned(one, alike(other, one), level),))


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


@node("LatentBlend")
def latent_blend(call: Call) -> Output:
    """So much of the first, the rest of the second.

    Raises `RuntimeError` with torch's message for two batches of different lengths, neither of one.
    """
    one, other = latent(call, "samples1"), latent(call, "samples2")
    factor = call.inputs["blend_factor"]
    if one.batch != other.batch and 1 not in (one.batch, other.batch):
        raise RuntimeError(size_mismatch(one.batch, other.batch, 0))
    blended = reckoned(one, alike(other, one, "bicubic"), lambda first, second: first * factor + second * (1 - factor))
    return Output((replace(blended, batch=max(one.batch, other.batch)),))


@node("LatentConcat")
def latent_concat(call: Call) -> Output:
    """Side by side, one above the other, or one after the other; a leading minus puts the second first.

    Raises `RuntimeError` with torch's message where the other sizes differ.
    """
    one, other = latent(call, "samples1"), latent(call, "samples2")
    dim = call.inputs["dim"]
    pair = (other, one) if dim.startswith("-") else (one, other)
    axis = _axis(one, dim)
    shapes = [one_of_two.shape[1:] for one_of_two in pair]
    for place, (expected, got) in enumerate(zip(*shapes, strict=True), start=1):
        if place != axis and expected != got:
            raise RuntimeError(unequal_sizes(axis, expected, got, 1))
    length = shapes[0][axis - 1] + shapes[1][axis - 1]
    return Output((with_length(replace(one, image=None), axis, length),))


def _axis(given: Latent, dim: str) -> int:
    """The dimension of the tensor that is meant by x, y or t; without frames the channels stand where t would."""
    return len(given.shape) - {"x": 1, "y": 2, "t": 3}[dim[-1]]


def with_length(given: Latent, axis: int, length: int) -> Latent:
    """The latent with another size in one dimension of its tensor."""
    from_end = len(given.shape) - axis
    if from_end == 1:
        return replace(given, width=length)
    if from_end == 2:
        return replace(given, height=length)
    return replace(given, channels=length) if given.frames is None else replace(given, frames=length)


@node("LatentCut")
def latent_cut(call: Call) -> Output:
    """A stretch along one dimension, as far as the latent reaches."""
    given = latent(call, "samples")
    axis = _axis(given, call.inputs["dim"])
    length, index = given.shape[axis], call.inputs["index"]
    rest = length - min(index, length - 1) if index >= 0 else min(-index, length)
    return Output((with_length(replace(given, image=None), axis, min(rest, call.inputs["amount"])),))


@node("LatentCutToBatch")
def latent_cut_to_batch(call: Call) -> Output:
    """Slices along one dimension, as a batch; what does not fill a slice is lost."""
    given = latent(call, "samples")
    axis = _axis(given, call.inputs["dim"])
    length = given.shape[axis]
    size = min(call.inputs["slice_size"], length)
    sliced = with_length(replace(given, image=None), axis, size)
    return Output((replace(sliced, batch=given.batch * (length // size)),))


@node("LatentFlip")
def latent_flip(call: Call) -> Output:
    """Upside down or mirrored."""
    given, method = latent(call, "samples"), call.inputs["flip_method"]
    return Output((reshaped(given, given.width, given.height, lambda frame: flipped(frame, method)),))


@node("LatentRotate")
def latent_rotate(call: Call) -> Output:
    """Clockwise by quarters."""
    given, quarters = latent(call, "samples"), quarter_turns(call.inputs["rotation"])
    size = (given.height, given.width) if quarters % 2 else (given.width, given.height)
    return Output((reshaped(given, *size, lambda frame: turned(frame, quarters)),))


@node("LatentCrop")
def latent_crop(call: Call) -> Output:
    """A part, given in pixels, as far as the latent reaches: at least 64 pixels."""
    given = latent(call, "samples")
    left = max(0, min(call.inputs["x"] // _CELL, given.width - _SMALLEST // _CELL))
    top = max(0, min(call.inputs["y"] // _CELL, given.height - _SMALLEST // _CELL))
    width = min(call.inputs["width"] // _CELL, given.width - left)
    height = min(call.inputs["height"] // _CELL, given.height - top)
    box = tuple(side * given.downscale for side in (left, top, width, height))
    return Output((reshaped(given, width, height, lambda frame: cropped(frame, *box)),))


@node("LatentUpscale")
def latent_upscale(call: Call) -> Output:
    """To a size in pixels, each side of at least 64; 0 means in proportion, and twice 0 as it is."""
    given = latent(call, "samples")
    width, height = call.inputs["width"], call.inputs["height"]
    if width == 0 and height == 0:
        return Output((given,))
    floor = (max(_SMALLEST, width) if width else 0, max(_SMALLEST, height) if height else 0)
    pixels = [max(_SMALLEST, side) for side in wanted_size((given.width, given.height), *floor)]
    size = (pixels[0] // _CELL, pixels[1] // _CELL)
    return Output((resized(given, *size, call.inputs["upscale_method"], call.inputs["crop"]),))


@node("LatentUpscaleBy")
def latent_upscale_by(call: Call) -> Output:
    """By a factor."""
    given, factor = latent(call, "samples"), call.inputs["scale_by"]
    size = (round(given.width * factor), round(given.height * factor))
    return Output((resized(given, *size, call.inputs["upscale_method"]),))


@node("SetLatentNoiseMask")
def set_latent_noise_mask(call: Call) -> Output:
    """The latent with a mask that says where samplers may change it."""
    return Output((replace(latent(call, "samples"), noise_mask=mask(call, "mask")),))


@node("LatentComposite")
def latent_composite(call: Call) -> Output:
    """One latent laid on another, at a place in pixels."""
    return Output((_composite(latent(call, "samples_to"), latent(call, "samples_from")),))


@node("LatentCompositeMasked")
def latent_composite_masked(call: Call) -> Output:
    """One latent laid on another. Where its mask is set makes no difference to what is known of the result."""
    return Output((_composite(latent(call, "destination"), latent(call, "source")),))


def _composite(base: Latent, over: Latent) -> Latent:
    """Only latents of one number stay known; else what a sampler has been at is what will be seen."""
    if base.fill is not None and base.fill == over.fill:
        return base
    seen = base if base.fill is None else over
    return replace(base, fill=None, subject=seen.subject, image=base.image)
