"""Nodes that a script plays to be in the cache, or not to be (protocol 5.2, 5.3, 5.5, 5.13)."""

from __future__ import annotations

from typing import Any

import pytest
from protocol_events import NOW, image, node, text_to_image
from scripted_watch import SAMPLER, ScriptedWatch, told

from comfy_mock.engine.nodes.api import Output
from comfy_mock.engine.script.model import Failure, Hold, MessageAt, NodeMatch, NodeRule, TextAt

SAVED = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
SAVER = NodeMatch(class_type="SaveImage")


def run(watch: ScriptedWatch, prompt: dict[str, Any]) -> list[str]:
    watch.post(prompt)
    return told(watch.rest())


def ran(events: list[str]) -> list[str]:
    return [event.split()[1] for event in events if event.startswith("executing ") and event != "executing null"]


def cached(events: list[str]) -> list[str]:
    return next(event for event in events if event.startswith("execution_cached")).split()[1:]


# -- true


def test_a_cached_prompt_is_told_as_in_protocol_6_10() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True))
    assert run(watch, SAVED) == [
        "status 1",
        "status 1",
        "execution_start",
        "execution_cached 1 2",
        'executed 2 {"images": [{"filename": "x_00001_.png", "subfolder": "", "type": "output"}]}',
        "PS{2 f 1/1}",
        "execution_success",
        "status 0",
        "executing null",
    ]
    assert watch.engine.files.read("/comfyui/output/x_00001_.png").startswith(b"\x89PNG")
    assert watch.served() == [1]


def test_the_ancestors_are_cached_too_and_the_rest_runs() -> None:
    events = run(ScriptedWatch(NodeRule(match=SAMPLER, cached=True)), text_to_image(20))
    assert cached(events) == ["3", "4", "5", "6", "7"]
    assert ran(events) == ["8", "9"]


def test_it_takes_no_time_and_nobody_hears_of_it() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True))
    bystander = watch.engine.connect(None)
    watch.take(bystander)
    watch.post(SAVED)
    heard = []
    while (due := watch.engine.next_wakeup()) is not None:
        watch.engine.advance(due)
        heard += told(watch.take(bystander))
    assert heard == ["status 1", "status 1", "status 0"]
    assert watch.engine.now - NOW < 0.01
    assert "Prompt executed in 0.00 seconds" in watch.engine.logs.text()


def test_a_real_run_and_a_played_one_leave_the_same_cache() -> None:
    real, played = ScriptedWatch(), ScriptedWatch(NodeRule(match=NodeMatch(node="9"), cached=True, times=1))
    run(real, text_to_image())
    assert run(real, text_to_image()) == run(played, text_to_image()) == run(played, text_to_image())


def test_given_outputs_are_those_of_the_earlier_run() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True, ui={"images": [{"filename": "old.png"}]}))
    assert run(watch, SAVED)[4] == 'executed 2 {"images": [{"filename": "old.png"}]}'
    assert not watch.engine.files.names("/comfyui/output")


def test_what_the_rule_does_with_a_call_does_not_happen() -> None:
    watch = ScriptedWatch(
        NodeRule(
            match=SAVER,
            cached=True,
            duration=60,
            steps=3,
            texts=[TextAt(text="t")],
            messages=[MessageAt(type="m")],
            holds=[Hold()],
        )
    )
    events = run(watch, SAVED)
    assert "text 2: t" not in events
    assert events[-1] == "executing null"


def test_one_that_is_cached_anyway_is_left_alone() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True))
    run(watch, SAVED)
    assert run(watch, SAVED)[4].startswith('executed 2 {"images": [{"filename": "x_00001_.png"')
    assert watch.engine.files.names("/comfyui/output") == ["x_00001_.png"]


def test_a_node_that_the_prompt_does_not_need_is_not_meant() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(class_type="ImageInvert"), cached=True))
    assert cached(run(watch, {**SAVED, "3": node("ImageInvert", image=["1", 0])})) == []
    assert watch.served() == [0]


