"""PorterDuffImageComposite: two pictures with alpha laid over each other by one of the classic operators.

The formulas work on premultiplied levels, which are numbers for uniform pictures and planes for all others.
"""

from __future__ import annotations

from typing import Any

import PIL.Image
import PIL.ImageChops

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import image, mask
from comfy_mock.engine.nodes.frames import (
    Levels,
    Picture,
    channel,
    clamp,
    fitted,
    inverted,
    resized,
    uniform,
    with_channels,
)
from comfy_mock.engine.values import Frame, Image, Mask

_RGB = 3
_NOTHING = 1e-5


class _Plane:
    """A one-channel picture that can be added and multiplied as the number of a uniform one can."""

    __slots__ = ("picture",)

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __add__(self, other: _Plane) -> _Plane:
        return _Plane(PIL.ImageChops.add(self.picture, other.picture))

    def __sub__(self, other: _Plane) -> _Plane:
        return _Plane(PIL.ImageChops.subtract(self.picture, other.picture))

    def __mul__(self, other: _Plane) -> _Plane:
        return _Plane(PIL.ImageChops.multiply(self.picture, other.picture))


_Level = Any
"""A number or a plane; one formula never mixes them."""


def _rest(level: _Level) -> _Level:
    return _Plane(PIL.ImageChops.invert(level.picture)) if isinstance(level, _Plane) else 1.0 - level


def _lower(one: _Level, other: _Level) -> _Level:
    return _Plane(PIL.ImageChops.darker(one.picture, other.picture)) if isinstance(one, _Plane) else min(one, other)


def _higher(one: _Level, other: _Level) -> _Level:
    return _Plane(PIL.ImageChops.lighter(one.picture, other.picture)) if isinstance(one, _Plane) else max(one, other)


def _union(one: _Level, other: _Level) -> _Level:
    return one + _rest(one) * other


def _overlay(src: _Level, dst: _Level, src_alpha: _Level, dst_alpha: _Level) -> _Level:
    dark = src * dst + src * dst
    hidden = (dst_alpha - dst) * (src_alpha - src)
    light = src_alpha * dst_alpha - hidden - hidden
    if not isinstance(dst, _Plane):
        return dark if 2 * dst < dst_alpha else light
    is_dark = PIL.ImageChops.subtract(dst_alpha.picture, (dst + dst).picture).point([0] + [255] * 255)
    return _Plane(PIL.Image.composite(dark.picture, light.picture, is_dark))


# What is left of the source and of the destination: none, all, the part inside the other one or outside of it.
_SHARES = {
    "ADD": ("all", "all"),
    "CLEAR": ("none", "none"),
    "DST": ("none", "all"),
    "DST_ATOP": ("out", "in"),
    "DST_IN": ("none", "in"),
    "DST_OUT": ("none", "out"),
    "DST_OVER": ("out", "all"),
    "SRC": ("all", "none"),
    "SRC_ATOP": ("in", "out"),
    "SRC_IN": ("in", "none"),
    "SRC_OUT": ("out", "none"),
    "SRC_OVER": ("all", "out"),
    "XOR": ("out", "out"),
}


def _share(level: _Level, other_alpha: _Level, kind: str) -> _Level:
    if kind == "all":
        return level
    if kind == "in":
        return level * other_alpha
    return level * _rest(other_alpha) if kind == "out" else level - level


def _colour(mode: str, src: _Level, dst: _Level, src_alpha: _Level, dst_alpha: _Level) -> _Level:
    if mode in _SHARES:
        of_source, of_destination = _SHARES[mode]
        return _share(src, dst_alpha, of_source) + _share(dst, src_alpha, of_destination)
    if mode in ("DARKEN", "LIGHTEN"):
        both = _lower(src, dst) if mode == "DARKEN" else _higher(src, dst)
        return _rest(dst_alpha) * src + _rest(src_alpha) * dst + both
    if mode == "MULTIPLY":
        return src * dst
    return _union(src, dst) if mode == "SCREEN" else _overlay(src, dst, src_alpha, dst_alpha)


def _alpha(mode: str, src_alpha: _Level, dst_alpha: _Level) -> _Level:
    if mode in _SHARES:
        return _colour(mode, src_alpha, dst_alpha, src_alpha, dst_alpha)
    return src_alpha * dst_alpha if mode == "MULTIPLY" else _union(src_alpha, dst_alpha)


@node("PorterDuffImageComposite", seconds=0.01)
def porter_duff_image_composite(call: Call) -> Output:
    """Source over, in, out of … destination; the masks are transparencies, and the shortest batch counts."""
    source, destination = image(call, "source"), image(call, "destination")
    over, under = mask(call, "source_alpha"), mask(call, "destination_alpha")
    length = min(source.batch, destination.batch, over.batch, under.batch)
    width, height = destination.width, destination.height
    images, masks = [], []
    for index in range(length):
        colours = with_channels(destination.frames[index], _RGB)
        laid = fitted(with_channels(source.frames[index], _RGB), width, height, "bicubic", "center")
        alphas = [inverted(resized(one.frames[index], width, height, "bicubic")) for one in (over, under)]
        result, alpha = _composited(call.inputs["mode"], laid, colours, alphas)
        images.append(result)
        masks.append(inverted(alpha))
    return Output((Image(tuple(images)), Mask(tuple(masks))))


def _composited(mode: str, source: Frame, destination: Frame, alphas: list[Frame]) -> tuple[Frame, Frame]:
    width, height = destination.width, destination.height
    fills = [frame.fill for frame in (source, destination, *alphas) if frame.fill is not None]
    if len(fills) == len(alphas) + 2:
        levels = _composited_levels(mode, *fills)
        return uniform(width, height, levels[:_RGB]), uniform(width, height, levels[_RGB:])

    def draw() -> Picture:
        src_alpha, dst_alpha = (_Plane(frame.image()) for frame in alphas)
        bands = []
        for over, under in zip(source.image().split(), destination.image().split(), strict=True):
            src, dst = _Plane(over) * src_alpha, _Plane(under) * dst_alpha
            bands.append(_colour(mode, src, dst, src_alpha, dst_alpha).picture)
        premultiplied = PIL.Image.merge("RGBa", [*bands, _alpha(mode, src_alpha, dst_alpha).picture])
        return premultiplied.convert("RGBA")

    whole = Frame(width, height, _RGB + 1, draw, made_of=(source, destination, *alphas))
    return with_channels(whole, _RGB), channel(whole, _RGB)


def _composited_levels(mode: str, source: Levels, destination: Levels, over: Levels, under: Levels) -> Levels:
    src_alpha, dst_alpha = over[0], under[0]
    alpha = clamp(_alpha(mode, src_alpha, dst_alpha))
    levels = []
    for src, dst in zip(source, destination, strict=True):
        level = _colour(mode, src * src_alpha, dst * dst_alpha, src_alpha, dst_alpha)
        levels.append(clamp(level / alpha) if alpha > _NOTHING else 0.0)
    return (*levels, alpha)
