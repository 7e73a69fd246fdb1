"""Operations on frames that draw nothing until somebody looks.

Uniform pictures stay uniform where the result is exactly known. Sizes are in pixels, levels run from 0.0 to 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import PIL.Image
import PIL.ImageChops
import PIL.ImageOps

from comfy_mock.engine.media.opening import without_pixel_limit
from comfy_mock.engine.values import Frame, allocate

Levels = tuple[float, ...]
Picture = PIL.Image.Image

_T = TypeVar("_T")

_RESAMPLING = {
    "nearest-exact": PIL.Image.Resampling.NEAREST,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "area": PIL.Image.Resampling.BOX,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "bislerp": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}
_RGB = 3
_RGBA = 4


def check_shape(*shape: int) -> None:
    """Raise `RuntimeError` as torch does when a tensor of this shape is to be made and a size is negative."""
    negative = next((length for length in shape if length < 0), None)
    if negative is not None:
        raise RuntimeError(f"Trying to create tensor with negative dimension {negative}: {list(shape)}")


def uniform(width: int, height: int, levels: Levels) -> Frame:
    """A frame of one colour."""
    return Frame(width, height, len(levels), fill=levels)


def mapped(
    frame: Frame,
    draw: Callable[[Picture], Picture],
    levels: Callable[[Levels], Levels] | None = None,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Frame:
    """What `draw` makes of a frame; with `levels`, a uniform frame becomes the uniform one of these levels."""
    width, height = size or (frame.width, frame.height)
    if levels is not None and frame.fill is not None:
        return uniform(width, height, levels(frame.fill))
    return Frame(width, height, channels or frame.channels, lambda: draw(frame.image()), made_of=(frame,))


def inverted(frame: Frame) -> Frame:
    """One minus every level, the alpha channel's too."""
    return mapped(frame, _invert, lambda levels: tuple(1.0 - level for level in levels))


def resized(frame: Frame, width: int, height: int, method: str) -> Frame:
    """The frame at another size, by one of the methods of ComfyUI's `upscale_method`; channels do not mix.

    Raises `RuntimeError` with torch's message for a size of nothing.
    """
    if width < 1 or height < 1:
        sizes = f"input (H: {frame.height}, W: {frame.width}) output (H: {height}, W: {width})"
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got {sizes}")
    if (width, height) == (frame.width, frame.height):
        return frame
    return mapped(frame, lambda picture: _resize(picture, width, height, method), _same, size=(width, height))


def fitted(frame: Frame, width: int, height: int, method: str, crop: str) -> Frame:
    """The frame at another size; with `crop` "center" its middle part of the new shape is what is scaled."""
    if crop == "center" and frame.width * height != frame.height * width:
        left, top = 0, 0
        if frame.width * height > frame.height * width:
            left = round((frame.width - frame.width * (width / height) / (frame.width / frame.height)) / 2)
        else:
            top = round((frame.height - frame.height * (frame.width / frame.height) / (width / height)) / 2)
        frame = cropped(frame, left, top, frame.width - 2 * left, frame.height - 2 * top)
    return resized(frame, width, height, method)


def cropped(frame: Frame, left: int, top: int, width: int, height: int) -> Frame:
    """A part of the frame."""
    if (left, top, width, height) == (0, 0, frame.width, frame.height):
        return frame
    box = (left, top, left + width, top + height)

    def draw(picture: Picture) -> Picture:
        # Pillow looks at the size of what is cut out as if it came from a file.
        with without_pixel_limit():
            return picture.crop(box)

    return mapped(frame, draw, _same, size=(width, height))


def flipped(frame: Frame, method: str) -> Frame:
    """Upside down for methods that start with x, mirrored for those that start with y, as `flip_method` says."""
    if method.startswith("x"):
        return mapped(frame, PIL.ImageOps.flip, _same)
    if method.startswith("y"):
        return mapped(frame, PIL.ImageOps.mirror, _same)
    return frame


def quarter_turns(rotation: str) -> int:
    """The clockwise quarter turns of ComfyUI's `rotation` choices."""
    return {"90": 1, "180": 2, "270": 3}.get(rotation.split(" ")[0], 0)


def turned(frame: Frame, quarters: int) -> Frame:
    """The frame turned clockwise by quarters."""
    if quarters == 0:
        return frame
    turn = (
        PIL.Image.Transpose.ROTATE_270,
        PIL.Image.Transpose.ROTATE_180,
        PIL.Image.Transpose.ROTATE_90,
    )[quarters - 1]
    size = (frame.height, frame.width) if quarters % 2 else (frame.width, frame.height)
    return mapped(frame, lambda picture: picture.transpose(turn), _same, size=size)


def with_channels(frame: Frame, channels: int) -> Frame:
    """The frame with 3 or 4 channels: a missing alpha is opaque, a surplus one is dropped, grey is spread."""
    if frame.channels == channels:
        return frame
    mode = "RGBA" if channels == _RGBA else "RGB"

    def levels(levels: Levels) -> Levels:
        colour = levels * _RGB if len(levels) == 1 else levels[:_RGB]
        return (*colour, 1.0) if channels == _RGBA else colour

    return mapped(frame, lambda picture: picture.convert(mode), levels, channels=channels)


