from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import av
import av.audio.frame
import PIL.Image
import PIL.PngImagePlugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts import har
from comfy_contracts.media_facts import media_facts, picture_facts, value_of

PROMPT = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (8, 4), **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, 77).save(buffer, kind, **options)
    return buffer.getvalue()


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A picture with chunks of our own between its data and its end."""
    plain = picture("PNG")
    extra = b"".join(
        struct.pack(">I4s", len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return plain[:-12] + extra + plain[-12:]


def test_a_png_has_size_mode_and_its_texts_in_order() -> None:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(PROMPT))
    info.add_text("workflow", '{"id": "w"}')
    info.add_text("packed", "plain", zip=True)
    info.add_itxt("other", "ü", zip=True)
    assert media_facts(picture("PNG", "RGBA", pnginfo=info)) == {
        "kind": "PNG",
        "size": [8, 4],
        "mode": "RGBA",
        "frames": 1,
        "chunks": [
            ["tEXt", "prompt", PROMPT],
            ["tEXt", "workflow", {"id": "w"}],
            ["zTXt", "packed", "plain"],
            ["iTXt", "other", "ü"],
        ],
    }


def test_the_private_chunks_of_an_animated_png_are_read_after_the_data() -> None:
    facts = media_facts(png_with((b"comf", b"prompt\0" + json.dumps(PROMPT).encode()), (b"comf", b"x\0not json")))
    assert facts["chunks"] == [["comf", "prompt", PROMPT], ["comf", "x", "not json"]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_frames_have_durations(kind: str) -> None:
    frames = [PIL.Image.new("RGB", (8, 4), color) for color in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=[100, 200, 300])
    facts = media_facts(buffer.getvalue())
    assert (facts["kind"], facts["frames"], len(facts["durations"])) == (kind, 3, 3)
    assert facts["durations"] != media_facts(_slower(frames, kind))["durations"]


def _slower(frames: list[PIL.Image.Image], kind: str) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=[150, 250, 350])
    return buffer.getvalue()


def test_exif_holds_keys_and_json() -> None:
    exif = PIL.Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(PROMPT)}"
    exif[0x010F] = "no colon"
    exif[0x0112] = 1
    facts = media_facts(picture("WEBP", exif=exif))
    assert facts["exif"] == {"272": ["prompt", PROMPT], "271": "no colon", "274": "1"}


def test_pixels_do_not_count() -> None:
    red, blue = io.BytesIO(), io.BytesIO()
    PIL.Image.new("RGB", (9, 9), "red").save(red, "JPEG", quality=95)
    PIL.Image.new("RGB", (9, 9), "blue").save(blue, "JPEG", quality=20)
    assert media_facts(red.getvalue()) == media_facts(blue.getvalue())


def test_the_facts_of_a_preview_are_few() -> None:
    assert picture_facts(picture("JPEG")) == {"kind": "JPEG", "size": [8, 4], "mode": "RGB"}
    assert picture_facts(picture("PNG")[:45])["broken"] == "OSError"


def audio(container: str, codec: str, metadata: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        output.metadata.update(metadata)
        stream = output.add_stream(codec, rate=8000, layout="mono")
        frame = av.audio.frame.AudioFrame(format="s16", layout="mono", samples=8000)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return buffer.getvalue()


def test_audio_has_streams_and_tags_but_not_those_of_the_muxer() -> None:
    assert media_facts(audio("flac", "flac", {"prompt": json.dumps(PROMPT)})) == {
        "kind": "container",
        "format": "flac",
        "seconds": 1.0,
        "streams": [{"audio": "flac", "rate": 8000, "channels": 1}],
        "tags": {"prompt": PROMPT},
    }


def test_matroska_writes_its_keys_in_capitals() -> None:
    facts = media_facts(audio("matroska", "pcm_s16le", {"prompt": json.dumps(PROMPT)}))
    assert facts["tags"] == {"prompt": PROMPT}


def test_a_latent_has_its_header() -> None:
    header = {
        "__metadata__": {"prompt": json.dumps(PROMPT)},
        "t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    assert media_facts(len(text).to_bytes(8, "little") + text + bytes(4)) == {
        "kind": "safetensors",
        "metadata": {"prompt": PROMPT},
        "tensors": {"t": ["F32", [1]]},
    }


@pytest.mark.parametrize("content", [b"fLaC broken", b"\x1aE\xdf\xa3", picture("PNG")[:-30], picture("WEBP")[:20]])
def test_damaged_files_are_compared_exactly(content: bytes) -> None:
    facts = media_facts(content)
    assert "sha256" in facts
    assert facts != media_facts(content + b"\0")


@given(st.binary(max_size=200))
def test_anything_has_facts_and_unknown_files_count_to_the_byte(content: bytes) -> None:
    facts = media_facts(content)
    assert facts == media_facts(content)
    if facts["kind"] == "other":
        assert facts["bytes"] == len(content)
        assert facts != media_facts(content + b"x")


@pytest.mark.parametrize(("text", "value"), [('{"a": 1}', {"a": 1}), ("[1]", [1]), ("{", "{"), ("5", "5"), ("", "")])
def test_values_are_json_where_they_are_objects_or_lists(text: str, value: Any) -> None:
    assert value_of(text) == value


def test_recorded_media_are_of_known_kinds() -> None:
    kinds = set()
    for name, file in har.packaged_recordings("0.33.0").items():
        for entry in har.load(file).exchanges():
            response = entry.response
            if (
                response.body
                and response.status == 200
                and response.content.mime_type.startswith(("image/", "audio/", "video/"))
            ):
                facts = media_facts(response.body)
                assert "broken" not in facts or name == "view", (name, entry.request.url, facts)
                kinds.add(facts["kind"])
    assert kinds == {"PNG", "WEBP", "JPEG", "container", "other"}