def test_expansions_and_asynchronous_nodes_are_played_too() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="4"), cached=True))
    children = {"1": node("PreviewAny", source="seen")}
    watch.add("Expand", lambda _call: Output((["1", 0],), None, children), ["x"])
    watch.add("Slow", lambda _call: Output(("slow",)), ["x"], api_node=True, seconds=30)
    prompt = {
        "1": node("Slow", x=1),
        "2": node("Expand", x=["1", 0]),
        "3": node("Slow", x=["2", 0]),
        "4": node("PreviewAny", source=["3", 0]),
    }
    events = run(watch, prompt)
    assert cached(events) == ["1", "2", "3", "4"]
    assert not ran(events)
    assert list(watch.entry["outputs"]) == ["4"]


def test_the_children_of_the_earlier_run_are_none_of_this_one() -> None:
    watch = ScriptedWatch(
        NodeRule(match=NodeMatch(node="1"), cached=True), NodeRule(match=NodeMatch(node="2"), raises=Failure())
    )
    watch.add("Expand", lambda _call: Output((["1", 0],), None, {"1": node("PreviewAny", source="seen")}), ["x"])
    run(watch, {"1": node("Expand", x=1), "2": node("PreviewAny", source=["1", 0])})
    assert sorted(watch.error()["current_outputs"]) == ["1", "2"]


def test_what_cannot_be_cached_runs_and_the_log_says_so() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True), cache="none")
    assert ran(run(watch, SAVED)) == ["1", "2"]
    assert "The script wants node 2 to be cached, but it left no result" in watch.engine.logs.text()


def test_a_node_that_fails_leaves_nothing() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True))
    events = run(watch, {**SAVED, "2": node("SaveImage", images=["1", 0], filename_prefix="../../x")})
    assert cached(events) == ["1"]
    assert events[-3] == "execution_error 2"


# -- false


def test_a_cached_node_runs_and_so_does_what_its_output_goes_to() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, cached=False))
    run(watch, text_to_image())
    events = run(watch, text_to_image())
    assert cached(events) == ["4", "5", "6", "7"]
    assert ran(events) == ["3", "8", "9"]


def test_the_next_run_finds_the_new_result() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=False, after=1, times=1))
    assert [ran(run(watch, SAVED)) for _ in range(3)] == [["1", "2"], ["2"], []]
    assert watch.engine.files.names("/comfyui/output") == ["x_00001_.png", "x_00002_.png"]


def test_a_twin_does_not_answer_for_it() -> None:
    twins = {"1": image(), "2": node("PreviewImage", images=["1", 0]), "3": node("PreviewImage", images=["1", 0])}
    assert ran(run(ScriptedWatch(), twins)) == ["1", "2"]
    assert ran(run(ScriptedWatch(NodeRule(match=NodeMatch(node="3"), cached=False)), twins)) == ["1", "2", "3"]


def test_it_runs_once_though_it_is_asked_for_later_too() -> None:
    # the switch asks for the image when the preview has had it (protocol 5.7)
    prompt = {
        "1": image(),
        "2": node("PreviewImage", images=["1", 0]),
        "3": node("ComfySwitchNode", switch=True, on_false=["1", 0], on_true=["1", 0]),
        "4": node("PreviewImage", images=["3", 0]),
    }
    watch = ScriptedWatch(NodeRule(match=NodeMatch(class_type="EmptyImage"), cached=False))
    run(watch, prompt)
    assert ran(run(watch, prompt)).count("1") == 1
    assert watch.entry["status"]["status_str"] == "success"


def test_it_can_do_something_else_besides() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=False, raises=Failure(message="now"), after=1))
    run(watch, SAVED)
    assert run(watch, SAVED)[-3] == "execution_error 2"
    assert watch.served() == [1]


# -- which rule


@pytest.mark.parametrize(("times", "expected"), [(1, [["1", "2"], []]), (None, [["1", "2"], []])])
def test_the_first_rule_that_fits_decides(times: int | None, expected: list[list[str]]) -> None:
    rules = [NodeRule(match=SAVER, times=times, steps=1), NodeRule(match=SAVER, cached=True)]
    watch = ScriptedWatch(*rules)
    assert [ran(run(watch, SAVED)) for _ in range(2)] == expected
    # the second time the node is in the cache without any rule, but only a rule that is done lets the next one have it
    assert watch.served() == [1, 1 if times else 0]


def test_after_and_times_count_prompts() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, cached=True, after=1, times=1))
    colours = [
        ran(run(watch, {"1": image(colour), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}))
        for colour in range(3)
    ]
    assert colours == [["1", "2"], [], ["1", "2"]]
