"""How values print: against what a real server sent in `current_inputs` and in PreviewAny's text."""

from __future__ import annotations

import re
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_runner import plain_image, plain_mask, recorded_messages

from comfy_mock.engine.tensor_text import json_inputs, tensor_text, text_of
from comfy_mock.engine.values import Audio, Frame, Latent, Mask, Opaque, Subject, Video


def error_inputs(recording: str, class_type: str) -> list[dict[str, Any]]:
    return [
        data["current_inputs"]
        for data in recorded_messages(recording, "execution_error")
        if data["node_type"] == class_type
    ]


def test_untouched_latents_print_as_recorded() -> None:
    (inputs,) = error_inputs("error_in_middle_node", "LatentConcat")
    assert text_of(Latent(8, 8)) == inputs["samples1"][0]
    assert text_of(Latent(16, 8)) == inputs["samples2"][0]


def test_a_large_picture_of_whole_numbers_prints_its_edges_as_recorded() -> None:
    (inputs,) = error_inputs("error_in_save_prefix", "SaveImage")
    assert text_of(plain_image(64, 64, (1.0, 1.0, 0.0))) == inputs["images"][0]


def test_a_small_picture_prints_whole_with_four_decimals_as_recorded() -> None:
    (inputs,) = error_inputs("error_first_then_cache", "SaveImage")
    assert text_of(plain_image(8, 8, (0.0, 0.0, 61 / 255))) == inputs["images"][0]


def test_preview_any_shows_six_numbers_at_each_edge_as_recorded() -> None:
    texts = [
        data["output"]["text"][0] for data in recorded_messages("progress_text", "executed") if data["node"] == "5"
    ]
    assert texts
    assert text_of(plain_image(40, 24, (0.0, 0.0, 1 / 255), batch=2), edge_items=6) == texts[0]


def test_a_conditioning_prints_in_the_recorded_form() -> None:
    (inputs,) = error_inputs("ws_flags_null_then_sampler", "KSampler")

    def form(text: str) -> str:
        return re.sub(r"[+-]", " ", re.sub(r"\d", "9", text))

    assert form(text_of(Opaque("CONDITIONING", {"texts": ("bad hands",)}))) == form(inputs["negative"][0])


def test_a_model_prints_as_an_object_in_the_recorded_form() -> None:
    (inputs,) = error_inputs("ws_flags_null_then_sampler", "KSampler")
    pattern = re.sub(r"0x[0-9a-f]+", "0x[0-9a-f]+", re.escape(inputs["model"][0]))
    assert re.fullmatch(pattern, text_of(Opaque("MODEL", {"name": "a.safetensors"})))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (0.5, "0.5"),
        ("as it is", "as it is"),
        (["a", 1], "['a', 1]"),
        (("a",), "('a',)"),
        (("a", None), "('a', None)"),
        ({"x": 0, "y": [1.5]}, "{'x': 0, 'y': [1.5]}"),
    ],
)
def test_plain_values_print_as_python_does(value: Any, text: str) -> None:
    assert text_of(value) == text == str(value)


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "text"])
def test_what_json_can_say_stays_in_current_inputs(value: Any) -> None:
    assert json_inputs(value) is value


def test_everything_else_becomes_text_in_current_inputs() -> None:
    assert json_inputs({"x": 1}) == "{'x': 1}"
    assert json_inputs([1, "a"]) == "[1, 'a']"
    assert json_inputs(plain_mask(2, 1, 1.0)) == "tensor([[[1., 1.]]])"


# What torch 2 prints, by its documented defaults: precision 4, threshold 1000, edgeitems 3, linewidth 80.
@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((), "tensor([])"),
        ((0.0, 0.0), "tensor([0., 0.])"),
        ((1.0, 250.0), "tensor([  1., 250.])"),
        ((0.5, -10.25), "tensor([  0.5000, -10.2500])"),
        ((1.0, 2000.5), "tensor([1.0000e+00, 2.0005e+03])"),
        ((0.00001, 0.00002), "tensor([1.0000e-05, 2.0000e-05])"),
        ((1.0, 5000.0), "tensor([1.0000e+00, 5.0000e+03])"),
        ((2e8,), "tensor([2.0000e+08])"),
        ((1.0, float("inf")), "tensor([1., inf])"),
        ((0.5, float("nan")), "tensor([0.5000,    nan])"),
        ((1e39,), "tensor([inf])"),
    ],
)
def test_the_form_suits_all_numbers(numbers: tuple[float, ...], text: str) -> None:
    assert tensor_text((len(numbers),), lambda index: numbers[index[0]]) == text


def test_lines_break_before_eighty_columns() -> None:
    text = tensor_text((30,), lambda _: 0.5)
    assert text.splitlines() == [
        "tensor([" + "0.5000, " * 8 + "0.5000,",
        "        " + "0.5000, " * 8 + "0.5000,",
        "        " + "0.5000, " * 8 + "0.5000,",
        "        " + "0.5000, " * 2 + "0.5000])",
    ]


def test_a_tensor_without_numbers_tells_its_shape() -> None:
    assert tensor_text((0, 4, 8), lambda _: 0.0) == "tensor([], size=(0, 4, 8))"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 4))
def test_all_numbers_or_only_the_edges_are_shown(shape: list[int], edge_items: int) -> None:
    text = tensor_text(tuple(shape), lambda index: float(sum(index)), edge_items)
    numbers = 1
    shown = 1
    for length in shape:
        numbers *= length
        shown *= min(length, 2 * edge_items)
    expected = numbers if numbers <= 1000 else shown
    assert len(re.findall(r"\d+\.", text)) == expected
    assert ("..." in text) == (expected < numbers)
    assert text.count("[") == text.count("]")
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_noise_mask_follows_the_samples() -> None:
    text = text_of(Latent(1, 1, noise_mask=plain_mask(2, 1, 0.25)))
    assert text == (
        "{'samples': tensor([[[[0.]],\n\n         [[0.]],\n\n         [[0.]],\n\n         [[0.]]]]), "
        "'downscale_ratio_spacial': 8, 'noise_mask': tensor([[[[0.2500, 0.2500]]]])}"
    )


def test_a_sampled_latent_prints_numbers_that_depend_on_its_subject_alone() -> None:
    one, again = Latent(2, 2, fill=None, subject=Subject(1)), Latent(2, 2, fill=None, subject=Subject(1))
    other = Latent(2, 2, fill=None, subject=Subject(2))
    assert text_of(one) == text_of(again) != text_of(other)


def test_silence_and_sigmas_print_as_tensors() -> None:
    assert text_of(Audio(2 / 8, 8, 1)) == "{'waveform': tensor([[[0., 0.]]]), 'sample_rate': 8}"
    assert text_of(Opaque("SIGMAS", {"sigmas": (1.0, 0.5, 0.0)})) == "tensor([1.0000, 0.5000, 0.0000])"


def test_pixels_of_a_drawn_picture_are_read() -> None:
    picture = PIL.Image.new("L", (2, 1))
    picture.putpixel((1, 0), 255)
    assert text_of(Mask((Frame(2, 1, 1, lambda: picture),))) == "tensor([[[0., 1.]]])"


def test_a_video_prints_as_an_object() -> None:
    assert re.fullmatch(r"<[\w.]+VideoFromComponents object at 0x[0-9a-f]+>", text_of(Video(plain_image(), 24.0)))
