"""Validation of whole prompts, rule by rule (protocol 3.3 to 3.6, 3.9 to 3.11)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.validation import Verdict, validate

CATALOGUE = Catalogue.packaged()
FOLDERS = Folders()


def node(class_type: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    return made if title is None else {**made, "_meta": {"title": title}}


def empty_image(**changes: Any) -> dict[str, Any]:
    return node("EmptyImage", **{"width": 8, "height": 8, "batch_size": 1, "color": 0, **changes})


def check(prompt: Any, targets: Any = None, **options: Any) -> Verdict:
    files = MemoryFiles()
    files.write(f"{FOLDERS.input}/example.png", b"x", now=0.0)
    options.setdefault("definitions", CATALOGUE.get)
    return validate(prompt, targets, files=files, folders=FOLDERS, **options)


def error_of(prompt: Any, targets: Any = None) -> dict[str, Any]:
    verdict = check(prompt, targets)
    assert not verdict.valid
    assert verdict.outputs == []
    assert verdict.error is not None
    return verdict.error


def reasons_of(verdict: Verdict, node_id: str) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = verdict.node_errors[node_id]["errors"]
    return errors


def types_of(verdict: Verdict) -> dict[str, list[str]]:
    return {key: [error["type"] for error in entry["errors"]] for key, entry in verdict.node_errors.items()}


class TestPromptLevel:
    @pytest.mark.parametrize("title", [None, "Mine"])
    def test_a_node_without_a_class(self, title: str | None) -> None:
        broken: dict[str, Any] = {"inputs": {}} if title is None else {"inputs": {}, "_meta": {"title": title}}
        verdict = check({"1": empty_image(), "7": broken, "8": node("NoSuchClass")})
        assert verdict.node_errors == {}
        assert verdict.error == {
            "type": "missing_node_type",
            "message": f"Node '{title or 'ID #7'}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing.",
            "details": "Node ID '#7'",
            "extra_info": {"node_id": "7", "class_type": None, "node_title": title},
        }

    @pytest.mark.parametrize(
        ("class_type", "meta", "title", "shown"),
        [
            ("NoSuchClass", {}, "NoSuchClass", "NoSuchClass"),
            ("NoSuchClass", {"_meta": {"title": "Mine"}}, "Mine", "Mine"),
            ("NoSuchClass", {"_meta": {"title": ""}}, "", ""),
            (None, {}, None, "None"),
            (5, {}, 5, "5"),
        ],
    )
    def test_an_unknown_class(self, class_type: Any, meta: dict[str, Any], title: Any, shown: str) -> None:
        assert error_of({"7": {"class_type": class_type, "inputs": {}, **meta}}) == {
            "type": "missing_node_type",
            "message": f"Node '{shown}' not found. The custom node may not be installed.",
            "details": "Node ID '#7'",
            "extra_info": {"node_id": "7", "class_type": class_type, "node_title": title},
        }

    @pytest.mark.parametrize(
        ("prompt", "targets"),
        [
            ({}, None),
            ({"1": empty_image()}, None),
            ({"1": empty_image(), "2": node("PreviewImage", images=["1", 0])}, []),
            ({"1": empty_image(), "2": node("PreviewImage", images=["1", 0])}, ["1"]),
            ({"1": empty_image()}, 5),  # no output is looked for
        ],
    )
    def test_nothing_to_run(self, prompt: Any, targets: Any) -> None:
        expected = {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}}
        assert error_of(prompt, targets) == expected

    @pytest.mark.parametrize("targets", [["2"], {"2": 1}, "12"])
    def test_only_targets_run(self, targets: Any) -> None:
        prompt = {
            "0": empty_image(),
            "2": node("PreviewImage", images=["0", 0]),
            "3": node("PreviewImage", images=["0", 0]),
        }
        assert check(prompt, targets).outputs == ["2"]

    @pytest.mark.parametrize("targets", [5, True, 0.0])
    def test_targets_that_contain_nothing(self, targets: Any) -> None:
        with pytest.raises(ServerTrouble):
            check({"1": empty_image(), "2": node("PreviewImage", images=["1", 0])}, targets)

    @pytest.mark.parametrize(
        "prompt",
        [
            [],
            None,
            "x",
            {"1": []},
            {"1": "class_type"},
            {"1": {"inputs": {}, "_meta": None}},
            {"1": {"class_type": "NoSuchClass", "inputs": {}, "_meta": "title"}},
            {"1": {"class_type": {}, "inputs": {}}},
            {"1": {"class_type": "EmptyImage", "inputs": None}},
        ],
    )
    def test_what_the_server_stumbles_over(self, prompt: Any) -> None:
        with pytest.raises(ServerTrouble):
            check(prompt)

    def test_bad_meta_of_a_good_node_is_not_looked_at(self) -> None:
        prompt = {"1": {**empty_image(), "_meta": None}, "2": node("PreviewImage", images=["1", 0])}
        assert check(prompt).valid


class TestOutputs:
    def test_a_good_prompt(self) -> None:
        prompt = {"1": empty_image(), "2": node("PreviewImage", images=["1", 0])}
        assert check(prompt) == Verdict(valid=True, error=None, outputs=["2"], node_errors={})

    def test_errors_upstream_leave_the_details_empty(self) -> None:
        verdict = check({"1": empty_image(width=-1), "2": node("PreviewImage", images=["1", 0])})
        assert verdict.error == {
            "type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation",
            "details": "",
            "extra_info": {},
        }
        assert list(verdict.node_errors) == ["1"]
        assert verdict.node_errors["1"]["dependent_outputs"] == ["2"]
        assert verdict.node_errors["1"]["class_type"] == "EmptyImage"

    def test_errors_of_outputs_stand_in_the_details(self) -> None:
        verdict = check({"1": empty_image(), "2": node("SaveImage", images=["1", 0]), "3": node("PreviewImage")})
        assert verdict.error is not None
        assert sorted(verdict.error["details"].split("\n")) == [
            "Required input is missing: filename_prefix",
            "Required input is missing: images",
        ]

    def test_good_outputs_run_without_the_bad_ones(self) -> None:
        prompt = {
            "1": empty_image(),
            "2": node("PreviewImage", images=["1", 0]),
            "3": node("PreviewImage"),
        }
        verdict = check(prompt)
        assert (verdict.valid, verdict.error, verdict.outputs) == (True, None, ["2"])
        assert verdict.node_errors["3"]["dependent_outputs"] == ["3"]

    @pytest.mark.parametrize("seed", range(4))
    def test_later_bad_outputs_are_listed_dependent_or_not(self, seed: int) -> None:
        verdict = check({"3": node("PreviewImage"), "4": node("PreviewImage")}, hash_seed=seed)
        first, second = list(verdict.node_errors)
        assert verdict.node_errors[first]["dependent_outputs"] == [first, second]
        assert verdict.node_errors[second]["dependent_outputs"] == [second]

    def test_the_hash_seed_decides_the_order(self) -> None:
        prompt = {"1": empty_image()} | {str(key): node("PreviewImage", images=["1", 0]) for key in range(2, 10)}
        orders = {tuple(check(copy.deepcopy(prompt), hash_seed=seed).outputs) for seed in range(10)}
        assert len(orders) > 5
        assert {frozenset(order) for order in orders} == {frozenset(str(key) for key in range(2, 10))}


class TestConstants:
    def test_coerced_values_stand_in_the_prompt(self) -> None:
        prompt = {
            "1": empty_image(width="8", height=8.9, color={"__value__": "7"}),
            "2": node("SaveImage", images=["1", 0], filename_prefix=5),
            "3": empty_image(width="8"),
        }
        assert check(prompt).valid
        assert prompt["1"]["inputs"] == {"width": 8, "height": 8, "batch_size": 1, "color": 7}
        assert prompt["2"]["inputs"]["filename_prefix"] == "5"
        assert prompt["3"]["inputs"]["width"] == "8"  # no output needs it

    def test_a_value_that_cannot_be_converted(self) -> None:
        verdict = check({"1": empty_image(width={"__value__": [1]}), "2": node("PreviewImage", images=["1", 0])})
        message = "int() argument must be a string, a bytes-like object or a real number, not 'list'"
        config = CATALOGUE["EmptyImage"].required["width"]
        assert reasons_of(verdict, "1") == [
            {
                "type": "invalid_input_type",
                "message": "Failed to convert an input value to a INT value",
                "details": f"width, [1], {message}",
                "extra_info": {
                    "input_name": "width",
                    "input_config": config,
                    "received_value": [1],
                    "exception_message": message,
                },
            }
        ]

    def test_a_combo_may_take_any_value(self) -> None:
        prompt = {
            "1": node("CheckpointLoaderSimple", ckpt_name="mine.safetensors"),
            "2": node("CLIPTextEncode", text="", clip=["1", 1]),
            "3": node("PreviewAny", source=["2", 0]),
        }
        assert types_of(check(copy.deepcopy(prompt))) == {"1": ["value_not_in_list"]}
        asked: list[tuple[str, str]] = []

        def accepts_any(class_type: str, input_name: str) -> bool:
            asked.append((class_type, input_name))
            return input_name == "ckpt_name"

        assert check(prompt, accepts_any=accepts_any).valid
        assert ("CheckpointLoaderSimple", "ckpt_name") in asked

    @pytest.mark.parametrize("value", [None, 5, "x", {}])
    def test_a_constant_for_a_socket_passes(self, value: Any) -> None:
        assert check({"2": node("PreviewImage", images=value)}).valid


class TestLinks:
    @pytest.mark.parametrize("link", [[], ["1"], ["1", 0, 0]])
    def test_a_list_is_a_link_and_has_two_elements(self, link: Any) -> None:
        verdict = check({"1": empty_image(), "2": node("PreviewImage", images=link)})
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        assert reasons_of(verdict, "2") == [
            {
                "type": "bad_linked_input",
                "message": message,
                "details": "images",
                "extra_info": {"input_name": "images", "input_config": ["IMAGE", {}], "received_value": link},
            }
        ]

    def test_types_must_match(self) -> None:
        verdict = check({"1": empty_image(width=-1), "2": node("MaskPreview", mask=["1", 0])})
        assert types_of(verdict) == {"2": ["return_type_mismatch"]}  # the source is not even looked at
        assert reasons_of(verdict, "2")[0]["details"] == "mask, received_type(IMAGE) mismatch input_type(MASK)"
        assert reasons_of(verdict, "2")[0]["extra_info"] == {
            "input_name": "mask",
            "input_config": ["MASK", {}],
            "received_type": "IMAGE",
            "linked_node": ["1", 0],
        }

    @pytest.mark.parametrize(("slot", "valid"), [(0, True), (-1, True), (False, True), (-2, False), (1, False)])
    def test_negative_slots_count_from_the_end(self, slot: Any, valid: bool) -> None:
        assert check({"1": empty_image(), "2": node("PreviewImage", images=["1", slot])}).valid is valid

    @pytest.mark.parametrize(
        ("link", "kind", "text"),
        [
            (["99", 0], "KeyError", "'99'"),
            ([1, 0], "KeyError", "1"),
            ([None, 0], "KeyError", "None"),
            ([[], 0], "TypeError", "unhashable type: 'list'"),
            ([{}, 0], "TypeError", "unhashable type: 'dict'"),
            (["1", 5], "IndexError", "tuple index out of range"),
            (["1", 10**30], "IndexError", "cannot fit 'int' into an index-sized integer"),
            (["1", "0"], "TypeError", "tuple indices must be integers or slices, not str"),
            (["1", 0.0], "TypeError", "tuple indices must be integers or slices, not float"),
            (["1", None], "TypeError", "tuple indices must be integers or slices, not NoneType"),
            (["3", 5], "IndexError", "list index out of range"),
            (["3", "0"], "TypeError", "list indices must be integers or slices, not str"),
        ],
    )
    def test_links_to_nowhere_raise(self, link: Any, kind: str, text: str) -> None:
        prompt = {
            "1": empty_image(),
            "2": node("PreviewImage", images=link),
            "3": node("SolidMask", value=1.0, width=8, height=8),
        }
        (reason,) = reasons_of(check(prompt), "2")
        assert reason["type"] == "exception_during_validation"
        assert (reason["message"], reason["details"]) == ("Exception when validating node", text)
        assert list(reason["extra_info"]) == ["exception_type", "traceback"]
        assert reason["extra_info"]["exception_type"] == kind
        assert all(isinstance(line, str) for line in reason["extra_info"]["traceback"])

    def test_an_exception_upstream_is_the_sources_reason(self) -> None:
        prompt = {
            "1": node("ImageInvert", image=["99", 0]),
            "2": node("PreviewImage", images=["1", 0]),
            "3": node("PreviewImage", images=["1", 0]),
        }
        verdict = check(prompt)
        (reason,) = reasons_of(verdict, "1")
        assert list(verdict.node_errors) == ["1"]
        assert reason["type"] == "exception_during_inner_validation"
        assert (reason["message"], reason["details"]) == ("Exception when validating inner node", "'99'")
        traceback = reason["extra_info"].pop("traceback")
        assert len(traceback) == 2
        assert reason["extra_info"] == {
            "input_name": "images",
            "input_config": ["IMAGE", {}],
            "exception_message": "'99'",
            "exception_type": "KeyError",
            "linked_node": ["1", 0],
        }

    def test_a_node_without_inputs_raises(self) -> None:
        (reason,) = reasons_of(check({"2": {"class_type": "PreviewImage"}}), "2")
        assert (reason["details"], reason["extra_info"]["exception_type"]) == ("'inputs'", "KeyError")


class TestCycles:
    def test_every_node_of_a_cycle_has_the_reason(self) -> None:
        prompt = {
            "1": node("ImageInvert", image=["2", 0]),
            "2": node("ImageInvert", image=["1", 0]),
            "3": node("PreviewImage", images=["1", 0]),
        }
        verdict = check(prompt)
        path = "1 (ImageInvert) -> 2 (ImageInvert) -> 1 (ImageInvert)"
        assert {key: reasons_of(verdict, key) for key in verdict.node_errors} == {
            key: [
                {
                    "type": "dependency_cycle",
                    "message": "Dependency cycle detected",
                    "details": path,
                    "extra_info": {"node_id": key, "cycle_nodes": ["1", "2"]},
                }
            ]
            for key in ("1", "2")
        }

    def test_other_errors_come_after_the_cycle(self) -> None:
        verdict = check({"1": node("SaveImage", images=["1", 0])})
        assert types_of(verdict) == {"1": ["dependency_cycle", "required_input_missing"]}
        assert verdict.error is not None
        assert verdict.error["details"].startswith("Dependency cycle detected: 1 (SaveImage) -> 1 (SaveImage)\n")

    def test_cycles_of_undeclared_inputs_pass(self) -> None:
        prompt = {"1": empty_image(extra=["1", 0]), "2": node("PreviewImage", images=["1", 0], extra=["99", 0])}
        assert check(prompt).valid

    def test_cycles_that_no_output_needs_pass(self) -> None:
        prompt = {
            "1": empty_image(),
            "2": node("PreviewImage", images=["1", 0]),
            "3": node("ImageInvert", image=["3", 0]),
        }
        assert check(prompt).valid

    def test_a_deep_prompt_is_answered(self) -> None:
        prompt = {"0": empty_image()}
        for index in range(1, 900):
            prompt[str(index)] = node("ImageInvert", image=[str(index - 1), 0])
        prompt["out"] = node("PreviewImage", images=["899", 0])
        assert check(prompt).valid

    def test_a_prompt_too_deep_for_python_is_refused(self) -> None:
        prompt = {"0": empty_image()}
        for index in range(1, 5000):
            prompt[str(index)] = node("ImageInvert", image=[str(index - 1), 0])
        prompt["out"] = node("PreviewImage", images=["4999", 0])
        verdict = check(prompt)
        ((reason,),) = [entry["errors"] for entry in verdict.node_errors.values()]
        assert reason["type"] == "exception_during_inner_validation"
        assert reason["extra_info"]["exception_type"] == "RecursionError"


class TestDynamicInputs:
    def test_a_missing_dynamic_input_shows_its_last_part(self) -> None:
        prompt = {
            "1": empty_image(),
            "2": node("SaveImageAdvanced", images=["1", 0], filename_prefix="x", format="png"),
        }
        details = {reason["details"]: reason["extra_info"] for reason in reasons_of(check(prompt), "2")}
        assert details["bit_depth"] == {"input_name": "format.bit_depth"}

    def test_a_dot_in_the_name_of_a_plain_input_stays(self) -> None:
        entry = {"input": {"required": {"a.b": ["INT"]}}, "output": [], "output_node": True}
        definition = NodeDefinition("Dotted", entry)
        verdict = check({"1": node("Dotted")}, definitions=lambda _: definition)
        assert reasons_of(verdict, "1")[0]["details"] == "a.b"

    def test_children_are_checked_like_other_inputs(self) -> None:
        sized = {"resize_type": "scale width", "resize_type.width": -1, "scale_method": "area"}
        prompt = {
            "1": empty_image(),
            "2": node("ResizeImageMaskNode", input=["1", 0], **sized),
            "3": node("PreviewAny", source=["2", 0]),
        }
        (reason,) = reasons_of(check(prompt), "2")
        assert (reason["type"], reason["details"]) == ("value_smaller_than_min", "resize_type.width")

    def test_an_absent_choice_passes(self) -> None:
        prompt = {
            "1": empty_image(),
            "2": node("ResizeImageMaskNode", input=["1", 0], scale_method="area"),
            "3": node("PreviewAny", source=["2", 0]),
        }
        assert check(prompt).valid


class TestCustomValidators:
    def test_a_missing_file_is_told_of_the_input(self) -> None:
        verdict = check({"1": node("LoadImage", image="nope"), "2": node("PreviewImage", images=["1", 0])})
        assert reasons_of(verdict, "1") == [
            {
                "type": "custom_validation_failed",
                "message": "Custom validation failed for node",
                "details": "image - Invalid image file: nope",
                "extra_info": {"input_name": "image"},
            }
        ]

    def test_the_list_of_files_does_not_matter(self) -> None:
        def definitions(class_type: str) -> NodeDefinition | None:
            entry = {"input": {"required": {"image": [[]]}}, "output": ["IMAGE", "MASK"]}
            return NodeDefinition(class_type, entry) if class_type == "LoadImage" else CATALOGUE.get(class_type)

        prompt = {"1": node("LoadImage", image="example.png"), "2": node("PreviewImage", images=["1", 0])}
        assert check(prompt, definitions=definitions).valid

    def test_other_inputs_are_still_checked(self) -> None:
        prompt = {
            "1": node("LoadImageMask", image="nope", channel="pink"),
            "2": node("MaskPreview", mask=["1", 0]),
        }
        assert types_of(check(prompt)) == {"1": ["value_not_in_list", "custom_validation_failed"]}

    def test_every_input_that_was_passed_has_the_complaint(self) -> None:
        prompt = {
            "1": node("Load3D", height=-5, model_file="nope", unknown=1, width="8"),
            "2": node("PreviewAny", source=["1", 0]),
        }
        errors = reasons_of(check(prompt), "1")
        assert [error["details"] for error in errors] == [
            "image",  # required and absent
            "height - Invalid 3D model file: nope",
            "model_file - Invalid 3D model file: nope",
            "width - Invalid 3D model file: nope",
        ]

    def test_an_exception_replaces_all_errors(self) -> None:
        prompt = {"1": node("LoadImageMask", channel="pink"), "2": node("MaskPreview", mask=["1", 0])}
        (reason,) = reasons_of(check(prompt), "1")
        text = "LoadImageMask.VALIDATE_INPUTS() missing 1 required positional argument: 'image'"
        assert (reason["type"], reason["details"]) == ("exception_during_inner_validation", text)

    def test_links_are_passed_as_null(self) -> None:
        prompt = {
            "0": node("PrimitiveString", value="example.png"),
            "1": node("LoadAudio", audio=["0", 0]),
            "2": node("PreviewAudio", audio=["1", 0]),
        }
        (reason,) = reasons_of(check(prompt), "1")
        assert reason["details"] == "'NoneType' object has no attribute 'endswith'"
