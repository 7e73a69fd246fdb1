"""Nodes that hold a value or a choice."""

from __future__ import annotations

import math

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument, grown

_MEGAPIXEL = 1024 * 1024


@node(
    "PrimitiveInt",
    "PrimitiveFloat",
    "PrimitiveBoolean",
    "PrimitiveString",
    "PrimitiveStringMultiline",
    "PrimitiveBoundingBox",
    seconds=0.0005,
)
def primitive(call: Call) -> Output:
    """The value of the widget; a bounding box comes as four of them."""
    if call.class_type == "PrimitiveBoundingBox":
        return Output(({name: call.inputs[name] for name in ("x", "y", "width", "height")},))
    return Output((call.inputs["value"],))


@node("SeedNode", seconds=0.0005)
def seed_node(call: Call) -> Output:
    """The seed."""
    return Output((call.inputs["seed"],))


@node("CustomCombo", seconds=0.0005)
def custom_combo(call: Call) -> Output:
    """The choice and its place, which clients send along as the undeclared input `index`."""
    return Output((call.inputs["choice"], call.inputs.get("index", 0)))


@node("ColorToRGBInt", seconds=0.0005)
def color_to_rgb_int(call: Call) -> Output:
    """A colour written #rrggbb or #rrggbbaa as a number, as text and as opacity."""
    color = call.inputs["color"]
    digits = color.removeprefix("#")
    alpha = int(digits[6:8], 16) / 255 if len(digits) == 8 else 1.0
    return Output((int(digits[:6], 16), f"#{digits[:6]}", alpha))


@node("ResolutionSelector", seconds=0.0005)
def resolution_selector(call: Call) -> Output:
    """The size of a shape with so many times 1024 x 1024 pixels, in multiples."""
    across, down = (int(part) for part in call.inputs["aspect_ratio"].split(" ")[0].split(":"))
    scale = math.sqrt(call.inputs["megapixels"] * _MEGAPIXEL / (across * down))
    multiple = call.inputs["multiple"]
    return Output((round(across * scale / multiple) * multiple, round(down * scale / multiple) * multiple))


@node("CreateList", seconds=0.0005)
def create_list(call: Call) -> Output:
    """The values of all inputs, which are lists themselves, in one list."""
    return Output(([value for values in grown(call, "inputs") for value in values],))


@node("ComfyNumberConvert", seconds=0.0005)
def comfy_number_convert(call: Call) -> Output:
    """A number, a text or a truth value as float and as integer.

    Raises `ValueError` for a text that is no number.
    """
    value = argument(call, "value")
    number = float(value.strip()) if isinstance(value, str) else float(value)
    whole = value if isinstance(value, int) else int(number)
    return Output((number, int(whole)))
