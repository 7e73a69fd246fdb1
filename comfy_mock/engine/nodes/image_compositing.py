"""Nodes that lay pictures over each other and handle their alpha channels."""

from __future__ import annotations

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import image, mask, optional_mask
from comfy_mock.engine.nodes.frames import (
    channel,
    each,
    inverted,
    pasted,
    repeated,
    resized,
    uniform,
    with_alpha,
    with_channels,
)
from comfy_mock.engine.values import Frame, Image, Mask

_RGB = 3
_RGBA = 4


@node("ImageCompositeMasked")
def image_composite_masked(call: Call) -> Output:
    """The source laid on the destination, where the mask is set; the batch is as long as the destination's."""
    destination, source = image(call, "destination"), image(call, "source")
    given_mask = optional_mask(call, "mask")
    frames = composited(
        destination.frames,
        each(source.frames, lambda frame: with_channels(frame, destination.channels)),
        (call.inputs["x"], call.inputs["y"]),
        given_mask.frames if given_mask else None,
        resize=call.inputs["resize_source"],
    )
    return Output((Image(frames),))


def composited(
    base: tuple[Frame, ...],
    source: tuple[Frame, ...],
    place: tuple[int, int],
    masks: tuple[Frame, ...] | None,
    *,
    resize: bool,
) -> tuple[Frame, ...]:
    """Every frame of `base` with one of `source` on it, each batch and mask begun again where it is too short.

    `place` is left and top in pixels; masks are scaled to the source; `resize` scales the source to the base.
    """
    width, height = base[0].width, base[0].height
    if resize:
        source = each(source, lambda frame: resized(frame, width, height, "bilinear"))
    if masks is not None:
        masks = each(masks, lambda frame: resized(frame, source[0].width, source[0].height, "bilinear"))
        masks = repeated(masks, len(base))
    over = repeated(source, len(base))
    return tuple(
        pasted(frame, over[index], *place, masks[index] if masks is not None else None)
        for index, frame in enumerate(base)
    )


@node("JoinImageWithAlpha")
def join_image_with_alpha(call: Call) -> Output:
    """A picture and, as its alpha channel, the opposite of a mask; the longer batch counts."""
    given, alpha = image(call, "image"), mask(call, "alpha")
    length = max(given.batch, alpha.batch)
    alphas = each(alpha.frames, lambda frame: inverted(resized(frame, given.width, given.height, "bilinear")))
    pairs = zip(repeated(given.frames, length), repeated(alphas, length), strict=True)
    return Output((Image(tuple(with_alpha(frame, opacity) for frame, opacity in pairs)),))


@node("SplitImageWithAlpha")
def split_image_with_alpha(call: Call) -> Output:
    """The colours, and the opposite of the alpha channel as a mask (all zero without one)."""
    given = image(call, "image")

    def transparency(frame: Frame) -> Frame:
        if frame.channels < _RGBA:
            return uniform(frame.width, frame.height, (0.0,))
        return inverted(channel(frame, _RGBA - 1))

    colours = each(given.frames, lambda frame: with_channels(frame, _RGB))
    return Output((Image(colours), Mask(each(given.frames, transparency))))
