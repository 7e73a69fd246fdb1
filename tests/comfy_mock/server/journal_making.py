"""A journal as the shells would write it (protocol 3.1, 6.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comfy_mock.engine.answers import json_answer
from comfy_mock.engine.script.director import Director
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_records import PromptRecord, RequestRecord

GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"steps": 20, "cfg": 8.0, "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
}


class Time:
    """Simulated time that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def new_journal(director: Director | None = None, **arguments: Any) -> tuple[Journal, Time]:
    """A journal and its time."""
    time = Time()
    return Journal(director, now=time, **arguments), time


def request(
    journal: Journal,
    method: str,
    path: str,
    *,
    status: int | None = 200,
    route: str | None = "",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    answer: bytes = b"",
) -> RequestRecord:
    """A request that was answered at once, by the route of its path unless another is given."""
    record = journal.request(100.0, method, path, query or {}, headers or {}, body)
    record.route = path if route == "" else route
    record.answered(100.0, status, answer)
    return record


def prompt(
    journal: Journal, graph: Mapping[str, Any] = GRAPH, *, prompt_id: str = "p", status: int = 200, **body: Any
) -> PromptRecord:
    """A prompt that was accepted, or refused with another status than 200."""
    text = json.dumps({"prompt": graph, **body}).encode()
    record = journal.request(100.0, "POST", "/prompt", {}, {}, text)
    record.route = "/prompt"
    error = {"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs"}, "node_errors": {}}
    answer = json_answer({"prompt_id": prompt_id, "number": 5, "node_errors": {}} if status == 200 else error, status)
    record.handled(answer)
    record.answered(100.0, answer.status, answer.body)
    assert record.prompt is not None
    return record.prompt
