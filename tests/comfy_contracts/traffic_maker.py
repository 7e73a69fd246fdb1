"""Makes small HARs for tests: the n-th entry starts n seconds after the first unless a test says otherwise."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

from comfy_contracts.har import Har

START = 1_795_000_000.0
PROMPT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def har(*entries: dict[str, Any]) -> Har:
    ordered = sorted(entries, key=lambda entry: entry["startedDateTime"])
    log = {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": list(ordered)}
    return Har.from_builtins({"log": json.loads(json.dumps(log))})


def exchange(
    method: str = "GET",
    path: str = "/prompt",
    *,
    at: float = 0.0,
    status: int = 200,
    sent: Any = None,
    sent_headers: dict[str, str] | None = None,
    answer: Any = None,
    headers: dict[str, str] | None = None,
    host: str = "127.0.0.1:8188",
) -> dict[str, Any]:
    """`sent` and `answer`: bytes and text as they are, anything else as JSON in Python's default form."""
    json_answer = answer is not None and not isinstance(answer, (bytes, str))
    types = {"Content-Type": "application/json; charset=utf-8"} if json_answer else {}
    request: dict[str, Any] = {
        "method": method,
        "url": f"http://{host}{path}",
        "headers": _headers({"Host": host, **(sent_headers or {})}),
    }
    if sent is not None:
        request["postData"] = {"mimeType": "", **_text(sent, "_encoding")}
    content = {"size": 0, "mimeType": "", **(_text(answer, "encoding") if answer is not None else {})}
    response = {"status": status, "statusText": "OK", "headers": _headers({**types, **(headers or {})})}
    return {
        "startedDateTime": _iso(START + at),
        "time": 5.0,
        "request": request,
        "response": {**response, "content": content},
    }


def socket(
    *messages: tuple[float, Any],
    path: str = "/ws?clientId=watcher",
    at: float = 0.0,
    until: float = 1000.0,
    code: int | None = 1000,
    host: str = "127.0.0.1:8188",
) -> dict[str, Any]:
    """Messages are (seconds after the start, what): a dict is received as JSON, text and bytes as they
    are; a text in a list is sent."""
    return {
        "startedDateTime": _iso(START + at),
        "time": (until - at) * 1000,
        "_resourceType": "websocket",
        "_webSocketMessages": [_message(moment, what) for moment, what in messages],
        "_webSocketClose": {"code": code, "reason": ""},
        "request": {
            "method": "GET",
            "url": f"ws://{host}{path}",
            "headers": _headers({"Host": host, "Sec-WebSocket-Extensions": "permessage-deflate"}),
        },
        "response": {"status": 101, "statusText": "Switching Protocols", "headers": []},
    }


def status(remaining: int, sid: str | None = None) -> dict[str, Any]:
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return {"type": "status", "data": data if sid is None else {**data, "sid": sid}}


def message(kind: str, prompt: str = PROMPT, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {**data, "prompt_id": prompt}}


def steps(state: dict[str, tuple[float, float, str]], prompt: str = PROMPT) -> dict[str, Any]:
    """A progress_state: node to (value, max, state)."""
    nodes = {
        node: {"value": value, "max": most, "state": word, "node_id": node, "prompt_id": prompt}
        for node, (value, most, word) in state.items()
    }
    return {"type": "progress_state", "data": {"prompt_id": prompt, "nodes": nodes}}


def queued(prompt: str = PROMPT, number: float = 0, **arguments: Any) -> dict[str, Any]:
    """A POST of /prompt that was accepted."""
    answer = {"prompt_id": prompt, "number": number, "node_errors": {}}
    return exchange("POST", "/prompt", **{"sent": {"prompt": {}}, "answer": answer, **arguments})


def history(prompt: str, outputs: list[str], result: Any = None, **arguments: Any) -> dict[str, Any]:
    item = [0, prompt, {}, {}, outputs]
    answer = {prompt: {"prompt": item, "outputs": result or {}}}
    return exchange("GET", f"/history/{prompt}", **{"answer": answer, **arguments})


def _message(moment: float, what: Any) -> dict[str, Any]:
    if isinstance(what, list):
        return {"type": "send", "time": START + moment, "opcode": 1, "data": what[0]}
    if isinstance(what, bytes):
        data = base64.b64encode(what).decode()
        return {"type": "receive", "time": START + moment, "opcode": 2, "data": data}
    return {
        "type": "receive",
        "time": START + moment,
        "opcode": 1,
        "data": what if isinstance(what, str) else json.dumps(what),
    }


def _text(body: Any, encoding: str) -> dict[str, str]:
    if isinstance(body, bytes):
        return {"text": base64.b64encode(body).decode(), encoding: "base64"}
    return {"text": body if isinstance(body, str) else json.dumps(body)}


def _headers(headers: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers.items()]


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