def channel(frame: Frame, index: int) -> Frame:
    """One channel, as a one-channel frame."""
    return mapped(frame, lambda picture: picture.getchannel(index), lambda levels: (levels[index],), channels=1)


def with_alpha(colour: Frame, alpha: Frame) -> Frame:
    """The colours of one frame and, as their alpha channel, another one-channel frame of the same size."""
    colour = with_channels(colour, _RGB)
    if colour.fill is not None and alpha.fill is not None:
        return uniform(colour.width, colour.height, (*colour.fill, *alpha.fill))

    def draw() -> Picture:
        picture = colour.image().copy()
        picture.putalpha(alpha.image())
        return picture

    return Frame(colour.width, colour.height, _RGBA, draw, made_of=(colour, alpha))


def combined(
    first: Frame,
    second: Frame,
    draw: Callable[[Picture, Picture], Picture],
    level: Callable[[float, float], float] | None = None,
) -> Frame:
    """What `draw` makes of two frames of one size and number of channels; `level` does the same for single levels."""
    if level is not None and first.fill is not None and second.fill is not None:
        return uniform(first.width, first.height, tuple(map(level, first.fill, second.fill)))
    return Frame(
        first.width, first.height, first.channels, lambda: draw(first.image(), second.image()), made_of=(first, second)
    )


def pasted(base: Frame, over: Frame, left: int, top: int, mask: Frame | None = None) -> Frame:
    """`base` with `over` laid on it, at a place that may lie partly or wholly outside.

    `over` has the channels of `base`; `mask`, of the size of `over`, says how much of it shows.
    """
    covers = left <= 0 and top <= 0 and left + over.width >= base.width and top + over.height >= base.height
    opacity = 1.0 if mask is None else (mask.fill[0] if mask.fill is not None else None)
    if base.fill is not None and over.fill is not None and opacity is not None and (covers or base.fill == over.fill):
        levels = tuple(under + (on - under) * opacity for under, on in zip(base.fill, over.fill, strict=True))
        return uniform(base.width, base.height, levels)

    def draw() -> Picture:
        picture = base.image().copy()
        picture.paste(over.image(), (left, top), None if mask is None else mask.image())
        return picture

    made_of = (base, over) if mask is None else (base, over, mask)
    return Frame(base.width, base.height, base.channels, draw, made_of=made_of)


def faded(first: Frame, second: Frame, amount: float) -> Frame:
    """`first` with `amount` (0.0 to 1.0) of `second` in it; both of one size and number of channels."""
    return combined(
        first,
        second,
        lambda one, other: PIL.Image.blend(one, other, amount),
        lambda one, other: one * (1.0 - amount) + other * amount,
    )


def by_channel(picture: Picture, change: Callable[[Picture], Picture]) -> Picture:
    """`change` done to every channel alone, so that alpha does not touch the colours."""
    if picture.mode == "L":
        return change(picture)
    return PIL.Image.merge(picture.mode, [change(band) for band in picture.split()])


def each(frames: Sequence[Frame], change: Callable[[Frame], Frame]) -> tuple[Frame, ...]:
    """`change` done to every frame of a batch; a frame that stands in it twice is changed, and later drawn, once."""
    done: dict[int, Frame] = {}
    for frame in frames:
        if id(frame) not in done:
            done[id(frame)] = change(frame)
    return tuple(done[id(frame)] for frame in frames)


def repeated(frames: Sequence[_T], length: int) -> tuple[_T, ...]:
    """A batch brought to a length: cut, or begun again as often as it takes."""
    allocate(length, 1, 1, 1)
    return tuple(frames[index % len(frames)] for index in range(length))


def broadcast(first: Sequence[_T], second: Sequence[_T]) -> tuple[tuple[_T, ...], tuple[_T, ...]]:
    """Two batches brought to one length as tensors are: only a batch of one is repeated.

    Raises `RuntimeError` with torch's message for other lengths.
    """
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise RuntimeError(size_mismatch(len(first), len(second), 0))
    length = len(second) if len(first) == 1 else len(first)
    return repeated(first, length), repeated(second, length)


def size_mismatch(first: int, second: int, dimension: int) -> str:
    """What torch says of two tensors whose sizes differ in a dimension."""
    return (
        f"The size of tensor a ({first}) must match the size of tensor b ({second}) "
        f"at non-singleton dimension {dimension}"
    )


def clamp(level: float) -> float:
    """A level brought into 0.0 to 1.0."""
    return min(max(level, 0.0), 1.0)


def _same(levels: Levels) -> Levels:
    return levels


def _invert(picture: Picture) -> Picture:
    return by_channel(picture, PIL.ImageChops.invert)


def _resize(picture: Picture, width: int, height: int, method: str) -> Picture:
    # Pillow weighs colours by alpha when it resizes RGBA; tensors know no alpha.
    return by_channel(picture, lambda band: band.resize((width, height), _RESAMPLING[method]))
