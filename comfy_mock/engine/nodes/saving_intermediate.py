"""Nodes that show what they made or let the user edit, output nodes or not (protocol 5.15, 7.2)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import PIL.Image
import PIL.ImageColor
import PIL.ImageDraw

from comfy_mock.engine.media import video as films
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.frames import channel, cropped, pasted, resized, uniform, with_channels
from comfy_mock.engine.nodes.generated import subject_frame, subject_of
from comfy_mock.engine.nodes.loading import file_frame, input_path
from comfy_mock.engine.nodes.saving_images import preview_items
from comfy_mock.engine.saving import file_item, save_path, temp_prefix
from comfy_mock.engine.values import Frame, Image, Mask, Opaque

_BLACK = (0.0, 0.0, 0.0)
_CANVAS = 1024
_CROP = 512
_GRAPH_SIZE = (800, 480)


def shown(call: Call, frames: tuple[Frame, ...]) -> dict[str, Any]:
    """The ui of a preview that does not move."""
    return {"images": preview_items(call, frames), "animated": [False]}


@node("ImageCropV2")
def image_crop(call: Call) -> Output:
    """A part of the image, cut at its edges."""
    images = arguments.image(call, "image")
    region = call.inputs["crop_region"]
    left = min(int(region.get("x", 0)), images.width - 1)
    top = min(int(region.get("y", 0)), images.height - 1)
    width = min(int(region.get("width", _CROP)), images.width - left)
    height = min(int(region.get("height", _CROP)), images.height - top)
    frames = tuple(cropped(frame, left, top, width, height) for frame in images.frames)
    return Output((Image(frames),), shown(call, frames))


@node("Painter")
def painter(call: Call) -> Output:
    """Strokes from an uploaded picture over an image, or over one colour where there is none."""
    below = arguments.optional_image(call, "image")
    if below is not None and below.batch:
        frames = tuple(with_channels(frame, 3) for frame in below.frames)
    else:
        red, green, blue = PIL.ImageColor.getrgb(call.inputs["bg_color"])[:3]
        colour = (red / 255, green / 255, blue / 255)
        frames = (uniform(call.inputs["width"], call.inputs["height"], colour),)
    width, height = frames[0].width, frames[0].height
    name = call.inputs["mask"]
    if not name:
        return Output((Image(frames), Mask((uniform(width, height, (0.0,)),))), shown(call, frames))
    painting = file_frame(call.files.read(input_path(call.folders, name)), lambda file: file.convert("RGBA"))
    strokes = resized(painting, width, height, "bilinear")
    alpha = channel(strokes, 3)
    painted = tuple(pasted(frame, with_channels(strokes, 3), 0, 0, alpha) for frame in frames)
    return Output((Image(painted), Mask((alpha,))), shown(call, painted))


@node("GLSLShader", seconds=0.02)
def glsl_shader(call: Call) -> Output:
    """Shaders are not run: each of the four outputs is the first image at the size asked for."""
    images = [arguments.checked(value, Image) for value in arguments.grown(call, "images")]
    if not images:
        raise ValueError("at least one image is needed")
    source = images[0]
    width, height = source.width, source.height
    if call.inputs["size_mode"] == "custom":
        width, height = call.inputs["size_mode.width"], call.inputs["size_mode.height"]
    made = Image(tuple(resized(with_channels(frame, 3), width, height, "bilinear") for frame in source.frames))
    given = [frame for image in images for frame in image.frames]
    ui = {
        "input_images": preview_items(call, given, "GLSLShader_input"),
        "images": preview_items(call, made.frames, "GLSLShader_output"),
    }
    return Output((made,) * 4, ui)


@node("CurveEditor")
def curve_editor(call: Call) -> Output:
    """The curve as it was drawn; a histogram behind it, if there is one, is shown."""
    curve, histogram = call.inputs["curve"], call.inputs.get("histogram")
    if histogram is None:
        return Output((curve,))
    return Output((curve,), {"histogram": histogram if isinstance(histogram, list) else [0] * 256})


@node("CreateBoundingBoxes")
def create_bounding_boxes(call: Call) -> Output:
    """The boxes of the editor, over a background or black."""
    width, height = call.inputs["width"], call.inputs["height"]
    background = arguments.optional_image(call, "background")
    if background is not None and background.batch:
        preview = resized(with_channels(background.frames[0], 3), width, height, "bilinear")
    else:
        preview = uniform(width, height, _BLACK)
    boxes = call.inputs["editor_state"]
    ui: dict[str, Any] = {"dims": [width, height]}
    incoming = call.inputs.get("bboxes")
    if incoming:
        ui["input_bboxes"] = incoming if isinstance(incoming, list) else [incoming]
    return Output((Image((preview,)), boxes, list(boxes)), ui)


@node("ImageCompositor", seconds=0.02)
def image_compositor(call: Call) -> Output:
    """Layers are not blended: the first picture among them stands for the whole."""
    layers, state = call.inputs["layers"], call.inputs["compositor"]
    facts: Mapping[str, Any] = layers.facts if isinstance(layers, Opaque) else {}
    bottom = next((value for value in facts.values() if isinstance(value, Image) and value.batch), None)
    canvas = state if isinstance(state, dict) else {}
    width, height = (int(canvas.get(side) or _CANVAS) for side in ("width", "height"))
    frame = with_channels(bottom.frames[0], 3) if bottom is not None else uniform(width, height, _BLACK)
    mask = Mask((uniform(frame.width, frame.height, (1.0,)),))
    ui = {**shown(call, (frame,)), "compositor_layers": [], "compositor_inputs": [], "compositor_bboxes": []}
    return Output((Image((frame,)), mask), ui)


@node("SAM3_TrackPreview", seconds=0.05)
def track_preview(call: Call) -> Output:
    """The tracked pictures as a film; tracks are not drawn."""
    images = arguments.optional_image(call, "images")
    frames = images.frames if images is not None else ()
    frames = frames or (subject_frame(subject_of(call), _CROP, _CROP, 0),)
    where = save_path(
        temp_prefix("ComfyUI", call.random),
        call.folders.temp,
        call.files,
        now=call.now,
        utc_offset_s=call.utc_offset_s,
    )
    name = where.name(0, "_.mp4")
    call.files.write(where.path(name), partial(_film, frames, call.inputs["fps"]), now=call.now)
    return Output((), {"images": [file_item(name, where.subfolder, "temp")], "animated": [True]})


def _film(frames: tuple[Frame, ...], frames_per_second: float) -> bytes:
    pictures = [frame.image() for frame in frames]
    return films.encode(pictures, file_format="mp4", codec="h264", frames_per_second=frames_per_second)


@node("LossGraphNode", seconds=0.02)
def loss_graph(call: Call) -> Output:
    """A falling curve stands in for the losses."""
    return Output((), shown(call, (Frame(*_GRAPH_SIZE, 3, partial(_draw_losses, call.random.random())),)))


def _draw_losses(seed: float) -> PIL.Image.Image:
    numbers = random.Random(seed)
    width, height = _GRAPH_SIZE
    image = PIL.Image.new("RGB", _GRAPH_SIZE, "white")
    heights = [height * (0.9 - 0.7 * 20 / (20 + x) + numbers.uniform(-0.03, 0.03)) for x in range(0, width, 8)]
    PIL.ImageDraw.Draw(image).line(list(zip(range(0, width, 8), heights, strict=True)), fill=(40, 90, 200), width=2)
    return image
