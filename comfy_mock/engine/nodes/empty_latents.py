"""Nodes that make untouched latents: zeros of the shape that a kind of model wants."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.frames import check_shape
from comfy_mock.engine.values import Latent


@dataclass(frozen=True, slots=True)
class _Shape:
    """Channels, pixels per latent cell, and frames per latent frame (None for pictures)."""

    channels: int
    downscale: int
    temporal: int | None = None


_SHAPES = {
    "EmptyLatentImage": _Shape(4, 8),
    "EmptySD3LatentImage": _Shape(16, 8),
    "EmptyFlux2LatentImage": _Shape(128, 16),
    "EmptyHunyuanImageLatent": _Shape(64, 32),
    "EmptyChromaRadianceLatentImage": _Shape(3, 1),
    "EmptyHiDreamO1LatentImage": _Shape(3, 1),
    "EmptyHunyuanLatentVideo": _Shape(16, 8, 4),
    "EmptyHunyuanVideo15Latent": _Shape(32, 16, 4),
    "EmptyMochiLatentVideo": _Shape(12, 8, 6),
    "EmptyLTXVLatentVideo": _Shape(128, 32, 8),
    "EmptyCosmosLatentVideo": _Shape(16, 8, 8),
    "EmptyARVideoLatent": _Shape(16, 8, 4),
}


@node(*_SHAPES)
def empty_latent(call: Call) -> Output:
    """Zeros for a picture or a video of a size in pixels, which need not be a multiple of anything (protocol 7.4)."""
    shape = _SHAPES[call.class_type]
    frames = None if shape.temporal is None else (call.inputs["length"] - 1) // shape.temporal + 1
    width, height = call.inputs["width"] // shape.downscale, call.inputs["height"] // shape.downscale
    batch = call.inputs["batch_size"]
    check_shape(batch, shape.channels, *(() if frames is None else (frames,)), height, width)
    temporal = shape.temporal or 1
    latent = Latent(width, height, batch, shape.channels, frames, shape.downscale, temporal_downscale=temporal)
    return Output((latent,))


@node("EmptyQwenImageLayeredLatentImage")
def empty_qwen_image_layered_latent_image(call: Call) -> Output:
    """Zeros for a picture in layers: one latent frame for the whole and one for each layer."""
    width, height, batch = (call.inputs[name] for name in ("width", "height", "batch_size"))
    return Output((Latent(width // 8, height // 8, batch, 16, call.inputs["layers"] + 1, temporal_downscale=1),))


@node("StableCascade_EmptyLatentImage")
def stable_cascade_empty_latent_image(call: Call) -> Output:
    """Zeros for the two stages of Stable Cascade."""
    width, height, compression = (call.inputs[name] for name in ("width", "height", "compression"))
    batch = call.inputs["batch_size"]
    stage_c = Latent(width // compression, height // compression, batch, 16, downscale=compression)
    return Output((stage_c, Latent(width // 4, height // 4, batch, 4, downscale=4)))


@dataclass(frozen=True, slots=True)
class _AudioShape:
    """Channels, rows and samples per latent column; `rate` is in samples a second."""

    channels: int
    rows: int
    downscale: int
    rate: int = 44100


_AUDIO_SHAPES = {
    "EmptyLatentAudio": _AudioShape(64, 1, 2048),
    "EmptyAceStepLatentAudio": _AudioShape(8, 16, 4096),
    "EmptyAceStep1.5LatentAudio": _AudioShape(64, 1, 1920, 48000),
}


@node(*_AUDIO_SHAPES)
def empty_latent_audio(call: Call) -> Output:
    """Zeros for so many seconds of sound."""
    shape = _AUDIO_SHAPES[call.class_type]
    columns = max(1, round(call.inputs["seconds"] * shape.rate / shape.downscale))
    latent = Latent(
        columns, shape.rows, call.inputs["batch_size"], shape.channels, downscale=shape.downscale, type="audio"
    )
    return Output((latent,))
