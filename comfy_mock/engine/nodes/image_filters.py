"""Nodes that change colours and sharpness."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import PIL.Image
import PIL.ImageChops
import PIL.ImageFilter

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import image
from comfy_mock.engine.nodes.frames import (
    Levels,
    Picture,
    broadcast,
    by_channel,
    clamp,
    combined,
    each,
    fitted,
    inverted,
    mapped,
    with_channels,
)
from comfy_mock.engine.values import Frame, Image

_DITHERS = {"none": PIL.Image.Dither.NONE}
_RGB = 3
_MIDDLE = 0.5
_QUARTER = 0.25


@node("ImageInvert")
def image_invert(call: Call) -> Output:
    """One minus every level."""
    return Output((Image(each(image(call, "image").frames, inverted)),))


@node("ImageBlend")
def image_blend(call: Call) -> Output:
    """Two pictures mixed by one of six modes; the second is brought to the first one's size and channels.

    Raises `RuntimeError` with torch's message for two batches of different lengths, neither of one.
    """
    first, second = image(call, "image1"), image(call, "image2")
    amount, mode = call.inputs["blend_factor"], call.inputs["blend_mode"]
    level = _LEVELS[mode]

    def alike(frame: Frame) -> Frame:
        return fitted(with_channels(frame, first.channels), first.width, first.height, "bicubic", "center")

    def mixed(one: float, other: float) -> float:
        return clamp(one * (1.0 - amount) + level(one, other) * amount)

    def drawn(one: Picture, other: Picture) -> Picture:
        if mode == "difference":
            # one - amount * other: a difference below nothing still darkens, so only the sum may be clamped
            part = other.point([round(level * amount) for level in range(256)] * len(other.getbands()))
            return PIL.ImageChops.subtract(one, part)
        return PIL.Image.blend(one, _PICTURES[mode](one, other), amount)

    pairs = zip(*broadcast(first.frames, each(second.frames, alike)), strict=True)
    return Output((Image(tuple(combined(one, other, drawn, mixed) for one, other in pairs)),))


def _overlay(one: float, other: float) -> float:
    return 2 * one * other if one <= _MIDDLE else 1 - 2 * (1 - one) * (1 - other)


def _soft_light(one: float, other: float) -> float:
    if other <= _MIDDLE:
        return one - (1 - 2 * other) * one * (1 - one)
    lifted = ((16 * one - 12) * one + 4) * one if one <= _QUARTER else math.sqrt(one)
    return one + (2 * other - 1) * (lifted - one)


_LEVELS: dict[str, Callable[[float, float], float]] = {
    "normal": lambda _, other: other,
    "multiply": lambda one, other: one * other,
    "screen": lambda one, other: 1 - (1 - one) * (1 - other),
    "overlay": _overlay,
    "soft_light": _soft_light,
    "difference": lambda one, other: one - other,
}
_PICTURES: dict[str, Callable[[Picture, Picture], Picture]] = {
    "normal": lambda _, other: other,
    "multiply": PIL.ImageChops.multiply,
    "screen": PIL.ImageChops.screen,
    "overlay": PIL.ImageChops.overlay,
    "soft_light": PIL.ImageChops.soft_light,
}


@node("ImageBlur", seconds=0.01)
def image_blur(call: Call) -> Output:
    """Gaussian blur. Raises `RuntimeError` with torch's message where the radius reaches over the picture."""
    given, radius, sigma = image(call, "image"), call.inputs["blur_radius"], call.inputs["sigma"]
    check_padding(given, radius)
    return Output((Image(each(given.frames, lambda frame: mapped(frame, _blurring(radius, sigma), _same))),))


@node("ImageSharpen", seconds=0.01)
def image_sharpen(call: Call) -> Output:
    """Unsharp mask. Raises as ImageBlur does."""
    given, radius, sigma = image(call, "image"), call.inputs["sharpen_radius"], call.inputs["sigma"]
    check_padding(given, radius)
    amount = round(call.inputs["alpha"] * 100)

    def sharpen(picture: Picture) -> Picture:
        return picture.filter(PIL.ImageFilter.UnsharpMask(min(sigma, radius), amount, 0))

    return Output((Image(each(given.frames, lambda frame: mapped(frame, sharpen, _same))),))


