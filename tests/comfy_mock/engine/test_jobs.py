"""Jobs as views of queue and history (protocol 4.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.jobs import BadQuery, InvalidJobIds, cancel_targets, find_job, is_canonical_uuid, list_jobs
from comfy_mock.engine.queue import PromptItem, PromptQueue

UUID = "11111111-1111-4111-8111-111111111111"


def item(name: str, created: int, **extra_data: Any) -> PromptItem:
    return PromptItem(created, name, {"1": {}}, {**extra_data, "create_time": created}, ["1"])


def finish(queue: PromptQueue, *, start: int, end: int, event: str = "execution_success", **outputs: Any) -> None:
    queue.take()
    status = "success" if event in ("execution_success", "cycle") else "error"
    last = "execution_error" if event == "cycle" else event
    messages = [["execution_start", {"timestamp": start}], [last, {"timestamp": end, "node_id": "1"}]]
    queue.finish(outputs, {"status_str": status, "completed": status == "success", "messages": messages}, {})


@pytest.fixture
def queue() -> PromptQueue:
    """Five finished jobs a to e, a running one r, a pending one p."""
    queue = PromptQueue(lambda: None)
    events = ["execution_success", "execution_error", "execution_interrupted", "cycle", "execution_success"]
    for place, (name, event) in enumerate(zip("abcde", events, strict=True)):
        queue.put(item(name, place))
        finish(queue, start=100, end=200 - place, event=event)
    queue.put(item("r", 5))
    queue.take()
    queue.put(item("p", 6))
    return queue


def listed(queue: PromptQueue, **query: str) -> str:
    return "".join(job["id"] for job in json.loads(list_jobs(queue, query).body)["jobs"])


def job(queue: PromptQueue, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(find_job(queue, name).body)
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "predcba"),
        ({"sort_order": "ASC"}, "abcderp"),
        ({"sort_by": "Execution_Duration"}, "abcderp"),
        ({"sort_by": "execution_duration", "sort_order": "asc"}, "rpedcba"),
        ({"status": "completed"}, "eda"),
        ({"status": " Failed , cancelled"}, "cb"),
        ({"status": "pending,in_progress"}, "pr"),
        ({"status": ""}, "predcba"),
        ({"status": ","}, ""),
        ({"limit": "2"}, "pr"),
        ({"limit": "2", "offset": "5"}, "ba"),
        ({"offset": "-3", "limit": "1"}, "p"),
        ({"offset": "9"}, ""),
        ({"workflow_id": "nothing"}, ""),
    ],
)
def test_what_is_listed_in_which_order(queue: PromptQueue, query: dict[str, str], names: str) -> None:
    assert listed(queue, **query) == names


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (
            {"status": "zz, qq"},
            "Invalid status value(s): zz, qq. Valid values: pending, in_progress, completed, failed, cancelled",
        ),
        ({"sort_by": ""}, "sort_by must be 'created_at' or 'execution_duration'"),
        ({"sort_order": "up"}, "sort_order must be 'asc' or 'desc'"),
        ({"limit": "0"}, "limit must be a positive integer"),
        ({"limit": "-1"}, "limit must be a positive integer"),
        ({"limit": "1.0"}, "limit must be an integer"),
        ({"limit": ""}, "limit must be an integer"),
        ({"offset": "x"}, "offset must be an integer"),
    ],
)
def test_queries_that_are_refused(queue: PromptQueue, query: dict[str, str], error: str) -> None:
    answer = list_jobs(queue, query)
    assert (answer.status, json.loads(answer.body)) == (400, {"error": error})


@pytest.mark.parametrize(
    ("query", "pagination"),
    [
        ({}, {"offset": 0, "limit": None, "total": 7, "has_more": False}),
        ({"limit": "3", "offset": "2"}, {"offset": 2, "limit": 3, "total": 7, "has_more": True}),
        ({"limit": "5", "offset": "2"}, {"offset": 2, "limit": 5, "total": 7, "has_more": False}),
        ({"status": "completed", "limit": "1"}, {"offset": 0, "limit": 1, "total": 3, "has_more": True}),
    ],
)
def test_pagination_counts_after_filtering(
    queue: PromptQueue, query: dict[str, str], pagination: dict[str, Any]
) -> None:
    assert json.loads(list_jobs(queue, query).body)["pagination"] == pagination


def test_fields_of_each_kind_of_job(queue: PromptQueue) -> None:
    common = ["outputs_count", "previewable_outputs_count"]
    waiting = ["id", "status", "priority", "create_time", *common]
    ended = ["id", "status", "priority", "create_time", "execution_start_time", "execution_end_time"]
    detail = ["outputs", "execution_status", "workflow"]
    assert list(job(queue, "p")) == list(job(queue, "r")) == waiting
    assert list(job(queue, "a")) == [*ended, *common, *detail]
    assert list(job(queue, "b")) == [*ended, "execution_error", *common, *detail]
    assert list(job(queue, "c")) == [*ended, *common, *detail]
    assert {name: job(queue, name)["status"] for name in "abcderp"} == {
        "a": "completed",
        "b": "failed",
        "c": "cancelled",
        "d": "completed",  # a cycle found at run time
        "e": "completed",
        "r": "in_progress",
        "p": "pending",
    }
    assert job(queue, "a")["workflow"] == {"prompt": {"1": {}}, "extra_data": {"create_time": 0}}


def test_an_unknown_job(queue: PromptQueue) -> None:
    answer = find_job(queue, "zz")
    assert (answer.status, answer.body) == (404, b'{"error": "Job not found"}')


def test_the_history_comes_before_the_queue(queue: PromptQueue) -> None:
    queue.put(item("a", 9))
    assert job(queue, "a")["status"] == "completed"


def ended_with(outputs: dict[str, Any], **extra_data: Any) -> dict[str, Any]:
    queue = PromptQueue(lambda: None)
    queue.put(item("x", 1, **extra_data))
    finish(queue, start=1, end=2, **outputs)
    return job(queue, "x")


SAVED = {"filename": "s.png", "subfolder": "", "type": "output"}
TEMP = {"filename": "t.png", "subfolder": "", "type": "temp"}


@pytest.mark.parametrize(
    ("outputs", "counts", "preview"),
    [
        ({}, (0, 0), None),
        ({"1": {"images": [TEMP, SAVED]}}, (2, 2), {**SAVED, "nodeId": "1", "mediaType": "images"}),
        ({"1": {"images": [TEMP]}, "2": {"audio": [SAVED]}}, (2, 2), {**SAVED, "nodeId": "2", "mediaType": "audio"}),
        ({"1": {"images": [TEMP], "animated": [True]}}, (1, 1), {**TEMP, "nodeId": "1", "mediaType": "images"}),
        ({"1": {"latents": [SAVED]}}, (1, 0), None),
        (
            {"1": {"gifs": [{**SAVED, "format": "video/mp4"}]}},
            (1, 1),
            {**SAVED, "format": "video/mp4", "nodeId": "1", "mediaType": "gifs"},
        ),
        ({"1": {"text": ["hello"]}}, (0, 0), {"content": "hello", "nodeId": "1", "mediaType": "text"}),
        (
            {"1": {"text": ["x" * 1025]}},
            (0, 0),
            {"content": "x" * 1024, "truncated": True, "nodeId": "1", "mediaType": "text"},
        ),
        ({"1": {"text": ["t"], "images": [TEMP]}}, (1, 1), {**TEMP, "nodeId": "1", "mediaType": "images"}),
        (
            {"1": {"result": ["m.GLB", None, None]}},
            (1, 1),
            {"filename": "m.GLB", "type": "output", "subfolder": "", "nodeId": "1", "mediaType": "3d"},
        ),
        (
            {"1": {"text": ["t"], "files": [{**SAVED, "filename": "a.txt"}]}},
            (1, 1),
            {**SAVED, "filename": "a.txt", "nodeId": "1", "mediaType": "text"},
        ),
    ],
)
def test_counts_and_the_preview(
    outputs: dict[str, Any], counts: tuple[int, int], preview: dict[str, Any] | None
) -> None:
    found = ended_with(outputs)
    assert (found["outputs_count"], found["previewable_outputs_count"]) == counts
    assert found.get("preview_output") == preview


def test_outputs_are_normalised() -> None:
    model = {"filename": "m.glb", "type": "output", "subfolder": "", "mediaType": "3d"}
    assert ended_with({"1": {"result": ["m.glb", None, {"a": 1}], "n": 5}})["outputs"] == {
        "1": {"result": [model, {"a": 1}], "n": 5}
    }


def test_the_workflows_id() -> None:
    assert ended_with({}, extra_pnginfo={"workflow": {"id": "w"}})["workflow_id"] == "w"
    assert "workflow_id" not in ended_with({}, extra_pnginfo={"workflow": {}})


@pytest.mark.parametrize("info", [None, [], "x"])
def test_one_strange_entry_breaks_the_list_for_everybody(queue: PromptQueue, info: Any) -> None:
    queue.finish({}, {"status_str": "success", "messages": []}, {})
    queue.put(item("x", -1, extra_pnginfo=info))
    finish(queue, start=1, end=2)
    with pytest.raises(ServerTrouble):
        list_jobs(queue, {})
    with pytest.raises(ServerTrouble):
        find_job(queue, "x")
    queue.delete_history("x")
    assert listed(queue) == "predcba"


@pytest.mark.parametrize("ids", [[], [UUID], [UUID, UUID]])
def test_ids_to_cancel(ids: list[str]) -> None:
    assert cancel_targets({"job_ids": ids}) == ids


@pytest.mark.parametrize("body", [{}, [], None, {"job_ids": None}, {"job_ids": UUID}])
def test_no_list_to_cancel(body: Any) -> None:
    with pytest.raises(BadQuery, match="job_ids must be a list"):
        cancel_targets(body)


def test_invalid_ids_are_listed_as_python_shows_them() -> None:
    with pytest.raises(InvalidJobIds) as caught:
        cancel_targets({"job_ids": [UUID, "x", 5, None, UUID.upper().replace("1", "A")]})
    assert caught.value.ids == ["x", "5", "None", UUID.upper().replace("1", "A")]


@pytest.mark.parametrize("value", [UUID.replace("1", "A"), f"{UUID}\n", f" {UUID}", "", None, 5])
def test_only_the_canonical_form_is_a_uuid(value: Any) -> None:
    assert is_canonical_uuid(UUID)
    assert not is_canonical_uuid(value)
