from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from comfy_contracts import har, jsontext, results
from comfy_contracts.messages import ExecutionError, ExecutionStart, ExecutionSuccess, Unknown
from comfy_contracts.results import (
    Features,
    FileItem,
    HistoryEntry,
    HistoryStatus,
    Job,
    JobList,
    Pagination,
    PromptInfo,
    Queue,
    QueueItem,
    SystemStats,
    UploadedFile,
)
from comfy_contracts.structs import ShapeError

RECORDINGS = har.packaged_recordings("0.33.0")


def reader_of(entry: har.Entry) -> Callable[[Any], Any] | None:
    """How the answer to a recorded request is typed; None for those that are not results."""
    path = urlsplit(entry.request.url).path.removeprefix("/api")
    content_type = entry.response.header("Content-Type") or ""
    packed = entry.response.header("Content-Encoding") is not None
    if entry.response.status != 200 or "json" not in content_type or packed:
        return None
    if entry.request.method != "GET":
        return UploadedFile.from_builtins if path.startswith("/upload/") else None
    if path.startswith("/history"):
        return results.read_history
    if path.startswith(("/jobs", "/api/jobs")):
        return JobList.from_builtins if path.endswith("/jobs") else Job.from_builtins
    readers = {"/queue": Queue, "/prompt": PromptInfo, "/system_stats": SystemStats, "/features": Features}
    return readers[path].from_builtins if path in readers else None


def test_every_recorded_result_is_typed_and_written_back_as_it_was() -> None:
    seen: Counter[str] = Counter()
    for name, recording in RECORDINGS.items():
        for entry in har.load(recording).exchanges():
            reader = reader_of(entry)
            if reader is not None:
                assert entry.response.body is not None
                text = entry.response.body.decode()
                assert jsontext.dumps(reader(json.loads(text))) == text, (name, entry.request.url)
                seen[str(reader).split(".")[0]] += 1

    assert sum(seen.values()) > 250
    kinds = {urlsplit(e.request.url).path for r in RECORDINGS.values() for e in har.load(r).exchanges() if reader_of(e)}
    assert {"/queue", "/history", "/api/jobs", "/prompt", "/system_stats", "/features", "/upload/image"} <= kinds


def test_every_message_in_recorded_history_is_typed() -> None:
    count = 0
    for recording in RECORDINGS.values():
        for entry in har.load(recording).exchanges():
            if reader_of(entry) is results.read_history:
                for item in results.read_history(json.loads(entry.response.body or b"")).values():
                    assert isinstance(item.status, HistoryStatus)
                    typed = list(item.status.typed_messages())
                    assert isinstance(typed[0], ExecutionStart)
                    assert not any(isinstance(message, Unknown) for message in typed)
                    count += 1

    assert count > 200


def test_a_queue_item_is_a_list_of_five() -> None:
    value = [-5.0, "id", {"1": {"class_type": "A"}}, {"client_id": "c", "create_time": 1}, ["1"]]

    item = QueueItem.from_builtins(value)

    assert (item.number, item.prompt_id, item.outputs_to_execute) == (-5.0, "id", ["1"])
    assert jsontext.dumps(item) == json.dumps(value)


def test_further_elements_of_a_queue_item_survive() -> None:
    value = [0, "id", {}, {}, [], {"secret": 1}, None]

    assert QueueItem.from_builtins(value).to_builtins() == value


@pytest.mark.parametrize(
    "value", [[], [0, "id", {}, {}], {"number": 0}, None, ["0", "id", {}, {}, []], [0, 1, {}, {}, []]]
)
def test_what_is_no_queue_item_is_refused(value: Any) -> None:
    with pytest.raises(ShapeError, match=r"in `queue_pending\[1\]`"):
        Queue.from_builtins({"queue_running": [], "queue_pending": [[0, "id", {}, {}, []], value]})


ENTRY = {
    "prompt": [0, "p", {}, {}, []],
    "outputs": {"2": {"text": ["a"]}},
    "status": {"status_str": "success", "completed": True, "messages": [["execution_success", {"a": 1}]], "x": 1},
    "meta": {"2": {"node_id": "2", "display_node": "2", "parent_node": None, "real_node_id": "2", "y": 2}},
    "z": 3,
}


