"""The ASGI app's core: from a request to the handler of its endpoint, and back with the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from comfy_mock.engine.answers import PLAIN, Answer, ServerTrouble, empty, text_answer
from comfy_mock.server.asgi import (
    BodyTooLarge,
    ClientGone,
    RawHeaders,
    answer_headers,
    read_body,
    refuse_upgrade,
    request_of,
    send_answer,
    send_early_answer,
    target_of,
    unpacked,
)
from comfy_mock.server.http import Endpoint, HttpRequest
from comfy_mock.server.middleware import finished, origin_refused
from comfy_mock.server.refusals import refusal, unexpected
from comfy_mock.server.router import Found, Router
from comfy_mock.server.upgrades import upgrade_fault

logger = logging.getLogger("comfy_mock.server")

_BODY_METHODS = ("POST", "PUT", "PATCH")

_TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"
_TROUBLE_PAGE = (
    b"<html><head><title>500 Internal Server Error</title></head><body>\n<h1>500 Internal Server Error</h1>\n"
    b"Server got itself in trouble\n</body></html>\n"
)


class Server(Protocol):
    """What the app is built around."""

    @property
    def engine(self) -> Any:
        """The engine that answers; looked up for every request, so it may be exchanged."""

    def answering(self) -> AbstractContextManager[None]:
        """Entered before a handler is called, left when its answer is sent: meanwhile no event goes to a WebSocket."""

    async def websocket_endpoint(self, websocket: WebSocket) -> None:
        """Serve a WebSocket whose upgrade passed the origin rule."""


class Shell:
    """The ASGI app itself: finds the endpoint of a request, reads its body, calls its handler, sends the answer.

    Raises `ValueError` for two endpoints with one method and path.
    """

    def __init__(self, server: Server, endpoints: Iterable[Endpoint]) -> None:
        self._server = server
        self._router = Router([Endpoint("GET", "/ws", _without_upgrade), *endpoints])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        if scope["type"] == "websocket":
            await self._websocket(request, scope, receive, send)
        else:
            await self._http(request, scope, receive, send)

    async def _http(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(request, scope)
        if isinstance(found, Found) and request.method in _BODY_METHODS and found.endpoint.reads_body:
            limit = self._server.engine.options.upload_bytes_max
            try:
                body = await read_body(receive, request, limit)
                encoding = request.headers.get("content-encoding", "").lower()
                request = replace(request, body=unpacked(body, encoding, limit))
            except ClientGone:
                return
            except BodyTooLarge as refused:
                await self._refuse_body(request, limit, receive, send, unread=refused.unread)
                return
            except ServerTrouble as trouble:
                _log_trouble(request, trouble)
                found = _trouble_answer(request)
        made = None
        if isinstance(found, Found) and found.endpoint.slow:
            with self._server.answering():
                engine = self._server.engine  # what is due has happened now: it may be what makes the file asked for
            made = await asyncio.to_thread(_handled, engine, request, found)
        with self._server.answering():
            answer, headers = self._answer(request, found, made)
            await send_answer(send, answer, headers, request.method)

    async def _websocket(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(request, scope)
        if isinstance(found, Found) and found.endpoint.handler is _without_upgrade:
            await self._server.websocket_endpoint(WebSocket(scope, receive, send))
            return
        with self._server.answering():
            answer, headers = self._answer(request, found)
            await refuse_upgrade(scope, receive, send, answer, headers)

    def _find(self, request: HttpRequest, scope: Scope) -> Found | Answer:
        """The endpoint, or what is answered without asking one."""
        refused = refusal(request, target_of(scope), len(scope["headers"])) or unexpected(request)
        if refused is not None:
            return refused
        try:
            if self._server.engine.options.enable_cors_header is None and origin_refused(request.headers):
                return empty(403)
        except ServerTrouble as trouble:
            _log_trouble(request, trouble)
            return _trouble_answer(request)
        if request.method == "OPTIONS":
            return empty()
        return self._router.find(request.method, request.raw_path)

    def _answer(
        self, request: HttpRequest, found: Found | Answer, made: Answer | None = None
    ) -> tuple[Answer, RawHeaders]:
        """The answer as it is sent; `made` is what the endpoint's handler has answered already, if it has."""
        engine = self._server.engine
        if made is None:
            made = _handled(engine, request, found) if isinstance(found, Found) else found
        answer = finished(
            made,
            engine.options,
            path=request.path,
            accept_encoding=request.headers.get("accept-encoding", ""),
            handled=isinstance(found, Found) or found.chunked,
        )
        try:
            return answer, answer_headers(answer, request.method, engine.now)
        except ServerTrouble as trouble:
            _log_trouble(request, trouble)
            answer = _trouble_answer(request)
            return answer, answer_headers(answer, request.method, engine.now)

    async def _refuse_body(
        self, request: HttpRequest, limit: int, receive: Receive, send: Send, *, unread: bool
    ) -> None:
        text = f"Maximum request body size {limit} exceeded."
        answer = text_answer(text, 413, from_exception=True)
        # A client that waits for leave to send its body does not send it after this answer.
        waits = unread and request.headers.get("expect", "").lower() == "100-continue"
        if waits:
            answer = replace(answer, headers=(("Connection", "close"),))
        headers = answer_headers(answer, request.method, self._server.engine.now)
        if unread and not waits:
            await send_early_answer(receive, send, answer, headers)
        else:
            await send_answer(send, answer, headers, request.method)


def _handled(engine: Any, request: HttpRequest, found: Found) -> Answer:
    """What the handler answers, or 500 where it fails (protocol 1.3)."""
    try:
        return found.endpoint.handler(engine, replace(request, path_params=found.path_params))
    except ServerTrouble as trouble:
        _log_trouble(request, trouble)
    except Exception:
        logger.exception("A bug in comfy-mock: %s %s failed", request.method, request.raw_path)
    return _trouble_answer(request)


def _log_trouble(request: HttpRequest, trouble: ServerTrouble) -> None:
    logger.warning("%s %s is answered 500, as a real server would: %s", request.method, request.raw_path, trouble)


def _trouble_answer(request: HttpRequest) -> Answer:
    headers = (("Connection", "close"),)
    if "text/html" in request.headers.get("accept", ""):
        return Answer(500, _TROUBLE_PAGE, "text/html; charset=utf-8", headers, from_exception=True)
    return Answer(500, _TROUBLE, PLAIN, headers, from_exception=True)


def _without_upgrade(_engine: Any, request: HttpRequest) -> Answer:
    """GET /ws that does not open a WebSocket (protocol 1.3)."""
    return text_answer(upgrade_fault(request.headers) or "", 400, from_exception=True)
