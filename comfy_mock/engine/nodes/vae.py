"""Nodes between pictures or sound and latents."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from comfy_mock.engine.nodes.api import Call, Output, Step, Update, Wait, node
from comfy_mock.engine.nodes.arguments import argument, audio, image, latent, mask, model
from comfy_mock.engine.nodes.frames import cropped, each, fitted, pasted, uniform
from comfy_mock.engine.nodes.generated import subject_image
from comfy_mock.engine.nodes.image_sizes import tile_count
from comfy_mock.engine.values import Audio, Frame, Image, Latent, Mask

CODE_SECONDS = 0.1
TILE_SECONDS = 0.05

_CELL = 8
_GREY = (0.5, 0.5, 0.5)
_AUDIO_CELL = 2048
_AUDIO_CHANNELS = 64
_RATES = {1920: 48000}
_RATE = 44100


def decoded(given: Latent) -> Image:
    """The pictures of a latent: those it was encoded from, grey for an untouched one, else its subject. Each frame of a
    video is one of the batch."""
    if given.image is not None:
        return given.image
    width, height = given.width * given.downscale, given.height * given.downscale
    length = 1 if given.frames is None else max(0, given.frames - 1) * given.temporal_downscale + 1
    if given.fill is not None:
        return Image((uniform(width, height, _GREY),) * (given.batch * length))
    return subject_image(given.subject, width, height, given.batch * length)


def encoded(given: Image) -> Latent:
    """The latent of some pictures, whose sides are cut to multiples of 8 pixels."""
    columns, rows = given.width // _CELL, given.height // _CELL
    box = (given.width % _CELL // 2, given.height % _CELL // 2, columns * _CELL, rows * _CELL)
    whole = Image(each(given.frames, lambda frame: cropped(frame, *box)))
    return Latent(columns, rows, given.batch, fill=None, image=whole)


@node("VAEDecode", seconds=CODE_SECONDS)
def vae_decode(call: Call) -> Output:
    """The pictures of a latent."""
    model(call, "vae", "decode")
    return Output((decoded(latent(call, "samples")),))


@node("VAEDecodeTiled")
def vae_decode_tiled(call: Call) -> Generator[Step, None, Output]:
    """The pictures of a latent, with one step of progress for each tile of the three ways it is cut (protocol 6.7)."""
    model(call, "vae", "decode_tiled")
    given = latent(call, "samples")
    yield from _tiles(call, (given.width, given.height), given.batch, _CELL)
    return Output((decoded(given),))


def _tiles(call: Call, extent: tuple[int, int], batch: int, unit: int) -> Generator[Step, None, None]:
    """The steps of a picture that is cut into tiles, squares and rectangles of both kinds; `extent` is its width and
    height in units of so many pixels."""
    pixels = call.inputs["tile_size"]
    size, overlap = pixels // unit, min(call.inputs["overlap"], pixels // 4) // unit
    shapes = ((size, size), (size // 2, size * 2), (size * 2, size // 2))
    steps = batch * sum(tile_count(*extent, *shape, overlap) for shape in shapes)
    for step in range(1, steps + 1):
        yield Wait(TILE_SECONDS)
        yield Update(step, steps, first=step == 1)


@node("VAEEncode", seconds=CODE_SECONDS)
def vae_encode(call: Call) -> Output:
    """The latent of a picture."""
    model(call, "vae", "encode")
    return Output((encoded(image(call, "pixels")),))


@node("VAEEncodeTiled")
def vae_encode_tiled(call: Call) -> Generator[Step, None, Output]:
    """The latent of a picture, with progress as VAEDecodeTiled."""
    model(call, "vae", "encode_tiled")
    given = image(call, "pixels")
    yield from _tiles(call, (given.width, given.height), given.batch, 1)
    return Output((encoded(given),))


@node("VAEEncodeForInpaint", seconds=CODE_SECONDS)
def vae_encode_for_inpaint(call: Call) -> Output:
    """The latent of a picture whose masked part is grey, with its noise mask."""
    given, hole = image(call, "pixels"), mask(call, "mask")
    return Output((_with_hole(given, hole),))


@node("InpaintModelConditioning", seconds=CODE_SECONDS)
def inpaint_model_conditioning(call: Call) -> Output:
    """The conditionings, and the latent of a picture with its noise mask if asked for."""
    given, hole = image(call, "pixels"), mask(call, "mask")
    result = _with_hole(given, hole)
    result = result if call.inputs.get("noise_mask", True) else replace(result, noise_mask=None)
    return Output((argument(call, "positive"), argument(call, "negative"), result))


def _with_hole(given: Image, hole: Mask) -> Latent:
    fitting = each(hole.frames, lambda frame: fitted(frame, given.width, given.height, "bilinear", "disabled"))

    def greyed(frame: Frame) -> Frame:
        grey = uniform(frame.width, frame.height, _GREY[:1] * frame.channels)
        return pasted(frame, grey, 0, 0, fitting[0])

    return replace(encoded(Image(each(given.frames, greyed))), noise_mask=Mask(fitting))


@node("VAEDecodeAudio", "VAEDecodeAudioTiled", seconds=CODE_SECONDS)
def vae_decode_audio(call: Call) -> Output:
    """Sound as long as the latent: silence for an untouched one, else a tone that the seed chooses."""
    given = latent(call, "samples")
    rate = _RATES.get(given.downscale, _RATE)
    tone = 0.0 if given.fill is not None else 220.0 + given.subject.seed % 440
    return Output((Audio(given.width * given.downscale / rate, rate, batch=given.batch, tone=tone),))


@node("VAEEncodeAudio", seconds=CODE_SECONDS)
def vae_encode_audio(call: Call) -> Output:
    """A latent as long as the sound."""
    given: Audio = audio(call, "audio")
    columns = max(1, round(given.seconds * _RATE / _AUDIO_CELL))
    latent_of_sound = Latent(columns, 1, given.batch, _AUDIO_CHANNELS, downscale=_AUDIO_CELL, fill=None, type="audio")
    return Output((latent_of_sound,))
