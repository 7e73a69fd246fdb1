"""Jobs: one view of a prompt, whether it waits, runs or is history (protocol 4.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_mock.engine.answers import Answer, ServerTrouble, json_answer
from comfy_mock.engine.queue import PromptItem, PromptQueue

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")

_3D_ENDINGS = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_TEXT_ENDINGS = (".txt", ".md", ".json")
_PREVIEWABLE_KEYS = ("images", "video", "audio", "3d", "text")
_TEXT_MAX = 1024
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BadQuery(ValueError):
    """A parameter of `GET /api/jobs` is wrong; the message is the answer's `error`."""


def is_canonical_uuid(value: Any) -> bool:
    """Whether `value` is a UUID in the one form that the server takes: lower case, with hyphens."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class _JobQuery:
    statuses: set[str] | None
    workflow_id: str | None
    by_duration: bool
    descending: bool
    limit: int | None
    offset: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> _JobQuery:
        """Read the parameters in the order in which the real server finds fault with them. Raises `BadQuery`."""
        statuses = _statuses(query.get("status"))
        sort_by = query.get("sort_by", "created_at").lower()
        if sort_by not in ("created_at", "execution_duration"):
            raise BadQuery("sort_by must be 'created_at' or 'execution_duration'")
        sort_order = query.get("sort_order", "desc").lower()
        if sort_order not in ("asc", "desc"):
            raise BadQuery("sort_order must be 'asc' or 'desc'")
        limit = _integer(query, "limit")
        if limit is not None and limit <= 0:
            raise BadQuery("limit must be a positive integer")
        offset = max(_integer(query, "offset") or 0, 0)
        workflow_id = query.get("workflow_id") or None
        return cls(statuses, workflow_id, sort_by == "execution_duration", sort_order == "desc", limit, offset)


def list_jobs(queue: PromptQueue, query: Mapping[str, str]) -> Answer:
    """`GET /api/jobs`: `query` has the first value of each parameter."""
    try:
        wanted = _JobQuery.of(query)
    except BadQuery as problem:
        return json_answer({"error": str(problem)}, 400)
    jobs = [job for job in _all_jobs(queue) if wanted.statuses is None or job["status"] in wanted.statuses]
    if wanted.workflow_id is not None:
        jobs = [job for job in jobs if job.get("workflow_id") == wanted.workflow_id]
    jobs.sort(key=_duration if wanted.by_duration else _created, reverse=wanted.descending)
    end = None if wanted.limit is None else wanted.offset + wanted.limit
    pagination = {
        "offset": wanted.offset,
        "limit": wanted.limit,
        "total": len(jobs),
        "has_more": end is not None and end < len(jobs),
    }
    return json_answer({"jobs": jobs[wanted.offset : end], "pagination": pagination})


def find_job(queue: PromptQueue, job_id: str) -> Answer:
    """`GET /api/jobs/{job_id}`: from the history first, then running, then pending."""
    entry = queue.history.get(job_id)
    if entry is not None:
        _number, _id, prompt, extra_data, _outputs = entry["prompt"]
        return json_answer(
            {
                **_finished(entry),
                "outputs": _normalised(entry["outputs"]),
                "execution_status": entry["status"],
                "workflow": {"prompt": prompt, "extra_data": extra_data},
            }
        )
    for status, item in _queued(queue):
        if item.prompt_id == job_id:
            return json_answer(_waiting(item, status))
    return json_answer({"error": "Job not found"}, 404)


def cancel_targets(body: Any) -> list[str]:
    """The ids of `POST /api/jobs/cancel`. Raises `InvalidJobIds`, or `BadQuery` where there is no list."""
    ids = body.get("job_ids") if isinstance(body, dict) else None
    if not isinstance(ids, list):
        raise BadQuery("job_ids must be a list")
    invalid = [job_id if isinstance(job_id, str) else repr(job_id) for job_id in ids if not is_canonical_uuid(job_id)]
    if invalid:
        raise InvalidJobIds(invalid)
    return ids


class InvalidJobIds(ValueError):
    """Some ids are no canonical UUIDs; `ids` has them as the answer lists them."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__("job_ids contains invalid id(s)")
        self.ids = ids


def _statuses(text: str | None) -> set[str] | None:
    if not text:
        return None
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in STATUSES]
    if unknown:
        raise BadQuery(f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(STATUSES)}")
    return set(words)


