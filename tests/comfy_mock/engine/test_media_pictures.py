"""Image files: formats, chunks and their order as protocol 7.2 and 7.3 have them."""

from __future__ import annotations

import io
import itertools
import struct

import av
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.media import pictures
from comfy_mock.engine.media.exr import exr
from comfy_mock.engine.nodes.api import Preview
from comfy_mock.engine.pictures import draw_subject
from comfy_mock.engine.previews import preview_bytes
from comfy_mock.engine.values import Subject

TEXTS = (("prompt", '{"1": {"class_type": "A", "text": "\\u00fc"}}'), ("workflow", "{}"))
PICTURE = draw_subject(Subject(3), 20, 12, 0)


def chunk_names(data: bytes) -> list[str]:
    position, names = 8, []
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        names.append(name.decode())
        position += 12 + length
    return names


def test_png_has_its_texts_before_the_pixels() -> None:
    data = pictures.png(PICTURE, chunks=pictures.png_chunks(TEXTS), compress_level=4)
    assert chunk_names(data) == ["IHDR", "tEXt", "tEXt", "IDAT", "IEND"]
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.info == dict(TEXTS)
        assert image.tobytes() == PICTURE.tobytes()


def test_png_without_texts_has_no_chunks() -> None:
    assert chunk_names(pictures.png(PICTURE, chunks=pictures.png_chunks(()), compress_level=1)) == [
        "IHDR",
        "IDAT",
        "IEND",
    ]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_png_of_depth_is_read_by_others(bits: int, mode: str) -> None:
    image = PICTURE.convert(mode)
    data = pictures.png_of_depth(image, texts=TEXTS, bits=bits)
    assert chunk_names(data) == ["IHDR", "pHYs", "tEXt", "tEXt", "IDAT", "IEND"]
    assert data[24] == bits
    with PIL.Image.open(io.BytesIO(data)) as found:
        assert (found.mode, found.info["prompt"], found.tobytes()) == (mode, TEXTS[0][1], image.tobytes())
    formats = {8: {"RGB": "rgb24", "RGBA": "rgba"}, 16: {"RGB": "rgb48be", "RGBA": "rgba64be"}}
    with av.open(io.BytesIO(data)) as container:
        assert next(container.decode(video=0)).format.name == formats[bits][mode]


def test_animated_png_has_private_chunks_behind_the_pixels() -> None:
    images = [PIL.Image.new("RGB", (4, 4), (0, 0, level)) for level in (1, 2, 2)]
    data = pictures.animated_png(
        images, chunks=pictures.animated_png_chunks(TEXTS), frames_per_second=6.0, compress_level=4
    )
    # The order of the recording animated_webp_png.
    assert chunk_names(data) == ["IHDR", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "comf", "comf", "IEND"]
    assert b"comfprompt\0" + TEXTS[0][1].encode() in data
    with PIL.Image.open(io.BytesIO(data)) as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert durations == [166, 332]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.floats(0.5, 100))
def test_animations_have_a_frame_per_change(levels: list[int], fps: float) -> None:
    images = [PIL.Image.new("RGB", (4, 4), (level * 80,) * 3) for level in levels]
    changes = 1 + sum(left != right for left, right in itertools.pairwise(levels))
    chunks = pictures.animated_png_chunks(())
    png = pictures.animated_png(images, chunks=chunks, frames_per_second=fps, compress_level=1)
    webp = pictures.animated_webp(images, texts=(), frames_per_second=fps, lossless=True, quality=80, method="fastest")
    for data in (png, webp):
        with PIL.Image.open(io.BytesIO(data)) as image:
            assert getattr(image, "n_frames", 1) == changes


def test_animated_webp_has_its_texts_in_falling_tags() -> None:
    images = [PIL.Image.new("RGB", (8, 8), (0, 0, level)) for level in (1, 200)]
    texts = (*TEXTS, ("extra", "[1]"))
    data = pictures.animated_webp(
        images, texts=texts, frames_per_second=6.0, lossless=False, quality=10, method="default"
    )
    with PIL.Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        assert (image.n_frames, image.size) == (2, (8, 8))
    assert dict(exif) == {0x0110: f"prompt:{TEXTS[0][1]}", 0x010F: "workflow:{}", 0x010E: "extra:[1]"}


def test_saving_leaves_the_picture_as_it_was() -> None:
    """Other threads save the same one with texts of their own."""
    images = [draw_subject(Subject(1), 16, 16, index) for index in range(2)]
    before = [dict(vars(image)) for image in images]
    pictures.png(images[0], chunks=pictures.png_chunks(TEXTS), compress_level=4)
    pictures.animated_png(images, chunks=pictures.animated_png_chunks(TEXTS), frames_per_second=8, compress_level=4)
    pictures.animated_webp(images, texts=TEXTS, frames_per_second=8, lossless=True, quality=80, method="fastest")
    preview_bytes(Preview(lambda: images[0], "PNG", None))
    preview_bytes(Preview(lambda: images[1], "JPEG", None))
    assert [vars(image) for image in images] == before


@pytest.mark.parametrize(("mode", "linear", "level"), [("RGB", True, 188 / 255), ("RGBA", False, 0.5028)])
def test_exr_is_read_by_others(mode: str, linear: bool, level: float) -> None:
    image = PIL.Image.new(mode, (5, 3), (188, 0, 255) if mode == "RGB" else (188, 0, 255, 255))
    data = exr(image, texts=(("prompt", "{}"), ("a" * 40, "x")), linear=linear)
    assert b"prompt\0string\0" in data
    with av.open(io.BytesIO(data), format="exr_pipe") as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (5, 3)
        planes = [struct.unpack_from("<f", bytes(plane))[0] for plane in frame.planes]
    # FFmpeg keeps the planes in the order green, blue, red.
    assert planes[:3] == pytest.approx([0.0, 1.0, level], abs=1e-3)


def test_equal_inputs_make_equal_bytes() -> None:
    def all_files() -> list[bytes]:
        images = [draw_subject(Subject(1), 16, 16, index) for index in range(3)]
        return [
            pictures.png(images[0], chunks=pictures.png_chunks(TEXTS), compress_level=4),
            pictures.png_of_depth(images[0], texts=TEXTS, bits=16),
            exr(images[0], texts=TEXTS, linear=False),
            pictures.animated_png(
                images, chunks=pictures.animated_png_chunks(TEXTS), frames_per_second=8, compress_level=4
            ),
            pictures.animated_webp(
                images, texts=TEXTS, frames_per_second=8, lossless=True, quality=80, method="slowest"
            ),
        ]

    assert all_files() == all_files()