def test_unknown_fields_of_a_history_entry_survive() -> None:
    entry = HistoryEntry.from_builtins(ENTRY)

    assert entry.extra == {"z": 3}
    assert jsontext.dumps(entry) == json.dumps(ENTRY)


@pytest.mark.parametrize("absent", [("status",), ("meta",), ("status", "meta")])
def test_an_older_servers_history_entry_may_lack_parts(absent: tuple[str, ...]) -> None:
    value = {key: item for key, item in ENTRY.items() if key not in absent}

    assert HistoryEntry.from_builtins(value).to_builtins() == value


def test_a_history_of_another_shape_is_refused_with_its_place() -> None:
    broken = {**ENTRY, "meta": {"2": {}}}

    with pytest.raises(ShapeError, match=r"in `p2\.meta\.2`"):
        results.read_history({"p1": ENTRY, "p2": broken})
    with pytest.raises(ShapeError, match="a history must be a JSON object"):
        results.read_history([])


def test_a_failed_job_has_a_typed_error() -> None:
    error = {
        "prompt_id": "p",
        "node_id": "1",
        "node_type": "A",
        "executed": [],
        "exception_message": "boom\n",
        "exception_type": "ValueError",
        "traceback": [],
        "current_inputs": {},
        "current_outputs": ["1"],
        "timestamp": 5,
        "severity": 9,
    }
    value = {"id": "p", "status": "failed", "priority": 1.5, "execution_error": error, "workflow_id": 7, "new": []}

    job = Job.from_builtins(value)

    assert isinstance(job.execution_error, ExecutionError)
    assert job.execution_error.extra == {"severity": 9}
    assert job.to_builtins() == value


def test_a_page_without_limit_has_null() -> None:
    text = '{"jobs": [], "pagination": {"offset": 0, "limit": null, "total": 0, "has_more": false}}'

    assert JobList.from_json(text).pagination == Pagination(0, None, 0, False)
    assert jsontext.dumps(JobList.from_json(text)) == text


def test_the_stats_of_older_servers_are_read() -> None:
    device = {
        "name": "cuda:0 X : cudaMallocAsync",
        "type": "cuda",
        "index": 0,
        "vram_total": 1,
        "vram_free": 1,
        "torch_vram_total": 1,
        "torch_vram_free": 1,
    }
    system = {
        "os": "posix",
        "ram_total": 2,
        "ram_free": 1,
        "comfyui_version": "0.3.64",
        "python_version": "3.11",
        "pytorch_version": "2.5",
        "embedded_python": False,
        "argv": ["main.py"],
    }

    stats = SystemStats.from_builtins({"system": system, "devices": [device]})

    assert stats.devices[0].index == 0
    assert stats.to_builtins() == {"system": system, "devices": [device]}


def test_features_keep_flags_from_the_command_line() -> None:
    value = {"supports_preview_metadata": True, "max_upload_size": 10485.76, "num": "3"}

    features = Features.from_builtins(value)

    assert features.extra == {"num": "3"}
    assert features.to_builtins() == value


def test_the_files_of_an_output_are_found() -> None:
    image = {"filename": "a.png", "subfolder": "", "type": "output"}
    sound = {"filename": "a.flac", "subfolder": "audio", "type": "temp", "id": "x"}
    output = {"images": [image], "animated": [True], "text": ["a"], "audio": [None, {"filename": 1}, sound], "n": 5}

    assert list(results.file_items(output)) == [
        ("images", FileItem("a.png", "", "output")),
        ("audio", FileItem("a.flac", "audio", "temp", extra={"id": "x"})),
    ]


def test_a_node_that_shows_nothing_has_no_files() -> None:
    assert list(results.file_items(None)) == []


def test_a_history_status_types_its_messages() -> None:
    status = HistoryStatus("success", True, [("execution_success", {"prompt_id": "p", "timestamp": 5}), ("odd", 1)])

    assert list(status.typed_messages()) == [ExecutionSuccess("p", 5), Unknown("odd", 1)]
