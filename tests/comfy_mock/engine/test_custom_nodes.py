"""Node classes that the user adds."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import PIL.Image
import pytest
from engine_driver import Driver, recorded_engine

from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine

EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "batch_size": 2, "color": 0xFF0000}}

SHOWING = {"1": EMPTY, "2": {"class_type": "Mine", "inputs": {"image": ["1", 0]}}}


async def slow(image: Any) -> None:
    pass


async def slow_steps(image: Any) -> AsyncIterator[int]:
    yield 1


class SlowObject:
    async def __call__(self, image: Any) -> None:
        pass


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
        ({"class_type": ""}, "custom node '': class_type must be a name, such as 'Mine', not ''"),
        ({"class_type": 5}, "class_type must be a name, such as 'Mine', not 5"),
        ({"inputs": ["a"]}, "inputs must be a mapping of names to types, such as {'image': 'IMAGE'}, not ['a']"),
        ({"inputs": {"": "INT"}}, "inputs must be a mapping of names to types"),
        ({"inputs": {"a": 5}}, "input 'a' is a type"),
        ({"inputs": {"a": ("INT", {"default": object()})}}, "the definition cannot be written as JSON"),
        ({"optional": ["b"]}, "custom node 'Mine': what optional names must be an input, not 'b'"),
        ({"optional": "b"}, "optional must be a list of names, not 'b'"),
        ({"outputs": [""]}, "an output must be the name of a type, not ''"),
        ({"outputs": "IMAGE"}, "custom node 'Mine': outputs must be a list of names, not 'IMAGE'"),
        ({"function": 5}, "custom node 'Mine': function must be something to call, or None, not 5"),
        ({"function": slow}, "function must be a plain function and no async def; to be slow, say seconds"),
        ({"function": slow_steps}, "function must be a plain function and no async def"),
        ({"function": SlowObject()}, "function must be a plain function and no async def"),
        ({"function": partial(slow, 1)}, "function must be a plain function and no async def"),
        ({"seconds": -1}, "seconds must be how long a call takes, 0 or more, not -1"),
        ({"seconds": math.nan}, "seconds must be how long a call takes, 0 or more, not nan"),
    ],
)
def test_a_definition_that_cannot_be_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CustomNode(**{"class_type": "Mine", "inputs": {}, **arguments}).entry()


class Callable:
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"ui": {"mine": ["yes"]}}


def test_anything_that_can_be_called_will_do() -> None:
    run = Driver(engine_with(CustomNode("Mine", {"image": "IMAGE"}, [], Callable(), output_node=True))).run(SHOWING)
    assert run["history_status"] == "success"


def failure(function: Any) -> dict[str, Any]:
    """The execution_error of a prompt whose node has this function; the server runs the next prompt all the same."""
    engine = engine_with(CustomNode("Mine", {"image": "IMAGE"}, [], function, output_node=True))
    driver = Driver(engine)
    assert driver.run(SHOWING)["history_status"] == "error"
    (entry,) = engine.queue.history.values()
    name, data = entry["status"]["messages"][-1]
    assert name == "execution_error"
    assert (
        driver.run({"1": EMPTY, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}})["status"] == 200
    )
    return data


@pytest.mark.parametrize(
    ("ui", "message"),
    [
        ({"x": [object()]}, "Mine: ui cannot be written as JSON: "),
        ({"x": [{("a", "b"): 1}]}, "Mine: ui cannot be written as JSON: "),
        ({"x": "text"}, "Mine: ui['x'] is a list, not str"),
        ({"x": 5}, "Mine: ui['x'] is a list, not int"),
        ({5: ["x"]}, "Mine: the keys of ui are texts, not 5"),
        (["x"], "Mine: ui is a dict of lists, not list"),
    ],
)
def test_ui_that_no_message_can_carry_fails_the_node(ui: Any, message: str) -> None:
    error = failure(lambda image: {"ui": ui})
    assert error["exception_type"] == "TypeError"
    assert error["exception_message"].startswith(message)
    assert error["node_id"] == "2"


def test_ui_that_contains_itself_fails_the_node() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert "cannot be written as JSON" in failure(lambda image: {"ui": {"x": circle}})["exception_message"]


def test_ui_is_what_it_was_when_the_function_returned() -> None:
    shown = {"a": [1]}

    def show(image: Any) -> dict[str, Any]:
        return {"ui": {"mine": [shown], "pair": (1, 2)}}

    engine = engine_with(CustomNode("Mine", {"image": "IMAGE"}, [], show, output_node=True))
    Driver(engine).run(SHOWING)
    shown["a"].append(2)
    (entry,) = engine.queue.history.values()
    assert entry["outputs"]["2"] == {"mine": [{"a": [1]}], "pair": [1, 2]}


@pytest.mark.parametrize(
    ("raised", "type_name", "message"),
    [
        (SystemExit(3), "SystemExit", "3\n"),
        (GeneratorExit("x"), "GeneratorExit", "x\n"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError", "\n"),
    ],
)
def test_what_is_no_exception_fails_the_prompt_as_well(raised: BaseException, type_name: str, message: str) -> None:
    def leave(image: Any) -> None:
        raise raised

    error = failure(leave)
    assert (error["exception_type"], error["exception_message"]) == (type_name, message)
    assert any("raise raised" in frame for frame in error["traceback"])


def test_a_check_of_pytest_in_a_function_fails_the_prompt() -> None:
    error = failure(lambda image: pytest.fail("not this picture"))
    assert error["exception_type"].endswith("Failed")
    assert error["exception_message"] == "not this picture\n"


def test_ctrl_c_ends_more_than_the_prompt() -> None:
    def interrupt(image: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Driver(engine_with(CustomNode("Mine", {"image": "IMAGE"}, [], interrupt, output_node=True))).run(SHOWING)
