from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfy_contracts import har
from comfy_contracts.catalogue import Catalogue, CatalogueError, NodeDefinition, complete_entry

V1_KEYS = [
    *("input", "input_order", "is_input_list", "output", "output_is_list", "output_name", "name", "display_name"),
    *("description", "python_module", "category", "output_node", "has_intermediate_output", "search_aliases"),
]
SAVE_ANIMATED_WEBP = """{"SaveAnimatedWEBP": {"input": {"required": {"images": ["IMAGE", {}], "filename_prefix": \
["STRING", {"default": "ComfyUI", "multiline": false}], "fps": ["FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0, \
"step": 0.01}], "lossless": ["BOOLEAN", {"default": true}], "quality": ["INT", {"default": 80, "min": 0, "max": 100}], \
"method": ["COMBO", {"multiselect": false, "options": ["default", "fastest", "slowest"]}]}, "hidden": {"prompt": \
["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}}, "input_order": {"required": ["images", "filename_prefix", "fps", \
"lossless", "quality", "method"], "hidden": ["prompt", "extra_pnginfo"]}, "is_input_list": false, "output": ["IMAGE"], \
"output_is_list": [false], "output_name": ["images"], "output_tooltips": [null], "output_matchtypes": null, "name": \
"SaveAnimatedWEBP", "display_name": "Save Animated WEBP", "description": "", "python_module": \
"comfy_extras.nodes_images", "category": "image", "output_node": true, "deprecated": false, "experimental": false, \
"dev_only": false, "api_node": false, "price_badge": null, "search_aliases": null, "essentials_category": null, \
"has_intermediate_output": false}}"""

MINE = {"input": {"required": {"x": ["INT", {"default": 1}]}}, "output": ["IMAGE", "MASK"]}


def recorded_entries() -> list[tuple[str, dict[str, Any]]]:
    """What real servers said of classes. Their catalogue is the packaged one, but for the files in `input`."""
    found = []
    for recording in har.packaged_recordings("0.33.0").values():
        for exchange in har.load(recording).exchanges():
            packed = exchange.response.header("Content-Encoding")
            if "/object_info/" in exchange.request.url and exchange.response.status == 200 and not packed:
                found += json.loads(exchange.response.body or b"").items()
    return found


def test_the_packaged_catalogue_has_the_classes_of_the_real_server() -> None:
    catalogue = Catalogue.packaged()

    assert len(catalogue) == 887
    assert next(iter(catalogue)) == "KSampler"
    assert sum(definition.is_v3 for definition in catalogue.values()) == 747
    assert "NoSuchClass" not in catalogue
    assert Catalogue.packaged("0.33.0") is catalogue


def test_a_version_that_is_not_packaged_is_refused() -> None:
    with pytest.raises(CatalogueError, match=r"no catalogue of ComfyUI 9\.9\.9 is packaged; there is: 0\.33\.0"):
        Catalogue.packaged("9.9.9")


