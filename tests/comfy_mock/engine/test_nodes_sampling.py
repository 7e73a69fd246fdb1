"""Samplers and what feeds them: steps, previews, sigmas, prompts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_calls import CATALOGUE
from node_runner import (
    pixels_of,
    plain_image,
    plain_mask,
    recorded_messages,
    steps_of,
    value_of,
    values_of,
)

from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import Update, Wait
from comfy_mock.engine.previews import preview_bytes
from comfy_mock.engine.values import Image, Latent, Opaque, Subject

MODEL = Opaque("MODEL", {"name": "a.safetensors"})
SAMPLER = Opaque("SAMPLER")


def prompted(*texts: str) -> Opaque:
    return Opaque("CONDITIONING", {"texts": texts})


def k_sampler(latent: Latent, **changes: Any) -> dict[str, Any]:
    inputs = {
        "model": MODEL,
        "seed": 5,
        "steps": 4,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": prompted("a cat"),
        "negative": prompted("bad hands"),
        "latent_image": latent,
        "denoise": 1.0,
    }
    return {**inputs, **changes}


def updates_of(steps: list[Any]) -> list[tuple[float, float]]:
    return [(step.value, step.max) for step in steps if isinstance(step, Update)]


def test_a_sampler_counts_its_steps_as_recorded() -> None:
    recorded = [(data["value"], data["max"]) for data in recorded_messages("t2i_fresh", "progress")]
    steps, output = steps_of("KSampler", k_sampler(Latent(8, 8)))
    assert updates_of(steps) == recorded
    assert [step.first for step in steps if isinstance(step, Update)] == [True, False, False, False]
    (latent,) = output.values
    assert latent.fill is None
    assert latent.subject == Subject(5, ("a cat",))


@pytest.mark.parametrize(("denoise", "count"), [(1.0, 4), (0.5, 4), (0.01, 4), (0.0, 0)])
def test_less_denoise_takes_as_many_steps_and_none_takes_none(denoise: float, count: int) -> None:
    given = Latent(8, 8)
    steps, output = steps_of("KSampler", k_sampler(given, denoise=denoise))
    assert len(updates_of(steps)) == count
    assert (output.values[0] is given) == (count == 0)


@pytest.mark.parametrize(
    ("first", "last", "count"), [(0, 10000, 4), (1, 3, 2), (3, 10000, 1), (4, 10000, 0), (9, 2, 0)]
)
def test_some_of_the_steps(first: int, last: int, count: int) -> None:
    inputs = {**k_sampler(Latent(8, 8)), "noise_seed": 7, "start_at_step": first, "end_at_step": last}
    steps, _ = steps_of("KSamplerAdvanced", inputs)
    assert updates_of(steps) == [(step, count) for step in range(1, count + 1)]


def test_custom_samplers_take_one_step_less_than_there_are_sigmas() -> None:
    (sigmas,) = values_of("ManualSigmas", sigmas="1, 0.5, 0")
    shared = {"sampler": SAMPLER, "sigmas": sigmas, "latent_image": Latent(8, 8)}
    steps, output = steps_of("SamplerCustom", {**k_sampler(Latent(8, 8)), **shared, "noise_seed": 3})
    assert updates_of(steps) == [(1, 2), (2, 2)]
    assert [latent.subject for latent in output.values] == [Subject(3, ("a cat",))] * 2
    noise = value_of("RandomNoise", noise_seed=9)
    guider = value_of("CFGGuider", model=MODEL, positive=prompted("a dog"), negative=prompted("bad"), cfg=8.0)
    steps, output = steps_of("SamplerCustomAdvanced", {**shared, "noise": noise, "guider": guider})
    assert updates_of(steps) == [(1, 2), (2, 2)]
    assert output.values[0].subject == Subject(9, ("a dog",))


def test_no_previews_unless_asked_for() -> None:
    steps, _ = steps_of("KSampler", k_sampler(Latent(8, 8)), preview_method="none")
    assert all(step.preview is None for step in steps if isinstance(step, Update))


def test_previews_are_scaled_up_from_latent_cells() -> None:
    # protocol 6.8: a picture of 128 x 64 gives a preview of 512 x 256
    steps, _ = steps_of("KSampler", k_sampler(Latent(16, 8, batch=3)), preview_method="latent2rgb", preview_size=512)
    previews = [step.preview for step in steps if isinstance(step, Update)]
    assert len(previews) == 4
    for preview in previews:
        assert preview is not None
        assert preview.draw().size == (16, 8)
        image_format, data = preview_bytes(preview)
        assert (image_format, data[:2]) == ("JPEG", b"\xff\xd8")
        assert preview.size_max == 512


def test_more_pixels_take_longer_up_to_a_limit() -> None:
    def seconds(width: int, height: int, batch: int = 1) -> float:
        steps, _ = steps_of("KSampler", k_sampler(Latent(width, height, batch=batch)))
        return sum(step.seconds for step in steps if isinstance(step, Wait))

    assert seconds(8, 8) == seconds(64, 64) == pytest.approx(4 * 0.15)
    assert seconds(128, 64) == seconds(64, 64, 2) == pytest.approx(2 * seconds(64, 64))
    assert seconds(2048, 2048, 64) == pytest.approx(20 * seconds(64, 64))


def test_half_denoise_leaves_half_of_the_picture() -> None:
    white = plain_image(16, 16, (1.0, 1.0, 1.0))
    latent = replace(value_of("VAEEncode", pixels=white, vae=MODEL), subject=Subject(1))
    (half,) = steps_of("KSampler", k_sampler(latent, denoise=0.5))[1].values
    (full,) = steps_of("KSampler", k_sampler(latent, denoise=1.0))[1].values
    assert full.image is None
    generated = pixels_of(value_of("VAEDecode", samples=full, vae=MODEL))[0][0]
    mixed = pixels_of(value_of("VAEDecode", samples=half, vae=MODEL))[0][0]
    assert mixed == pytest.approx([(255 + level) / 2 for level in generated], abs=1)


def test_inpainting_changes_what_is_masked_only() -> None:
    white = plain_image(16, 16, (1.0, 1.0, 1.0))
    latent = replace(value_of("VAEEncode", pixels=white, vae=MODEL), noise_mask=plain_mask(16, 16, 0.0))
    (kept,) = steps_of("KSampler", k_sampler(latent))[1].values
    assert pixels_of(kept.image) == pixels_of(white)
    (changed,) = steps_of("KSampler", k_sampler(replace(latent, noise_mask=plain_mask(16, 16, 1.0))))[1].values
    assert pixels_of(changed.image) != pixels_of(white)
    assert isinstance(changed.image, Image)


def test_equal_samplers_make_equal_pictures_and_other_seeds_others() -> None:
    def picture(**changes: Any) -> bytes:
        (latent,) = steps_of("KSampler", k_sampler(Latent(8, 8), **changes))[1].values
        return bytes(value_of("VAEDecode", samples=latent, vae=MODEL).frames[0].image().tobytes())

    assert picture() == picture()
    assert picture() != picture(seed=6)
    assert picture() != picture(positive=prompted("a dog"))


# Karras et al. (2022), equation 5, with rho 7 for 3 steps from 10 to 1; then 0.
def test_karras_sigmas() -> None:
    made = value_of("KarrasScheduler", steps=3, sigma_max=10.0, sigma_min=1.0, rho=7.0).facts["sigmas"]
    middle = ((10.0 ** (1 / 7) + 1.0) / 2) ** 7
    assert made == pytest.approx((10.0, middle, 1.0, 0.0))


def test_hardly_any_denoise_is_no_work() -> None:
    sigmas = value_of("BasicScheduler", model=MODEL, scheduler="simple", steps=20, denoise=1e-12).facts["sigmas"]
    assert len(sigmas) == 21
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        value_of("KarrasScheduler", steps=10**12, sigma_max=10.0, sigma_min=1.0, rho=7.0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        steps_of("KSampler", k_sampler(Latent(8, 8), steps=10**12))


def test_exponential_sigmas_are_even_steps_of_the_logarithm() -> None:
    made = value_of("ExponentialScheduler", steps=3, sigma_max=100.0, sigma_min=1.0).facts["sigmas"]
    assert made == pytest.approx((100.0, 10.0, 1.0, 0.0))


@given(steps=st.integers(1, 60), denoise=st.floats(0.01, 1.0))
def test_schedulers_make_one_sigma_more_than_steps(steps: int, denoise: float) -> None:
    inputs = {"model": MODEL, "scheduler": "simple", "steps": steps, "denoise": denoise}
    sigmas = value_of("BasicScheduler", inputs).facts["sigmas"]
    assert len(sigmas) == steps + 1
    assert list(sigmas) == sorted(sigmas, reverse=True)
    assert sigmas[-1] == 0.0


SCHEDULERS = [
    definition.class_type
    for definition in CATALOGUE.values()
    if definition.outputs == ["SIGMAS"] and "steps" in definition.required and "sigmas" not in definition.required
]


@pytest.mark.parametrize("class_type", SCHEDULERS)
def test_every_scheduler_makes_the_steps_asked_for(class_type: str) -> None:
    definition = CATALOGUE[class_type]
    widgets = {name: spec[1].get("default") for name, spec in definition.required.items() if len(spec) > 1}
    inputs = {**widgets, "steps": 5, "model": MODEL}
    assert len(value_of(class_type, inputs).facts["sigmas"]) == 6


def test_splitting_and_flipping_sigmas() -> None:
    (sigmas,) = values_of("ManualSigmas", sigmas="4, 3 and 2; -1 .5")
    assert sigmas.facts["sigmas"] == (4.0, 3.0, 2.0, -1.0, 0.5)
    high, low = values_of("SplitSigmas", sigmas=sigmas, step=2)
    assert (high.facts["sigmas"], low.facts["sigmas"]) == ((4.0, 3.0, 2.0), (2.0, -1.0, 0.5))
    high, low = values_of("SplitSigmasDenoise", sigmas=sigmas, denoise=0.5)
    assert (len(high.facts["sigmas"]), len(low.facts["sigmas"])) == (3, 3)
    (down,) = values_of("ManualSigmas", sigmas="2 1 0")
    assert value_of("FlipSigmas", sigmas=down).facts["sigmas"] == (0.0001, 1.0, 2.0)
    assert value_of("SetFirstSigma", sigmas=down, sigma=9.0).facts["sigmas"] == (9.0, 1.0, 0.0)


def test_manual_sigmas_that_only_look_like_numbers() -> None:
    with pytest.raises(ValueError, match=re.escape("could not convert string to float: '1..5'")):
        value_of("ManualSigmas", sigmas="1..5")


def test_prompts_go_through_text_encoders_and_combiners() -> None:
    clip = Opaque("CLIP", {"name": "a"})
    one = value_of("CLIPTextEncode", text="a cat", clip=clip)
    other = value_of("CLIPTextEncodeFlux", clip=clip, clip_l="on a", t5xxl="mat", guidance=3.5)
    both = value_of("ConditioningCombine", conditioning_1=one, conditioning_2=other)
    assert both.facts["texts"] == ("a cat", "on a", "mat")
    assert value_of("ConditioningZeroOut", conditioning=both).facts["texts"] == ()
    guided = value_of("FluxGuidance", conditioning=both, guidance=3.5)
    assert guided.facts["texts"] == both.facts["texts"]


def test_a_prompt_cannot_be_encoded_without_clip() -> None:
    with pytest.raises(RuntimeError, match="ERROR: clip input is invalid: None"):
        value_of("CLIPTextEncode", text="a cat", clip=None)


def test_a_control_net_leaves_positive_and_negative_in_their_places() -> None:
    positive, negative = prompted("a"), prompted("b")
    control_net, image = Opaque("CONTROL_NET"), plain_image()
    outputs = values_of(
        "ControlNetApplyAdvanced",
        negative=negative,
        positive=positive,
        control_net=control_net,
        image=image,
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    assert outputs == (positive, negative)


def test_loaders_give_all_that_is_in_a_file_after_some_time() -> None:
    outputs = values_of("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    assert [(value.type, value.facts["name"]) for value in outputs] == [
        (kind, "a.safetensors") for kind in ("MODEL", "CLIP", "VAE")
    ]
    assert behaviour(CATALOGUE["CheckpointLoaderSimple"]).seconds == 0.5
    model, clip = values_of(
        "LoraLoader", model=outputs[0], clip=outputs[1], lora_name="l", strength_model=0.5, strength_clip=0.0
    )
    assert model.facts["loras"] == (("l", 0.5),)
    assert clip is outputs[1]
