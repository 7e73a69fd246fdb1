"""A node's turn: lazy inputs, lists, blockers and errors (protocol 5.5-5.7, 5.10, 5.11, 9)."""

from __future__ import annotations

from typing import Any

import pytest
from protocol_events import Watch, image, inner, node, said, without_progress

from comfy_mock.engine.nodes.api import Behaviour, Blocker, Call, Output


def passed(call: Call) -> Output:
    return Output((call.inputs["x"],))


def fail_at_two(call: Call) -> Output:
    if call.inputs["x"] == 2:
        raise ValueError("boom")
    return Output((call.inputs["x"],))


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.add("Pass", passed, ["x"])
    watch.add("Three", lambda _call: Output(([1, 2, 3],)), lists=[True])
    watch.add("Empty", lambda _call: Output(([],)), lists=[True])
    watch.add("FailAtTwo", fail_at_two, ["x", "msg"])
    watch.add("Block", lambda call: Output((Blocker(call.inputs["message"]),)), ["message"])
    watch.add("Whole", passed, ["x"], is_input_list=True, lists=[True])
    return watch


def test_partly_cached_as_in_protocol_6_10() -> None:
    watch = Watch()
    prompt = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="p")}
    watch.run(prompt)
    watch.post(
        {**prompt, "4": image(2), "3": node("PreviewAny", source=["4", 0])}, partial_execution_targets=["2", "3"]
    )
    events = [event.partition(" {")[0] if event.startswith("executed") else event for event in said(watch.rest())]
    cached = ["executed 2", "PS{2 f 1/1}"]
    made = ["PS{2 f 1/1, 4 r 0.0/1.0}", "executing 4", "PS{2 f 1/1, 4 f 1.0/1.0}"]
    shown = [
        "PS{2 f 1/1, 4 f 1.0/1.0, 3 r 0.0/1.0}",
        "executing 3",
        "executed 3",
        "PS{2 f 1/1, 4 f 1.0/1.0, 3 f 1.0/1.0}",
    ]
    assert inner(events) == cached + made + shown
    assert events[:4] == ["status 1", "status 1", "execution_start", "execution_cached 1 2"]
    assert events[-3:] == ["execution_success", "status 0", "executing null"]


def test_a_twin_that_is_no_output_tells_null() -> None:
    batch = {"1": image(), "2": image(), "3": node("ImageBatch", image1=["1", 0], image2=["2", 0])}
    events = Watch().run({**batch, "4": node("PreviewImage", images=["3", 0])})
    assert events[:5] == [
        "PS{2 r 0.0/1.0}",
        "executing 2",
        "PS{2 f 1.0/1.0}",
        "executed 1 null",
        "PS{2 f 1.0/1.0, 1 f 1/1}",
    ]


# -- lazy inputs (5.7)


def switch(*, on: bool) -> dict[str, Any]:
    return {
        "1": image(1),
        "2": image(2),
        "4": node("ComfySwitchNode", switch=on, on_false=["1", 0], on_true=["2", 0]),
        "5": node("PreviewImage", images=["4", 0]),
    }


@pytest.mark.parametrize(("on", "needed"), [(True, "2"), (False, "1")])
def test_a_lazy_source_runs_between_two_rounds_and_the_other_never(on: bool, needed: str) -> None:
    events = Watch().run(switch(on=on))
    assert events[:6] == [
        "PS{4 r 0.0/1.0}",
        "executing 4",
        f"PS{{4 r 0.0/1.0, {needed} r 0.0/1.0}}",
        f"executing {needed}",
        f"PS{{4 r 0.0/1.0, {needed} f 1.0/1.0}}",
        f"PS{{4 r 0.0/1.0, {needed} f 1.0/1.0}}",
    ]
    assert [event for event in events if event.startswith("executing")].count("executing 4") == 2


def test_a_cached_lazy_source_needs_two_rounds_as_well() -> None:
    watch = Watch()
    watch.run({"1": image(1), "5": node("PreviewImage", images=["1", 0])})
    assert watch.run(switch(on=False))[:5] == ["PS{4 r 0.0/1.0}", "executing 4"] * 2 + ["PS{4 f 1.0/1.0}"]


