"""Levels and sizes of the nodes that handle masks."""

from __future__ import annotations

import re
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_runner import drawn_image, drawn_mask, pixels_of, plain_image, plain_mask, redrawn, size_of, value_of


def dotted(*rows: str) -> PIL.Image.Image:
    """A mask that is set where a row has a #."""
    picture = PIL.Image.new("L", (len(rows[0]), len(rows)))
    for y, row in enumerate(rows):
        for x, mark in enumerate(row):
            picture.putpixel((x, y), 255 if mark == "#" else 0)
    return picture


def rows_of(value: Any) -> list[str]:
    return ["".join("#" if level > 127 else "." for level in row) for row in pixels_of(value)]


def test_a_solid_mask_is_one_picture_of_one_level() -> None:
    made = value_of("SolidMask", value=0.25, width=4, height=2)
    assert size_of(made) == (4, 2, 1)
    assert made.frames[0].fill == (0.25,)
    assert value_of("InvertMask", mask=made).frames[0].fill == (0.75,)


@pytest.mark.parametrize(("level", "threshold", "expected"), [(0.5, 0.5, 0.0), (0.5, 0.49, 1.0), (0.0, 0.0, 0.0)])
def test_a_level_must_be_above_the_threshold(level: float, threshold: float, expected: float) -> None:
    assert value_of("ThresholdMask", mask=plain_mask(level=level), value=threshold).frames[0].fill == (expected,)


@pytest.mark.parametrize(
    ("operation", "one", "other", "expected"),
    [
        ("multiply", 0.5, 0.5, 0.25),
        ("add", 0.75, 0.5, 1.0),
        ("subtract", 0.25, 0.5, 0.0),
        ("and", 0.75, 0.75, 1.0),
        ("and", 0.75, 0.5, 0.0),
        ("or", 0.25, 0.75, 1.0),
        ("or", 0.5, 0.5, 0.0),
        ("xor", 0.75, 0.25, 1.0),
        ("xor", 0.75, 0.75, 0.0),
    ],
)
def test_masks_are_composed_level_by_level(operation: str, one: float, other: float, expected: float) -> None:
    inputs = {"destination": plain_mask(level=one), "source": plain_mask(level=other)}
    assert value_of("MaskComposite", inputs, x=0, y=0, operation=operation).frames[0].fill == (expected,)


def test_a_mask_is_composed_at_its_place_only() -> None:
    inputs = {"destination": plain_mask(4, 3, 0.0), "source": plain_mask(9, 9, 1.0), "operation": "add"}
    assert rows_of(value_of("MaskComposite", inputs, x=2, y=1)) == ["....", "..##", "..##"]
    assert rows_of(value_of("MaskComposite", inputs, x=4, y=0)) == ["....", "....", "...."]


def test_a_destination_has_no_room_for_more_masks_than_it_has() -> None:
    inputs = {"x": 0, "y": 0, "operation": "add", "destination": plain_mask(8, 8)}
    message = (
        "The expanded size of the tensor (1) must match the existing size (2) at non-singleton dimension 0.  "
        "Target sizes: [1, 8, 8].  Tensor sizes: [2, 8, 8]"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        value_of("MaskComposite", inputs, source=plain_mask(8, 8, batch=2))
    assert value_of("MaskComposite", {**inputs, "destination": plain_mask(batch=2)}, source=plain_mask()).batch == 2


@pytest.mark.parametrize(
    ("expand", "tapered", "rows"),
    [
        (1, True, ["..#..", ".###.", "..#.."]),
        (1, False, [".###.", ".###.", ".###."]),
        (2, True, [".###.", "#####", ".###."]),
        (0, True, [".....", "..#..", "....."]),
        (-1, True, [".....", ".....", "....."]),
        (16384, False, ["#####", "#####", "#####"]),
    ],
)
def test_growing(expand: int, tapered: bool, rows: list[str]) -> None:
    mask = drawn_mask(dotted(".....", "..#..", "....."))
    assert rows_of(value_of("GrowMask", mask=mask, expand=expand, tapered_corners=tapered)) == rows


@given(level=st.floats(0, 1), expand=st.integers(-3, 3), tapered=st.booleans())
def test_a_uniform_mask_stays_as_it_is_when_it_grows(level: float, expand: int, tapered: bool) -> None:
    mask = plain_mask(5, 4, level)
    exact = value_of("GrowMask", mask=mask, expand=expand, tapered_corners=tapered)
    drawn = value_of("GrowMask", mask=redrawn(mask), expand=expand, tapered_corners=tapered)
    assert exact.frames[0].fill == (level,)
    assert pixels_of(exact) == pixels_of(drawn)


def test_feathering_fades_towards_the_edges() -> None:
    sides = {"left": 4, "top": 0, "right": 2, "bottom": 0}
    faded = value_of("FeatherMask", mask=plain_mask(8, 2, 1.0), **sides)
    assert pixels_of(faded)[0] == [64, 128, 191, 255, 255, 255, 255, 128]
    mask = plain_mask()
    assert value_of("FeatherMask", mask=mask, left=0, top=0, right=0, bottom=0) is mask


def test_cropping_a_mask_stays_inside() -> None:
    mask = drawn_mask(dotted("#..", ".#.", "..#"))
    assert rows_of(value_of("CropMask", mask=mask, x=1, y=1, width=512, height=1)) == ["#."]


def test_masks_are_batched_in_the_size_of_the_first() -> None:
    masks = {"masks.mask0": plain_mask(4, 2, batch=2), "masks.mask1": plain_mask(9, 9)}
    assert size_of(value_of("BatchMasksNode", masks)) == (4, 2, 3)


def test_between_masks_and_pictures() -> None:
    picture = value_of("MaskToImage", mask=plain_mask(4, 2, 0.5, batch=2))
    assert (size_of(picture), picture.frames[0].fill) == ((4, 2, 2), (0.5, 0.5, 0.5))
    assert value_of("ImageToMask", image=plain_image(levels=(0.1, 0.2, 0.3)), channel="blue").frames[0].fill == (0.3,)
    with_alpha = plain_image(levels=(0.1, 0.2, 0.3, 0.4))
    assert value_of("ImageToMask", image=with_alpha, channel="alpha").frames[0].fill == (0.4,)
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 3 with size 3"):
        value_of("ImageToMask", image=plain_image(), channel="alpha")


def test_a_colour_is_found_exactly() -> None:
    picture = PIL.Image.new("RGB", (3, 1), (255, 128, 1))
    picture.putpixel((1, 0), (255, 128, 2))
    assert rows_of(value_of("ImageColorToMask", image=drawn_image(picture), color=0xFF8001)) == ["#.#"]
    plain = plain_image(2, 1, (1.0, 128 / 255, 1 / 255))
    assert value_of("ImageColorToMask", image=plain, color=0xFF8001).frames[0].fill == (1.0,)
