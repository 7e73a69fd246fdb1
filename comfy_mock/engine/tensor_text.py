"""What Python's `str` makes of the values of the real server, as `current_inputs` and PreviewAny show them (5.11, 7.2).

Tensors are printed by torch's rules: four decimals or none, all rows up to a thousand numbers, else only the edges.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from comfy_mock.engine.values import Audio, Frame, Image, Latent, Mask, Opaque, Video

EDGE_ITEMS = 3
"""Numbers shown at each edge of a long dimension; torch's default."""

_LINE_WIDTH = 80
_ALL_SHOWN_MAX = 1000
_PREFIX = "tensor("
_WIDE_RANGE = 1000.0
_LARGE = 1e8
_SMALL = 1e-4
_FLOAT32_MAX = 3.4028235677973366e38

Number = Callable[[tuple[int, ...]], float]
"""The number at an index of a tensor."""

_CLASSES = {
    "MODEL": "comfy.model_patcher.ModelPatcher",
    "CLIP": "comfy.sd.CLIP",
    "VAE": "comfy.sd.VAE",
    "CONTROL_NET": "comfy.controlnet.ControlNet",
    "CLIP_VISION": "comfy.clip_vision.ClipVisionModel",
    "CLIP_VISION_OUTPUT": "comfy.clip_vision.Output",
    "SAMPLER": "comfy.samplers.KSAMPLER",
    "GUIDER": "comfy.samplers.CFGGuider",
    "NOISE": "comfy_extras.nodes_custom_sampler.Noise_RandomNoise",
    "HOOKS": "comfy.hooks.HookGroup",
    "UPSCALE_MODEL": "spandrel.ImageModelDescriptor",
}


def json_inputs(value: Any) -> Any:
    """One value of `current_inputs`: null, numbers, strings and booleans as they are, anything else as its text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else text_of(value)


def text_of(value: Any, edge_items: int = EDGE_ITEMS) -> str:
    """Python's `str` of the real value behind `value`.

    `edge_items` is how many numbers torch shows at each edge of a dimension of a tensor that is too long to show whole
    (3 unless a node changes it, as PreviewAny does for its own text: 6).
    """
    return value if isinstance(value, str) else _repr(value, edge_items)


def tensor_text(shape: tuple[int, ...], number: Number, edge_items: int = EDGE_ITEMS) -> str:
    """How torch prints a tensor of single-precision numbers of this shape."""
    if math.prod(shape) == 0:
        size = f", size={shape}" if len(shape) != 1 else ""
        return f"{_PREFIX}[]{size})"
    edge = edge_items if math.prod(shape) > _ALL_SHOWN_MAX else None
    # torch looks at the numbers it will show, and decides on one form for all of them
    indices = product(*(_shown(length, edge)[0] for length in shape))
    numbers = {index: _single(number(index)) for index in indices}
    form, width = _form(numbers.values())
    return f"{_PREFIX}{_Layout(shape, {at: form(one) for at, one in numbers.items()}, width, edge).rows()})"


def _shown(length: int, edge: int | None) -> tuple[list[int], int | None]:
    """The places of a dimension that are shown, and after how many of them there is a gap."""
    if edge is None or length <= 2 * edge:
        return list(range(length)), None
    return [*range(edge), *range(length - edge, length)], edge


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the numbers of a tensor, as `texts` by index, are set in lines and brackets."""

    shape: tuple[int, ...]
    texts: Mapping[tuple[int, ...], str]
    width: int
    edge: int | None

    def rows(self, at: tuple[int, ...] = ()) -> str:
        """The part of the tensor below an index."""
        depth = len(at)
        indent = len(_PREFIX) + depth
        places, gap = _shown(self.shape[depth], self.edge)
        below = len(self.shape) - depth - 1
        if below:
            parts = [self.rows((*at, place)) for place in places]
            lines = parts if gap is None else [*parts[:gap], "...", *parts[gap:]]
        else:
            parts = [self.texts[index] for index in ((*at, place) for place in places)]
            parts = parts if gap is None else [*parts[:gap], " ...", *parts[gap:]]
            per_line = max(1, (_LINE_WIDTH - indent) // (self.width + 2))
            lines = [", ".join(parts[start : start + per_line]) for start in range(0, len(parts), per_line)]
        return "[" + ("," + "\n" * max(1, below) + " " * (indent + 1)).join(lines) + "]"


def _form(numbers: Iterable[float]) -> tuple[Callable[[float], str], int]:
    """The form that suits all numbers: whole, with four decimals, or with an exponent; and the width it pads to."""
    told = [number for number in numbers if math.isfinite(number) and number != 0]
    largest, smallest = max(map(abs, told), default=0.0), min(map(abs, told), default=0.0)
    is_whole = all(number == math.ceil(number) for number in told)
    is_wide = bool(told) and (largest / smallest > _WIDE_RANGE or largest > _LARGE)
    if is_wide or (not is_whole and smallest < _SMALL):
        spec, point = ".4e", ""
    else:
        spec, point = (".0f", ".") if is_whole else (".4f", "")
    width = max((len(format(number, spec)) + len(point) for number in told), default=1)

    def text(number: float) -> str:
        plain = format(number, spec) + (point if math.isfinite(number) else "")
        return plain.rjust(width)

    return text, width


def _single(number: float) -> float:
    """The number in single precision, as tensors hold it."""
    if math.isfinite(number) and abs(number) > _FLOAT32_MAX:
        return math.copysign(math.inf, number)
    single: float = struct.unpack("f", struct.pack("f", number))[0]
    return single


def _repr(value: Any, edge: int) -> str:
    if isinstance(value, Image):
        return tensor_text((value.batch, value.height, value.width, value.channels), _pixels(value.frames), edge)
    if isinstance(value, Mask):
        return tensor_text((value.batch, value.height, value.width), _pixels(value.frames), edge)
    if isinstance(value, Latent):
        return _latent_text(value, edge)
    if isinstance(value, Audio):
        shape = (value.batch, value.channels, round(value.seconds * value.sample_rate))
        wave = tensor_text(shape, _wave(value), edge)
        return f"{{'waveform': {wave}, 'sample_rate': {value.sample_rate}}}"
    if isinstance(value, Opaque):
        return _opaque_text(value, edge)
    if isinstance(value, Video):
        return _object_text("comfy_api.latest._input_impl.video_types.VideoFromComponents", value.fps)
    return _plain_text(value, edge)


def _plain_text(value: Any, edge: int) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_repr(one, edge)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_repr(one, edge) for one in value) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(_repr(one, edge) for one in value) + (",)" if len(value) == 1 else ")")
    return repr(value)


