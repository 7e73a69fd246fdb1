"""What the checks say of each prompt in the validation corpus, beside what a real ComfyUI 0.33.0 said of it."""

from __future__ import annotations

import gzip
import json
from importlib import resources
from typing import Any

import pytest

from comfy_client._workflow_checks import Checks, Problem
from comfy_client.workflow import Workflow
from comfy_contracts.catalogue import Catalogue

INPUT_KINDS = {
    *("required_input_missing", "bad_linked_input", "return_type_mismatch", "invalid_input_type"),
    *("value_smaller_than_min", "value_bigger_than_max", "value_not_in_list"),
}


def is_api_format(prompt: Any) -> bool:
    return isinstance(prompt, dict) and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
        for node in prompt.values()
    )


def corpus() -> list[dict[str, Any]]:
    """The lines whose prompt is in API format and whose other fields are sound: those are not the workflow's."""
    packed = resources.files("comfy_contracts").joinpath("oracle", "comfyui-0.33.0", "validation.jsonl.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    return [
        line
        for line in lines
        if line["status"] != 500
        and is_api_format(line["request"].get("prompt"))
        and isinstance(line["request"].get("partial_execution_targets", []), (list, type(None)))
        and line["response"].get("error", {}).get("type") != "invalid_prompt_id"
    ]


def reasons(line: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    node_errors = line["response"]["node_errors"]
    return [(node_id, reason) for node_id, entry in node_errors.items() for reason in entry["errors"]]


def only_the_servers_disk_tells(line: dict[str, Any]) -> bool:
    """Whether the server found nothing but files that it does not have (protocol 3.10)."""
    found = reasons(line)
    return bool(found) and all(reason["type"] == "custom_validation_failed" for _, reason in found)


@pytest.fixture(scope="module")
def checked() -> list[tuple[dict[str, Any], list[Problem]]]:
    checks = Checks(Catalogue.packaged())
    return [
        (line, checks.prompt(line["request"]["prompt"], line["request"].get("partial_execution_targets")))
        for line in corpus()
    ]


def test_what_the_server_takes_is_taken_and_what_it_refuses_is_refused(
    checked: list[tuple[dict[str, Any], list[Problem]]],
) -> None:
    taken = refused = 0
    for line, problems in checked:
        told = [problem for problem in problems if problem.consequence == "refused"]
        if line["status"] == 200 and not line["response"]["node_errors"]:
            assert not told, (line["request"], told)
            taken += 1
        elif not only_the_servers_disk_tells(line):
            assert told, (line["request"], line["response"])
            refused += 1
    assert taken > 700
    assert refused > 600


def test_each_input_that_the_server_complains_of_is_told_by_the_servers_word(
    checked: list[tuple[dict[str, Any], list[Problem]]],
) -> None:
    compared = 0
    for line, problems in checked:
        told = {(problem.node_id, problem.kind, problem.input_name) for problem in problems}
        for node_id, reason in reasons(line):
            if reason["type"] in INPUT_KINDS:
                assert (node_id, reason["type"], reason["extra_info"]["input_name"]) in told, line
                compared += 1
    assert compared > 400


def test_unknown_classes_and_missing_outputs_are_told(checked: list[tuple[dict[str, Any], list[Problem]]]) -> None:
    compared = 0
    for line, problems in checked:
        error = line["response"].get("error", {})
        if error.get("type") in ("missing_node_type", "prompt_no_outputs"):
            node_id = error["extra_info"].get("node_id", "")
            assert (error["type"], node_id) in {(problem.kind, problem.node_id) for problem in problems}
            compared += 1
    assert compared > 90


def test_cycles_are_told_of_one_of_their_nodes(checked: list[tuple[dict[str, Any], list[Problem]]]) -> None:
    compared = 0
    for line, problems in checked:
        for _, reason in reasons(line):
            if reason["type"] == "dependency_cycle":
                told = {problem.node_id for problem in problems if problem.kind == "dependency_cycle"}
                assert told & set(reason["extra_info"]["cycle_nodes"])
                compared += 1
    assert compared > 50


def test_without_the_servers_catalogue_nothing_is_refused_that_the_server_takes() -> None:
    checks = Checks()
    for line in corpus():
        if line["status"] == 200 and not line["response"]["node_errors"]:
            problems = checks.prompt(line["request"]["prompt"], line["request"].get("partial_execution_targets"))
            assert [problem for problem in problems if problem.consequence == "refused"] == []


def test_every_prompt_of_the_corpus_is_loaded_and_given_back_unchanged() -> None:
    for line in corpus():
        prompt = line["request"]["prompt"]
        if all(isinstance(node.get("_meta", {}), dict) for node in prompt.values()):
            workflow = Workflow.from_json(json.dumps(prompt))
            assert json.dumps(workflow.to_prompt(check=False)) == json.dumps(prompt)
