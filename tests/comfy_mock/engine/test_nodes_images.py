"""Sizes, batches and pixels of the nodes that handle pictures.

Expectations are arithmetic on what the nodes are documented to do; messages of torch are as torch 2 words them.
"""

from __future__ import annotations

import re
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_runner import (
    drawn_image,
    gradient,
    pixels_of,
    plain_image,
    plain_mask,
    redrawn,
    size_of,
    steps_of,
    value_of,
    values_of,
)

from comfy_mock.engine.nodes.api import Text, Update
from comfy_mock.engine.values import Frame, Image, Opaque

BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def untouchable(width: int, height: int) -> Image:
    """A picture that must not be drawn."""

    def draw() -> PIL.Image.Image:
        raise AssertionError("a node draws before anybody looks")

    return Image((Frame(width, height, 3, draw),))


def test_an_empty_image_has_the_colour_of_its_hexadecimal_digits() -> None:
    made = value_of("EmptyImage", width=4, height=2, batch_size=3, color=0xFF8000)
    assert size_of(made) == (4, 2, 3)
    assert made.frames[0].fill == (1.0, 128 / 255, 0.0)
    assert pixels_of(made) == [[(255, 128, 0)] * 4] * 2


def test_a_negative_size_fails_as_in_torch() -> None:
    with pytest.raises(RuntimeError, match=re.escape("negative dimension -1: [1, 8, -1, 1]")):
        value_of("EmptyImage", width=-1, height=8, batch_size=1, color=0)


def test_get_image_size_shows_its_text() -> None:
    steps, output = steps_of("GetImageSize", {"image": plain_image(40, 24, batch=2)})
    assert steps == [Text("width: 40, height: 24\n batch size: 2")]
    assert output.values == (40, 24, 2)


@pytest.mark.parametrize(
    ("class_type", "inputs", "size"),
    [
        ("ImageScale", {"width": 20, "height": 10, "crop": "disabled"}, (20, 10)),
        ("ImageScale", {"width": 20, "height": 10, "crop": "center"}, (20, 10)),
        ("ImageScale", {"width": 0, "height": 0, "crop": "disabled"}, (40, 30)),
        ("ImageScale", {"width": 0, "height": 15, "crop": "disabled"}, (20, 15)),
        ("ImageScale", {"width": 80, "height": 0, "crop": "disabled"}, (80, 60)),
        ("ImageScaleBy", {"scale_by": 1.5}, (60, 45)),
        ("ImageScaleToMaxDimension", {"largest_size": 80}, (80, 60)),
        ("ImageScaleToTotalPixels", {"megapixels": 1.0, "resolution_steps": 1}, (1182, 887)),
        ("ImageScaleToTotalPixels", {"megapixels": 1.0, "resolution_steps": 64}, (1152, 896)),
        ("FluxKontextImageScale", {}, (1184, 880)),
    ],
)
def test_scaling(class_type: str, inputs: dict[str, Any], size: tuple[int, int]) -> None:
    scaled = value_of(class_type, inputs, image=untouchable(40, 30), upscale_method="bilinear")
    assert size_of(scaled) == (*size, 1)


