"""Nodes that turn prompts into conditionings and combine them.

A value of type CONDITIONING has its prompts under the fact `texts`.
"""

from __future__ import annotations

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument
from comfy_mock.engine.nodes.generated import conditioning_texts, prompts_of
from comfy_mock.engine.values import Opaque

ENCODE_SECONDS = 0.05

_NO_CLIP = (
    "ERROR: clip input is invalid: None\n\nIf the clip is from a checkpoint loader node your checkpoint does not "
    "contain a valid clip or text encoder model."
)


def conditioning(*texts: str) -> Opaque:
    """A value of type CONDITIONING."""
    return Opaque("CONDITIONING", {"texts": texts})


@node("CLIPTextEncode", seconds=ENCODE_SECONDS)
def clip_text_encode(call: Call) -> Output:
    """The prompt. Raises `RuntimeError` without a CLIP."""
    if argument(call, "clip") is None:
        raise RuntimeError(_NO_CLIP)
    return Output((conditioning(call.inputs["text"]),))


@node(
    "CLIPTextEncodeFlux",
    "CLIPTextEncodeSDXL",
    "CLIPTextEncodeSDXLRefiner",
    "CLIPTextEncodeSD3",
    "CLIPTextEncodeHunyuanDiT",
    "CLIPTextEncodeHiDream",
    "CLIPTextEncodePixArtAlpha",
    "CLIPTextEncodeLumina2",
    "CLIPTextEncodeControlnet",
    seconds=ENCODE_SECONDS,
)
def clip_text_encode_many(call: Call) -> Output:
    """The prompts for several encoders, equal ones once."""
    return Output((conditioning(*dict.fromkeys(prompts_of(call))),))


@node("ConditioningCombine", "ConditioningConcat", "ConditioningAverage")
def conditioning_combine(call: Call) -> Output:
    """The prompts of both."""
    texts = [text for value in call.inputs.values() for text in conditioning_texts(value)]
    return Output((conditioning(*texts),))


@node("ConditioningZeroOut")
def conditioning_zero_out(call: Call) -> Output:
    """No prompt at all."""
    argument(call, "conditioning")
    return Output((conditioning(),))
