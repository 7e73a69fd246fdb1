"""What stands in for the work of models: subjects that name their seed and prompt, and pictures of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfy_mock.engine.nodes.api import Call
from comfy_mock.engine.values import Frame, Image, Opaque, Subject

_SEEDS = ("seed", "noise_seed")


def subject_of(call: Call) -> Subject:
    """What a call generates: the seed among its inputs, else one drawn for this call, and the texts of its inputs."""
    seeds = (value for name in _SEEDS for value in _flat(call.inputs.get(name)))
    seed = next((value for value in seeds if isinstance(value, int)), None)
    return Subject(call.random.randrange(1 << 32) if seed is None else seed, texts_of(call.inputs))


def texts_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The prompts among some inputs: the texts of conditionings and guiders, else plain strings. Negative ones are left
    out."""
    values = [value for name, given in inputs.items() if "negative" not in name for value in _flat(given)]
    prompts = [line for value in values for line in conditioning_texts(value)]
    return tuple(prompts) or tuple(value for value in values if isinstance(value, str) and value)


def conditioning_texts(value: Any) -> tuple[str, ...]:
    """The prompt's texts that a CONDITIONING or a GUIDER carries."""
    return tuple(value.facts.get("texts", ())) if isinstance(value, Opaque) else ()


def subject_frame(subject: Subject, width: int, height: int, index: int) -> Frame:
    """The picture of a subject, `index` being its place in the batch."""

    def draw() -> Any:
        from comfy_mock.engine.pictures import draw_subject

        return draw_subject(subject, width, height, index)

    return Frame(width, height, 3, draw)


def subject_image(subject: Subject, width: int, height: int, batch: int) -> Image:
    """A batch of pictures of a subject, sizes in pixels."""
    return Image(tuple(subject_frame(subject, width, height, index) for index in range(batch)))


def _flat(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else (value,)
