"""Nodes that return a graph, and nodes that are left running (protocol 5.8, 5.9)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from protocol_events import Watch, image, node, without_progress

from comfy_mock.engine.nodes.api import Call, Output, Step, Text, Wait


def expanding(graph: dict[str, Any], source: str) -> Watch:
    """A watch with the class `Expand`, whose nodes return `graph` and the first output of `source` in it."""
    watch = Watch()
    watch.add("Expand", lambda _call: Output(([source, 0],), None, graph), ["x"])
    return watch


PARENT = {"2": node("Expand", x=1), "3": node("PreviewAny", source=["2", 0])}
PREVIEWED = {"1": image(), "2": node("PreviewAny", source="seen")}


def test_children_run_as_in_protocol_6_10() -> None:
    events = expanding(PREVIEWED, "1").run(PARENT)
    assert events[:9] == [
        "PS{2 r 0.0/1.0}",
        "executing 2",
        "PS{2 r 0.0/1.0, 2.0.0.2 r 0.0/1.0}",
        "executing 2.0.0.2/2",
        'executed 2.0.0.2 {"text": ["seen"]}',
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0}",
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0, 2.0.0.1 r 0.0/1.0}",
        "executing 2.0.0.1/2",
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0, 2.0.0.1 f 1.0/1.0}",
    ]
    assert events[9] == "PS{2 f 1.0/1.0, 2.0.0.2 f 1.0/1.0, 2.0.0.1 f 1.0/1.0}"


def test_a_childs_ui_is_recorded_under_its_own_id_once() -> None:
    watch = expanding(PREVIEWED, "1")
    watch.run(PARENT)
    child = {"node_id": "2.0.0.2", "display_node": "2", "parent_node": "2", "real_node_id": "2"}
    assert watch.entry["meta"]["2.0.0.2"] == child
    assert "2.0.0.2" in watch.entry["outputs"]
    assert not [event for event in watch.run(PARENT) if "2.0.0" in event]
    assert list(watch.entry["outputs"]) == ["3"]


def test_the_children_of_children_are_shown_on_the_posted_node() -> None:
    watch = expanding({"1": node("Inner", x=1)}, "1")
    watch.add("Inner", lambda _call: Output((["1", 0],), None, {"1": node("PreviewAny", source="deep")}), ["x"])
    assert "executing 2.0.0.1.0.0.1/2" in watch.run(PARENT)
    assert watch.entry["meta"]["2.0.0.1.0.0.1"] == {
        "node_id": "2.0.0.1.0.0.1",
        "display_node": "2",
        "parent_node": "2.0.0.1",
        "real_node_id": "2",
    }


def test_each_item_of_a_list_expands_for_itself() -> None:
    watch = Watch()
    watch.add("Two", lambda _call: Output(([1, 2],)), lists=[True])
    watch.add(
        "Expand", lambda call: Output((["1", 0],), None, {"1": node("PreviewAny", source=call.inputs["x"])}), ["x"]
    )
    events = watch.run({"1": node("Two"), "2": node("Expand", x=["1", 0]), "3": node("PreviewAny", source=["2", 0])})
    assert [event for event in events if event.startswith("executing 2.")] == [
        "executing 2.0.0.1/2",
        "executing 2.1.0.1/2",
    ]
    assert events[-2] == 'executed 3 {"text": ["1", "2"]}'


def test_children_that_nobody_needs_do_not_run() -> None:
    events = expanding({"1": image(), "7": image(7)}, "1").run(PARENT)
    assert "executing 2.0.0.1/2" in events
    assert "executing 2.0.0.7/2" not in events


def test_an_error_in_a_child_names_the_posted_node_and_the_childs_inputs() -> None:
    watch = expanding({"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="../x")}, "2")
    watch.run(PARENT)
    error = watch.error()
    assert (error["node_id"], error["node_type"], error["executed"]) == ("2", "Expand", ["2.0.0.1"])
    assert error["current_inputs"]["filename_prefix"] == ["../x"]
    assert "2.0.0.1" in error["current_outputs"]


def test_a_cycle_of_children_is_blamed_on_the_node_that_shows_them() -> None:
    watch = expanding({"1": node("ImageInvert", image=["2", 0]), "2": node("ImageInvert", image=["1", 0])}, "2")
    prompt = {"0": node("PreviewAny", source=["3", 0]), "3": node("Expand", x=1)}
    assert watch.run(prompt)[-1] == "execution_error 3"
    assert watch.error()["exception_type"] == "graph.DependencyCycleError"


def test_a_child_of_an_unknown_class_fails_its_parent() -> None:
    watch = expanding({"1": node("NoSuchClass")}, "1")
    watch.run(PARENT)
    assert (watch.error()["exception_type"], watch.error()["exception_message"]) == ("KeyError", "'NoSuchClass'\n")


# -- asynchronous nodes


def distant(call: Call) -> Generator[Step, None, Output]:
    yield Text(f"waiting {call.inputs['seconds']}")
    yield Wait(call.inputs["seconds"])
    if call.inputs["seconds"] == 4:
        raise RuntimeError("gone")
    return Output((call.inputs["seconds"],), {"text": [str(call.inputs["seconds"])]})


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.add("Distant", distant, ["seconds"], api_node=True, output_node=True)
    return watch


def test_several_are_under_way_at_once_and_end_without_executing(watch: Watch) -> None:
    events = watch.run({"1": node("Distant", seconds=2), "2": node("Distant", seconds=1)})
    order = ["1", "2"] if events[1] == "executing 1" else ["2", "1"]
    assert events[:4] == [
        f"PS{{{order[0]} r 0.0/1.0}}",
        f"executing {order[0]}",
        f"PS{{{order[0]} r 0.0/1.0, {order[1]} r 0.0/1.0}}",
        f"executing {order[1]}",
    ]
    later = without_progress(events)[4:]
    assert later == ['executed 2 {"text": ["1"]}', 'executed 1 {"text": ["2"]}']


def test_other_nodes_run_meanwhile(watch: Watch) -> None:
    prompt = {"1": node("Distant", seconds=1), "2": image(), "3": node("PreviewImage", images=["2", 0])}
    events = without_progress(watch.run(prompt))
    assert events.index("executing 3") < events.index('executed 1 {"text": ["1"]}')


def test_the_items_of_a_list_wait_together(watch: Watch) -> None:
    watch.add("Three", lambda _call: Output(([3, 1, 2],)), lists=[True])
    begun = watch.engine.now
    events = watch.run({"1": node("Three"), "2": node("Distant", seconds=["1", 0])})
    assert 'executed 2 {"text": ["3", "1", "2"]}' in events
    assert 3 <= watch.engine.now - begun < 3.1


def test_an_error_after_waiting_comes_with_the_second_turn(watch: Watch) -> None:
    events = without_progress(watch.run({"1": node("Distant", seconds=4), "2": node("Distant", seconds=1)}))
    assert events[-2:] == ['executed 2 {"text": ["1"]}', "execution_error 1"]
    assert (watch.error()["exception_message"], watch.error()["current_inputs"]) == ("gone\n", {})
