"""The binary frames of `/ws`: previews and text (protocol 6.8).

A frame is a 32-bit event number and a payload; all integers are unsigned and big-endian. `decode` either raises
`FrameError` or gives a frame that holds all that was sent. Event numbers and shapes that are not known here become
`UnknownFrame`.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Literal, Union

import msgspec

from comfy_contracts import jsontext
from comfy_contracts.structs import Lossless, ShapeError

PREVIEW_IMAGE = 1
UNENCODED_PREVIEW_IMAGE = 2
TEXT = 3
PREVIEW_IMAGE_WITH_METADATA = 4

JPEG: Literal[1] = 1
PNG: Literal[2] = 2

_U32 = struct.Struct(">I")


class FrameError(ValueError):
    """A binary frame is broken. `position` is the offset in bytes at which it stops making sense."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(f"broken binary frame at byte {position}: {problem}")
        self.position = position


class PreviewFrame(msgspec.Struct, frozen=True):
    """Event 1, a preview picture for clients without the metadata flag. `image` is a whole JPEG or PNG file."""

    image_format: Literal[1, 2]
    image: bytes

    @property
    def format_name(self) -> Literal["JPEG", "PNG"]:
        """The name of the format, as Pillow spells it."""
        return "JPEG" if self.image_format == JPEG else "PNG"


class UnencodedPreview(msgspec.Struct, frozen=True):
    """Event 2. It is internal to the server, which sends it as event 1; on the wire its payload has no known form."""

    payload: bytes


class TextFrame(msgspec.Struct, frozen=True):
    """Event 3, a line of text that a node shows while it runs."""

    node_id: str
    text: str


class PreviewWithMetadata(Lossless, frozen=True):
    """Event 4, a preview picture that says whose it is. `image_type` is `image/jpeg` or `image/png`.

    The ids are those of `messages.NodeProgress`; `extra` holds further fields of the frame's JSON.
    """

    bookkeeping: ClassVar[frozenset[str]] = frozenset({"extra", "image"})

    node_id: str
    prompt_id: str
    display_node_id: str
    parent_node_id: str | None
    real_node_id: str
    image_type: str
    image: bytes = b""


class UnknownFrame(msgspec.Struct, frozen=True):
    """A frame that this module has no struct for. `event` is its number, `payload` all that follows."""

    event: int
    payload: bytes


Frame = Union[PreviewFrame, UnencodedPreview, TextFrame, PreviewWithMetadata, UnknownFrame]


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    if isinstance(frame, PreviewFrame):
        return _U32.pack(PREVIEW_IMAGE) + _U32.pack(frame.image_format) + frame.image
    if isinstance(frame, PreviewWithMetadata):
        metadata = jsontext.dumps(frame).encode("ascii")
        return _U32.pack(PREVIEW_IMAGE_WITH_METADATA) + _U32.pack(len(metadata)) + metadata + frame.image
    if isinstance(frame, TextFrame):
        node_id = frame.node_id.encode("utf-8")
        return _U32.pack(TEXT) + _U32.pack(len(node_id)) + node_id + frame.text.encode("utf-8")
    if isinstance(frame, UnencodedPreview):
        return _U32.pack(UNENCODED_PREVIEW_IMAGE) + frame.payload
    return _U32.pack(frame.event) + frame.payload


def decode(data: bytes) -> Frame:
    """The frame of a binary message. Raises `FrameError` where it is cut short or a length in it lies."""
    event = _u32_at(data, 0, "the event number")
    if event == PREVIEW_IMAGE:
        image_format = _u32_at(data, 4, "the image format")
        if image_format == JPEG:
            return PreviewFrame(JPEG, data[8:])
        if image_format == PNG:
            return PreviewFrame(PNG, data[8:])
    elif event == UNENCODED_PREVIEW_IMAGE:
        return UnencodedPreview(data[4:])
    elif event == TEXT:
        node_id, rest = _counted(data, "the node id")
        return TextFrame(_utf8(node_id, 8, "the node id"), _utf8(rest, 8 + len(node_id), "the text"))
    elif event == PREVIEW_IMAGE_WITH_METADATA:
        metadata, image = _counted(data, "the metadata")
        try:
            preview = PreviewWithMetadata.from_builtins(_json(metadata, 8))
        except ShapeError:
            return UnknownFrame(event, data[4:])
        return msgspec.structs.replace(preview, image=image)
    return UnknownFrame(event, data[4:])


def _u32_at(data: bytes, position: int, what: str) -> int:
    if len(data) < position + 4:
        raise FrameError(f"{what} takes 4 bytes, only {len(data) - position} are left", position)
    return int(_U32.unpack_from(data, position)[0])


def _counted(data: bytes, what: str) -> tuple[bytes, bytes]:
    """The part whose length stands at byte 4, and what follows it."""
    length = _u32_at(data, 4, f"the length of {what}")
    if len(data) < 8 + length:
        raise FrameError(f"{what} should take {length} bytes, only {len(data) - 8} are left", 4)
    return data[8 : 8 + length], data[8 + length :]


def _utf8(part: bytes, position: int, what: str) -> str:
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FrameError(f"{what} is not UTF-8: {error.reason}", position + error.start) from error


def _json(part: bytes, position: int) -> Any:
    try:
        return jsontext.loads(_utf8(part, position, "the metadata"))
    except RecursionError as error:
        raise FrameError("the metadata is nested too deeply", position) from error
    except ValueError as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(f"the metadata is not JSON: {error}", position) from error
