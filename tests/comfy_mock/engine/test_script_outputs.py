"""Outputs that rules give, exceptions that they raise, and nodes that they expand into (protocol 5.5-5.8, 5.11)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from protocol_events import image, inner, node, text_to_image
from scripted_watch import SAMPLER, ScriptedWatch, of_node, told

from comfy_contracts import messages
from comfy_mock.engine.nodes.api import Call, Output
from comfy_mock.engine.script.model import (
    Expand,
    Failure,
    Hold,
    NodeMatch,
    NodeRule,
    OutputFile,
    TextAt,
)

SAVER = NodeMatch(class_type="SaveImage")
SAVED = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
MEMORY_TIP = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)
"""Protocol 5.11."""

UPSCALED = {
    "1": node("EmptyLatentImage", batch_size=1, height=64, width=64),
    "2": node("LatentUpscaleBy", samples=["1", 0], upscale_method="bislerp", scale_by=1.5),
    "3": node("SaveLatent", samples=["2", 0], filename_prefix="x"),
}


def run(watch: ScriptedWatch, prompt: dict[str, Any]) -> list[str]:
    watch.post(prompt)
    return told(watch.rest())


def executed(events: list[str], node_id: str) -> Any:
    start = f"executed {node_id} "
    return json.loads(next(event for event in events if event.startswith(start)).removeprefix(start))


# -- outputs


def test_ui_is_told_and_recorded_and_nothing_is_saved() -> None:
    ui = {"images": [{"filename": "a.png", "subfolder": "s", "type": "output"}], "mine": [1]}
    watch = ScriptedWatch(NodeRule(match=SAVER, ui=ui))
    assert executed(run(watch, SAVED), "2") == ui
    assert watch.entry["outputs"] == {"2": ui}
    assert not watch.engine.files.names("/comfyui/output")


def test_files_are_written_and_listed_behind_those_of_the_ui() -> None:
    files = [
        OutputFile(filename="a.png", data=b"A"),
        OutputFile(filename="b.mp4", subfolder="v", type="temp", key="video", data=b"B"),
        OutputFile(filename="c.png"),
    ]
    watch = ScriptedWatch(NodeRule(match=SAVER, ui={"images": [{"filename": "first.png"}]}, files=files))
    assert executed(run(watch, SAVED), "2") == {
        "images": [
            {"filename": "first.png"},
            {"filename": "a.png", "subfolder": "", "type": "output"},
            {"filename": "c.png", "subfolder": "", "type": "output"},
        ],
        "video": [{"filename": "b.mp4", "subfolder": "v", "type": "temp"}],
    }
    contents = [
        watch.engine.files.read(f"/comfyui/{name}") for name in ("output/a.png", "temp/v/b.mp4", "output/c.png")
    ]
    assert contents == [b"A", b"B", b""]


def test_a_file_outside_of_its_folder_fails_the_node() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, files=[OutputFile(filename="x", subfolder="../input")]))
    run(watch, SAVED)
    assert "lies outside of /comfyui/output" in watch.error()["exception_message"]


@pytest.mark.parametrize(("text", "shown"), [("one", ["one"]), (["one", "two"], ["one", "two"])])
def test_text(text: str | list[str], shown: list[str]) -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(class_type="PreviewAny"), text=text))
    assert executed(run(watch, {"1": node("PreviewAny", source="x")}), "1") == {"text": shown}


def test_values_go_on_to_the_next_nodes() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="1"), values=[42]))
    prompt = {"1": node("PrimitiveInt", value=1), "2": node("PreviewAny", source=["1", 0])}
    assert executed(run(watch, prompt), "2") == {"text": ["42"]}


def test_outputs_that_the_rule_does_not_give_fit_their_types() -> None:
    # SaveImage has an output of its own, the images, and a node behind it must be able to work with it
    watch = ScriptedWatch(NodeRule(match=SAVER, ui={"images": []}))
    run(watch, {**SAVED, "3": node("ImageInvert", image=["2", 0]), "4": node("PreviewImage", images=["3", 0])})
    assert list(watch.entry["outputs"]) == ["2", "4"]


def test_an_empty_ui_is_none() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, ui={}))
    assert not [event for event in run(watch, SAVED) if event.startswith("executed")]


def test_given_outputs_come_after_steps() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=1, text="done"))
    assert of_node("3", run(watch, text_to_image(7))) == [
        "PS 3 r 1/1",
        "progress 1/1 3",
        'executed 3 {"text": ["done"]}',
        "PS 3 f 1/1",
    ]


def test_an_expansion_runs_as_in_protocol_6_10() -> None:
    nodes = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=3), "2": node("PreviewAny", source="in")}
    rule = NodeRule(match=NodeMatch(node="2"), expand=Expand(nodes=nodes, outputs=[["1", 0]]))
    watch = ScriptedWatch(rule)
    events = inner(run(watch, {"2": image(), "3": node("PreviewImage", images=["2", 0])}))
    assert events[:9] == [
        "PS{2 r 0.0/1.0}",
        "executing 2",
        "PS{2 r 0.0/1.0, 2.0.0.2 r 0.0/1.0}",
        "executing 2.0.0.2/2",
        'executed 2.0.0.2 {"text": ["in"]}',
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0}",
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0, 2.0.0.1 r 0.0/1.0}",
        "executing 2.0.0.1/2",
        "PS{2 r 0.0/1.0, 2.0.0.2 f 1.0/1.0, 2.0.0.1 f 1.0/1.0}",
    ]
    assert list(watch.entry["outputs"]) == ["2.0.0.2", "3"]


# -- exceptions


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (NodeRule(match=SAMPLER, raises=Failure(message="boom")), []),
        (NodeRule(match=SAMPLER, raises=Failure(message="boom", at_step=0), texts=[TextAt(text="t")]), ["text 3: t"]),
        (
            NodeRule(
                match=SAMPLER, steps=3, raises=Failure(message="boom", at_step=2), texts=[TextAt(text="t", at_step=2)]
            ),
            ["PS 3 r 1/3", "progress 1/3 3", "PS 3 r 2/3", "progress 2/3 3", "text 3: t"],
        ),
        (
            NodeRule(match=SAMPLER, steps=1, raises=Failure(message="boom"), texts=[TextAt(text="t", at_step=1)]),
            ["PS 3 r 1/1", "progress 1/1 3", "text 3: t"],
        ),
        (NodeRule(match=SAMPLER, raises=Failure(message="boom", at_step=1)), ["PS 3 r 1/2", "progress 1/2 3"]),
        (
            NodeRule(match=SAMPLER, raises=Failure(message="boom", at_step=9)),
            ["PS 3 r 1/2", "progress 1/2 3", "PS 3 r 2/2", "progress 2/2 3"],
        ),
    ],
    ids=["at once", "before the first", "at a step", "at the end", "at a step of the class", "at a step there is not"],
)
def test_where_an_exception_comes(rule: NodeRule, expected: list[str]) -> None:
    watch = ScriptedWatch(rule)
    events = run(watch, text_to_image(2))
    assert of_node("3", events) == expected
    assert events[-3:] == ["execution_error 3", "status 0", "executing null"]
    assert watch.entry["status"]["status_str"] == "error"


def test_a_class_that_fails_at_a_step_does_none_of_its_work() -> None:
    called = []

    def work(_call: Call) -> Output:
        called.append(1)
        return Output()

    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="1"), raises=Failure(at_step=3)))
    watch.add("Work", work, outputs=[], output_node=True)
    run(watch, {"1": node("Work")})
    assert watch.entry["status"]["status_str"] == "error"
    assert not called


def test_the_exception_as_it_is_told() -> None:
    failure = Failure(type="my.module.Trouble", message="no\nway", traceback=['  File "mine.py", line 1, in go\n'])
    watch = ScriptedWatch(NodeRule(match=SAVER, raises=failure))
    run(watch, SAVED)
    error = watch.error()
    assert (error["exception_type"], error["exception_message"]) == ("my.module.Trouble", "no\nway\n")
    assert error["traceback"] == ['  File "mine.py", line 1, in go\n']
    assert (error["node_id"], error["node_type"], error["executed"]) == ("2", "SaveImage", ["1"])
    assert list(error["current_inputs"])[:2] == ["images", "filename_prefix"]


@pytest.mark.parametrize("raises", ["out_of_memory", Failure(type="torch.OutOfMemoryError")])
def test_out_of_memory_comes_with_the_tip_and_the_worker_lives_on(raises: Any) -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, raises=raises, times=1))
    run(watch, SAVED)
    error = watch.error()
    assert error["exception_type"] == "torch.OutOfMemoryError"
    assert error["exception_message"] == f"Allocation on device \n{MEMORY_TIP}"
    run(watch, SAVED)
    assert watch.entry["status"]["status_str"] == "success"


def test_out_of_memory_in_words_of_ones_own_and_at_a_step() -> None:
    failure = Failure(type="torch.OutOfMemoryError", message="CUDA out of memory.", at_step=3)
    watch = ScriptedWatch(NodeRule(match=SAMPLER, raises=failure))
    events = run(watch, text_to_image(20))
    assert [event for event in events if event.startswith("progress ")][-1] == "progress 3/20 3"
    assert watch.error()["exception_message"] == f"CUDA out of memory.\n{MEMORY_TIP}"


def test_a_made_up_traceback_has_the_frames_of_the_server_and_ends_in_the_nodes_file() -> None:
    watch = ScriptedWatch(NodeRule(match=SAVER, raises=Failure()))
    run(watch, SAVED)
    *server, last = watch.error()["traceback"]
    # the frames that every recorded traceback begins with
    assert [frame.split(", in ")[1].split("\n")[0] for frame in server] == [
        "execute",
        "get_output_data",
        "_async_map_node_over_list",
        "process_inputs",
    ]
    assert last.startswith('  File "/comfyui/nodes.py", line ')
    assert last.endswith("\n")
    assert last.count("\n") == 2


def test_a_made_up_traceback_of_a_newer_class_goes_through_its_wrapper() -> None:
    # recording error_in_middle_node.har.gz: a class of comfy_extras in the new schema
    concat = node("LatentConcat", samples1=["1", 0], samples2=["1", 0], dim="x")
    watch = ScriptedWatch(NodeRule(match=NodeMatch(class_type="LatentConcat"), raises=Failure()))
    run(watch, {**UPSCALED, "2": concat})
    frames = watch.error()["traceback"]
    assert [frame.split('"')[1].removeprefix("/comfyui/") for frame in frames] == [
        "execution.py",
        "execution.py",
        "execution.py",
        "execution.py",
        "comfy_api/internal/__init__.py",
        "comfy_api/latest/_io.py",
        "comfy_extras/nodes_latent.py",
    ]
    assert frames[-1].split(", in ")[1].startswith("execute\n")


def test_a_custom_node_fails_in_its_package() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(class_type="Mine"), raises=Failure()))
    watch.add("Mine", lambda _call: Output(), outputs=[], output_node=True, python_module="custom_nodes.my-pack")
    run(watch, {"1": node("Mine")})
    assert watch.error()["traceback"][-1].startswith('  File "/comfyui/custom_nodes/my-pack/__init__.py", line ')


def test_a_hold_at_the_step_comes_before_the_exception() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=1, holds=[Hold(at_step=1)], raises=Failure(at_step=1)))
    events = run(watch, text_to_image())
    assert events[-1] == "progress 1/1 3"
    watch.director.release()
    assert told(watch.rest())[0] == "execution_error 3"


def test_results_that_came_before_the_exception_are_kept() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, raises=Failure(), times=1))
    run(watch, text_to_image())
    watch.post(text_to_image())
    cached = next(payload for payload in watch.rest() if isinstance(payload, messages.ExecutionCached))
    assert cached.nodes == ["4", "5", "6", "7"]
