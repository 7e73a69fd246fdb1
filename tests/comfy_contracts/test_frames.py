from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from comfy_contracts import frames, har
from comfy_contracts.frames import (
    FrameError,
    PreviewFrame,
    PreviewWithMetadata,
    TextFrame,
    UnencodedPreview,
    UnknownFrame,
)

METADATA = {
    "node_id": "3",
    "prompt_id": "a402f045",
    "display_node_id": "3",
    "parent_node_id": None,
    "real_node_id": "3",
    "image_type": "image/jpeg",
}


def recorded_frames() -> list[bytes]:
    found = []
    for recording in har.packaged_recordings("0.33.0").values():
        for socket in har.load(recording).sockets():
            payloads = [message.payload for message in socket.messages if message.type == "receive"]
            found += [payload for payload in payloads if isinstance(payload, bytes)]
    return found


def counted(event: int, part: bytes, rest: bytes = b"") -> bytes:
    return struct.pack(">II", event, len(part)) + part + rest


def test_every_recorded_frame_is_typed_and_written_back_as_it_was() -> None:
    kinds = set()
    for data in recorded_frames():
        frame = frames.decode(data)
        assert frames.encode(frame) == data
        kinds.add(type(frame))

    assert kinds == {PreviewFrame, TextFrame, PreviewWithMetadata}


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (PreviewFrame(1, b"\xff\xd8"), b"\0\0\0\1\0\0\0\1\xff\xd8"),
        (PreviewFrame(2, b"\x89PNG"), b"\0\0\0\1\0\0\0\2\x89PNG"),
        (UnencodedPreview(b"abc"), b"\0\0\0\2abc"),
        (TextFrame("é1", "width: 8\nü"), b"\0\0\0\3\0\0\0\3\xc3\xa91width: 8\n\xc3\xbc"),
        (UnknownFrame(70_000, b"x"), b"\0\1\x11\x70x"),
        (UnknownFrame(1, b"\0\0\0\3webp"), b"\0\0\0\1\0\0\0\3webp"),
        (UnknownFrame(0, b""), b"\0\0\0\0"),
        (PreviewWithMetadata(**METADATA, image=b"\xff"), counted(4, json.dumps(METADATA).encode(), b"\xff")),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bytes) else "",
)
def test_each_frame_has_the_layout_of_the_protocol(frame: frames.Frame, data: bytes) -> None:
    assert frames.encode(frame) == data
    assert frames.decode(data) == frame


@pytest.mark.parametrize(("number", "name"), [(frames.JPEG, "JPEG"), (frames.PNG, "PNG")])
def test_a_preview_names_its_format(number: Any, name: str) -> None:
    assert PreviewFrame(number, b"").format_name == name


def test_further_metadata_survive() -> None:
    data = counted(4, json.dumps({**METADATA, "image": 1, "extra": {"a": [2.0]}}).encode(), b"\xff")

    frame = frames.decode(data)

    assert isinstance(frame, PreviewWithMetadata)
    assert frame.extra == {"image": 1, "extra": {"a": [2.0]}}
    assert frame.image == b"\xff"
    assert frames.encode(frame) == data


def test_metadata_of_another_shape_make_an_unknown_frame() -> None:
    data = counted(4, b'{"node_id": 3}', b"image")

    frame = frames.decode(data)

    assert frame == UnknownFrame(4, data[4:])
    assert frames.encode(frame) == data


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (b"", 0),
        (b"\0\0\0", 0),
        (b"\0\0\0\1\0\0", 4),
        (b"\0\0\0\3", 4),
        (b"\0\0\0\3\0\0\0\5abcd", 4),
        (b"\0\0\0\3\xff\xff\xff\xffabcd", 4),
        (b"\0\0\0\3\0\0\0\2a\xffb", 9),
        (b"\0\0\0\3\0\0\0\1abc\xff", 11),
        (b"\0\0\0\4\0\0\0\3{}", 4),
        (counted(4, b"{x}"), 8),
        (counted(4, b'"\xff"'), 9),
        (counted(4, b"[" * 100_000), 8),
    ],
)
def test_a_broken_frame_is_refused_with_its_position(data: bytes, position: int) -> None:
    with pytest.raises(FrameError, match=f"at byte {position}:") as caught:
        frames.decode(data)

    assert caught.value.position == position


events = st.integers(0, 5) | st.integers(0, 2**32 - 1)


@given(events, st.integers(0, 12) | st.integers(0, 2**32 - 1), st.binary(max_size=40))
def test_a_frame_is_refused_or_kept_whole(number_of_event: int, number: int, rest: bytes) -> None:
    data = struct.pack(">II", number_of_event, number) + rest
    try:
        frame = frames.decode(data)
    except FrameError as error:
        event(f"refused at {error.position}")
        frame = None

    if frame is None:
        assert number_of_event in (3, 4)
    else:
        assert frames.encode(frame) == data


text = st.text()
metadata = st.builds(
    PreviewWithMetadata, text, text, text, st.none() | text, text, text, st.binary(), extra=st.just({"more": 1})
)


@given(st.builds(TextFrame, text, text) | metadata | st.builds(PreviewFrame, st.sampled_from([1, 2]), st.binary()))
def test_what_is_written_is_read(frame: frames.Frame) -> None:
    assert frames.decode(frames.encode(frame)) == frame
