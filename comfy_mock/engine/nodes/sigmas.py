"""Nodes that make and change sigmas, the noise levels that a sampler steps through.

A SIGMAS value has them under the fact `sigmas`, from the noisiest to the last; a sampler makes one step less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument
from comfy_mock.engine.values import Opaque, allocate

SIGMA_MAX, SIGMA_MIN = 14.614642, 0.0291675
"""The ends of the noise levels of Stable Diffusion 1, which stand in for those of all models."""

_RHO = 7.0
_ALMOST_NOTHING = 0.0001
_NUMBER = re.compile(r"[+-]?\d*\.*\d+")

Sigmas = tuple[float, ...]


def sigmas_value(sigmas: Sequence[float]) -> Opaque:
    """A value of type SIGMAS."""
    return Opaque("SIGMAS", {"sigmas": tuple(sigmas)})


def sigmas_of(value: Any) -> Sigmas:
    """The noise levels of a value of type SIGMAS. Raises `AttributeError` for anything else."""
    if isinstance(value, Opaque) and value.type == "SIGMAS":
        return tuple(value.facts["sigmas"])
    raise AttributeError(f"'{type(value).__name__}' object has no attribute 'shape'")


def karras(steps: int, sigma_max: float = SIGMA_MAX, sigma_min: float = SIGMA_MIN, rho: float = _RHO) -> Sigmas:
    """`steps` levels by the rule of Karras et al. (2022), and 0."""
    return _karras_at(_ramp(steps), sigma_max, sigma_min, rho)


def _karras_at(ramp: Sequence[float], sigma_max: float, sigma_min: float, rho: float) -> Sigmas:
    last, first = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (*((first + at * (last - first)) ** rho for at in ramp), 0.0)


def _ramp(steps: int, first: int = 0) -> list[float]:
    """How far each of `steps` steps, from number `first` on, is on the way."""
    allocate(steps - first, 1, 1, 1)
    return [step / (steps - 1) if steps > 1 else 0.0 for step in range(first, steps)]


@node("KarrasScheduler")
def karras_scheduler(call: Call) -> Output:
    """By the rule of Karras et al."""
    inputs = call.inputs
    return Output((sigmas_value(karras(inputs["steps"], inputs["sigma_max"], inputs["sigma_min"], inputs["rho"])),))


@node("ExponentialScheduler", "PolyexponentialScheduler")
def exponential_scheduler(call: Call) -> Output:
    """Even steps of the logarithm; with `rho`, even steps of a power of the way.

    Raises `ValueError` for the logarithm of 0.
    """
    high, low = math.log(call.inputs["sigma_max"]), math.log(call.inputs["sigma_min"])
    rho = call.inputs.get("rho", 1.0)
    levels = [math.exp((1 - at) ** rho * (high - low) + low) for at in _ramp(call.inputs["steps"])]
    return Output((sigmas_value([*levels, 0.0]),))


@node("LaplaceScheduler")
def laplace_scheduler(call: Call) -> Output:
    """By a Laplace distribution of the logarithm."""
    inputs = call.inputs
    levels = []
    for at in _ramp(inputs["steps"]):
        spread = math.log(1 - 2 * abs(0.5 - at) + 1e-5) * math.copysign(1.0, 0.5 - at) if at != 0.5 else 0.0
        level = math.exp(min(inputs["mu"] - inputs["beta"] * spread, 700.0))
        levels.append(min(max(level, inputs["sigma_min"]), inputs["sigma_max"]))
    return Output((sigmas_value([*levels, 0.0]),))


@node("VPScheduler")
def vp_scheduler(call: Call) -> Output:
    """Of a variance preserving process."""
    inputs = call.inputs
    levels = []
    for at in _ramp(inputs["steps"]):
        time = 1.0 + at * (inputs["eps_s"] - 1.0)
        exponent = inputs["beta_d"] * time**2 / 2 + inputs["beta_min"] * time
        levels.append(math.sqrt(math.expm1(min(exponent, 700.0))))
    return Output((sigmas_value([*levels, 0.0]),))


@node(
    "BasicScheduler",
    "BetaSamplingScheduler",
    "SDTurboScheduler",
    "AlignYourStepsScheduler",
    "GITSScheduler",
    "OptimalStepsScheduler",
    "LTXVScheduler",
    "Flux2Scheduler",
    "Ideogram4Scheduler",
)
def model_scheduler(call: Call) -> Output:
    """So many steps as asked for. The levels depend on the model, so typical ones stand in for them; with less than
    full denoise they are the last ones of more steps, and none at all without any."""
    return Output((sigmas_value(denoised_sigmas(call.inputs["steps"], call.inputs.get("denoise", 1.0))),))


def denoised_sigmas(steps: int, denoise: float) -> Sigmas:
    """The levels of `steps` steps that undo `denoise` (0.0 to 1.0) of the noise."""
    if denoise <= 0.0:
        return ()
    whole = max(steps, int(steps / denoise))
    return _karras_at(_ramp(whole, whole - steps), SIGMA_MAX, SIGMA_MIN, _RHO)


@node("SplitSigmas")
def split_sigmas(call: Call) -> Output:
    """Up to a step, and from it on."""
    sigmas, step = sigmas_of(argument(call, "sigmas")), call.inputs["step"]
    return Output((sigmas_value(sigmas[: step + 1]), sigmas_value(sigmas[step:])))


@node("SplitSigmasDenoise")
def split_sigmas_denoise(call: Call) -> Output:
    """Split where a part of the steps remains."""
    sigmas = sigmas_of(argument(call, "sigmas"))
    kept = round(max(len(sigmas) - 1, 0) * call.inputs["denoise"])
    return Output((sigmas_value(sigmas[:-kept]), sigmas_value(sigmas[-(kept + 1) :])))


@node("FlipSigmas")
def flip_sigmas(call: Call) -> Output:
    """From the last to the first, which must not be 0."""
    sigmas = list(reversed(sigmas_of(argument(call, "sigmas"))))
    if sigmas and sigmas[0] == 0:
        sigmas[0] = _ALMOST_NOTHING
    return Output((sigmas_value(sigmas),))


@node("SetFirstSigma")
def set_first_sigma(call: Call) -> Output:
    """With another first one. Raises `IndexError` with torch's message where there is none."""
    sigmas = sigmas_of(argument(call, "sigmas"))
    if not sigmas:
        raise IndexError("index 0 is out of bounds for dimension 0 with size 0")
    return Output((sigmas_value((call.inputs["sigma"], *sigmas[1:])),))


@node("ManualSigmas")
def manual_sigmas(call: Call) -> Output:
    """All numbers in a text. Raises `ValueError` for what only looks like one, such as `1..5`."""
    return Output((sigmas_value([float(number) for number in _NUMBER.findall(call.inputs["sigmas"])]),))
