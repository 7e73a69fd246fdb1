"""Samplers: so many steps of progress with previews, and a latent that shows what was asked for (protocol 6.7, 6.8)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial

from comfy_mock.engine.nodes.api import Call, Output, Preview, Step, Update, Wait, node
from comfy_mock.engine.nodes.arguments import argument, latent
from comfy_mock.engine.nodes.frames import faded, fitted, pasted, repeated
from comfy_mock.engine.nodes.generated import conditioning_texts, subject_frame
from comfy_mock.engine.nodes.sigmas import denoised_sigmas, sigmas_of
from comfy_mock.engine.previews import sampler_preview
from comfy_mock.engine.values import Image, Latent, Opaque, Subject, allocate

STEP_SECONDS = 0.15
"""A step at up to 512 x 512 pixels; more pixels or a batch take longer in proportion, up to `SLOWEST` times."""

SLOWEST = 20.0

_BASE_CELLS = 64 * 64


@node("KSampler")
def k_sampler(call: Call) -> Generator[Step, None, Output]:
    """`steps` steps, also with less than full denoise; none at all without any."""
    sigmas = denoised_sigmas(call.inputs["steps"], call.inputs["denoise"])
    subject = Subject(call.inputs["seed"], _prompt_of(call, "positive"))
    sampled = yield from sample(call, len(sigmas) - 1, subject, call.inputs["denoise"])
    return Output((sampled,))


@node("KSamplerAdvanced")
def k_sampler_advanced(call: Call) -> Generator[Step, None, Output]:
    """The steps from one to another of so many."""
    first = call.inputs["start_at_step"]
    steps = min(call.inputs["end_at_step"], call.inputs["steps"]) - first
    subject = Subject(call.inputs["noise_seed"], _prompt_of(call, "positive"))
    sampled = yield from sample(call, steps, subject, 1.0 - first / call.inputs["steps"])
    return Output((sampled,))


@node("SamplerCustom")
def sampler_custom(call: Call) -> Generator[Step, None, Output]:
    """One step less than there are sigmas."""
    steps = len(sigmas_of(argument(call, "sigmas"))) - 1
    subject = Subject(call.inputs["noise_seed"], _prompt_of(call, "positive"))
    sampled = yield from sample(call, steps, subject, 1.0)
    return Output((sampled, sampled))


@node("SamplerCustomAdvanced")
def sampler_custom_advanced(call: Call) -> Generator[Step, None, Output]:
    """One step less than there are sigmas; the seed comes with the noise, the prompt with the guider."""
    steps = len(sigmas_of(argument(call, "sigmas"))) - 1
    noise = argument(call, "noise")
    seed = noise.facts.get("noise_seed", 0) if isinstance(noise, Opaque) else 0
    sampled = yield from sample(call, steps, Subject(seed, _prompt_of(call, "guider")), 1.0)
    return Output((sampled, sampled))


def _prompt_of(call: Call, name: str) -> tuple[str, ...]:
    return conditioning_texts(argument(call, name))


def sample(call: Call, steps: int, subject: Subject, denoise: float) -> Generator[Step, None, Latent]:
    """The steps of a sampler on the input `latent_image`, and what comes out of it.

    Previews show the first of the batch, one pixel per latent cell. Without steps the latent stays as it is. Raises
    `RuntimeError` as torch does where the noise levels of so many steps do not fit into memory.
    """
    given = latent(call, "latent_image")
    if steps <= 0:
        return given
    allocate(steps, 1, 1, 1)
    cells = given.width * given.height * given.batch * (given.frames or 1)
    seconds = STEP_SECONDS * min(max(1.0, cells / _BASE_CELLS), SLOWEST)
    for step in range(1, steps + 1):
        yield Wait(seconds)
        yield Update(step, steps, _preview(call, subject, given, step, steps), first=step == 1)
    return replace(given, fill=None, subject=subject, image=_changed_picture(given, subject, denoise))


def _preview(call: Call, subject: Subject, given: Latent, step: int, steps: int) -> Preview | None:
    if call.preview_method == "none":
        return None
    draw = partial(sampler_preview, subject, given.width, given.height, step, steps)
    return Preview(draw, "JPEG", call.preview_size)


def _changed_picture(given: Latent, subject: Subject, denoise: float) -> Image | None:
    """The picture that the latent was encoded from, as far as the sampler left it: the less denoise, the more, and
    all of it outside of the noise mask."""
    if given.image is None or (denoise >= 1.0 and given.noise_mask is None):
        return None
    frames = []
    for index, frame in enumerate(repeated(given.image.frames, given.batch)):
        new = subject_frame(subject, frame.width, frame.height, index)
        changed = faded(frame, new, min(denoise, 1.0))
        if given.noise_mask is not None:
            mask = given.noise_mask.frames[index % given.noise_mask.batch]
            changed = pasted(frame, changed, 0, 0, fitted(mask, frame.width, frame.height, "bilinear", "disabled"))
        frames.append(changed)
    return Image(tuple(frames))


@node("RandomNoise")
def random_noise(call: Call) -> Output:
    """The seed."""
    return Output((Opaque("NOISE", {"noise_seed": call.inputs["noise_seed"]}),))


@node("BasicGuider", "CFGGuider", "DualCFGGuider", "PerpNegGuider", "DualModelGuider", "LTXVDualCFGGuider")
def guider(call: Call) -> Output:
    """The prompts that it guides towards."""
    towards = ("conditioning", "positive", "cond1", "cond2")
    texts = [text for name in towards for text in conditioning_texts(call.inputs.get(name))]
    return Output((Opaque("GUIDER", {"texts": tuple(texts)}),))