@pytest.mark.parametrize(
    ("way", "options", "size"),
    [
        ("scale dimensions", {"width": 20, "height": 10, "crop": "center"}, (20, 10)),
        ("scale by multiplier", {"multiplier": 2.0}, (80, 60)),
        ("scale longer dimension", {"longer_size": 20}, (20, 15)),
        ("scale shorter dimension", {"shorter_size": 15}, (20, 15)),
        ("scale width", {"width": 20}, (20, 15)),
        ("scale height", {"height": 15}, (20, 15)),
        ("scale total pixels", {"megapixels": 1.0}, (1182, 887)),
        ("match size", {"match": plain_mask(7, 5), "crop": "center"}, (7, 5)),
        ("scale to multiple", {"multiple": 16}, (32, 16)),
    ],
)
@pytest.mark.parametrize("given", [plain_image(40, 30), plain_mask(40, 30)], ids=["image", "mask"])
def test_resizing_images_and_masks(given: Any, way: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    dotted = {f"resize_type.{name}": value for name, value in options.items()}
    resized = value_of("ResizeImageMaskNode", dotted, input=given, resize_type=way, scale_method="area")
    assert type(resized) is type(given)
    assert size_of(resized) == (*size, 1)


def test_a_missing_way_of_resizing_is_a_missing_argument() -> None:
    message = "ResizeImageMaskNode.execute() missing 1 required positional argument: 'resize_type'"
    with pytest.raises(TypeError, match=re.escape(message)):
        value_of("ResizeImageMaskNode", input=plain_image(), scale_method="area")


def test_nothing_is_drawn_by_scaling_to_nothing_but_an_error() -> None:
    with pytest.raises(RuntimeError, match=re.escape("output (H: 0, W: 0)")):
        value_of("ImageScaleBy", image=untouchable(16, 16), upscale_method="area", scale_by=0.01)


def test_padding_keeps_the_shape_of_the_picture() -> None:
    padded = value_of(
        "ResizeAndPadImage",
        image=plain_image(4, 2, BLACK),
        target_width=4,
        target_height=4,
        padding_color="white",
        interpolation="area",
    )
    assert [row[0] for row in pixels_of(padded)] == [(255, 255, 255), (0, 0, 0), (0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize(
    ("index", "length", "first", "batch"), [(0, 1, 0, 1), (2, 9, 2, 2), (9, 1, 3, 1), (-2, 1, 2, 1)]
)
def test_a_part_of_a_batch(index: int, length: int, first: int, batch: int) -> None:
    frames = tuple(plain_image(2, 2, (level / 10,) * 3).frames[0] for level in range(4))
    part = value_of("ImageFromBatch", image=Image(frames), batch_index=index, length=length)
    assert part.frames == frames[first : first + batch]


def test_batches_are_joined_in_the_size_of_the_first_and_with_alpha_if_any_has_it() -> None:
    joined = value_of("ImageBatch", image1=plain_image(8, 6, batch=2), image2=plain_image(4, 4, (*BLACK, 0.5)))
    assert (*size_of(joined), joined.channels) == (8, 6, 3, 4)
    assert [frame.fill[3] for frame in joined.frames] == [1.0, 1.0, 0.5]
    images = {"images.image0": plain_image(8, 6), "images.image1": plain_image(2, 2), "images.image2": plain_image()}
    assert size_of(value_of("BatchImagesNode", images)) == (8, 6, 3)


def test_repeating_and_dealing_out_a_batch() -> None:
    repeated = value_of("RepeatImageBatch", image=plain_image(batch=2), amount=3)
    assert repeated.batch == 6
    dealt = value_of("RebatchImages", images=[repeated, plain_image()], batch_size=[3])
    assert [image.batch for image in dealt] == [3, 3, 1]


def test_pictures_of_two_sizes_share_no_batch() -> None:
    message = "Sizes of tensors must match except in dimension 0. Expected size 8 but got size 16 for tensor number 1"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        value_of("RebatchImages", images=[plain_image(8, 8), plain_image(8, 16)], batch_size=[2])
    assert len(value_of("RebatchImages", images=[plain_image(8, 8), plain_image(8, 16)], batch_size=[1])) == 2


def test_tiles_with_an_overlap_as_large_as_themselves() -> None:
    # recorded: error_in_middle_node, a picture of 64 x 64 gives one tile
    tiles = value_of("SplitImageToTileList", image=plain_image(64, 64), tile_width=64, tile_height=64, overlap=64)
    assert [size_of(tile) for tile in tiles] == [(64, 64, 1)]


def test_tiles_put_together_give_the_picture_again() -> None:
    picture = gradient(24, 20)
    parts = {"overlap": 4, "tile_width": 10, "tile_height": 8}
    tiles = value_of("SplitImageToTileList", parts, image=drawn_image(picture))
    assert {size_of(tile) for tile in tiles} == {(10, 8, 1)}
    assert len(tiles) == 4 * 4
    merged = value_of("ImageMergeTileList", image_list=tiles, final_width=[24], final_height=[20], overlap=[4])
    assert merged.frames[0].image().tobytes() == picture.tobytes()


def test_flipping_and_turning() -> None:
    given = drawn_image(gradient(3, 2))
    upright = pixels_of(given)
    flipped = value_of("ImageFlip", image=given, flip_method="x-axis: vertically")
    assert pixels_of(flipped) == upright[::-1]
    mirrored = value_of("ImageFlip", image=given, flip_method="y-axis: horizontally")
    assert pixels_of(mirrored) == [row[::-1] for row in upright]
    turned = value_of("ImageRotate", image=given, rotation="90 degrees")
    assert pixels_of(turned) == [list(column[::-1]) for column in zip(*upright, strict=True)]
    thrice = value_of("ImageRotate", image=given, rotation="270 degrees")
    assert pixels_of(value_of("ImageRotate", image=thrice, rotation="90 degrees")) == upright
    twice = value_of("ImageRotate", image=given, rotation="180 degrees")
    assert pixels_of(twice) == [row[::-1] for row in upright[::-1]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [((1, 1, 2, 1), (2, 1)), ((2, 1, 512, 512), (2, 3)), ((900, 900, 5, 5), (1, 1))],
)
def test_cropping_stays_inside(box: tuple[int, int, int, int], expected: tuple[int, int]) -> None:
    x, y, width, height = box
    cropped = value_of("ImageCrop", image=drawn_image(gradient(4, 4)), x=x, y=y, width=width, height=height)
    assert size_of(cropped) == (*expected, 1)
    assert pixels_of(cropped)[0][0] == (10 * min(x, 3), 10 * min(y, 3), 0)


def test_stitching_matches_heights_or_widths() -> None:
    pair = {"image1": plain_image(10, 20), "image2": plain_image(8, 4), "spacing_color": "red"}
    row = value_of("ImageStitch", pair, direction="right", match_image_size=True, spacing_width=3)
    assert size_of(row) == (10 + 4 + 40, 20, 1)
    assert pixels_of(row)[0][10:14] == [(255, 0, 0)] * 4
    column = value_of("ImageStitch", pair, direction="down", match_image_size=True, spacing_width=0)
    assert size_of(column) == (10, 25, 1)
    loose = value_of("ImageStitch", pair, direction="left", match_image_size=False, spacing_width=0)
    assert size_of(loose) == (18, 20, 1)
    assert pixels_of(loose)[0][0] == (0, 0, 0), "what is filled up is black"
    alone = value_of("ImageStitch", image1=pair["image1"])
    assert alone is pair["image1"]


def test_outpainting_pads_with_grey_and_masks_the_border() -> None:
    sides = {"left": 2, "top": 0, "right": 0, "bottom": 1}
    padded, mask = values_of("ImagePadForOutpaint", image=plain_image(8, 8, WHITE), feathering=2, **sides)
    assert size_of(padded) == size_of(mask) == (10, 9, 1)
    levels = pixels_of(mask)
    assert levels[0] == [255, 255, 255, 64, *[0] * 6], "the mask fades as the square of the distance"
    assert levels[8] == [255] * 10
    assert pixels_of(padded)[0][:3] == [(128, 128, 128), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize(
    ("mode", "full"),
    [
        ("normal", 0.8),
        ("multiply", 0.5 * 0.8),
        ("screen", 1 - 0.5 * 0.2),
        ("overlay", 2 * 0.5 * 0.8),
        ("soft_light", 0.5 + 0.6 * (0.5**0.5 - 0.5)),
        ("difference", 0.5 - 0.8),
    ],
)
@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0])
def test_blending_uniform_pictures(mode: str, full: float, amount: float) -> None:
    one, other = plain_image(4, 4, (0.5,) * 3), plain_image(2, 2, (0.8,) * 3)
    blended = value_of("ImageBlend", image1=one, image2=other, blend_mode=mode, blend_factor=amount)
    assert size_of(blended) == (4, 4, 1)
    assert blended.frames[0].fill == pytest.approx((max(0.0, 0.5 * (1 - amount) + full * amount),) * 3)


def test_batches_blend_as_tensors_broadcast() -> None:
    inputs = {"blend_mode": "normal", "blend_factor": 0.5, "image1": plain_image(batch=1)}
    assert value_of("ImageBlend", inputs, image2=plain_image(batch=3)).batch == 3
    message = "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        value_of("ImageBlend", {**inputs, "image1": plain_image(batch=2)}, image2=plain_image(batch=3))


def test_blurring_further_than_the_picture_reaches_fails_as_in_torch() -> None:
    message = "padding (31, 31) at dimension 3 of input [1, 3, 16, 16]"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        value_of("ImageBlur", image=plain_image(16, 16), blur_radius=31, sigma=1.0)


def test_quantizing_leaves_so_many_colours() -> None:
    few = value_of("ImageQuantize", image=drawn_image(gradient(16, 16)), colors=4, dither="none")
    assert len(few.frames[0].image().getcolors()) <= 4


def test_noise_comes_from_its_seed() -> None:
    def noisy(seed: int, strength: float = 0.5) -> bytes:
        made = value_of("ImageAddNoise", image=plain_image(16, 16), seed=seed, strength=strength)
        return bytes(made.frames[0].image().tobytes())

    assert noisy(1) == noisy(1) != noisy(2)
    assert noisy(1, 0.0) == plain_image(16, 16).frames[0].image().tobytes()


def test_the_alpha_channel_is_the_opposite_of_the_mask() -> None:
    joined = value_of("JoinImageWithAlpha", image=plain_image(4, 4, WHITE, batch=2), alpha=plain_mask(8, 8, 0.25, 3))
    assert (*size_of(joined), joined.channels) == (4, 4, 3, 4)
    assert joined.frames[0].fill == (1.0, 1.0, 1.0, 0.75)
    colours, mask = values_of("SplitImageWithAlpha", image=joined)
    assert colours.channels == 3
    assert (mask.batch, mask.frames[0].fill) == (3, (0.25,))
    _, opaque = values_of("SplitImageWithAlpha", image=plain_image())
    assert opaque.frames[0].fill == (0.0,)


def test_compositing_puts_the_source_where_the_mask_is_set() -> None:
    placed = {"x": 1, "y": 1, "resize_source": False, "destination": plain_image(4, 4, BLACK, batch=2)}
    whole = value_of("ImageCompositeMasked", placed, source=plain_image(2, 2, WHITE))
    assert whole.batch == 2
    rows = ["".join(".#"[pixel == (255, 255, 255)] for pixel in row) for row in pixels_of(whole)]
    assert rows == ["....", ".##.", ".##.", "...."]
    hidden = value_of("ImageCompositeMasked", placed, source=plain_image(2, 2, WHITE), mask=plain_mask(level=0.0))
    assert {pixel for row in pixels_of(hidden) for pixel in row} == {(0, 0, 0)}
    outside = value_of("ImageCompositeMasked", {**placed, "x": 9}, source=plain_image(2, 2, WHITE))
    assert {pixel for row in pixels_of(outside) for pixel in row} == {(0, 0, 0)}


@pytest.mark.parametrize(
    ("mode", "level", "alpha"),
    [
        ("CLEAR", 0.0, 0.0),
        ("SRC", 0.6, 0.5),
        ("DST", 0.2, 0.8),
        ("SRC_OVER", (0.3 + 0.5 * 0.16) / 0.9, 0.9),
        ("DST_OVER", (0.16 + 0.2 * 0.3) / 0.9, 0.9),
        ("SRC_IN", 0.6, 0.4),
        ("DST_OUT", 0.2, 0.4),
        ("XOR", (0.2 * 0.3 + 0.5 * 0.16) / 0.5, 0.5),
        ("ADD", 0.46, 1.0),
        ("MULTIPLY", 0.3 * 0.16 / 0.4, 0.4),
        ("SCREEN", (0.3 + 0.16 - 0.3 * 0.16) / 0.9, 0.9),
        ("DARKEN", (0.2 * 0.3 + 0.5 * 0.16 + 0.16) / 0.9, 0.9),
        ("LIGHTEN", (0.2 * 0.3 + 0.5 * 0.16 + 0.3) / 0.9, 0.9),
    ],
)
def test_the_operators_of_porter_and_duff(mode: str, level: float, alpha: float) -> None:
    inputs = {
        "source": plain_image(levels=(0.6,) * 3),
        "source_alpha": plain_mask(level=1 - 0.5),
        "destination": plain_image(levels=(0.2,) * 3),
        "destination_alpha": plain_mask(level=1 - 0.8),
    }
    image, mask = values_of("PorterDuffImageComposite", **inputs, mode=mode)
    assert image.frames[0].fill == pytest.approx((level,) * 3)
    assert mask.frames[0].fill == pytest.approx((1 - alpha,))


def test_upscaling_by_a_model_counts_its_tiles() -> None:
    model = Opaque("UPSCALE_MODEL", {"name": "RealESRGAN_x2.pth"})
    steps, output = steps_of("ImageUpscaleWithModel", {"upscale_model": model, "image": plain_image(600, 100)})
    updates = [(step.value, step.max, step.first) for step in steps if isinstance(step, Update)]
    assert updates == [(1, 2, True), (2, 2, False)]
    assert size_of(output.values[0]) == (1200, 200, 1)


levels = st.integers(0, 255).map(lambda level: level / 255)
colours = st.tuples(levels, levels, levels)
MIXED: list[tuple[str, dict[str, Any]]] = [
    *(("ImageBlend", {"blend_mode": mode}) for mode in ("normal", "multiply", "screen", "difference")),
    *(("PorterDuffImageComposite", {"mode": mode}) for mode in ("SRC_OVER", "DST_ATOP", "XOR", "OVERLAY", "SCREEN")),
    ("ImageCompositeMasked", {"x": 0, "y": 0, "resize_source": True}),
    ("ImageBatch", {}),
    ("JoinImageWithAlpha", {}),
    ("ImageInvert", {}),
    ("AdjustContrast", {"factor": 1.5}),
    ("AdjustBrightness", {"factor": 0.5}),
]


@pytest.mark.parametrize(("class_type", "options"), MIXED, ids=lambda part: str(part))
@given(one=colours, other=colours, opacity=st.sampled_from([0.0, 0.5, 1.0]), amount=st.sampled_from([0.0, 0.25, 1.0]))
def test_uniform_pictures_come_out_as_drawn_ones_do(
    class_type: str, options: dict[str, Any], one: Any, other: Any, opacity: float, amount: float
) -> None:
    first, second, mask = plain_image(3, 2, one), plain_image(3, 2, other), plain_mask(3, 2, opacity)
    known = {
        "ImageBlend": {"image1": first, "image2": second, "blend_factor": amount},
        "ImageBatch": {"image1": first, "image2": second},
        "ImageCompositeMasked": {"destination": first, "source": second, "mask": mask},
        "JoinImageWithAlpha": {"image": first, "alpha": mask},
        "PorterDuffImageComposite": {
            "source": first,
            "source_alpha": mask,
            "destination": second,
            "destination_alpha": plain_mask(3, 2, amount),
        },
        "ImageInvert": {"image": first},
    }.get(class_type, {"images": first})
    by_levels = values_of(class_type, **known, **options)
    by_pixels = values_of(class_type, **{name: redrawn(value) for name, value in known.items()}, **options)
    for exact, drawn in zip(by_levels, by_pixels, strict=True):
        assert exact.batch == drawn.batch
        for index in range(exact.batch):
            assert exact.frames[index].fill is not None
            _alike(pixels_of(exact, index)[0][0], pixels_of(drawn, index)[0][0])


def _alike(one: Any, other: Any) -> None:
    """Equal but for what eight bits and a division by an alpha of at least a quarter lose."""
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
    assert all(abs(a - b) <= 8 for a, b in pairs), f"{one} and {other}"


def test_a_thousand_nodes_in_a_row_can_be_drawn() -> None:
    image = drawn_image(gradient(3, 2))
    expected = pixels_of(image)
    for _ in range(1000):
        image = value_of("ImageInvert", image=image)
    assert pixels_of(image) == expected


def test_a_frame_that_stands_twice_in_a_batch_is_drawn_once() -> None:
    image = Image(drawn_image(gradient(3, 2)).frames * 3)
    changed = value_of("ImageFlip", image=image, flip_method="x-axis: vertically")
    assert len({id(frame) for frame in changed.frames}) == 1


@pytest.mark.parametrize("wrong", [None, "text", 3])
def test_what_is_no_picture_has_no_shape(wrong: Any) -> None:
    with pytest.raises(AttributeError, match=f"'{type(wrong).__name__}' object has no attribute 'shape'"):
        value_of("ImageInvert", image=wrong)