def test_a_lazy_input_that_is_not_there_is_null_to_the_node_and_in_its_error(watch: Watch) -> None:
    def lazy_failure(call: Call) -> Output:
        raise ValueError(f"{call.inputs['no']}")

    lazy = {"input": {"required": {name: ["*", {"lazy": True}] for name in ("yes", "no")}}, "output": ["*"]}
    watch.engine.add_node("LazyFailure", lazy, Behaviour(lazy_failure, lazy=lambda _inputs: ["yes"]))
    sources = {"1": node("Three"), "2": node("Empty")}
    watch.run(
        {**sources, "3": node("LazyFailure", yes=["1", 0], no=["2", 0]), "4": node("PreviewAny", source=["3", 0])}
    )
    assert watch.error()["exception_message"] == "None\n"
    assert watch.error()["current_inputs"] == {"yes": [1, 2, 3], "no": [None]}


# -- lists (5.6)


def test_a_list_runs_each_node_per_item_and_ui_is_merged(watch: Watch) -> None:
    events = watch.run({"1": node("Three"), "2": node("Pass", x=["1", 0]), "3": node("PreviewAny", source=["2", 0])})
    assert 'executed 3 {"text": ["1", "2", "3"]}' in events


def test_shorter_lists_repeat_their_last_element(watch: Watch) -> None:
    watch.add("Pair", lambda call: Output((f"{call.inputs['a']}{call.inputs['b']}",)), ["a", "b"])
    watch.add("Two", lambda _call: Output((["x", "y"],)), lists=[True])
    prompt = {"1": node("Three"), "2": node("Two"), "3": node("Pair", a=["1", 0], b=["2", 0])}
    assert 'executed 4 {"text": ["1x", "2y", "3y"]}' in watch.run({**prompt, "4": node("PreviewAny", source=["3", 0])})


def test_an_error_in_the_second_item_shows_whole_lists(watch: Watch) -> None:
    prompt = {"1": node("Three"), "2": node("FailAtTwo", x=["1", 0], msg="m"), "3": node("PreviewAny", source=["2", 0])}
    assert watch.run(prompt)[-1] == "execution_error 2"
    error = watch.error()
    assert error["current_inputs"] == {"x": [1, 2, 3], "msg": ["m"]}
    assert (error["exception_message"], error["exception_type"], error["executed"]) == ("boom\n", "ValueError", ["1"])
    assert set(error["current_outputs"]) == {"1", "2", "3"}


def test_an_empty_list_is_an_index_error(watch: Watch) -> None:
    watch.run(
        {"1": node("Empty"), "2": node("FailAtTwo", x=["1", 0], msg="m"), "3": node("PreviewAny", source=["2", 0])}
    )
    assert (watch.error()["exception_type"], watch.error()["exception_message"]) == (
        "IndexError",
        "list index out of range\n",
    )
    assert watch.error()["current_inputs"] == {"x": [], "msg": ["m"]}


def test_nothing_but_empty_lists_is_a_call_without_arguments(watch: Watch) -> None:
    watch.run({"1": node("Empty"), "2": node("Pass", x=["1", 0]), "3": node("PreviewAny", source=["2", 0])})
    assert watch.error()["exception_type"] == "TypeError"
    assert "missing 1 required positional argument: 'x'" in watch.error()["exception_message"]


def test_ui_that_lacks_a_key_of_the_first_calls_fails_the_node(watch: Watch) -> None:
    watch.add(
        "Ui", lambda call: Output((), {"a": [1]} if call.call_index == 0 else {"b": [2]}), ["x"], output_node=True
    )
    watch.run({"1": node("Three"), "2": node("Ui", x=["1", 0])})
    assert (watch.error()["exception_type"], watch.error()["node_id"]) == ("KeyError", "2")


# -- blockers (5.10)


