"""What holds of validation for any prompt and any hash seed."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.replacement import replace_nodes
from comfy_mock.engine.validation import Verdict, validate

CATALOGUE = Catalogue.packaged()
BASES: dict[str, dict[str, Any]] = {
    "EmptyImage": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    "LoadImage": {"image": "example.png"},
    "LoadImageMask": {"image": "example.png", "channel": "red"},
    "Load3D": {"model_file": "none", "image": "", "width": 8, "height": 8},
    "PrimitiveInt": {"value": 8},
    "ImageInvert": {"image": ["1", 0]},
    "ImageScale": {"image": ["1", 0], "upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"},
    "BatchImagesNode": {"images.image0": ["1", 0]},
    "ResizeImageMaskNode": {"input": ["1", 0], "resize_type": "scale width", "resize_type.width": 8},
    "T2IAdapterLoader": {"t2i_adapter_name": "a.pth"},
    "SaveImage": {"images": ["1", 0], "filename_prefix": "x"},
    "PreviewImage": {"images": ["1", 0]},
    "PreviewAny": {"source": ["1", 0]},
}
"""Inputs with which a node is valid, or nearly so."""
SOURCES = ["EmptyImage", "LoadImage"]
SINKS = ["PreviewImage", "SaveImage"]
IDS = ["2", "3", "4:5", "é", ""]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["example.png", "nearest-exact", "png", "scale width", "a\0b", "\ud800"]),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["__value__", "a", "inputs"]), inner, max_size=2)
    ),
    max_leaves=6,
)
links = st.tuples(st.sampled_from(["1", *IDS]), st.sampled_from([0, 0, 0, 1, -1, 0.5])).map(list)


def changed(class_type: str) -> st.SearchStrategy[dict[str, Any]]:
    """A node of the class with links of its own, a few inputs changed and some left out."""
    base = BASES[class_type]
    linked = st.fixed_dictionaries(
        {name: links if isinstance(value, list) else st.just(value) for name, value in base.items()}
    )
    names = st.sampled_from([*base, "images.image1", "scale_method", "unknown"])
    changes = st.dictionaries(names, st.one_of(links, json_values), max_size=1)
    dropped = st.sets(st.sampled_from([*base, "unknown"] + ["unknown"] * 8), max_size=1)
    inputs = st.builds(
        lambda inputs, new, without: {name: value for name, value in {**inputs, **new}.items() if name not in without},
        linked,
        changes,
        dropped,
    )
    return st.fixed_dictionaries({"class_type": st.just(class_type), "inputs": inputs})


nodes = st.sampled_from(list(BASES)).flatmap(changed)
sources = st.sampled_from(SOURCES).flatmap(changed)
prompts = st.builds(
    lambda first, last, others: {"1": first, "9": last, **others},
    sources,
    st.sampled_from(SINKS).flatmap(changed),
    st.dictionaries(st.sampled_from(IDS), nodes, max_size=len(IDS)),
)
broken_nodes = st.one_of(
    json_values,
    st.dictionaries(
        st.sampled_from(["class_type", "inputs", "_meta"]), st.one_of(json_values, st.sampled_from(list(BASES)))
    ),
)
any_prompts = st.one_of(
    json_values, prompts, st.dictionaries(st.sampled_from(IDS), st.one_of(broken_nodes, nodes), max_size=5)
)


def check(prompt: Any, targets: Any = None, seed: int = 0) -> Verdict:
    files = MemoryFiles()
    files.write("/comfyui/input/example.png", b"x", now=0.0)
    replace_nodes(prompt, CATALOGUE.get)
    return validate(prompt, targets, definitions=CATALOGUE.get, files=files, folders=Folders(), hash_seed=seed)


@given(prompt=any_prompts, targets=st.one_of(st.none(), json_values, st.lists(st.sampled_from(IDS))))
def test_any_prompt_has_a_verdict_or_is_trouble(prompt: Any, targets: Any) -> None:
    try:
        verdict = check(prompt, targets)
    except ServerTrouble:
        return
    json.dumps([verdict.error, verdict.node_errors])
    assert verdict.valid == (verdict.error is None) == bool(verdict.outputs)
    assert set(verdict.outputs) <= set(prompt)
    assert len(set(verdict.outputs)) == len(verdict.outputs)
    for node_id, entry in verdict.node_errors.items():
        assert entry["class_type"] == prompt[node_id]["class_type"]
        assert entry["errors"]
        assert entry["dependent_outputs"]
        assert not set(entry["dependent_outputs"]) & set(verdict.outputs)


@given(prompt=prompts, seed=st.integers(1, 4294967295))
def test_the_hash_seed_changes_order_only(prompt: dict[str, Any], seed: int) -> None:
    other = copy.deepcopy(prompt)
    try:
        first = check(prompt)
    except ServerTrouble:
        return
    second = check(other, seed=seed)
    assert first.valid == second.valid
    assert sorted(first.outputs) == sorted(second.outputs)
    if seed_independent(first):
        assert errors_of(first) == errors_of(second)
        assert json.dumps(prompt) == json.dumps(other)


@given(prompt=prompts)
def test_a_prompt_that_passed_passes_again_unchanged(prompt: dict[str, Any]) -> None:
    if "__value__" in json.dumps(prompt):
        return  # a wrapped list is a constant once, and a link from then on
    try:
        first = check(prompt)
    except ServerTrouble:
        return
    if first.valid and not first.node_errors:
        before = json.dumps(prompt)
        assert check(prompt) == first
        assert json.dumps(prompt) == before


def seed_independent(verdict: Verdict) -> bool:
    """Whether no cycle and no exception was met: where one is met first depends on the seed (protocol 3.13)."""
    kinds = {error["type"] for entry in verdict.node_errors.values() for error in entry["errors"]}
    return not kinds & {"dependency_cycle", "exception_during_inner_validation", "exception_during_validation"}


def errors_of(verdict: Verdict) -> dict[str, list[str]]:
    return {
        node_id: sorted(json.dumps(error) for error in entry["errors"])
        for node_id, entry in verdict.node_errors.items()
    }
