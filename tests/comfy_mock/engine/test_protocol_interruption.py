"""Interrupts at each place, and what stays of an interrupted run (protocol 4.4, 5.12, 6.7)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from protocol_events import CHECKPOINT, Watch, image, node, said, starts, steps, text_to_image

from comfy_contracts import messages
from comfy_mock.engine.jobs import list_jobs
from comfy_mock.engine.nodes.api import Call, Output, Step, Update, Wait

PREVIEWED = {"preview_method": "latent2rgb", "models": {"checkpoints": [CHECKPOINT]}}


def interrupted(watch: Watch, wanted: Callable[[Any], bool], client_id: Any = None) -> list[str]:
    """The events of a text-to-image run that is interrupted when the client has got something."""
    watch.post(text_to_image(4), **({} if client_id is None else {"client_id": client_id}))
    got = watch.until(wanted)
    watch.engine.interrupt()
    return said([*got, *watch.rest()])


@pytest.mark.parametrize(
    ("wanted", "blamed", "kept"),
    [
        (starts("4"), "6", ["4"]),
        (steps(2), "3", ["4", "5", "6", "7"]),
        (starts("8"), "9", ["3", "4", "5", "6", "7", "8"]),
    ],
    ids=["in the first node", "in the sampler", "in a node that never looks"],
)
def test_the_interrupted_node_and_the_results_that_are_kept(
    wanted: Callable[[Any], bool], blamed: str, kept: list[str]
) -> None:
    watch = Watch(**PREVIEWED)
    events = interrupted(watch, wanted)
    assert events[-3:] == [f"execution_interrupted {blamed}", "status 0", "executing null"]
    assert f"executing {blamed}" in events
    assert watch.entry["status"]["status_str"] == "error"
    assert not watch.entry["status"]["completed"]
    watch.post(text_to_image(4))
    assert said(watch.rest())[3] == " ".join(["execution_cached", *kept])


def test_no_state_is_sent_for_the_step_in_which_the_flag_is_seen() -> None:
    events = interrupted(Watch(**PREVIEWED), steps(2))
    assert events[-4] == "binary 1"
    assert not [event for event in events if event.startswith("progress 3/4")]


def test_the_form_of_the_message_and_of_the_job() -> None:
    watch = Watch(**PREVIEWED)
    interrupted(watch, steps(1))
    event, data = watch.entry["status"]["messages"][-1]
    assert event == "execution_interrupted"
    assert list(data) == ["prompt_id", "node_id", "node_type", "executed", "timestamp"]
    assert (data["node_type"], set(data["executed"])) == ("KSampler", {"4", "5", "6", "7"})
    assert b'"status": "cancelled"' in list_jobs(watch.engine.queue, {}).body


def test_in_the_last_node_it_comes_too_late_and_does_not_stick() -> None:
    watch = Watch(**PREVIEWED)
    assert interrupted(watch, starts("9"))[-3:] == ["execution_success", "status 0", "executing null"]
    watch.run({"1": image(), "2": node("PreviewImage", images=["1", 0])})
    assert watch.entry["status"]["status_str"] == "success"


def test_nothing_running_nothing_interrupted() -> None:
    watch = Watch()
    watch.engine.interrupt()
    watch.run({"1": image(), "2": node("PreviewImage", images=["1", 0])})
    assert watch.entry["status"]["status_str"] == "success"


def test_only_the_running_prompt_can_be_named() -> None:
    watch = Watch(**PREVIEWED)
    running, waiting = watch.post(text_to_image(4)), watch.post(text_to_image(4, seed=2))
    watch.until(steps(1))
    for other in (waiting, "00000000-0000-4000-8000-000000000000"):
        watch.engine.interrupt(other)
    watch.until(steps(2))
    watch.engine.interrupt(running)
    watch.rest()
    outcomes = {prompt_id: entry["status"]["status_str"] for prompt_id, entry in watch.engine.queue.history.items()}
    assert outcomes == {running: "error", waiting: "success"}


def test_without_a_client_everybody_hears_of_it() -> None:
    watch = Watch(**PREVIEWED)
    watch.post(text_to_image(4), None)
    watch.until(steps(1))
    watch.engine.interrupt()
    assert said(watch.rest()) == ["execution_interrupted 3", "status 0"]


def test_with_a_client_the_others_hear_only_status() -> None:
    watch = Watch(**PREVIEWED)
    other = watch.engine.connect("other")
    watch.take()
    watch.post(text_to_image(4))
    watch.until(steps(1))
    watch.engine.interrupt()
    heard: list[Any] = []
    while (due := watch.engine.next_wakeup()) is not None:
        watch.engine.advance(due)
        heard += watch.take(other)
    assert [type(payload) for payload in heard] == [messages.Status]


def test_a_throttled_update_does_not_look() -> None:
    def bar(_call: Call) -> Generator[Step, None, Output]:
        for value in range(1, 6):
            yield Wait(0.03)
            yield Update(value, 5, first=value == 1)
        return Output()

    watch = Watch()
    watch.add("Bar", bar, outputs=[], output_node=True)
    watch.post({"1": node("Bar")})
    watch.until(steps(1))
    watch.engine.interrupt()
    events = said(watch.rest())
    assert "execution_interrupted 1" in events
    # 2, 3 and 4 come too soon after 1; the last one is sent in any case, so there the flag is seen
    assert watch.engine.now == pytest.approx(1_767_225_600.0 + 0.004 + 5 * 0.03, abs=0.01)


def test_asking_for_lazy_inputs_looks() -> None:
    switch = node("ComfySwitchNode", switch=True, on_false=["1", 0], on_true=["1", 0])
    watch = Watch()
    watch.post(
        {"0": node("PreviewAny", source="x"), "1": image(), "2": switch, "3": node("PreviewAny", source=["2", 0])}
    )
    watch.until(starts("0"))
    watch.engine.interrupt()
    assert said(watch.rest())[-4:] == ["executing 2", "execution_interrupted 2", "status 0", "executing null"]


def test_each_item_of_a_list_looks() -> None:
    watch = Watch()
    watch.add("Three", lambda _call: Output(([1, 2, 3],)), lists=[True])
    seen: list[int] = []

    def note(call: Call) -> Output:
        seen.append(call.inputs["x"])
        watch.engine.interrupt()
        return Output()

    watch.add("Note", note, ["x"], outputs=[], output_node=True)
    assert watch.run({"1": node("Three"), "2": node("Note", x=["1", 0])})[-1] == "execution_interrupted 2"
    assert seen == [1]