def test_definitions_tell_their_inputs_and_outputs() -> None:
    catalogue = Catalogue.packaged()
    sampler, save, animated = (catalogue[name] for name in ("KSampler", "SaveImage", "SaveAnimatedWEBP"))

    assert list(sampler.required)[:2] == ["model", "seed"]
    assert sampler.required["steps"] == ["INT", {"default": 20, "min": 1, "max": 10000}]
    assert (sampler.optional, sampler.hidden) == ({}, {})
    assert (sampler.outputs, sampler.output_is_list, sampler.is_input_list) == (["LATENT"], [False], False)
    assert (sampler.output_node, save.output_node) == (False, True)
    assert save.hidden == {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"} == animated.hidden
    assert (save.is_v3, animated.is_v3) == (False, True)
    assert (sampler.python_module, animated.python_module) == ("nodes", "comfy_extras.nodes_images")
    assert catalogue["ImageCropV2"].has_intermediate_output
    assert not sampler.api_node
    assert any(definition.api_node for definition in catalogue.values())


def test_completed_entries_are_those_of_the_recordings() -> None:
    entries = recorded_entries()
    assert {name for name, _ in entries} >= {"KSampler", "SaveImage", "LoadImage", "ResizeImageMaskNode"}
    for name, recorded in entries:
        completed = complete_entry(Catalogue.packaged()[name].entry)
        # the recordings left out all tooltips, and LoadImage lists what was uploaded
        keys = [key for key in completed if key != "output_tooltips"]
        assert keys == list(recorded)
        assert all(completed[key] == recorded[key] for key in keys if (name, key) != ("LoadImage", "input"))


def test_a_completed_v3_entry_is_that_of_the_protocol() -> None:
    completed = complete_entry(Catalogue.packaged()["SaveAnimatedWEBP"].entry)

    assert json.dumps({"SaveAnimatedWEBP": completed}) == SAVE_ANIMATED_WEBP


def test_every_packaged_class_is_completed_in_the_order_of_its_schema() -> None:
    v3_keys = list(json.loads(SAVE_ANIMATED_WEBP)["SaveAnimatedWEBP"])
    optional = {"output_tooltips", "deprecated", "experimental", "dev_only", "api_node", "essentials_category"}
    for definition in Catalogue.packaged().values():
        completed = complete_entry(definition.entry)
        if definition.is_v3:
            assert list(completed) == v3_keys
            assert completed["output_tooltips"] == [None] * len(definition.outputs)
        else:
            assert [key for key in completed if key not in optional] == V1_KEYS
        assert {key: completed[key] for key in definition.entry} == definition.entry


def test_a_class_described_by_inputs_and_outputs_alone_is_completed() -> None:
    completed = complete_entry({**MINE, "mine": 1}, "My Node")

    assert list(completed) == [*V1_KEYS, "mine"]
    assert completed["input_order"] == {"required": ["x"]}
    assert completed["output_is_list"] == [False, False]
    assert completed["output_name"] == ["IMAGE", "MASK"]
    assert completed["name"] == completed["display_name"] == "My Node"
    assert completed["output_node"] is False
    assert completed["search_aliases"] == []


def test_what_an_entry_says_is_not_overwritten() -> None:
    entry = {"description": "d", "output_tooltips": ["t"], "deprecated": True, "display_name": "D", "name": "N"}

    completed = complete_entry(entry, "Other")

    assert {key: completed[key] for key in entry} == entry
    keys = list(completed)
    assert keys.index("has_intermediate_output") < keys.index("output_tooltips") < keys.index("deprecated")
    assert keys.index("deprecated") < keys.index("search_aliases")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_catalogue_is_loaded_from_a_file(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "object_info.json"
    path.write_bytes(pack(json.dumps({"Mine": MINE}).encode()))

    for catalogue in (Catalogue.load(path), Catalogue.load(str(path))):
        assert catalogue.entries == {"Mine": MINE}
        assert catalogue["Mine"].required == {"x": ["INT", {"default": 1}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"\xff\xff", "is not JSON"),
        (gzip.compress(b"{}", mtime=0)[:-5], "is not JSON"),
        (b"\x1f\x8bgarbage", "is not JSON|cannot read"),
        (b"[]", "must be an object of classes"),
        (b'{"A": []}', "class 'A' must be an object, not list"),
        (b'{"A": {"input": []}}', "class 'A': `input` must be an object of objects"),
        (b'{"A": {"input": {"required": []}}}', "class 'A': `input` must be an object of objects"),
        (b'{"A": {"input": {"required": {"x": "INT"}}}}', r"class 'A': input 'x' must be \[type\]"),
        (b'{"A": {"input": {"optional": {"x": [5]}}}}', r"class 'A': input 'x' must be \[type\]"),
        (b'{"A": {"input": {"hidden": {"x": []}}}}', "class 'A': hidden input 'x'"),
        (b'{"A": {"output": "IMAGE"}}', "class 'A': `output` must be a list"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content)

    with pytest.raises(CatalogueError, match=rf"mine\.json .*({problem})"):
        Catalogue.load(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"cannot read the catalogue .*none\.json"):
        Catalogue.load(tmp_path / "none.json")


def test_classes_are_added_and_replaced() -> None:
    catalogue = Catalogue({"A": {}, "B": {}})

    merged = catalogue.merged({"A": MINE, "C": {}})

    assert list(merged) == ["A", "B", "C"]
    assert merged["A"].outputs == ["IMAGE", "MASK"]
    assert list(catalogue) == ["A", "B"]
    assert catalogue["A"].outputs == []


def test_a_class_that_says_nothing_has_empty_everything() -> None:
    definition = NodeDefinition("A", {})

    assert (definition.required, definition.optional, definition.hidden, definition.outputs) == ({}, {}, {}, [])
    assert (definition.is_v3, definition.output_node, definition.is_input_list, definition.api_node) == (False,) * 4


def test_importing_the_package_loads_neither_data_nor_modules() -> None:
    check = (
        "import sys, comfy_contracts; print([m for m in sys.modules if m.startswith(('comfy_contracts.', 'msgspec'))])"
    )

    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
