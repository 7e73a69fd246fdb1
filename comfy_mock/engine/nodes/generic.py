"""What a class does that the catalogue knows and no rule describes: it answers by its declared outputs.

An output passes on the input of its own type: the one of the same name, else the one of the same rank, else the first.
Where there is none it gets a default that later nodes can work with. Paid nodes (`api_node`) draw new pictures instead
of passing on old ones, since their inputs are references.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.dynamic_inputs import declared_inputs
from comfy_mock.engine.nodes.api import Behaviour, Call, Output
from comfy_mock.engine.nodes.frames import uniform
from comfy_mock.engine.nodes.generated import prompts_of, subject_image, subject_of
from comfy_mock.engine.values import Audio, Image, Latent, Mask, Opaque, Video

API_NODE_SECONDS = 1.0
SECONDS = 0.01

_SIDE = 512
_VIDEO_FRAMES = 16
_FPS = 24.0
_KINDS: dict[str, type] = {
    "IMAGE": Image,
    "MASK": Mask,
    "LATENT": Latent,
    "AUDIO": Audio,
    "VIDEO": Video,
    "STRING": str,
    "INT": int,
    "FLOAT": float,
    "BOOLEAN": bool,
}
_PLAIN: dict[str, Any] = {
    "STRING": "",
    "INT": 0,
    "FLOAT": 0.0,
    "BOOLEAN": False,
    "COLOR": "#ffffff",
    "ARRAY": [],
    "DICT": {},
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": _SIDE, "height": _SIDE},
}
_ANY = ("*", "COMFY_MATCHTYPE_V3")
_GENERATED = ("IMAGE", "VIDEO", "AUDIO")


def run(call: Call) -> Output:
    """The rule of all classes without one of their own: see the module."""
    definition = call.definition
    seen: dict[str, int] = {}
    values = []
    for slot, declared in enumerate(definition.outputs):
        type_name = "COMBO" if isinstance(declared, list) else str(declared)
        rank = seen.get(type_name, 0)
        seen[type_name] = rank + 1
        value = _value(call, slot, declared, rank)
        if slot < len(definition.output_is_list) and definition.output_is_list[slot]:
            value = value if isinstance(value, list) else [value]
        values.append(value)
    return Output(tuple(values))


def seconds(call: Call) -> float:
    """How long an unknown node takes: paid ones wait for a distant server."""
    return API_NODE_SECONDS if call.definition.api_node else SECONDS


GENERIC = Behaviour(run, seconds)


def _value(call: Call, slot: int, declared: Any, rank: int) -> Any:
    if isinstance(declared, list):
        return declared[0] if declared else ""
    passed = _passed(call, slot, declared, rank)
    if passed is not None and not (call.definition.api_node and declared in _GENERATED):
        return passed
    first = passed[0] if isinstance(passed, list) else passed
    return _default(call, declared, first)


def _passed(call: Call, slot: int, declared: str, rank: int) -> Any:
    """The input that becomes this output, None if there is none. On classes that take whole lists, its first value,
    or all of them where the output is a list too."""
    given = _values_by_input(call)
    known = declared_inputs(call.definition, {name: values[0] for name, values in given.items()})
    found = {
        name: values
        for name, values in given.items()
        if name in known and _fits(declared, str(known.spec(name)[0]), values)
    }
    if not found:
        return None
    wanted = _output_name(call.definition, slot)
    values = found.get(wanted) or list(found.values())[rank if rank < len(found) else 0]
    is_list = slot < len(call.definition.output_is_list) and call.definition.output_is_list[slot]
    return values if is_list and call.definition.is_input_list else values[0]


def _values_by_input(call: Call) -> dict[str, list[Any]]:
    whole = call.definition.is_input_list
    return {name: value if whole else [value] for name, value in call.inputs.items() if not whole or value}


def _fits(wanted: str, declared: str, values: list[Any]) -> bool:
    if any(value is None for value in values):
        return False
    if wanted in _ANY:
        return True
    kind = _KINDS.get(wanted)
    return wanted in declared.split(",") and (kind is None or all(isinstance(value, kind) for value in values))


def _output_name(definition: NodeDefinition, slot: int) -> str:
    names = definition.entry.get("output_name") or []
    return str(names[slot]) if slot < len(names) else ""


def _default(call: Call, declared: str, example: Any) -> Any:
    make = _DEFAULTS.get(declared)
    if make is not None:
        return make(call, example)
    if declared in _PLAIN:
        return copy.deepcopy(_PLAIN[declared])
    if declared == "CONDITIONING":
        return Opaque(declared, {"texts": prompts_of(call)})
    return Opaque(
        declared, {name: value for name, value in call.inputs.items() if isinstance(value, (str, int, float))}
    )


def _image(call: Call, example: Any) -> Image:
    inputs = call.inputs
    like = example if isinstance(example, Image) else None
    width = _size(inputs, "width", like.width if like else _SIDE)
    height = _size(inputs, "height", like.height if like else _SIDE)
    return subject_image(subject_of(call), width, height, _size(inputs, "batch_size", 1))


def _mask(call: Call, example: Any) -> Mask:
    del example
    like = next((value for value in call.inputs.values() if isinstance(value, Image) and value.batch), None)
    width, height = (like.width, like.height) if like else (_SIDE, _SIDE)
    return Mask((uniform(width, height, (0.0,)),) * (like.batch if like else 1))


def _latent(call: Call, example: Any) -> Latent:
    del example
    inputs = call.inputs
    length = _size(inputs, "length", 0)
    return Latent(
        max(1, _size(inputs, "width", _SIDE) // 8),
        max(1, _size(inputs, "height", _SIDE) // 8),
        _size(inputs, "batch_size", 1),
        channels=16 if length else 4,
        frames=(length - 1) // 4 + 1 if length else None,
        subject=subject_of(call),
    )


def _audio(call: Call, example: Any) -> Audio:
    del example
    wanted = call.inputs.get("seconds", call.inputs.get("duration", 1.0))
    length = float(wanted) if isinstance(wanted, (int, float)) else 1.0
    return Audio(max(0.1, length), tone=220.0 + call.random.randrange(440))


def _video(call: Call, example: Any) -> Video:
    like = example.images if isinstance(example, Video) else None
    subject = subject_of(call)
    length = like.batch if like else _VIDEO_FRAMES
    fps = call.inputs.get("fps")
    return Video(
        subject_image(subject, like.width if like else _SIDE, like.height if like else _SIDE, length),
        float(fps) if isinstance(fps, (int, float)) and fps > 0 else _FPS,
    )


_DEFAULTS: Mapping[str, Callable[[Call, Any], Any]] = {
    "IMAGE": _image,
    "MASK": _mask,
    "LATENT": _latent,
    "AUDIO": _audio,
    "VIDEO": _video,
}


def _size(inputs: Mapping[str, Any], name: str, default: int) -> int:
    value = inputs.get(name)
    return value if isinstance(value, int) and value > 0 else default
