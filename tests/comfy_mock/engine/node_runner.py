"""Runs the rule of one class, without an engine around it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import PIL.Image
from node_calls import make_call

from comfy_contracts import har, jsontext
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import Call, Output, Step
from comfy_mock.engine.values import Frame, Image, Latent, Mask


def call_of(class_type: str, inputs: Mapping[str, Any], **fields: Any) -> Call:
    return make_call(class_type, dict(inputs), **fields)


def steps_of(class_type: str, inputs: Mapping[str, Any], **fields: Any) -> tuple[list[Step], Output]:
    """What a rule yields, and its output."""
    return outcome_of(call_of(class_type, inputs, **fields))


def outcome_of(call: Call) -> tuple[list[Step], Output]:
    """What the rule of a call yields, and its output."""
    outcome = behaviour(call.definition).rule(call)
    if isinstance(outcome, Output):
        return [], outcome
    returned: list[Output] = []

    def whole() -> Generator[Step, None, None]:
        returned.append((yield from outcome))

    return list(whole()), returned[0]


def values_of(class_type: str, **inputs: Any) -> tuple[Any, ...]:
    return steps_of(class_type, inputs)[1].values


def value_of(class_type: str, inputs: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """The only output."""
    (value,) = steps_of(class_type, {**(inputs or {}), **more})[1].values
    return value


def recorded_messages(recording: str, event: str) -> list[dict[str, Any]]:
    """The data of all WebSocket messages of a type in a recording."""
    entries = har.load(har.packaged_recordings("0.33.0")[recording]).log.entries
    texts = [raw.data for entry in entries for raw in entry.web_socket_messages or () if raw.opcode == 1]
    messages = map(jsontext.loads, texts)
    return [message["data"] for message in messages if message["type"] == event]


def plain_image(width: int = 8, height: int = 6, levels: tuple[float, ...] = (0.2, 0.4, 0.6), batch: int = 1) -> Image:
    return Image((Frame(width, height, len(levels), fill=levels),) * batch)


def plain_mask(width: int = 8, height: int = 6, level: float = 0.5, batch: int = 1) -> Mask:
    return Mask((Frame(width, height, 1, fill=(level,)),) * batch)


def drawn_image(*pictures: PIL.Image.Image) -> Image:
    return Image(tuple(_frame(picture) for picture in pictures))


def drawn_mask(*pictures: PIL.Image.Image) -> Mask:
    return Mask(tuple(_frame(picture) for picture in pictures))


def _frame(picture: PIL.Image.Image) -> Frame:
    return Frame(picture.width, picture.height, len(picture.getbands()), lambda: picture)


def redrawn(value: Any) -> Any:
    """The same picture or mask, without the knowledge that it is uniform; other values as they are."""
    if not isinstance(value, (Image, Mask)):
        return value
    pictures = [frame.image() for frame in value.frames]
    return drawn_image(*pictures) if isinstance(value, Image) else drawn_mask(*pictures)


def size_of(value: Image | Mask | Latent) -> tuple[int, int, int]:
    """Width, height and batch size."""
    return value.width, value.height, value.batch


def pixels_of(value: Image | Mask, index: int = 0) -> list[list[Any]]:
    """The pixels of one picture, row by row."""
    picture = value.frames[index].image()
    return [[picture.getpixel((x, y)) for x in range(picture.width)] for y in range(picture.height)]


def gradient(width: int, height: int) -> PIL.Image.Image:
    """A picture whose every pixel tells its place: red is ten times the column, green ten times the row."""
    picture = PIL.Image.new("RGB", (width, height))
    for x in range(width):
        for y in range(height):
            picture.putpixel((x, y), (10 * x, 10 * y, 0))
    return picture
