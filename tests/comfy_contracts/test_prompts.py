from __future__ import annotations

import gzip
import json
from importlib import resources
from typing import Any

import pytest

from comfy_contracts import har, jsontext
from comfy_contracts.prompts import (
    Link,
    Node,
    PromptAccepted,
    PromptRefused,
    PromptRequest,
    ValidationReason,
    parse_prompt,
)
from comfy_contracts.structs import ShapeError

ORACLE = resources.files("comfy_contracts").joinpath("oracle").joinpath("comfyui-0.33.0")

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "a"},
        "_meta": {"title": "Save"},
        "is_changed": [1],
    },
}


def corpus(name: str) -> list[dict[str, Any]]:
    lines = gzip.decompress(ORACLE.joinpath(name).read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def test_a_request_has_the_fields_of_the_protocol() -> None:
    text = json.dumps(
        {
            "prompt": GRAPH,
            "client_id": "c",
            "prompt_id": None,
            "number": 3.5,
            "front": True,
            "extra_data": {"extra_pnginfo": {"workflow": {}}},
            "partial_execution_targets": ["2"],
            "junk": {"a": 1},
        }
    )

    request = PromptRequest.from_json(text)

    assert request.prompt["2"].extra == {"is_changed": [1]}
    assert request.extra == {"junk": {"a": 1}}
    assert jsontext.dumps(request) == text


def test_what_is_not_given_is_not_sent() -> None:
    request = PromptRequest(prompt={"1": Node("EmptyImage", {})})

    assert jsontext.dumps(request) == '{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {}}}}'


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"prompt": {"7": {"class_type": 5, "inputs": {}}}}, r"prompt\.7"),
        ({"prompt": {"7": []}}, r"prompt\.7"),
        ({"prompt": {}, "number": "1"}, "number"),
        ({}, "prompt"),
        ([], "PromptRequest"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_place(body: Any, where: str) -> None:
    with pytest.raises(ShapeError, match=where):
        PromptRequest.from_builtins(body)


def test_a_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(ShapeError, match="PromptRequest is not JSON"):
        PromptRequest.from_json("{")


@pytest.mark.parametrize(
    "value", [["1"], ["1", 0, 0], [1, 0], ["1", "0"], ["1", True], ["1", 0.0], "1", {"1": 0}, None, []]
)
def test_what_is_no_link_is_a_constant(value: Any) -> None:
    assert Link.of(value) is None


def test_a_node_knows_its_links_and_its_title() -> None:
    nodes = parse_prompt(GRAPH)

    assert list(nodes["2"].links()) == [("images", Link("1", 0))]
    assert list(nodes["1"].links()) == []
    assert (nodes["2"].title, nodes["1"].title) == ("Save", None)


def test_every_prompt_that_ran_is_typed_and_written_back_as_it_was() -> None:
    lines = corpus("execution_order.jsonl.gz")
    assert len(lines) == 319
    for line in lines:
        assert jsontext.dumps(parse_prompt(line["prompt"])) == json.dumps(line["prompt"])


def test_an_editors_workflow_is_told_from_a_prompt() -> None:
    with pytest.raises(ShapeError, match=r"Export \(API\)"):
        parse_prompt({"nodes": [{"id": 1}], "links": [], "version": 0.4})


@pytest.mark.parametrize("value", [[], None, "text", {"1": {"inputs": {}}}])
def test_what_is_no_prompt_is_refused(value: Any) -> None:
    with pytest.raises(ShapeError):
        parse_prompt(value)


def test_every_answer_of_the_corpus_is_typed_and_written_back_as_it_was() -> None:
    answers = {200: PromptAccepted, 400: PromptRefused}
    seen = set()
    for line in corpus("validation.jsonl.gz"):
        if line["status"] in answers:
            answer = answers[line["status"]].from_builtins(line["response"])
            assert jsontext.dumps(answer) == json.dumps(line["response"])
            seen.update(reason.type for errors in answer.node_errors.values() for reason in errors.errors)
            if isinstance(answer, PromptRefused):
                seen.add(answer.error.type)

    assert len(seen) == 15


def test_every_recorded_answer_to_a_prompt_is_typed_and_written_back_as_it_was() -> None:
    answers = {200: PromptAccepted, 400: PromptRefused}
    count = 0
    for recording in har.packaged_recordings("0.33.0").values():
        for entry in har.load(recording).exchanges():
            posted = entry.request.method == "POST" and entry.request.url.endswith("/prompt")
            plain = entry.response.header("Content-Encoding") is None
            if posted and plain and entry.response.status in answers:
                body = entry.response.body
                assert body is not None
                assert jsontext.dumps(answers[entry.response.status].from_json(body)).encode() == body
                count += 1

    assert count > 300


def test_unknown_fields_of_errors_survive() -> None:
    value = {
        "error": {"type": "t", "message": "m", "details": "d", "extra_info": {}, "code": 1},
        "node_errors": {
            "1": {
                "errors": [{"type": "t", "message": "m", "details": "d", "extra_info": {}, "hint": None}],
                "dependent_outputs": [],
                "class_type": "A",
                "z": 0,
            }
        },
        "trace": "x",
    }

    refused = PromptRefused.from_builtins(value)

    assert refused.error == ValidationReason("t", "m", "d", {}, extra={"code": 1})
    assert refused.to_builtins() == value
