"""What stands in for the work of models: subjects that name their seed and prompt, and pictures of them."""

from __future__ import annotations

from typing import Any

from comfy_mock.engine.dynamic_inputs import declared_inputs
from comfy_mock.engine.nodes.api import Call
from comfy_mock.engine.values import Frame, Image, Opaque, Subject

_SEEDS = ("seed", "noise_seed")


def subject_of(call: Call) -> Subject:
    """What a call generates: the seed among its inputs, else one drawn for this call, and its prompts."""
    given = [call.inputs.get(name) for name in _SEEDS]
    seed = next((value for value in map(_first, given) if isinstance(value, int)), None)
    return Subject(call.random.randrange(1 << 32) if seed is None else seed, prompts_of(call))


def prompts_of(call: Call) -> tuple[str, ...]:
    """The prompts among the inputs of a call: the texts of conditionings and guiders, else those typed into text
    fields. Negative ones are left out, and so are choices, which are no prompts."""
    inputs = {name: _first(value) for name, value in call.inputs.items() if "negative" not in name}
    texts = [text for value in inputs.values() for text in conditioning_texts(value)]
    if texts:
        return tuple(texts)
    declared = declared_inputs(call.definition, inputs)
    return tuple(
        value
        for name, value in inputs.items()
        if isinstance(value, str) and value and name in declared and declared.spec(name)[0] == "STRING"
    )


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


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
