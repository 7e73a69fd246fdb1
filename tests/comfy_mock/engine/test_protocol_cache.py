"""What is cached from one prompt to the next, and what a change function does (protocol 4.5, 5.13-5.15, 7.3)."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import PIL.Image
import pytest
from protocol_events import Watch, image, node, said, without_progress

from comfy_mock.engine.nodes.api import Behaviour, Output


def saved(color: int, prefix: str = "a") -> dict[str, Any]:
    return {"1": image(color), "2": node("SaveImage", images=["1", 0], filename_prefix=prefix)}


A, B = saved(1), saved(2)


def cached(watch: Watch, prompt: dict[str, Any], **body: Any) -> str:
    """The nodes of a prompt that are cached when it begins; it then runs."""
    watch.post(prompt, **body)
    return said(watch.rest())[3].removeprefix("execution_cached").replace(" ", "")


def metadata(watch: Watch, name: str) -> dict[str, Any]:
    picture = PIL.Image.open(io.BytesIO(watch.engine.files.read(f"{watch.engine.folders.output}/{name}")))
    return {key: json.loads(text) for key, text in picture.info.items()}


@pytest.mark.parametrize(
    ("cache", "found"),
    [
        ("default", ["", "12", "", ""]),
        ("classic", ["", "12", "", ""]),
        ("lru", ["", "12", "", "12"]),
        ("none", ["", "", "", ""]),
    ],
)
def test_modes(cache: str, found: list[str]) -> None:
    watch = Watch(cache=cache, cache_size=4)
    assert [cached(watch, prompt) for prompt in (A, A, B, A)] == found


def test_the_examples_of_the_default_mode() -> None:
    watch = Watch()
    cached(watch, A)
    assert cached(watch, {**A, "9": image(9)}) == "12"
    assert cached(watch, {"8": A["1"], "7": node("SaveImage", images=["8", 0], filename_prefix="a")}) == "87"
    assert watch.entry["meta"]["7"]["node_id"] == "2"
    failing_first = {"1": node("LoadImage", image=""), "2": node("PreviewImage", images=["1", 0])}
    assert cached(watch, failing_first) == ""
    assert cached(watch, A) == "12"
    failing_second = {"1": image(3), "2": node("SaveImage", images=["1", 0], filename_prefix="../x")}
    assert cached(watch, failing_second) == ""
    assert cached(watch, A) == ""


def test_without_a_cache_twins_run_twice() -> None:
    twins = {**saved(1), "3": node("SaveImage", images=["1", 0], filename_prefix="a")}
    names = []
    for cache in ("default", "none"):
        watch = Watch(cache=cache)
        watch.run(twins)
        names.append(len(watch.engine.files.names(watch.engine.folders.output)))
        assert set(watch.entry["outputs"]) == {"2", "3"}
    assert names == [1, 2]


def test_free_memory_empties_the_cache_and_unloading_does_not() -> None:
    watch = Watch()
    cached(watch, A)
    watch.engine.free({"unload_models": True})
    assert cached(watch, A) == "12"
    watch.engine.free({"free_memory": 0, "unload_models": "x"})
    assert cached(watch, A) == "12"
    watch.engine.free({"free_memory": True})
    watch.rest()
    assert cached(watch, A) == ""


def test_free_memory_waits_for_the_prompts_end() -> None:
    watch = Watch()
    cached(watch, A)
    watch.post(A)
    watch.engine.free({"free_memory": True})
    assert said(watch.rest())[3] == "execution_cached 1 2"
    assert cached(watch, A) == ""


@pytest.mark.parametrize(
    ("first", "second", "same"), [(1, 1.0, True), (1, True, True), (1, "1", False), (0, None, False)]
)
def test_pythons_equality(first: Any, second: Any, same: bool) -> None:
    watch = Watch()
    cached(watch, {"1": node("PreviewAny", source=first)})
    assert (cached(watch, {"1": node("PreviewAny", source=second)}) == "1") == same


def test_a_preview_goes_on_counting_while_its_node_lives() -> None:
    watch = Watch()

    def name(node_id: str, color: int) -> str:
        watch.run({"1": image(color), node_id: node("PreviewImage", images=["1", 0])})
        filename: str = watch.entry["outputs"][node_id]["images"][0]["filename"]
        return filename

    first, second = name("2", 1), name("2", 2)
    assert first.endswith("_00001_.png")
    assert second == first.replace("_00001_", "_00002_")
    assert name("3", 3).endswith("_00001_.png")
    back = name("2", 4)
    assert back.endswith("_00001_.png")
    assert back != first
    watch.engine.free({"free_memory": True})
    watch.rest()
    assert name("2", 5).endswith("_00001_.png")


# -- change values

LOADED = {"1": node("LoadImage", image="example.png"), "2": node("SaveImage", images=["1", 0], filename_prefix="c")}


def test_the_change_value_is_in_the_file_and_not_in_the_history() -> None:
    watch = Watch()
    cached(watch, LOADED)
    (value,) = metadata(watch, "c_00001_.png")["prompt"]["1"]["is_changed"]
    assert len(value) == 64
    assert "is_changed" not in json.dumps(watch.entry)


def test_other_bytes_under_the_same_name_run_again() -> None:
    watch = Watch()
    cached(watch, LOADED)
    path = f"{watch.engine.folders.input}/example.png"
    watch.engine.files.write(path, watch.engine.files.read(f"{watch.engine.folders.output}/c_00001_.png"), now=0.0)
    assert cached(watch, LOADED) == ""


def test_a_client_may_set_the_change_value() -> None:
    watch = Watch()
    own = {**LOADED, "1": {**LOADED["1"], "is_changed": ["mine"]}}
    assert cached(watch, LOADED) == ""
    assert cached(watch, own) == ""
    assert cached(watch, own) == "12"
    assert metadata(watch, "c_00002_.png")["prompt"]["1"]["is_changed"] == ["mine"]
    never = {**LOADED, "1": {**LOADED["1"], "is_changed": math.nan}}
    assert [cached(watch, never) for _ in range(2)] == ["", ""]


def test_without_a_change_function_the_key_of_a_node_means_nothing() -> None:
    watch = Watch()
    cached(watch, A)
    assert cached(watch, {**A, "1": {**A["1"], "is_changed": ["x"]}}) == "12"


def test_a_change_function_sees_constants_is_called_once_and_may_fail() -> None:
    watch = Watch()
    seen: list[Any] = []

    def changed(call: Any) -> str:
        seen.append(dict(call.inputs))
        raise OSError("no")

    entry = {"input": {"required": {"a": ["*", {}], "b": ["*", {}]}}, "output": ["*"]}
    watch.engine.add_node("Watched", entry, Behaviour(lambda _call: Output((1,)), changed=changed))
    prompt = {"1": image(), "2": node("Watched", a=["1", 0], b=5), "3": node("PreviewAny", source=["2", 0])}
    assert [cached(watch, prompt) for _ in range(2)] == ["", "1"]
    assert seen == [{"a": None, "b": 5}] * 2
    assert watch.entry["status"]["status_str"] == "success"


def test_v1_classes_with_a_unique_id_are_not_shared_between_ids() -> None:
    watch = Watch()
    watch.add("Own", lambda _call: Output((1,)), hidden={"unique_id": "UNIQUE_ID"}, output_node=True)
    cached(watch, {"1": node("Own")})
    assert cached(watch, {"2": node("Own")}) == ""
    assert cached(watch, {"2": node("Own")}) == "2"


def test_workflow_and_prompt_in_the_file_are_those_of_the_first_run() -> None:
    watch = Watch()
    unneeded = {**A, "9": node("EmptyImage", width="7", height=8, batch_size=1, color=1)}
    info = {"b": {"x": 1}, "workflow": {"id": "ü"}}
    cached(watch, unneeded, extra_data={"extra_pnginfo": info})
    cached(watch, unneeded, extra_data={"extra_pnginfo": {"workflow": {"id": "later"}}})
    found = metadata(watch, "a_00001_.png")
    assert list(found) == ["prompt", "b", "workflow"]
    assert found == {"prompt": unneeded, **info}
    assert watch.engine.files.names(watch.engine.folders.output) == ["a_00001_.png"]


# -- intermediate outputs (5.15)

CROP = {"x": 0, "y": 0, "width": 4, "height": 4}


def test_a_cached_intermediate_output_is_told_before_the_end_also_when_nobody_needs_it() -> None:
    watch = Watch()
    prompt = {"1": image(), "2": node("ImageCropV2", image=["1", 0], crop_region=CROP)}
    used = {**prompt, "3": node("PreviewImage", images=["2", 0])}
    assert [event[:10] for event in without_progress(watch.run(used)) if event.startswith("executed")] == [
        "executed 2",
        "executed 3",
    ]
    watch.post({**prompt, "4": node("PreviewAny", source="x")})
    events = said(watch.rest())
    told = next(event for event in events if event.startswith("executed 2"))
    assert events[events.index(told) + 1] == "execution_success"
    assert not [event for event in events if event.startswith("PS") and "2 " in event]
    assert list(watch.entry["outputs"]) == ["4", "2"]
