"""The journal and the rules as JSON."""

from __future__ import annotations

import base64
from typing import Any

from msgspec import UNSET

from comfy_mock.engine.clients import Payload
from comfy_mock.engine.script.director import RuleUse
from comfy_mock.engine.script.reading import to_plain
from comfy_mock.server.journal_payloads import BINARY, PREVIEW, TEXT
from comfy_mock.server.journal_records import (
    AnyRecord,
    EventRecord,
    HoldRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
    json_of,
)
from comfy_mock.server.sockets import encode


def record_data(record: AnyRecord) -> dict[str, Any]:
    """A record of the journal."""
    if isinstance(record, RequestRecord):
        return _request(record)
    if isinstance(record, PromptRecord):
        return _prompt(record)
    if isinstance(record, SocketRecord):
        return _socket(record)
    if isinstance(record, EventRecord):
        return _event(record)
    assert isinstance(record, HoldRecord)
    return {"at": record.at, "name": record.name, "held": record.held, "released_at": record.released_at}


def use_data(use: RuleUse) -> dict[str, Any]:
    """A rule, and what became of it."""
    nearest = None if use.nearest is None else [str(difference) for difference in use.nearest[1]]
    return {
        "label": use.label,
        "rule": to_plain(use.rule),
        "legality": use.rule.legality,
        "fits": use.fits,
        "served": use.served,
        "spent": use.spent,
        "unused": use.unused,
        "nearest_miss": nearest,
    }


def payload_data(payload: Payload) -> dict[str, Any]:
    """A message: its data, or the bytes of a binary one."""
    return _event(EventRecord(0.0, payload), only_message=True)


def _request(record: RequestRecord) -> dict[str, Any]:
    return {
        "at": record.at,
        "method": record.method,
        "path": record.path,
        "raw_path": record.raw_path,
        "query": dict(record.query),
        "headers": dict(record.headers),
        "body": _content(record.body),
        "client_id": record.client_id,
        "route": record.route,
        "rules": list(record.rules),
        "status": record.status,
        "answer": _content(record.answer),
        "answer_bytes": record.answer_bytes,
        "ended_at": record.ended_at,
    }


def _prompt(record: PromptRecord) -> dict[str, Any]:
    return {
        "at": record.at,
        "prompt_id": record.prompt_id,
        "accepted": record.accepted,
        "place": record.place,
        "number": record.number,
        "client_id": record.client_id,
        "graph": record.graph,
        "refusal": record.refusal,
        "status": record.request.status,
    }


def _socket(record: SocketRecord) -> dict[str, Any]:
    return {
        "at": record.at,
        "connection": record.connection,
        "client_id": record.client_id,
        "open": record.open,
        "refused": record.refused,
        "closed_at": record.closed_at,
        "code": record.code,
        "rules": list(record.rules),
    }


def _event(record: EventRecord, *, only_message: bool = False) -> dict[str, Any]:
    data: dict[str, Any] = {"type": record.type}
    if record.type in (BINARY, PREVIEW, TEXT):
        content = encode(record.payload)
        assert isinstance(content, bytes)
        data["frame"] = base64.b64encode(content).decode("ascii")
    elif record.data is not UNSET:
        data["data"] = record.data
    if only_message:
        return data
    return {
        "at": record.at,
        **data,
        "prompt_id": record.prompt_id,
        "connections": list(record.connections),
        "rules": list(record.rules),
    }


def _content(body: bytes) -> dict[str, Any] | None:
    """A body: as JSON, else as text, else as base64."""
    if not body:
        return None
    value = json_of(body)
    if value is not UNSET:
        return {"json": value}
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}
