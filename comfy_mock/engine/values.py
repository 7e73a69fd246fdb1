"""What flows along the links of a prompt: values with sizes, batches and pixels, but no tensors.

A picture is drawn when somebody looks at it, so a run that nobody looks at costs no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import PIL.Image

Draw = Callable[[], PIL.Image.Image]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

_DEPTH_MAX = 100

TENSOR_BYTES_MAX = 2**35
FRAMES_MAX = 2**18
"""What one value may hold: more than the simulated machine's memory cannot be had there either."""


def allocate(batch: int, width: int, height: int, channels: int) -> None:
    """Raise as torch does on the CPU when a tensor of this shape does not fit into memory."""
    size = 4 * batch * width * height * channels
    if size > TENSOR_BYTES_MAX or batch > FRAMES_MAX:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            f"you tried to allocate {size} bytes. Error code 12 (Cannot allocate memory)"
        )


class Frame:
    """One picture of `width` x `height` pixels and 1, 3 or 4 channels, drawn on first use.

    `fill` is the value of every pixel (0.0 to 1.0 per channel) of a uniform picture, and None otherwise. `made_of` are
    the frames that `draw` looks at: those at the end of a long chain are drawn at once, since drawing goes down the
    chain by recursion. With `kept` false a picture is drawn anew whenever it is looked at, and takes no memory.
    """

    __slots__ = ("_depth", "_draw", "_image", "_kept", "channels", "fill", "height", "width")

    def __init__(
        self,
        width: int,
        height: int,
        channels: int,
        draw: Draw | None = None,
        *,
        fill: tuple[float, ...] | None = None,
        made_of: Sequence[Frame] = (),
        kept: bool = True,
    ) -> None:
        if (draw is None) == (fill is None):
            raise TypeError("a Frame has either a function that draws it or a fill")
        self.width, self.height, self.channels, self.fill = width, height, channels, fill
        for frame in made_of:
            if frame._depth >= _DEPTH_MAX:
                frame.image()
        self._depth: int = 1 + max((frame._depth for frame in made_of), default=0)
        self._draw = draw
        self._kept = kept
        self._image: PIL.Image.Image | None = None

    def image(self) -> PIL.Image.Image:
        """The picture, in mode L, RGB or RGBA. Shared, by threads too: callers must not change it in place.

        Two threads that look at once may both draw it; their pictures are equal.
        """
        # Read in this order: where another thread takes `_draw` away, it has put `_image` there before.
        draw, image = self._draw, self._image
        if image is not None:
            return image
        mode = _MODES[self.channels]
        if draw is None:
            assert self.fill is not None
            levels = tuple(round(min(max(level, 0.0), 1.0) * 255) for level in self.fill)
            image = PIL.Image.new(mode, (self.width, self.height), levels if len(levels) > 1 else levels[0])
        else:
            image = draw()
            image = image if image.mode == mode else image.convert(mode)
        if self._kept:
            self._image = image
            self._draw = None
            self._depth = 0
        return image


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A value of type IMAGE: a batch of pictures of one size, with 3 or 4 channels."""

    frames: tuple[Frame, ...]

    def __post_init__(self) -> None:
        allocate(self.batch, self.width, self.height, self.channels)

    @property
    def width(self) -> int:
        return self.frames[0].width if self.frames else 0

    @property
    def height(self) -> int:
        return self.frames[0].height if self.frames else 0

    @property
    def channels(self) -> int:
        return self.frames[0].channels if self.frames else 3

    @property
    def batch(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A value of type MASK: a batch of one-channel pictures, 1.0 where the mask is set."""

    frames: tuple[Frame, ...]

    def __post_init__(self) -> None:
        allocate(self.batch, self.width, self.height, 1)

    @property
    def width(self) -> int:
        return self.frames[0].width if self.frames else 0

    @property
    def height(self) -> int:
        return self.frames[0].height if self.frames else 0

    @property
    def batch(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a generated picture shows: a seed that colours it and lines of text that it spells."""

    seed: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """A value of type LATENT: `width` x `height` latent cells (an eighth of the picture's pixels for most models).

    `fill` is the number in every cell of an untouched latent, None once a sampler has been at it. `subject` is what a
    decoder makes of it; `image` the picture it was encoded from, if it was. `frames` counts the latent frames of a
    video (None for pictures); after the first, each stands for `temporal_downscale` frames of the decoded one.
    """

    width: int
    height: int
    batch: int = 1
    channels: int = 4
    frames: int | None = None
    downscale: int = 8
    fill: float | None = 0.0
    subject: Subject = field(default_factory=Subject)
    image: Image | None = None
    noise_mask: Mask | None = None
    type: str | None = None
    temporal_downscale: int = 4

    def __post_init__(self) -> None:
        allocate(self.batch * (self.frames or 1), self.width, self.height, self.channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor: batch, channels, frames of a video, rows, columns; sound in one row has no rows."""
        if self.type == "audio" and self.height == 1:
            return self.batch, self.channels, self.width
        middle = () if self.frames is None else (self.frames,)
        return self.batch, self.channels, *middle, self.height, self.width


@dataclass(frozen=True, slots=True)
class Audio:
    """A value of type AUDIO: `batch` clips of `seconds` at `sample_rate` Hz. `tone` is a frequency in Hz, 0 is silence.

    `content` is the file it was loaded from, if it was."""

    seconds: float
    sample_rate: int = 44100
    channels: int = 2
    batch: int = 1
    tone: float = 0.0
    content: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A value of type VIDEO: pictures at `fps`, with or without sound; `content` is the file it was loaded from."""

    images: Image
    fps: float
    audio: Audio | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A value that only its own type understands: MODEL, CLIP, VAE, CONDITIONING, SIGMAS …

    `facts` is what later nodes may want to know of it: the prompt's text of a CONDITIONING, the file of a MODEL.
    """

    type: str
    facts: Mapping[str, Any] = field(default_factory=dict)
