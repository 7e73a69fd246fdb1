"""Shapes and numbers of the nodes that handle latents."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from node_runner import (
    drawn_image,
    gradient,
    pixels_of,
    plain_image,
    plain_mask,
    recorded_messages,
    size_of,
    steps_of,
    value_of,
    values_of,
)

from comfy_mock.engine.nodes.api import Update
from comfy_mock.engine.tensor_text import text_of
from comfy_mock.engine.values import Audio, Latent, Opaque, Subject

VAE = Opaque("VAE", {"name": "a.safetensors"})


@pytest.mark.parametrize(
    ("class_type", "inputs", "shape"),
    [
        ("EmptyLatentImage", {"width": 64, "height": 136, "batch_size": 2}, (2, 4, 17, 8)),
        ("EmptyLatentImage", {"width": 71, "height": 16, "batch_size": 1}, (1, 4, 2, 8)),
        ("EmptySD3LatentImage", {"width": 64, "height": 64, "batch_size": 1}, (1, 16, 8, 8)),
        ("EmptyFlux2LatentImage", {"width": 64, "height": 64, "batch_size": 1}, (1, 128, 4, 4)),
        ("EmptyHunyuanLatentVideo", {"width": 64, "height": 64, "length": 25, "batch_size": 1}, (1, 16, 7, 8, 8)),
        ("EmptyMochiLatentVideo", {"width": 64, "height": 64, "length": 25, "batch_size": 1}, (1, 12, 5, 8, 8)),
        ("EmptyLTXVLatentVideo", {"width": 64, "height": 64, "length": 97, "batch_size": 1}, (1, 128, 13, 2, 2)),
        ("EmptyLatentAudio", {"seconds": 47.6, "batch_size": 1}, (1, 64, 1025)),
    ],
)
def test_untouched_latents_have_the_shape_of_their_model(
    class_type: str, inputs: dict[str, Any], shape: tuple[int, ...]
) -> None:
    made = value_of(class_type, inputs)
    assert made.shape == shape
    assert made.fill == 0.0


@pytest.mark.parametrize(
    ("class_type", "options", "expected"),
    [
        ("LatentAdd", {}, 3.0),
        ("LatentSubtract", {}, 1.0),
        ("LatentBlend", {"blend_factor": 0.25}, 1.25),
        ("LatentInterpolate", {"ratio": 0.25}, 1.25),
    ],
)
def test_two_numbers_are_reckoned_with(class_type: str, options: dict[str, Any], expected: float) -> None:
    one, other = Latent(8, 8, batch=2, fill=2.0), Latent(4, 4, fill=1.0)
    result = value_of(class_type, options, samples1=one, samples2=other)
    assert result.fill == pytest.approx(expected)
    assert size_of(result) == (8, 8, 2)


def test_a_latent_times_a_number() -> None:
    assert value_of("LatentMultiply", samples=Latent(8, 8, fill=2.0), multiplier=-1.5).fill == -3.0


def test_what_a_sampler_has_been_at_is_not_known_but_seen() -> None:
    sampled = Latent(8, 8, fill=None, subject=Subject(5, ("a cat",)))
    for pair in ((sampled, Latent(8, 8)), (Latent(8, 8), sampled)):
        added = value_of("LatentAdd", samples1=pair[0], samples2=pair[1])
        assert added.fill is None
        assert added.subject == sampled.subject


def test_latents_of_different_models_do_not_add_up() -> None:
    message = "The size of tensor a (4) must match the size of tensor b (16) at non-singleton dimension 1"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        value_of("LatentAdd", samples1=Latent(8, 8), samples2=Latent(8, 8, channels=16))


def test_batches_blend_as_tensors_broadcast() -> None:
    inputs = {"samples1": Latent(8, 8, batch=1), "samples2": Latent(8, 8, batch=3), "blend_factor": 0.5}
    assert value_of("LatentBlend", inputs).batch == 3
    with pytest.raises(RuntimeError, match=re.escape("tensor a (2) must match the size of tensor b (3)")):
        value_of("LatentBlend", {**inputs, "samples1": Latent(8, 8, batch=2)})


def test_joining_along_a_line_fails_as_recorded() -> None:
    (error,) = [
        data
        for data in recorded_messages("error_in_middle_node", "execution_error")
        if data["node_type"] == "LatentConcat"
    ]
    with pytest.raises(RuntimeError) as caught:
        value_of("LatentConcat", samples1=Latent(8, 8), samples2=Latent(16, 8), dim="y")
    assert f"{caught.value}\n" == error["exception_message"]
    assert error["exception_type"] == "RuntimeError"


@pytest.mark.parametrize(
    ("dim", "shape"),
    [("x", (1, 4, 8, 24)), ("-x", (1, 4, 8, 24)), ("t", None), ("y", None)],
)
def test_joining_along_a_line(dim: str, shape: tuple[int, ...] | None) -> None:
    inputs = {"samples1": Latent(8, 8), "samples2": Latent(16, 8), "dim": dim}
    if shape is None:
        with pytest.raises(RuntimeError):
            value_of("LatentConcat", inputs)
    else:
        assert value_of("LatentConcat", inputs).shape == shape


def test_joining_and_cutting_along_time() -> None:
    video = Latent(8, 8, channels=16, frames=7)
    longer = value_of("LatentConcat", samples1=video, samples2=video, dim="t")
    assert longer.shape == (1, 16, 14, 8, 8)
    assert value_of("LatentCut", samples=longer, dim="t", index=-2, amount=9).frames == 2
    assert value_of("LatentCut", samples=longer, dim="x", index=6, amount=9).width == 2
    assert value_of("LatentCutToBatch", samples=longer, dim="t", slice_size=4).shape == (3, 16, 4, 8, 8)
    assert value_of("TrimVideoLatent", samples=video, trim_amount=3).frames == 4


@pytest.mark.parametrize(
    ("class_type", "inputs", "size"),
    [
        ("LatentUpscale", {"width": 128, "height": 0, "crop": "disabled"}, (16, 8)),
        ("LatentUpscale", {"width": 0, "height": 0, "crop": "disabled"}, (16, 8)),
        ("LatentUpscale", {"width": 8, "height": 256, "crop": "center"}, (8, 32)),
        ("LatentUpscaleBy", {"scale_by": 1.5}, (24, 12)),
    ],
)
def test_scaling(class_type: str, inputs: dict[str, Any], size: tuple[int, int]) -> None:
    assert size_of(value_of(class_type, inputs, samples=Latent(16, 8), upscale_method="bislerp")) == (*size, 1)


def test_turning_flipping_and_cropping() -> None:
    given = Latent(16, 12)
    assert size_of(value_of("LatentRotate", samples=given, rotation="90 degrees")) == (12, 16, 1)
    assert size_of(value_of("LatentFlip", samples=given, flip_method="y-axis: horizontally")) == (16, 12, 1)
    assert size_of(value_of("LatentCrop", samples=given, width=512, height=64, x=999, y=16)) == (8, 8, 1)


def test_batches_of_latents() -> None:
    masked = replace(Latent(8, 8, batch=3), noise_mask=plain_mask(batch=3))
    part = value_of("LatentFromBatch", samples=masked, batch_index=1, length=9)
    assert (part.batch, part.noise_mask.batch) == (2, 2)
    assert value_of("LatentFromBatch", samples=masked, batch_index=-1, length=1).batch == 1
    assert value_of("RepeatLatentBatch", samples=masked, amount=2).noise_mask.batch == 6
    assert value_of("LatentBatch", samples1=Latent(8, 8), samples2=Latent(4, 4, batch=2)).shape == (3, 4, 8, 8)
    grown = {"latents.latent0": Latent(8, 8), "latents.latent1": Latent(8, 8)}
    assert value_of("BatchLatentsNode", grown).batch == 2


def test_dealing_out_latents_keeps_shapes_apart() -> None:
    latents = [Latent(8, 8, batch=3), Latent(8, 8), Latent(4, 4)]
    dealt = value_of("RebatchLatents", latents=latents, batch_size=[3])
    assert [size_of(one) for one in dealt] == [(8, 8, 3), (8, 8, 1), (4, 4, 1)]


def test_a_noise_mask_goes_with_the_latent() -> None:
    mask = plain_mask()
    masked = value_of("SetLatentNoiseMask", samples=Latent(8, 8), mask=mask)
    assert masked.noise_mask is mask
    assert value_of("LatentFlip", samples=masked, flip_method="x-axis: vertically").noise_mask is mask


def test_what_was_encoded_is_decoded_again() -> None:
    image = drawn_image(gradient(19, 16))
    latent = value_of("VAEEncode", pixels=image, vae=VAE)
    assert size_of(latent) == (2, 2, 1)
    decoded = value_of("VAEDecode", samples=latent, vae=VAE)
    assert pixels_of(decoded) == [row[1:17] for row in pixels_of(image)], "the middle is kept, in steps of 8 pixels"
    flipped = value_of("LatentFlip", samples=latent, flip_method="y-axis: horizontally")
    mirrored = value_of("VAEDecode", samples=flipped, vae=VAE)
    assert pixels_of(mirrored) == [row[::-1] for row in pixels_of(decoded)]


@pytest.mark.parametrize(
    ("latent", "size"),
    [
        (Latent(8, 4, batch=3), (64, 32, 3)),
        (Latent(8, 4, channels=16, frames=7), (64, 32, 25)),
        (Latent(2, 2, channels=128, frames=13, downscale=32, temporal_downscale=8), (64, 64, 97)),
    ],
)
def test_a_latent_decodes_into_so_many_pictures(latent: Latent, size: tuple[int, int, int]) -> None:
    assert size_of(value_of("VAEDecode", samples=latent, vae=VAE)) == size
    sampled = replace(latent, fill=None, subject=Subject(1))
    decoded = value_of("VAEDecode", samples=sampled, vae=VAE)
    assert size_of(decoded) == size
    assert decoded.frames[0].image().size == size[:2]


def test_tiles_are_counted_while_decoding() -> None:
    # 1024 x 512 pixels in tiles of 512 with an overlap of 64: 3 squares, 5 upright and 3 wide rectangles
    inputs = {"tile_size": 512, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
    steps, output = steps_of("VAEDecodeTiled", {**inputs, "samples": Latent(128, 64), "vae": VAE})
    updates = [step for step in steps if isinstance(step, Update)]
    assert [update.value for update in updates] == list(range(1, 3 + 5 + 3 + 1))
    assert {update.max for update in updates} == {11}
    assert size_of(output.values[0]) == (1024, 512, 1)


def test_inpainting_greys_the_hole_and_keeps_the_mask() -> None:
    inputs = {"pixels": plain_image(16, 16, (1.0, 1.0, 1.0)), "vae": VAE, "mask": plain_mask(8, 8, 1.0)}
    latent = value_of("VAEEncodeForInpaint", inputs, grow_mask_by=6)
    assert size_of(latent.noise_mask) == (16, 16, 1)
    assert latent.image.frames[0].fill == (0.5, 0.5, 0.5)
    conditionings = {"positive": Opaque("CONDITIONING"), "negative": Opaque("CONDITIONING")}
    without = values_of("InpaintModelConditioning", **inputs, **conditionings, noise_mask=False)
    assert without[:2] == (conditionings["positive"], conditionings["negative"])
    assert without[2].noise_mask is None


def test_sound_lasts_as_long_as_its_latent() -> None:
    latent = value_of("EmptyLatentAudio", seconds=10.0, batch_size=2)
    sound = value_of("VAEDecodeAudio", samples=latent, vae=VAE)
    assert (sound.batch, sound.tone) == (2, 0.0)
    assert sound.seconds == pytest.approx(10.0, abs=2048 / 44100)
    assert value_of("VAEEncodeAudio", audio=Audio(10.0), vae=VAE).width == latent.width


def test_a_missing_vae_cannot_decode() -> None:
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'decode'"):
        value_of("VAEDecode", samples=Latent(8, 8), vae=None)


def test_what_is_no_latent_is_no_dictionary() -> None:
    with pytest.raises(TypeError, match="'NoneType' object is not subscriptable"):
        value_of("LatentFlip", samples=None, flip_method="x-axis: vertically")


def test_an_untouched_latent_stays_untouched_through_changes_of_shape() -> None:
    turned = value_of("LatentRotate", samples=Latent(4, 2), rotation="90 degrees")
    assert text_of(turned).startswith("{'samples': tensor([[[[0., 0.],\n          [0., 0.],\n")