def test_a_blocker_with_a_message_is_reported_by_the_first_consumer_and_the_run_goes_on(watch: Watch) -> None:
    blocked = {"1": node("Block", message="stop"), "2": node("Pass", x=["1", 0])}
    events = without_progress(watch.run({**blocked, "3": node("PreviewAny", source=["2", 0])}))
    assert events == ["executing 1", "executing 2", "execution_error 2", "executing 3"]
    assert watch.entry["status"]["status_str"] == "success"
    assert [event for event, _data in watch.entry["status"]["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]
    assert watch.entry["outputs"] == {}


def test_the_form_of_a_blockers_error(watch: Watch) -> None:
    prompt_id = watch.post({"1": node("Block", message="stop"), "2": node("PreviewAny", source=["1", 0])})
    (error,) = [payload for payload in watch.rest() if payload.type == "execution_error"]
    assert error.to_builtins() == {
        "prompt_id": prompt_id,
        "node_id": "2",
        "node_type": "PreviewAny",
        "executed": ["1"],
        "exception_message": "Execution Blocked: stop",
        "exception_type": "ExecutionBlocked",
        "traceback": [],
        "current_inputs": [],
        "current_outputs": [],
    }


def test_a_blocker_without_a_message_is_silent(watch: Watch) -> None:
    events = watch.run({"1": node("Block", message=None), "2": node("PreviewAny", source=["1", 0])})
    assert without_progress(events) == ["executing 1", "executing 2"]


def test_without_a_client_everybody_hears_of_a_blocker(watch: Watch) -> None:
    events = watch.run({"1": node("Block", message="stop"), "2": node("PreviewAny", source=["1", 0])}, None)
    assert without_progress(events) == ["execution_error 2"]


@pytest.mark.parametrize("consumer", ["Pass", "Whole"])
def test_a_blocker_among_the_items_of_a_list(watch: Watch, consumer: str) -> None:
    watch.add("Mixed", lambda _call: Output(([1, Blocker("no"), 3],)), lists=[True])
    prompt = {"1": node("Mixed"), "2": node(consumer, x=["1", 0]), "3": node("PreviewAny", source=["2", 0])}
    events = watch.run(prompt)
    assert "execution_error 2" in events
    assert ('executed 3 {"text": ["1", "3"]}' in events) == (consumer == "Pass")


def test_a_blocked_switch_asks_for_nothing(watch: Watch) -> None:
    switch = node("ComfySwitchNode", switch=["1", 0], on_false=["2", 0], on_true=["2", 0])
    prompt = {"1": node("Block", message=None), "2": image(), "3": switch, "4": node("PreviewImage", images=["3", 0])}
    assert without_progress(watch.run(prompt)) == ["executing 1", "executing 3", "executing 4"]


# -- errors (5.11, 9)


@pytest.mark.parametrize(
    ("slot", "message"),
    [(7, "list index out of range\n"), (0.5, "list indices must be integers or slices, not float\n")],
)
def test_an_undeclared_link_to_no_slot_fails_its_source(watch: Watch, slot: float, message: str) -> None:
    prompt = {"1": node("Three"), "2": node("Pass", x=5, extra=["1", slot]), "3": node("PreviewAny", source=["2", 0])}
    assert without_progress(watch.run(prompt)) == ["executing 1", "execution_error 1"]
    assert watch.error()["exception_message"] == message
    assert watch.error()["executed"] == []


def test_an_undeclared_link_is_followed_and_then_unexpected() -> None:
    watch = Watch()
    prompt = {"1": image(), "2": node("ImageInvert", image=["1", 0], zz=["1", 0], constant=5)}
    watch.run({**prompt, "3": node("PreviewImage", images=["2", 0])})
    assert watch.error()["exception_message"] == "ImageInvert.invert() got an unexpected keyword argument 'zz'\n"
    assert list(watch.error()["current_inputs"]) == ["image", "zz"]


def test_hidden_inputs_of_v1_classes_are_among_the_current_inputs(watch: Watch) -> None:
    hidden = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO", "unique_id": "UNIQUE_ID"}
    watch.add("Hidden", fail_at_two, ["x"], output_node=True, hidden=hidden)
    watch.run({"2": node("Hidden", x=2)})
    assert watch.error()["current_inputs"] == {
        "x": [2],
        "prompt": ["{'2': {'class_type': 'Hidden', 'inputs': {'x': 2}}}"],
        "extra_pnginfo": [None],
        "unique_id": ["2"],
    }


def test_a_cycle_of_undeclared_inputs_is_found_at_run_time_and_recorded_as_what_was_before() -> None:
    watch = Watch()
    cycle = {
        "1": image(x=["2", 0]),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
    }
    assert watch.run(cycle) == ["execution_error 3"]
    error = watch.error()
    assert (error["exception_message"], error["exception_type"]) == (
        "Dependency cycle detected",
        "graph.DependencyCycleError",
    )
    assert (error["traceback"], error["current_inputs"]) == ([], [])
    assert watch.entry["status"]["status_str"] == "success"
    watch.run({"1": node("LoadImage", image=""), "2": node("PreviewImage", images=["1", 0])})
    assert watch.entry["status"]["status_str"] == "error"
    watch.run(cycle)
    assert (watch.entry["status"]["status_str"], watch.entry["status"]["completed"]) == ("error", False)


def test_after_an_error_the_outputs_made_before_it_stay() -> None:
    watch = Watch()
    good = {"1": image(), "2": node("PreviewImage", images=["1", 0])}
    bad = {"3": node("ImageInvert", image=["1", 0]), "4": node("SaveImage", images=["3", 0], filename_prefix="../x")}
    assert watch.run({**good, **bad})[-1] == "execution_error 4"
    assert list(watch.entry["outputs"]) == ["2"]
    assert watch.error()["executed"] == ["1", "2", "3"]
