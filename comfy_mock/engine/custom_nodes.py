"""Custom nodes written in Python: a class from its inputs, its outputs and a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image

from comfy_mock.engine.nodes.api import Behaviour, Blocker, Call, Output
from comfy_mock.engine.values import Frame, Image, Mask

NodeFunction = Callable[..., Any]


@dataclass(frozen=True)
class CustomNode:
    """A node class for `add_node`.

    `inputs` maps a name to its type (`"IMAGE"`), to a list of choices, or to a pair of either and its options
    (`("FLOAT", {"default": 1.0, "min": 0.0})`); those in `optional` may be left out. `outputs` lists types; `function`
    is called with the inputs as keyword arguments and returns a value, a tuple of one per output, or, as ComfyUI's own
    nodes do, `{"ui": {...}, "result": (...)}`. Without a function the outputs are made up by type.

    An IMAGE or MASK comes as a list of PIL pictures, one per picture of the batch, and is returned as one or a list of
    them. A function that raises fails the prompt as it would on a real server. `seconds` is how long a call takes.
    """

    class_type: str
    inputs: Mapping[str, Any]
    outputs: Sequence[str] = ()
    function: NodeFunction | None = None
    optional: Sequence[str] = ()
    output_node: bool = False
    seconds: float = 0.002
    display_name: str | None = None
    category: str = "custom"

    def entry(self) -> dict[str, Any]:
        """Its `/object_info`. Raises `ValueError` where an input or output cannot be one."""
        unknown = set(self.optional) - set(self.inputs)
        if unknown:
            raise ValueError(f"{self.class_type}: optional names {sorted(unknown)[0]!r}, which is not an input")
        for output in self.outputs:
            if not isinstance(output, str) or not output:
                raise ValueError(f"{self.class_type}: an output is the name of a type, not {output!r}")
        specs = {name: _spec(self.class_type, name, given) for name, given in self.inputs.items()}
        groups: dict[str, dict[str, Any]] = {"required": {}}
        for name, spec in specs.items():
            groups.setdefault("optional" if name in self.optional else "required", {})[name] = spec
        return {
            "input": groups,
            "input_order": {group: list(names) for group, names in groups.items()},
            "is_input_list": False,
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.outputs),
            "name": self.class_type,
            "display_name": self.display_name or self.class_type,
            "description": "",
            "python_module": f"custom_nodes.{self.class_type}",
            "category": self.category,
            "output_node": self.output_node,
            "has_intermediate_output": False,
            "search_aliases": [],
        }

    def behaviour(self) -> Behaviour | None:
        """What its nodes do, None to make the outputs up."""
        return None if self.function is None else Behaviour(self._run, self.seconds)

    def _run(self, call: Call) -> Output:
        assert self.function is not None
        returned = self.function(**{name: _shown(value) for name, value in call.inputs.items()})
        ui = None
        if isinstance(returned, dict) and ("ui" in returned or "result" in returned):
            ui, returned = returned.get("ui"), returned.get("result", ())
        if isinstance(returned, Blocker):
            return Output((returned,) * len(self.outputs), ui)
        values = returned if isinstance(returned, tuple) else () if returned is None else (returned,)
        if len(values) != len(self.outputs) and (self.outputs or values):
            raise ValueError(f"{self.class_type} returned {len(values)} values for {len(self.outputs)} outputs")
        return Output(tuple(_value(kind, value) for kind, value in zip(self.outputs, values, strict=True)), ui)


def _spec(class_type: str, name: str, given: Any) -> list[Any]:
    if isinstance(given, (str, list)):
        return [given, {}]
    if isinstance(given, tuple) and len(given) == 2:
        kind, options = given
        if isinstance(kind, (str, list)) and isinstance(options, dict):
            return [kind, options]
    raise ValueError(
        f"{class_type}: input {name!r} is a type, a list of choices, or a pair of either and its options, not {given!r}"
    )


def _shown(value: Any) -> Any:
    return [frame.image().copy() for frame in value.frames] if isinstance(value, (Image, Mask)) else value


def _value(kind: str, value: Any) -> Any:
    pictures = [value] if isinstance(value, PIL.Image.Image) else value
    if kind not in ("IMAGE", "MASK") or not (
        isinstance(pictures, list) and pictures and all(isinstance(item, PIL.Image.Image) for item in pictures)
    ):
        return value
    if kind == "MASK":
        return Mask(tuple(_frame(picture, 1) for picture in pictures))
    channels = 4 if pictures[0].mode == "RGBA" else 3
    return Image(tuple(_frame(picture, channels) for picture in pictures))


def _frame(picture: PIL.Image.Image, channels: int) -> Frame:
    kept = picture.copy()
    return Frame(kept.width, kept.height, channels, lambda: kept)
