"""Dynamic inputs and what a call of a node complains about (protocol 3.9, 3.11)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_mock.engine.dynamic_inputs import declared_inputs, run_time_complaint

CATALOGUE = Catalogue.packaged()


def v3(required: dict[str, Any], optional: dict[str, Any] | None = None) -> NodeDefinition:
    return NodeDefinition(
        "Made", {"input": {"required": required, "optional": optional or {}}, "output_matchtypes": None}
    )


def autogrow(**template: Any) -> list[Any]:
    return ["COMFY_AUTOGROW_V3", {"template": template}]


def combo(**options: dict[str, Any]) -> list[Any]:
    listed = [{"key": key, "inputs": inputs} for key, inputs in options.items()]
    return ["COMFY_DYNAMICCOMBO_V3", {"options": listed}]


def test_a_class_without_dynamic_inputs_declares_what_it_lists() -> None:
    definition = CATALOGUE["ImageCompare"]
    declared = declared_inputs(definition, {"unknown": 1})
    assert list(declared.required) == ["compare_view"]
    assert list(declared.optional) == ["image_a", "image_b"]
    assert not declared.live
    assert "prompt" not in declared  # hidden


def test_a_known_choice_declares_itself_and_the_inputs_it_brings() -> None:
    inputs = {"resize_type": "scale dimensions"}
    declared = declared_inputs(CATALOGUE["ResizeImageMaskNode"], inputs)
    assert list(declared.required) == [
        "input",
        "resize_type",
        "resize_type.width",
        "resize_type.height",
        "resize_type.crop",
        "scale_method",
    ]
    assert declared.spec("resize_type.width")[0] == "INT"
    assert declared.live


@pytest.mark.parametrize("inputs", [{}, {"resize_type": "no such"}, {"resize_type": ["4", 0]}, {"width": 5}])
def test_an_absent_or_unknown_choice_declares_nothing(inputs: dict[str, Any]) -> None:
    declared = declared_inputs(CATALOGUE["ResizeImageMaskNode"], inputs)
    assert list(declared.required) == ["input", "scale_method"]
    assert not declared.live


def test_choices_nest() -> None:
    inner = combo(x={"required": {"deep": ["INT"]}})
    definition = v3({"outer": combo(a={"required": {"inner": inner}, "optional": {"free": ["STRING"]}})})
    declared = declared_inputs(definition, {"outer": "a", "outer.inner": "x"})
    assert list(declared.required) == ["outer", "outer.inner", "outer.inner.deep"]
    assert list(declared.optional) == ["outer.free"]


def test_an_optional_choice_is_declared_optional_and_its_inputs_as_they_say() -> None:
    definition = v3({}, {"mode": combo(a={"required": {"x": ["INT"]}})})
    declared = declared_inputs(definition, {"mode": "a"})
    assert list(declared.optional) == ["mode"]
    assert list(declared.required) == ["mode.x"]


def test_a_row_requires_its_first_inputs_and_declares_all() -> None:
    declared = declared_inputs(CATALOGUE["MergeMeshes"], {})
    assert list(declared.required) == ["meshes.mesh0", "meshes.mesh1"]
    assert list(declared.optional) == [f"meshes.mesh{index}" for index in range(2, 50)]
    assert "meshes" not in declared
    assert declared.live


def test_a_row_may_have_names() -> None:
    template = {"input": {"required": {"value": ["INT"]}}, "names": ["a", "b", "c"], "min": 1}
    declared = declared_inputs(v3({"values": autogrow(**template)}), {})
    assert list(declared.required) == ["values.a"]
    assert list(declared.optional) == ["values.b", "values.c"]


def test_a_row_of_an_optional_template_requires_nothing() -> None:
    template = {"input": {"optional": {"value": ["INT"]}}, "prefix": "v", "max": 2, "min": 1}
    declared = declared_inputs(v3({"values": autogrow(**template)}), {})
    assert not declared.required
    assert list(declared.optional) == ["values.v0", "values.v1"]


def test_a_slot_declares_itself_and_its_inputs_once_it_is_used() -> None:
    slot = ["COMFY_DYNAMICSLOT_V3", {"slotType": "IMAGE", "inputs": {"required": {"strength": ["FLOAT"]}}}]
    definition = v3({}, {"guide": slot})
    assert "guide" not in declared_inputs(definition, {})
    declared = declared_inputs(definition, {"guide": ["4", 0]})
    assert declared.spec("guide")[0] == "IMAGE"
    assert list(declared.required) == ["guide.strength"]


def test_asking_for_an_undeclared_input_is_an_error() -> None:
    with pytest.raises(KeyError):
        declared_inputs(CATALOGUE["KSampler"], {}).spec("unknown")


@pytest.mark.parametrize("inputs", [{"input": 1, "scale_method": "area"}, {"scale_method": "area"}])
def test_an_absent_choice_is_a_missing_argument(inputs: dict[str, Any]) -> None:
    # recorded in validation_errors.har
    expected = "ResizeImageMaskNode.execute() missing 1 required positional argument: 'resize_type'"
    assert run_time_complaint(CATALOGUE["ResizeImageMaskNode"], inputs) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, "Made.execute() missing 2 required positional arguments: 'c0' and 'c1'"),
        (3, "Made.execute() missing 3 required positional arguments: 'c0', 'c1', and 'c2'"),
    ],
)
def test_several_missing_arguments_are_listed_as_python_does(count: int, expected: str) -> None:
    assert run_time_complaint(v3({f"c{index}": combo() for index in range(count)}), {}) == expected


def test_a_name_beyond_a_row_is_unexpected() -> None:
    inputs = {"images.image0": 1, "images.image50": 1}
    expected = "BatchImagesNode.execute() got an unexpected keyword argument 'images.image50'"
    assert run_time_complaint(CATALOGUE["BatchImagesNode"], inputs) == expected


def test_an_undeclared_input_of_an_older_class_is_unexpected() -> None:
    inputs = {"images": 1, "filename_prefix": "x", "extra": 1}
    expected = "SaveImage.save_images() got an unexpected keyword argument 'extra'"
    assert run_time_complaint(CATALOGUE["SaveImage"], inputs) == expected
    # PreviewImage has its function from SaveImage
    assert run_time_complaint(CATALOGUE["PreviewImage"], {"images": 1, "extra": 1}) == expected


def test_python_speaks_of_unexpected_arguments_before_missing_ones() -> None:
    complaint = run_time_complaint(CATALOGUE["ResizeImageMaskNode"], {"extra": 1})
    assert complaint == "ResizeImageMaskNode.execute() got an unexpected keyword argument 'extra'"


@pytest.mark.parametrize(
    ("class_type", "inputs"),
    [
        ("SaveImage", {"images": 1, "filename_prefix": "x"}),
        ("SaveImage", {"images": 1, "filename_prefix": "x", "prompt": 1}),  # a hidden input is a parameter too
        ("ResizeImageMaskNode", {"input": 1, "resize_type": "scale width", "resize_type.width": 8}),
        ("ResizeImageMaskNode", {"input": 1, "resize_type": "a value that came over a link"}),
        ("BatchImagesNode", {"images.image0": 1, "images.image7": 1}),
        ("CustomCombo", {"choice": "a", "option1": "a"}),
    ],
)
def test_a_call_that_fits_gives_no_complaint(class_type: str, inputs: dict[str, Any]) -> None:
    assert run_time_complaint(CATALOGUE[class_type], inputs) is None
