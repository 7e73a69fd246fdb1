"""Entries of a HAR made of live traffic."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import UNSET

from comfy_contracts.har import (
    BINARY_OPCODE,
    TEXT_OPCODE,
    Content,
    Entry,
    NameValue,
    PostData,
    Request,
    Response,
    WebSocketClose,
    WebSocketMessage,
)

_HTTP_1_1 = "HTTP/1.1"
_TEXTUAL = re.compile(r"(?i)$|text/|multipart/|application/x-www-form-urlencoded|[^;]*(?:json|xml|javascript)")
Headers = list[NameValue]


def headers_of(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Headers as HAR has them."""
    return [NameValue(name, value) for name, value in pairs]


def request_of(method: str, url: str, headers: Headers, body: bytes = b"") -> Request:
    """A request that was sent."""
    content_type = next((header.value for header in headers if header.name.lower() == "content-type"), "")
    text = _text(body, content_type)
    return Request(
        method=method,
        url=url,
        http_version=_HTTP_1_1,
        cookies=[],
        headers=headers,
        query_string=headers_of(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        headers_size=-1,
        body_size=len(body),
        post_data=UNSET
        if not body
        else PostData(
            mime_type=content_type,
            text=_base64(body) if text is None else text,
            encoding="base64" if text is None else UNSET,
        ),
    )


def response_of(status: int, reason: str, headers: Headers, body: bytes = b"") -> Response:
    """An answer; `body` is as it was on the wire, before any content encoding is undone."""
    content_type = next((header.value for header in headers if header.name.lower() == "content-type"), "")
    text = _text(body, content_type)
    return Response(
        status=status,
        status_text=reason,
        http_version=_HTTP_1_1,
        cookies=[],
        headers=headers,
        content=Content(
            size=len(body),
            mime_type=content_type,
            text=UNSET if not body else _base64(body) if text is None else text,
            encoding="base64" if text is None else UNSET,
        ),
        redirect_url=next((header.value for header in headers if header.name.lower() == "location"), ""),
        headers_size=-1,
        body_size=len(body),
    )


def no_response(problem: str) -> Response:
    """What stands for an answer where none came, as browsers write it: status 0."""
    return Response(
        status=0,
        status_text=problem,
        cookies=[],
        redirect_url="",
        headers_size=-1,
        body_size=-1,
        extra={"_error": problem},
    )


def exchange_entry(request: Request, response: Response, started: float, ended: float) -> Entry:
    """An HTTP exchange; times in epoch seconds."""
    return Entry(
        started_date_time=_iso(started), time=_milliseconds(started, ended), request=request, response=response, **_REST
    )


def socket_entry(
    request: Request,
    response: Response,
    messages: list[WebSocketMessage],
    close: WebSocketClose,
    started: float,
    ended: float,
) -> Entry:
    """A WebSocket connection; times in epoch seconds."""
    return Entry(
        started_date_time=_iso(started),
        time=_milliseconds(started, ended),
        resource_type="websocket",
        web_socket_messages=messages,
        web_socket_close=close,
        request=request,
        response=response,
        **_REST,
    )


def socket_message(type: str, payload: str | bytes, time: float) -> WebSocketMessage:  # noqa: A002 - HAR's own word
    """A message on a socket; `type` is `send` or `receive`, `time` in epoch seconds."""
    if isinstance(payload, str):
        return WebSocketMessage(type, time, TEXT_OPCODE, payload)
    return WebSocketMessage(type, time, BINARY_OPCODE, _base64(payload))


_REST: dict[str, Any] = {"cache": {}, "timings": {"send": 0, "wait": 0, "receive": 0}}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _milliseconds(started: float, ended: float) -> float:
    return round((ended - started) * 1000, 3)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _text(body: bytes, content_type: str) -> str | None:
    """The body as text, where its type is one of text and it is; else it must be kept in base64."""
    if _TEXTUAL.match(content_type) is None:
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
