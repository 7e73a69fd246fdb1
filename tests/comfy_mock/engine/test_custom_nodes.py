"""Node classes that the user adds."""

from __future__ import annotations

import json
from typing import Any

import PIL.Image
import pytest
from engine_driver import Driver, recorded_engine

from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine

EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "batch_size": 2, "color": 0xFF0000}}


def prompt(**inputs: Any) -> dict[str, Any]:
    return {
        "1": EMPTY,
        "2": {"class_type": "Mine", "inputs": {"image": ["1", 0], **inputs}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "c"}},
    }


def engine_with(node: CustomNode) -> Engine:
    engine = recorded_engine()
    engine.add_node(node.class_type, node.entry(), node.behaviour())
    return engine


def test_a_function_gets_pictures_and_returns_them() -> None:
    seen: list[Any] = []

    def rotate(image: list[PIL.Image.Image], strength: float, mode: str = "a") -> list[PIL.Image.Image]:
        seen.append((len(image), image[0].size, image[0].getpixel((0, 0)), strength, mode))
        return [picture.rotate(90, expand=True) for picture in image]

    node = CustomNode(
        "Mine",
        {"image": "IMAGE", "strength": ("FLOAT", {"default": 1.0, "min": 0.0}), "mode": ["a", "b"]},
        ["IMAGE"],
        rotate,
        optional=["mode"],
    )
    engine = engine_with(node)
    run = Driver(engine).run(prompt(strength=2))
    assert seen == [(2, (8, 4), (255, 0, 0), 2.0, "a")]
    assert run["history_status"] == "success"
    saved = engine.files.read("/comfyui/output/c_00002_.png")
    import io

    assert PIL.Image.open(io.BytesIO(saved)).size == (4, 8)


def test_its_inputs_are_validated_like_any_others() -> None:
    engine = engine_with(CustomNode("Mine", {"image": "IMAGE", "mode": ["a", "b"]}, ["IMAGE"]))
    answer = engine.submit({"prompt": prompt(mode="c")})
    assert answer.status == 400
    assert json.loads(answer.body)["node_errors"]["2"]["errors"][0]["type"] == "value_not_in_list"


def test_ui_makes_an_executed_message() -> None:
    def show(image: Any) -> dict[str, Any]:
        return {"ui": {"mine": [len(image)]}}

    engine = engine_with(CustomNode("Mine", {"image": "IMAGE"}, [], show, output_node=True))
    graph = {key: node for key, node in prompt().items() if key != "3"}
    events = Driver(engine).run(graph)["events"]
    assert {"type": "executed", "node": "2", "display_node": "2", "output": {"mine": [2]}} in events


def test_raising_fails_the_prompt_with_the_functions_own_traceback() -> None:
    class TooHot(RuntimeError):
        pass

    def explode(image: Any) -> Any:
        raise TooHot("it burns")

    engine = engine_with(CustomNode("Mine", {"image": "IMAGE"}, ["IMAGE"], explode))
    Driver(engine).run(prompt())
    (entry,) = engine.queue.history.values()
    error = entry["status"]["messages"][-1][1]
    assert error["node_id"] == "2"
    assert error["exception_message"] == "it burns\n"
    assert error["exception_type"].endswith("TooHot")
    assert any('raise TooHot("it burns")' in frame for frame in error["traceback"])


def test_a_wrong_number_of_values_is_said() -> None:
    engine = engine_with(CustomNode("Mine", {"image": "IMAGE"}, ["IMAGE", "MASK"], lambda image: image))
    Driver(engine).run(prompt())
    (entry,) = engine.queue.history.values()
    assert "returned 1 values for 2 outputs" in entry["status"]["messages"][-1][1]["exception_message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": {"a": 5}}, "input 'a' is a type"),
        ({"inputs": {}, "optional": ["b"]}, "optional names 'b'"),
        ({"inputs": {}, "outputs": [""]}, "an output is the name of a type"),
    ],
)
def test_a_definition_that_cannot_be_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CustomNode("Mine", **arguments).entry()
