"""Custom nodes written in Python: a class from its inputs, its outputs and a function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image

from comfy_contracts import jsontext
from comfy_mock.engine.failures import type_name
from comfy_mock.engine.nodes.api import Behaviour, Blocker, Call, NodeError, Output
from comfy_mock.engine.values import Frame, Image, Mask

NodeFunction = Callable[..., Any]


@dataclass(frozen=True)
class CustomNode:
    """A node class for `add_node`.

    `inputs` maps a name to its type (`"IMAGE"`), to a list of choices, or to a pair of either and its options
    (`("FLOAT", {"default": 1.0, "min": 0.0})`); those in `optional` may be left out. `outputs` lists types; `function`
    is called with the inputs as keyword arguments and returns a value, a tuple of one per output, or, as ComfyUI's own
    nodes do, `{"ui": {...}, "result": (...)}`, where ui has a list of what JSON can say under every key. Without a
    function the outputs are made up by type.

    An IMAGE or MASK comes as a list of PIL pictures, one per picture of the batch, and is returned as one or a list of
    them. A function that raises fails the prompt as it would on a real server. So do `exit()` and `pytest.fail()`,
    which there would end the worker; only `KeyboardInterrupt` passes through.

    The function is called on the server's event loop, where nothing else happens meanwhile: it must be quick, and is no
    `async def`. To play a slow node say `seconds`, which is how long a call takes by the server's clock.
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
        """Its `/object_info`. Raises `ValueError` where something in the definition cannot be."""
        self._check()
        specs = {name: _spec(self.class_type, name, given) for name, given in self.inputs.items()}
        groups: dict[str, dict[str, Any]] = {"required": {}}
        for name, spec in specs.items():
            groups.setdefault("optional" if name in self.optional else "required", {})[name] = spec
        entry = {
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
        try:
            jsontext.dumps(entry)
        except (TypeError, ValueError, RecursionError) as problem:
            raise ValueError(f"{self.class_type}: the definition cannot be written as JSON: {problem}") from problem
        return entry

    def behaviour(self) -> Behaviour | None:
        """What its nodes do, None to make the outputs up."""
        return None if self.function is None else Behaviour(self._run, self.seconds)

    def _check(self) -> None:
        inputs, function = self.inputs, self.function
        self._need("class_type", self.class_type, "a name, such as 'Mine'", _is_name(self.class_type))
        self._need(
            "inputs",
            inputs,
            "a mapping of names to types, such as {'image': 'IMAGE'}",
            isinstance(inputs, Mapping) and all(_is_name(name) for name in inputs),
        )
        for field, given in (("outputs", self.outputs), ("optional", self.optional)):
            is_list = isinstance(given, Sequence) and not isinstance(given, str)
            self._need(field, given, "a list of names", is_list)
        for output in self.outputs:
            self._need("an output", output, "the name of a type", _is_name(output))
        for name in self.optional:
            self._need("what optional names", name, "an input", _is_name(name) and name in inputs)
        self._need("function", function, "something to call, or None", function is None or callable(function))
        self._need(
            "function", function, "a plain function and no async def; to be slow, say seconds", not _is_async(function)
        )
        seconds = self.seconds
        is_duration = isinstance(seconds, (int, float)) and 0 <= seconds < math.inf
        self._need("seconds", seconds, "how long a call takes, 0 or more", is_duration)

    def _need(self, what: str, given: Any, allowed: str, fits: bool) -> None:
        if not fits:
            raise ValueError(f"custom node {self.class_type!r}: {what} must be {allowed}, not {given!r}")

    def _run(self, call: Call) -> Output:
        returned = self._call({name: _shown(value) for name, value in call.inputs.items()})
        ui = None
        if isinstance(returned, dict) and ("ui" in returned or "result" in returned):
            ui, returned = self._checked_ui(returned.get("ui")), returned.get("result", ())
        if isinstance(returned, Blocker):
            return Output((returned,) * len(self.outputs), ui)
        values = returned if isinstance(returned, tuple) else () if returned is None else (returned,)
        if len(values) != len(self.outputs) and (self.outputs or values):
            raise ValueError(f"{self.class_type} returned {len(values)} values for {len(self.outputs)} outputs")
        return Output(tuple(_value(kind, value) for kind, value in zip(self.outputs, values, strict=True)), ui)

    def _call(self, inputs: Mapping[str, Any]) -> Any:
        assert self.function is not None
        try:
            return self.function(**inputs)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            # nobody around a node looks for these, and so the prompt would run for ever
            raise NodeError(type_name(error), str(error)).with_traceback(error.__traceback__) from error

    def _checked_ui(self, ui: Any) -> dict[str, Any] | None:
        """A copy of the ui as JSON has it. Raises `TypeError` for one that no message could carry."""
        if ui is None:
            return None
        if not isinstance(ui, Mapping):
            raise TypeError(f"{self.class_type}: ui is a dict of lists, not {type(ui).__name__}")
        for key, value in ui.items():
            if not isinstance(key, str):
                raise TypeError(f"{self.class_type}: the keys of ui are texts, not {key!r}")
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"{self.class_type}: ui[{key!r}] is a list, not {type(value).__name__}")
        try:
            copy: dict[str, Any] = jsontext.loads(jsontext.dumps(dict(ui)))
        except (TypeError, ValueError, RecursionError) as problem:
            raise TypeError(f"{self.class_type}: ui cannot be written as JSON: {problem}") from problem
        return copy


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_async(function: Any) -> bool:
    call = getattr(type(function), "__call__", None)  # noqa: B004 - an object's own call may be async as well
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in (function, call))


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