def _pixels(frames: tuple[Frame, ...]) -> Number:
    def number(index: tuple[int, ...]) -> float:
        frame, row, column, *channel = frames[index[0]], *index[1:]
        place = channel[0] if channel else 0
        if frame.fill is not None:
            return frame.fill[place]
        pixel = frame.image().getpixel((column, row))
        level = pixel[place] if isinstance(pixel, tuple) else pixel
        return (level or 0) / 255

    return number


def _wave(audio: Audio) -> Number:
    turn = 2 * math.pi * audio.tone / audio.sample_rate
    return lambda index: math.sin(turn * index[-1])


def _latent_text(latent: Latent, edge: int) -> str:
    fill = latent.fill
    number = _noise(latent.subject) if fill is None else _constant(fill)
    parts = [f"'samples': {tensor_text(latent.shape, number, edge)}"]
    if latent.type is not None:
        parts.append(f"'type': {latent.type!r}")
    elif fill is not None:
        parts.append(f"'downscale_ratio_spacial': {latent.downscale}")
    mask = latent.noise_mask
    if mask is not None:
        pixels = _pixels(mask.frames)
        shape = (mask.batch, 1, mask.height, mask.width)
        text = tensor_text(shape, lambda index: pixels((index[0], *index[2:])), edge)
        parts.append(f"'noise_mask': {text}")
    return "{" + ", ".join(parts) + "}"


def _opaque_text(value: Opaque, edge: int) -> str:
    if value.type == "SIGMAS":
        sigmas = value.facts["sigmas"]
        return tensor_text((len(sigmas),), lambda index: sigmas[index[0]], edge)
    if value.type == "CONDITIONING":
        embedding = tensor_text((1, 77, 768), _noise(value.facts), edge)
        pooled = tensor_text((1, 768), _noise(("pooled", value.facts)), edge)
        return f"[[{embedding}, {{'pooled_output': {pooled}}}]]"
    default = "".join(word.capitalize() for word in value.type.split("_"))
    return _object_text(_CLASSES.get(value.type, f"comfy_api.latest.{default}"), value.facts)


def _object_text(class_name: str, identity: object) -> str:
    return f"<{class_name} object at 0x{0x7F0000000000 + (_digest(identity) << 4):x}>"


def _constant(number: float) -> Number:
    return lambda _: number


def _noise(identity: object) -> Number:
    seed = _digest(identity)
    return lambda index: random.Random(f"{seed}/{index}").gauss(0.0, 1.0)


def _digest(identity: object) -> int:
    return zlib.crc32(repr(identity).encode("utf-8", "backslashreplace"))
