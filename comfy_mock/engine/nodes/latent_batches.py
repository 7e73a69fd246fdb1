"""Nodes that put latents into batches and take them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import checked, grown, latent
from comfy_mock.engine.nodes.frames import repeated
from comfy_mock.engine.nodes.images import batch_slice
from comfy_mock.engine.nodes.latents import alike
from comfy_mock.engine.values import Image, Latent, Mask


@node("LatentBatch")
def latent_batch(call: Call) -> Output:
    """The second batch behind the first, in the first one's size."""
    return Output((_joined([latent(call, "samples1"), latent(call, "samples2")]),))


@node("BatchLatentsNode")
def batch_latents(call: Call) -> Output:
    """All batches in one, in the size of the first."""
    return Output((_joined([checked(value, Latent) for value in grown(call, "latents")]),))


def _joined(latents: Sequence[Latent]) -> Latent:
    first = latents[0]
    same = [alike(one, first) for one in latents]
    fill = first.fill if len({one.fill for one in same}) == 1 else None
    pictures = [one.image for one in same if one.image]
    image = Image(tuple(frame for one in pictures for frame in one.frames)) if len(pictures) == len(same) else None
    return replace(first, batch=sum(one.batch for one in same), fill=fill, image=image)


@node("LatentFromBatch")
def latent_from_batch(call: Call) -> Output:
    """Some latents of a batch; a negative index counts from its end."""
    given = latent(call, "samples")
    start, length = batch_slice(given.batch, call.inputs["batch_index"], call.inputs["length"])
    return Output((_part(given, start, length),))


def _part(given: Latent, start: int, length: int) -> Latent:
    image = Image(given.image.frames[start : start + length]) if given.image else None
    mask = given.noise_mask
    if mask is not None and mask.batch > 1:
        mask = Mask(repeated(mask.frames, given.batch)[start : start + length])
    return replace(given, batch=length, image=image, noise_mask=mask)


@node("RepeatLatentBatch")
def repeat_latent_batch(call: Call) -> Output:
    """The whole batch again and again."""
    given, amount = latent(call, "samples"), call.inputs["amount"]
    image = Image(repeated(given.image.frames, given.image.batch * amount)) if given.image else None
    mask = given.noise_mask
    if mask is not None and mask.batch > 1:
        mask = Mask(repeated(mask.frames, given.batch * amount))
    return Output((replace(given, batch=given.batch * amount, image=image, noise_mask=mask),))


@node("RebatchLatents")
def rebatch_latents(call: Call) -> Output:
    """All latents of a list, dealt into batches of a new size; those of another shape begin a new batch."""
    size = call.inputs["batch_size"][0]
    dealt = []
    latents = [checked(value, Latent) for value in call.inputs["latents"]]
    for _, alike_ones in groupby(latents, key=lambda one: one.shape[1:]):
        whole = _joined(list(alike_ones))
        dealt += [_part(whole, start, min(size, whole.batch - start)) for start in range(0, whole.batch, size)]
    return Output((dealt,))


@node("TrimVideoLatent")
def trim_video_latent(call: Call) -> Output:
    """Without so many latent frames at its beginning."""
    given, amount = latent(call, "samples"), call.inputs["trim_amount"]
    if given.frames is None:
        return Output((given,))
    return Output((replace(given, frames=max(0, given.frames - amount), image=None),))
