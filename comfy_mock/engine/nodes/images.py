"""Nodes that make pictures, tell their size and put them into batches."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from comfy_mock.engine.nodes.api import Call, Output, Step, Text, node
from comfy_mock.engine.nodes.arguments import checked, grown, image
from comfy_mock.engine.nodes.frames import check_shape, each, fitted, repeated, uniform, with_channels
from comfy_mock.engine.values import Frame, Image


@node("EmptyImage")
def empty_image(call: Call) -> Output:
    """One colour, given as 0xRRGGBB (protocol 7.4)."""
    color, batch = call.inputs["color"], call.inputs["batch_size"]
    width, height = call.inputs["width"], call.inputs["height"]
    check_shape(batch, height, width, 1)
    levels = tuple(((color >> shift) & 0xFF) / 0xFF for shift in (16, 8, 0))
    return Output((Image(repeated((uniform(width, height, levels),), batch)),))


@node("GetImageSize")
def get_image_size(call: Call) -> Generator[Step, None, Output]:
    """Width, height and batch size, shown as text on the node too (protocol 6.8)."""
    given = image(call, "image")
    yield Text(f"width: {given.width}, height: {given.height}\n batch size: {given.batch}")
    return Output((given.width, given.height, given.batch))


@node("ImageBatch")
def image_batch(call: Call) -> Output:
    """The second batch behind the first, in the first one's size and the greater number of channels."""
    return Output((joined_batches((image(call, "image1"), image(call, "image2")), "bilinear"),))


@node("BatchImagesNode")
def batch_images(call: Call) -> Output:
    """All batches in one, in the size of the first."""
    return Output((joined_batches([checked(value, Image) for value in grown(call, "images")], "bilinear"),))


def joined_batches(images: Sequence[Image], method: str) -> Image:
    """The frames of all, scaled to fill the size of the first, with alpha if any of them has it."""
    first = images[0]
    channels = max(one.channels for one in images)

    def alike(frame: Frame) -> Frame:
        return with_channels(fitted(frame, first.width, first.height, method, "center"), channels)

    return Image(tuple(frame for one in images for frame in each(one.frames, alike)))


@node("RebatchImages")
def rebatch_images(call: Call) -> Output:
    """All images of a list, dealt into batches of a new size.

    Raises `RuntimeError` with torch's message where pictures of two sizes would share a batch.
    """
    frames = [frame for value in call.inputs["images"] for frame in checked(value, Image).frames]
    size = call.inputs["batch_size"][0]
    return Output(([Image(_stacked(frames[start : start + size])) for start in range(0, len(frames), size)],))


def _stacked(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    first = frames[0]
    for number, frame in enumerate(frames):
        sizes = ((first.height, frame.height), (first.width, frame.width), (first.channels, frame.channels))
        for expected, got in sizes:
            if expected != got:
                raise RuntimeError(unequal_sizes(0, expected, got, number))
    return tuple(frames)


def unequal_sizes(dimension: int, expected: int, got: int, number: int) -> str:
    """What torch says when tensors of unequal sizes are put side by side; `number` is the place of the odd one."""
    return (
        f"Sizes of tensors must match except in dimension {dimension}. "
        f"Expected size {expected} but got size {got} for tensor number {number} in the list."
    )


@node("ImageFromBatch")
def image_from_batch(call: Call) -> Output:
    """Some images of a batch; a negative index counts from its end."""
    given = image(call, "image")
    start, length = batch_slice(given.batch, call.inputs["batch_index"], call.inputs["length"])
    return Output((Image(given.frames[start : start + length]),))


def batch_slice(batch: int, index: int, length: int) -> tuple[int, int]:
    """First place and number of what a batch really has of `length` items from `index` on."""
    start = min(batch - 1, max(0, index + batch if index < 0 else index))
    return start, min(batch - start, length)


@node("RepeatImageBatch")
def repeat_image_batch(call: Call) -> Output:
    """The whole batch again and again."""
    given = image(call, "image")
    return Output((Image(repeated(given.frames, given.batch * call.inputs["amount"])),))
