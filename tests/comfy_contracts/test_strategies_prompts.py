"""Prompts that strategies make: the fake, which was held against recorded verdicts, accepts and refuses them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from comfy_contracts.catalogue import Catalogue
from comfy_contracts.prompts import parse_prompt
from comfy_contracts.strategies import FAULTS, BrokenPrompt, broken_prompts, prompts
from comfy_mock.engine.engine import Engine

ENGINE = Engine(now=0.0)
CATALOGUE = Catalogue(ENGINE.object_info.entries())
"""With the files and models that the server has."""

PICTURES = ["EmptyImage", "ImageInvert", "ImageScale", "ImageBatch", "PrimitiveInt", "PreviewImage", "SaveImage"]
OWN = Catalogue(
    {
        "Make": {
            "input": {
                "required": {"n": ["INT", {"min": 10, "max": 12}], "f": ["FLOAT", {"min": -0.5, "max": 0.5}]},
                "optional": {"mode": [["a", "b"]], "seed": ["INT", {"min": 0, "max": 2**64 - 1}]},
            },
            "output": ["THING", "INT"],
        },
        "Show": {"input": {"required": {"thing": ["THING"], "on": ["BOOLEAN"]}}, "output": [], "output_node": True},
        "Impossible": {"input": {"required": {"x": ["NOBODY_MAKES_IT"]}}, "output": ["THING"], "output_node": True},
        "Empty": {"input": {"required": {"file": [[]]}}, "output": ["THING"], "output_node": True},
    }
)
SLOW_TO_MAKE = settings(max_examples=max(40, settings().max_examples // 4), suppress_health_check=list(HealthCheck))


def submitted(prompt: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = ENGINE.submit(json.loads(json.dumps({"prompt": prompt})))
    ENGINE.edit_queue({"clear": True})
    ENGINE.take_outgoing()
    body: dict[str, Any] = json.loads(answer.body)
    return answer.status, body


def sources(node: dict[str, Any]) -> list[str]:
    return [value[0] for value in node["inputs"].values() if isinstance(value, list)]


@SLOW_TO_MAKE
@given(prompts(CATALOGUE))
def test_a_server_accepts_prompts_over_its_whole_catalogue(prompt: dict[str, Any]) -> None:
    parse_prompt(prompt)
    status, body = submitted(prompt)
    assert (status, body["node_errors"]) == (200, {}), body


@given(prompts(CATALOGUE, classes=PICTURES, max_nodes=6, max_outputs=2))
def test_prompts_are_as_small_as_they_were_asked_for(prompt: dict[str, Any]) -> None:
    assert 2 <= len(prompt) <= 6
    needed = {source for node in prompt.values() for source in sources(node)}
    outputs = {key for key, node in prompt.items() if CATALOGUE[node["class_type"]].output_node}
    assert needed | outputs == set(prompt)
    for node in prompt.values():
        assert node["class_type"] in PICTURES
        sizes = [value for name, value in node["inputs"].items() if name in ("width", "height", "batch_size")]
        assert all(isinstance(size, list) or size <= 64 for size in sizes)


@given(prompts(OWN))
def test_values_are_what_the_catalogue_allows(prompt: dict[str, Any]) -> None:
    for node in prompt.values():
        assert node["class_type"] in ("Make", "Show")
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                assert OWN[prompt[value[0]]["class_type"]].outputs[value[1]] == ("THING" if name == "thing" else "INT")
            elif name in ("n", "f", "mode", "seed", "on"):
                low, high = {"n": (10, 12), "f": (-0.5, 0.5), "seed": (0, 2**64 - 1)}.get(name, ("", "b"))
                assert isinstance(value, bool) if name == "on" else low <= value <= high
            else:
                raise AssertionError(f"there is no input {name}")


def test_all_sorts_of_prompts_come() -> None:
    seen: set[str] = set()

    @settings(max_examples=100)
    @given(prompts(CATALOGUE, classes=PICTURES, max_nodes=6))
    def look(prompt: dict[str, Any]) -> None:
        nodes = prompt.values()
        sorts = {
            "large": len(prompt) == 6,
            "in any order": list(prompt) != sorted(prompt, key=int),
            "two outputs": sum(node["class_type"] == "SaveImage" for node in nodes) == 2,
            "a linked number": any(isinstance(node["inputs"].get("width"), list) for node in nodes),
            "one node used twice": any(len(set(sources(node))) < len(sources(node)) for node in nodes),
        }
        seen.update(name for name, there in sorts.items() if there)

    look()
    assert seen == {"large", "in any order", "two outputs", "a linked number", "one node used twice"}


def test_prompts_shrink_to_what_is_needed() -> None:
    smallest = find(prompts(OWN), lambda prompt: len(prompt) > 2, settings=settings(derandomize=True))
    assert list(smallest) == ["1", "2", "3"]
    values = [value for node in smallest.values() for value in node["inputs"].values() if not isinstance(value, list)]
    assert set(values) <= {10, 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["NoSuchClass"]}, "the catalogue has no class 'NoSuchClass'"),
        ({"classes": ["EmptyImage"]}, "no prompt can be made of these classes"),
        ({"catalogue": OWN, "classes": ["Impossible"]}, "no prompt can be made of these classes"),
        ({"classes": PICTURES, "max_nodes": 1}, "the smallest prompt of these classes has 2 nodes"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompts(**arguments)


def check(broken: BrokenPrompt) -> None:
    status, body = submitted(broken.prompt)
    assert status == (400 if broken.refused else 200)
    assert broken.error == (body["error"]["type"] if broken.refused else None)
    if broken.reason is None:
        assert body["node_errors"] == {}
    else:
        assert broken.node_id is not None
        reasons = body["node_errors"][broken.node_id]["errors"]
        assert broken.reason in [reason["type"] for reason in reasons]
        named = [reason["extra_info"].get("input_name") for reason in reasons if reason["type"] == broken.fault]
        if broken.fault == broken.reason != "dependency_cycle":
            assert named == [broken.input_name]


@SLOW_TO_MAKE
@given(broken_prompts(CATALOGUE))
def test_a_server_finds_the_fault_that_was_foretold(broken: BrokenPrompt) -> None:
    check(broken)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(fault: Any) -> None:
    made: list[BrokenPrompt] = []

    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(broken_prompts(CATALOGUE, faults=[fault], classes=PICTURES))
    def found(broken: BrokenPrompt) -> None:
        assert broken.fault == fault
        made.append(broken)
        check(broken)

    found()
    assert made


def test_a_fault_may_leave_other_outputs_alone() -> None:
    kept = find(
        broken_prompts(CATALOGUE, classes=["EmptyImage", "PreviewImage"], faults=["value_bigger_than_max"]),
        lambda broken: not broken.refused,
        settings=settings(derandomize=True, max_examples=1000, phases=[Phase.generate]),
    )
    assert (kept.error, kept.reason) == (None, "value_bigger_than_max")


def test_a_fault_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no fault 'too_beautiful'; the faults are: no_outputs, "):
        broken_prompts(faults=["too_beautiful"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no fault was named; the faults are: "):
        broken_prompts(faults=[])


def test_a_fault_that_these_classes_cannot_have_never_comes() -> None:
    ranges = broken_prompts(OWN, classes=["Make", "Show"], faults=["bad_linked_input", "value_not_in_list"])
    with pytest.raises(NoSuchExample):
        find(ranges, lambda broken: broken.fault == "no_outputs", settings=settings(max_examples=50, derandomize=True))


def test_without_hypothesis_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; import comfy_contracts.strategies"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "needs Hypothesis; install it with `pip install comfy-mock[test]`" in done.stderr.splitlines()[-1]


@given(st.data())
def test_prompts_can_be_drawn_one_inside_the_other(data: st.DataObject) -> None:
    prompt = data.draw(prompts(OWN))
    assert json.loads(json.dumps(prompt)) == prompt
