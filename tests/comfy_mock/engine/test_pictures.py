"""Drawn pictures and previews: sizes and formats are those of protocol 6.8, and equal arguments draw equal pixels."""

from __future__ import annotations

import io

import PIL.Image
import PIL.ImageChops
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts import frames as wire
from comfy_contracts import har
from comfy_mock.engine.nodes.api import Preview
from comfy_mock.engine.pictures import draw_subject, example_png
from comfy_mock.engine.previews import fit_inside, preview_bytes, sampler_preview
from comfy_mock.engine.values import Subject

SUBJECT = Subject(8566257, ("masterpiece best quality girl",))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**64), st.text(max_size=40))
def test_any_subject_is_drawn_at_any_size(width: int, height: int, seed: int, line: str) -> None:
    image = draw_subject(Subject(seed, (line,)), width, height, 0)
    assert (image.size, image.mode) == ((width, height), "RGB")


@pytest.mark.parametrize("size", [(4096, 64), (16, 2000), (1500, 1500)])
def test_large_pictures_have_their_size(size: tuple[int, int]) -> None:
    assert draw_subject(SUBJECT, *size, 0).size == size


def test_equal_arguments_draw_equal_pictures() -> None:
    assert draw_subject(SUBJECT, 64, 48, 1).tobytes() == draw_subject(SUBJECT, 64, 48, 1).tobytes()


@pytest.mark.parametrize(
    "other", [(Subject(1, SUBJECT.lines), 0), (Subject(SUBJECT.seed, ("something else",)), 0), (SUBJECT, 1)]
)
def test_seed_text_and_index_are_seen(other: tuple[Subject, int]) -> None:
    subject, index = other
    assert draw_subject(subject, 128, 128, index).tobytes() != draw_subject(SUBJECT, 128, 128, 0).tobytes()


def test_words_of_any_length_are_drawn() -> None:
    assert draw_subject(Subject(0, ("x" * 100_000, "word " * 10_000)), 64, 64, 0).size == (64, 64)


def test_example_png_is_a_picture() -> None:
    with PIL.Image.open(io.BytesIO(example_png())) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (512, 512), "RGB")


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((16, 8), (512, 256)),  # the preview of an image of 128 x 64, protocol 6.8
        ((8, 8), (512, 512)),
        ((1024, 512), (512, 256)),
        ((3, 7), (219, 512)),  # 219.43
        ((7, 3), (512, 219)),
        ((1000, 1), (512, 1)),
        ((512, 512), (512, 512)),
    ],
)
def test_fit_inside(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit_inside(*size, 512) == fitted


def test_previews_are_scaled_up_and_down_to_their_maximum() -> None:
    for side in (8, 900):
        image = PIL.Image.new("RGB", (side * 2, side), "red")
        image_format, data = preview_bytes(Preview(lambda image=image: image))
        with PIL.Image.open(io.BytesIO(data)) as preview:
            assert (image_format, preview.format, preview.size) == ("JPEG", "JPEG", (512, 256))


def test_previews_without_a_maximum_keep_size_and_alpha() -> None:
    image = PIL.Image.new("RGBA", (7, 5), (1, 2, 3, 4))
    image_format, data = preview_bytes(Preview(lambda: image, "PNG", None))
    with PIL.Image.open(io.BytesIO(data)) as preview:
        assert (image_format, preview.format, preview.size) == ("PNG", "PNG", (7, 5))
        assert preview.getpixel((0, 0)) == (1, 2, 3, 4)


def test_jpeg_previews_drop_alpha() -> None:
    image_format, data = preview_bytes(Preview(lambda: PIL.Image.new("RGBA", (4, 4)), "JPEG", None))
    with PIL.Image.open(io.BytesIO(data)) as preview:
        assert (image_format, preview.mode) == ("JPEG", "RGB")


def test_previews_have_the_quality_of_the_recorded_ones() -> None:
    recording = har.load(har.packaged_recordings("0.33.0")["t2i_fresh"])
    binaries = [m.payload for entry in recording.sockets() for m in entry.messages if isinstance(m.payload, bytes)]
    recorded = next(frame for data in binaries if isinstance(frame := wire.decode(data), wire.PreviewFrame))
    _, ours = preview_bytes(Preview(lambda: sampler_preview(SUBJECT, 8, 8, 1, 4)))
    with PIL.Image.open(io.BytesIO(recorded.image)) as real, PIL.Image.open(io.BytesIO(ours)) as made:
        assert (made.format, made.size, made.mode) == (real.format, real.size, real.mode)
        assert made.quantization == real.quantization


def test_sampler_previews_come_out_of_noise() -> None:
    goal = sampler_preview(SUBJECT, 16, 16, 8, 8)
    distances = []
    for step in (1, 4, 7, 8):
        difference = PIL.ImageChops.difference(goal, sampler_preview(SUBJECT, 16, 16, step, 8))
        distances.append(sum(difference.tobytes()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0
    assert distances[0] > distances[1] > distances[2] > 0


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5), st.integers(0, 5))
def test_sampler_previews_have_a_pixel_per_cell(width: int, height: int, step: int, steps: int) -> None:
    assert sampler_preview(SUBJECT, width, height, step, steps).size == (width, height)
