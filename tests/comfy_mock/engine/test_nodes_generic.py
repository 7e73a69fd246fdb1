"""Every class of the catalogue runs: those with a rule and those without."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_calls import CATALOGUE, make_call
from node_runner import outcome_of, plain_image, plain_mask, size_of, value_of, values_of

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import BEHAVIOURS
from comfy_mock.engine.nodes.generic import GENERIC
from comfy_mock.engine.values import Audio, Image, Latent, Mask, Opaque, Subject, Video

KINDS = {"IMAGE": Image, "MASK": Mask, "LATENT": Latent, "AUDIO": Audio, "VIDEO": Video}
PLAIN_KINDS: dict[str, Any] = {"STRING": str, "INT": int, "FLOAT": (int, float), "BOOLEAN": bool}
WITHOUT_RULE = sorted(name for name, definition in CATALOGUE.items() if behaviour(definition) is GENERIC)

NAMED_IN_DEFAULTS = {"StringFormat": {"values.a": "text"}, "ComfyMathExpression": {"values.b": 1}}
"""Inputs that need not be there, but that the default of another one speaks of."""

READS_FILES = {"LoadImage", "LoadImageMask", "LoadImageOutput", "LoadLatent", "LoadAudio", "LoadVideo"}
"""Their inputs name files; what they do without is told in the tests of loading."""


def linked(kind: str) -> Any:
    """A value that a link of a type may bring."""
    first = kind.split(",")[0]
    values: dict[str, Any] = {
        "IMAGE": plain_image(64, 48, batch=2),
        "MASK": plain_mask(64, 48, batch=2),
        "LATENT": Latent(8, 6),
        "AUDIO": Audio(2.0),
        "VIDEO": Video(plain_image(64, 48, batch=4), 8.0),
        "SIGMAS": Opaque("SIGMAS", {"sigmas": (1.0, 0.5, 0.0)}),
        "CONDITIONING": Opaque("CONDITIONING", {"texts": ("a cat",)}),
        "BOUNDING_BOX": {"x": 0, "y": 0, "width": 8, "height": 8},
        "ARRAY": [],
        "DICT": {},
        "COMFY_MATCHTYPE_V3": plain_image(64, 48),
        "*": "anything",
        "STRING": "text",
        "INT": 3,
        "FLOAT": 0.5,
        "BOOLEAN": True,
    }
    return values.get(first, Opaque(first))


def default_inputs(groups: dict[str, dict[str, Any]], prefix: str = "") -> dict[str, Any]:
    """Inputs that pass validation: the defaults of widgets, links for all else, the first of dynamic choices."""
    inputs: dict[str, Any] = {}
    for name, spec in groups.get("required", {}).items():
        kind, options = spec[0], spec[1] if len(spec) > 1 else {}
        full = prefix + name
        if kind == "COMFY_DYNAMICCOMBO_V3":
            chosen = options["options"][0]
            inputs[full] = chosen["key"]
            inputs |= default_inputs(chosen["inputs"], f"{full}.")
        elif kind == "COMFY_AUTOGROW_V3":
            template = options["template"]
            names = template.get("names") or [f"{template['prefix']}{place}" for place in range(template["max"])]
            (grown,) = template["input"].get("required", {}).values() or [["*"]]
            inputs |= {f"{full}.{one}": linked(grown[0]) for one in names[: template["min"]]}
        elif isinstance(kind, list):
            inputs[full] = options.get("default", kind[0] if kind else "")
        elif kind == "COMBO":
            inputs[full] = options.get("default", (options.get("options") or [""])[0])
        else:
            inputs[full] = options.get("default", options.get("min", linked(kind)))
    return inputs


def call_with_defaults(definition: NodeDefinition) -> Any:
    inputs = default_inputs({"required": definition.required}) | NAMED_IN_DEFAULTS.get(definition.class_type, {})
    if definition.is_input_list:
        inputs = {name: [value] for name, value in inputs.items()}
    return make_call(definition.class_type, inputs, preview_method="latent2rgb")


@pytest.mark.parametrize("class_type", sorted(set(CATALOGUE) - READS_FILES))
def test_every_class_gives_what_it_declares(class_type: str) -> None:
    definition = CATALOGUE[class_type]
    call = call_with_defaults(definition)
    seconds = behaviour(definition).seconds
    assert (seconds(call) if callable(seconds) else seconds) > 0
    _, output = outcome_of(call)
    assert len(output.values) == len(definition.outputs)
    for value, declared, is_list in zip(output.values, definition.outputs, definition.output_is_list, strict=True):
        kind = KINDS.get(str(declared)) or PLAIN_KINDS.get(str(declared))
        if is_list:
            assert isinstance(value, list)
        if kind is not None and is_list is not None:
            assert all(one is None or isinstance(one, kind) for one in (value if is_list else [value]))


@given(class_type=st.sampled_from(WITHOUT_RULE), seed=st.integers(0, 3))
def test_equal_calls_give_equal_values(class_type: str, seed: int) -> None:
    def run() -> list[str]:
        call = call_with_defaults(CATALOGUE[class_type])
        call.random = random.Random(seed)
        return [described(value) for value in outcome_of(call)[1].values]

    assert run() == run()


def described(value: Any) -> str:
    if isinstance(value, (Image, Mask)):
        return f"{size_of(value)} {[frame.image().tobytes() for frame in value.frames[:1]]}"
    if isinstance(value, Video):
        return described(value.images)
    return repr(value) if not isinstance(value, list) else str([described(one) for one in value])


def test_an_unknown_node_passes_on_the_input_of_the_same_name_or_rank() -> None:
    entry = {
        "input": {"required": {"a": ["IMAGE"], "b": ["IMAGE"], "positive": ["CONDITIONING"], "n": ["INT", {}]}},
        "output": ["IMAGE", "IMAGE", "IMAGE", "CONDITIONING", "INT", "MODEL", ["x", "y"]],
        "output_is_list": [False] * 7,
        "output_name": ["first", "second", "third", "positive", "n", "MODEL", "choice"],
    }
    one, other, positive = plain_image(), plain_image(), Opaque("CONDITIONING", {"texts": ("a",)})
    values = run_entry(entry, {"a": one, "b": other, "positive": positive, "n": 4})
    assert values[:5] == (one, other, one, positive, 4)
    assert (values[5].type, values[6]) == ("MODEL", "x")


def test_an_unknown_node_makes_pictures_of_the_size_asked_for() -> None:
    entry = {
        "input": {"required": {"prompt": ["STRING", {}], "style": [["bold", "thin"]], "seed": ["INT", {}]}},
        "output": ["IMAGE", "LATENT"],
        "output_is_list": [False, False],
    }
    image, latent = run_entry(entry, {"prompt": "a cat", "style": "bold", "seed": 3, "width": 96, "height": 64})
    assert size_of(image) == (96, 64, 1)
    assert image.frames[0].image().size == (96, 64)
    assert size_of(latent) == (12, 8, 1)
    assert latent.subject == Subject(3, ("a cat",)), "choices are no prompts"
    default, _ = run_entry(entry, {"prompt": "a cat", "style": "bold", "seed": 3})
    assert size_of(default) == (512, 512, 1)


def test_paid_nodes_draw_anew_in_the_shape_of_their_reference() -> None:
    entry = {
        "input": {"required": {"image": ["IMAGE"], "prompt": ["STRING", {}]}},
        "output": ["IMAGE"],
        "output_is_list": [False],
        "api_node": True,
    }
    reference = plain_image(40, 30)
    (made,) = run_entry(entry, {"image": reference, "prompt": "a cat"})
    assert size_of(made) == (40, 30, 1)
    assert made is not reference


def test_lists_go_through_unknown_nodes_that_take_them() -> None:
    entry = {
        "input": {"required": {"images": ["IMAGE"]}},
        "output": ["IMAGE", "IMAGE"],
        "output_is_list": [True, False],
        "is_input_list": True,
    }
    images = [plain_image(), plain_image()]
    assert run_entry(entry, {"images": images}) == (images, images[0])


def test_null_for_a_link_is_no_input() -> None:
    entry = {"input": {"required": {"image": ["IMAGE"]}}, "output": ["IMAGE"], "output_is_list": [False]}
    (made,) = run_entry(entry, {"image": None})
    assert size_of(made) == (512, 512, 1)


def run_entry(entry: dict[str, Any], inputs: dict[str, Any]) -> tuple[Any, ...]:
    call = make_call("ImageInvert", inputs)
    call.class_type, call.definition = "NoRuleForThis", NodeDefinition("NoRuleForThis", entry)
    return outcome_of(call)[1].values


def test_latents_pass_through_nodes_without_a_rule() -> None:
    latent = Latent(8, 8)
    assert value_of("LatentApplyOperation", samples=latent, operation=Opaque("LATENT_OPERATION")) is latent


def test_every_rule_is_of_a_class_of_the_catalogue() -> None:
    assert set(BEHAVIOURS) - set(CATALOGUE) == {"ComfySoftSwitchNode"}, "named by the protocol, not in the catalogue"


def test_video_conditionings_make_latents_of_their_length() -> None:
    outputs = values_of(
        "WanImageToVideo",
        positive=Opaque("CONDITIONING", {"texts": ("a",)}),
        negative=Opaque("CONDITIONING", {"texts": ("b",)}),
        vae=Opaque("VAE"),
        width=64,
        height=48,
        length=81,
        batch_size=1,
    )
    assert [value.facts["texts"] for value in outputs[:2]] == [("a",), ("b",)]
    assert outputs[2].shape == (1, 16, 21, 6, 8)
