"""Replacement of outdated nodes (protocol 3.12) and the shapes it stumbles over (protocol 3.3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.replacement import Definitions, node_replacements, replace_nodes

CATALOGUE = Catalogue.packaged()
META = {"title": "Mine"}


def without(class_type: str) -> Definitions:
    """The definitions of a server that has every class but one."""
    return lambda name: None if name == class_type else CATALOGUE.get(name)


def test_the_table_of_the_core() -> None:
    table = node_replacements()
    assert list(table) == [
        "ResizeImagesByLongerEdge",
        "ImageBatch",
        "ImageScaleBy",
        "T2IAdapterLoader",
        "Load3DAnimation",
        "Preview3DAnimation",
        "SDV_img2vid_Conditioning",
        "ConditioningAverage ",
    ]
    assert list(table["ImageBatch"][0]) == [
        "new_node_id",
        "old_node_id",
        "old_widget_ids",
        "input_mapping",
        "output_mapping",
    ]


def test_an_outdated_node_becomes_its_successor() -> None:
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {
            "class_type": "ResizeImagesByLongerEdge",
            "inputs": {"longer_edge": 64, "images": ["1", 0], "lost": 1},
            "_meta": META,
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    untouched = copy.deepcopy(prompt)
    replace_nodes(prompt, without("ResizeImagesByLongerEdge"))
    assert prompt["2"] == {
        "class_type": "ImageScaleToMaxDimension",
        "inputs": {"image": ["1", 0], "largest_size": 64, "upscale_method": "lanczos"},
        "_meta": META,
    }
    assert (prompt["1"], prompt["3"]) == (untouched["1"], untouched["3"])


def test_inputs_are_renamed_for_the_successor() -> None:
    prompt = {"1": {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "a.pth"}, "_meta": META}}
    replace_nodes(prompt, CATALOGUE.get)
    assert prompt["1"] == {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "a.pth"}, "_meta": META}


def test_inputs_without_a_mapping_are_lost() -> None:
    prompt = {"1": {"class_type": "Load3DAnimation", "inputs": {"model_file": "none"}, "_meta": META}}
    replace_nodes(prompt, CATALOGUE.get)
    assert prompt["1"] == {"class_type": "Load3D", "inputs": {}, "_meta": META}


def test_a_class_that_still_exists_is_left_alone() -> None:
    prompt = {"1": {"class_type": "ImageBatch", "inputs": {"image1": 1, "image2": 2}}}
    untouched = copy.deepcopy(prompt)
    replace_nodes(prompt, CATALOGUE.get)
    assert prompt == untouched


def test_without_its_successor_an_outdated_node_stays_unknown() -> None:
    prompt = {"1": {"class_type": "T2IAdapterLoader", "inputs": {}}}
    untouched = copy.deepcopy(prompt)
    replace_nodes(prompt, lambda _: None)
    assert prompt == untouched


def test_consumers_follow_the_outputs() -> None:
    mapping = {"input_mapping": None, "output_mapping": [{"new_idx": 2, "old_idx": 0}, {"new_idx": 0, "old_idx": 1}]}
    table = {"Old": [{"new_node_id": "KSampler", "old_node_id": "Old", "old_widget_ids": None, **mapping}]}
    prompt: dict[str, Any] = {
        "1": {"class_type": "Old", "inputs": {}, "_meta": META},
        "2": {"class_type": "Any", "inputs": {"a": ["1", 0], "b": ["1", 1], "c": ["1", 5], "d": ["3", 0], "e": ["1"]}},
    }
    replace_nodes(prompt, CATALOGUE.get, table)
    assert prompt["2"]["inputs"] == {"a": ["1", 2], "b": ["1", 0], "c": ["1", 5], "d": ["3", 0], "e": ["1"]}


@pytest.mark.parametrize(
    "node",
    [
        {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "x"}},  # no _meta
        {"class_type": "T2IAdapterLoader", "inputs": {}, "_meta": META},  # a mapped input is absent
        {"class_type": "NoSuchClass", "inputs": None},
        {"class_type": "EmptyImage", "inputs": []},
        {"class_type": "EmptyImage", "inputs": "str"},
        {"class_type": "EmptyImage", "inputs": 3},
        {"class_type": ["EmptyImage"], "inputs": {}},
        None,
        3,
    ],
)
def test_the_server_stumbles_wherever_the_node_is(node: Any) -> None:
    prompt = {"1": {"inputs": {}}, "2": node}
    with pytest.raises(ServerTrouble):
        replace_nodes(prompt, CATALOGUE.get)


@pytest.mark.parametrize("prompt", [None, [], "", "x", 5, [{"class_type": "EmptyImage"}]])
def test_a_prompt_must_be_an_object(prompt: Any) -> None:
    with pytest.raises(ServerTrouble):
        replace_nodes(prompt, CATALOGUE.get)


@pytest.mark.parametrize("node", [[], "str", ["class_type"], {"inputs": []}, {"class_type": None}, {}])
def test_what_has_not_both_class_and_inputs_is_passed_over(node: Any) -> None:
    prompt = {"1": node}
    replace_nodes(prompt, CATALOGUE.get)
    assert prompt == {"1": node}