def _integer(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    try:
        return int(query[name])
    except ValueError:
        raise BadQuery(f"{name} must be an integer") from None


def _all_jobs(queue: PromptQueue) -> Iterator[dict[str, Any]]:
    for status, item in _queued(queue):
        yield _waiting(item, status)
    for entry in queue.history.values():
        yield _finished(entry)


def _queued(queue: PromptQueue) -> Iterator[tuple[str, PromptItem]]:
    if queue.listed is not None:
        yield "in_progress", queue.listed
    for item in queue.pending:
        yield "pending", item


def _created(job: Mapping[str, Any]) -> Any:
    return job.get("create_time", 0)


def _duration(job: Mapping[str, Any]) -> Any:
    start, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - start if start and end else 0


def _without_nulls(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if value is not None}


def _workflow_id(extra_data: Mapping[str, Any]) -> Any:
    """The id of the workflow. An `extra_pnginfo` that is no object breaks the real server's listing (protocol 4.6)."""
    info = extra_data.get("extra_pnginfo", {})
    if not isinstance(info, dict):
        raise ServerTrouble(f"extra_pnginfo is {type(info).__name__}, not an object")
    workflow = info.get("workflow", {})
    if not isinstance(workflow, dict):
        raise ServerTrouble(f"extra_pnginfo.workflow is {type(workflow).__name__}, not an object")
    return workflow.get("id")


def _waiting(item: PromptItem, status: str) -> dict[str, Any]:
    return _without_nulls(
        {
            "id": item.prompt_id,
            "status": status,
            "priority": item.number,
            "create_time": item.extra_data.get("create_time"),
            "outputs_count": 0,
            "previewable_outputs_count": 0,
            "workflow_id": _workflow_id(item.extra_data),
        }
    )


def _finished(entry: Mapping[str, Any]) -> dict[str, Any]:
    number, prompt_id, _prompt, extra_data, _outputs = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    interrupted, error = messages.get("execution_interrupted"), messages.get("execution_error")
    status = "completed"
    if entry["status"]["status_str"] == "error":
        status = "cancelled" if interrupted is not None else "failed"
    end = messages.get("execution_success") or error or interrupted or {}
    count, previewable, preview = _outputs_of(entry["outputs"])
    return _without_nulls(
        {
            "id": prompt_id,
            "status": status,
            "priority": number,
            "create_time": extra_data.get("create_time"),
            "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
            "execution_end_time": end.get("timestamp"),
            "execution_error": error,
            "outputs_count": count,
            "previewable_outputs_count": previewable,
            "preview_output": preview,
            "workflow_id": _workflow_id(extra_data),
        }
    )


def _is_3d_file(item: Any) -> bool:
    return isinstance(item, str) and item.lower().endswith(_3D_ENDINGS)


def _normalised_item(item: Any) -> Any:
    if _is_3d_file(item):
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return item


def _normalised(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        node_id: {
            key: [_normalised_item(item) for item in items if item is not None] if isinstance(items, list) else items
            for key, items in ui.items()
        }
        for node_id, ui in outputs.items()
    }


def _items(outputs: Mapping[str, Any]) -> Iterable[tuple[str, str, Any]]:
    for node_id, ui in outputs.items():
        for key, items in ui.items():
            if key != "animated" and isinstance(items, list):
                yield from ((node_id, key, _normalised_item(item)) for item in items if item is not None)


def _is_previewable(key: str, item: Mapping[str, Any]) -> bool:
    name, kind = str(item.get("filename", "")).lower(), str(item.get("format", ""))
    return (
        key in _PREVIEWABLE_KEYS
        or kind.startswith(("video/", "audio/"))
        or name.endswith(_3D_ENDINGS)
        or name.endswith(_TEXT_ENDINGS)
    )


def _is_visual(key: str, item: Mapping[str, Any]) -> bool:
    return _is_previewable(key, item) and not str(item.get("filename", "")).lower().endswith(_TEXT_ENDINGS)


def _outputs_of(outputs: Mapping[str, Any]) -> tuple[int, int, dict[str, Any] | None]:
    """How many outputs there are, how many of them can be previewed, and the one that stands for all."""
    count = previewable = 0
    best: dict[str, Any] = {}
    for node_id, key, item in _items(outputs):
        if isinstance(item, dict):
            count += 1
            previewable += _is_previewable(key, item)
            shown = {**item, "nodeId": node_id, "mediaType": item.get("mediaType", key)}
            if _is_visual(key, item):
                best.setdefault("output" if item.get("type") == "output" else "other", shown)
            elif str(item.get("filename", "")).lower().endswith(_TEXT_ENDINGS):
                best.setdefault("text file", {**item, "nodeId": node_id, "mediaType": "text"})
        elif key == "text" and isinstance(item, str):
            text: dict[str, Any] = {"content": item[:_TEXT_MAX]}
            if len(item) > _TEXT_MAX:
                text["truncated"] = True
            best.setdefault("text", {**text, "nodeId": node_id, "mediaType": "text"})
    return (
        count,
        previewable,
        next((best[kind] for kind in ("output", "other", "text file", "text") if kind in best), None),
    )