def check_padding(given: Image, radius: int) -> None:
    """Raise `RuntimeError` as torch does when a picture is to be mirrored at its edges further than it reaches."""
    shape = f"[{given.batch}, {given.channels}, {given.height}, {given.width}]"
    for length, argument, dimension in ((given.width, 4, 3), (given.height, 6, 2)):
        if radius >= length:
            raise RuntimeError(
                f"Argument #{argument}: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({radius}, {radius}) at dimension {dimension} of input {shape}"
            )


def _blurring(radius: int, sigma: float) -> Callable[[Picture], Picture]:
    def blur(picture: Picture) -> Picture:
        return by_channel(picture, lambda band: band.filter(PIL.ImageFilter.GaussianBlur(min(sigma, radius))))

    return blur


@node("ImageQuantize", seconds=0.01)
def image_quantize(call: Call) -> Output:
    """Fewer colours, dithered if asked for."""
    colors = call.inputs["colors"]
    dither = _DITHERS.get(call.inputs["dither"], PIL.Image.Dither.FLOYDSTEINBERG)

    def quantize(picture: Picture) -> Picture:
        palette = picture.quantize(colors=colors)
        return picture.quantize(colors=colors, palette=palette, dither=dither).convert("RGB")

    def changed(frame: Frame) -> Frame:
        return mapped(with_channels(frame, _RGB), quantize, _same)

    return Output((Image(each(image(call, "image").frames, changed)),))


@node("ImageAddNoise", seconds=0.01)
def image_add_noise(call: Call) -> Output:
    """Noise from a seed on every pixel."""
    given, strength = image(call, "image"), call.inputs["strength"]
    frames = [_noisy(frame, f"{call.inputs['seed']}/{place}", strength) for place, frame in enumerate(given.frames)]
    return Output((Image(tuple(frames) if strength else given.frames),))


def _noisy(frame: Frame, seed: str, strength: float) -> Frame:
    def draw(picture: Picture) -> Picture:
        size = frame.width * frame.height * frame.channels
        noise = PIL.Image.frombytes(picture.mode, picture.size, random.Random(seed).randbytes(size))
        centred = noise.point([round(128 + (level - 128) * strength) for level in range(256)] * frame.channels)
        return PIL.ImageChops.add(picture, centred, 1.0, -128)

    return mapped(frame, draw)


@node("AdjustBrightness")
def adjust_brightness(call: Call) -> Output:
    """All levels times a factor."""
    factor = call.inputs["factor"]
    return Output((_adjusted(image(call, "images"), lambda level: clamp(level * factor)),))


@node("AdjustContrast")
def adjust_contrast(call: Call) -> Output:
    """All levels further from or nearer to the middle."""
    factor = call.inputs["factor"]
    return Output((_adjusted(image(call, "images"), lambda level: clamp((level - _MIDDLE) * factor + _MIDDLE)),))


def _adjusted(given: Image, level: Callable[[float], float]) -> Image:
    def draw(picture: Picture) -> Picture:
        return picture.point([round(level(value / 255) * 255) for value in range(256)] * len(picture.getbands()))

    def levels(levels: Levels) -> Levels:
        return tuple(map(level, levels))

    return Image(each(given.frames, lambda frame: mapped(frame, draw, levels)))


@node("Canny", seconds=0.01)
def canny(call: Call) -> Output:
    """White edges on black."""

    def edges(picture: Picture) -> Picture:
        found = picture.convert("L").filter(PIL.ImageFilter.FIND_EDGES)
        threshold = round(call.inputs["low_threshold"] * 255)
        return found.point([255 if level > threshold else 0 for level in range(256)]).convert("RGB")

    def changed(frame: Frame) -> Frame:
        return mapped(with_channels(frame, _RGB), edges, lambda _: (0.0, 0.0, 0.0))

    return Output((Image(each(image(call, "image").frames, changed)),))


def _same(levels: Levels) -> Levels:
    return levels
