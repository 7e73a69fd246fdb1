"""Answers of forks, proxies and custom nodes that lack something, or hold too much: what is there is enough.

The structs of `comfy_contracts` are what ComfyUI sends, and refuse anything else. A client that refused it as well
would lose the result of a run for the sake of a field that it does not need.
"""

from __future__ import annotations

from typing import Any

from comfy_contracts.results import NodeMeta
from comfy_contracts.structs import ShapeError


def readable_answer(value: Any) -> Any:
    """The answer of `POST /prompt` with `node_errors`, which says that nothing is wrong where it is missing."""
    if isinstance(value, dict) and value.get("node_errors") is None:
        return {**value, "node_errors": {}}
    return value


def readable_history(value: Any) -> Any:
    """The answer of `GET /history` with what its entries need, and without what cannot be read and is not needed."""
    if not isinstance(value, dict):
        return value
    return {key: _readable_entry(entry) if isinstance(entry, dict) else entry for key, entry in value.items()}


def _readable_entry(entry: dict[str, Any]) -> dict[str, Any]:
    entry = dict(entry)
    outputs = entry.get("outputs")
    if outputs is None:
        entry["outputs"] = {}
    elif isinstance(outputs, dict) and None in outputs.values():
        entry["outputs"] = {node_id: output for node_id, output in outputs.items() if output is not None}
    if isinstance(entry.get("status"), dict):
        entry["status"] = _readable_status(entry["status"])
    if "meta" in entry and not _is_meta(entry["meta"]):
        del entry["meta"]
    return entry


def _readable_status(status: dict[str, Any]) -> dict[str, Any]:
    messages = status.get("messages")
    pairs = [pair for pair in messages if _is_pair(pair)] if isinstance(messages, list) else []
    return {
        **status,
        "completed": bool(status.get("completed", status.get("status_str") == "success")),
        "messages": pairs,
    }


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _is_meta(value: Any) -> bool:
    try:
        return isinstance(value, dict) and all(NodeMeta.from_builtins(item) for item in value.values())
    except ShapeError:
        return False
