"""The ASGI app's core: from a request to the handler of its endpoint, and back with the answer.

What a script wants of an exchange is done in `_scripted`; without rules about requests or gaps nobody comes there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from comfy_mock.engine.answers import PLAIN, Answer, ServerTrouble, empty, text_answer
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.matching import PromptSubject
from comfy_mock.engine.script.model import Point, PointRule, RequestRule
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
from comfy_mock.server.faults import (
    TROUBLE,
    Exchange,
    answer_instead,
    change_after,
    end_of,
    is_punctual,
    late,
    lost,
    outlasted,
    send_faulty,
    with_headers,
)
from comfy_mock.server.faults_waiting import Told, Waiting, Waits
from comfy_mock.server.http import Endpoint, HttpRequest
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_records import RequestRecord
from comfy_mock.server.middleware import finished, origin_refused
from comfy_mock.server.refusals import refusal, unexpected
from comfy_mock.server.router import Found, Router
from comfy_mock.server.upgrades import upgrade_fault
from comfy_mock.server.wire_connection import break_off

logger = logging.getLogger("comfy_mock.server")

_BODY_METHODS = ("POST", "PUT", "PATCH")

_POLLED = frozenset(("/prompt", "/queue", "/history", "/history/{prompt_id}", "/api/jobs", "/api/jobs/{job_id}"))
"""Where clients ask how their prompts are."""

_NO_FAULT = RequestRule()

_TROUBLE_PAGE = (
    b"<html><head><title>500 Internal Server Error</title></head><body>\n<h1>500 Internal Server Error</h1>\n"
    b"Server got itself in trouble\n</body></html>\n"
)


class Server(Protocol):
    """What the app is built around. Its parts are looked up for every request, for they may be exchanged."""

    @property
    def engine(self) -> Any:
        """The engine that answers."""

    @property
    def director(self) -> Director:
        """The script at work."""

    @property
    def journal(self) -> Journal:
        """Where all requests are noted."""

    @property
    def waits(self) -> Waits:
        """What is late on purpose."""

    @property
    def down(self) -> bool:
        """Whether requests are broken off: of those that are connected all the same, or need no network."""

    def now(self) -> float:
        """The simulated time."""

    def answering(self) -> AbstractContextManager[None]:
        """Entered before a handler is called, left when its answer is sent: meanwhile no event goes to a WebSocket."""

    def polled(self) -> None:
        """A question about prompts was answered."""

    async def websocket_endpoint(self, websocket: WebSocket, record: RequestRecord) -> Answer | None:
        """Serve a WebSocket whose upgrade passed the origin rule, or say what its upgrade is answered instead."""


class Shell:
    """The ASGI app itself: finds the endpoint of a request, reads its body, calls its handler, sends the answer.

    Raises `ValueError` for two endpoints with one method and path.
    """

    def __init__(self, server: Server, endpoints: Iterable[Endpoint]) -> None:
        self._server = server
        self._router = Router([Endpoint("GET", "/ws", _without_upgrade), *endpoints])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._server.down:
            await break_off(scope, receive)
            return
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
                self._noted(request, scope, found)
                return
            except BodyTooLarge as refused:
                record = self._noted(request, scope, found)
                await self._refuse_body(request, record, limit, receive, send, unread=refused.unread)
                return
            except ServerTrouble as trouble:
                _log_trouble(request, trouble)
                found = _trouble_answer(request)
        record = self._noted(request, scope, found)
        if self._server.director.has(RequestRule) or self._server.director.has(PointRule):
            await self._scripted(Exchange(scope, receive, send, record), request, found)
        else:
            aside = await self._made_aside(request, found)
            with self._server.answering():
                made = aside or self._made(request, found)
                record.handled(made)
                answer, headers = self._finished(request, found, made)
                record.answered(self._server.now(), answer.status, answer.body)
                await send_answer(send, answer, headers, request.method)
        if request.method == "GET" and record.route in _POLLED and record.status == HTTPStatus.OK:
            self._server.polled()

    async def _scripted(self, exchange: Exchange, request: HttpRequest, found: Found | Answer) -> None:
        """Answer as a script will have it. While an answer is late on purpose, messages go out and all else goes on."""
        server, record = self._server, exchange.record
        rule = self._rule(record)
        made = instead = answer_instead(rule)
        gap = None
        if rule.handled or (instead is None and rule.reset != "before_headers"):
            before = self._before_interrupt(exchange)
            waits = server.waits
            in_time = before is None or await outlasted(before, exchange.receive)
            if not in_time or server.waits is not waits:  # or it would be done to the fresh server after a reset
                await lost(exchange, server.now())
                return
            aside = await self._made_aside(request, found)
            with server.answering():
                own = aside or self._made(request, found)
                record.handled(own)
                made = instead or own
                gap = self._before_answer(record)
                if gap is None and is_punctual(rule):
                    await self._send_ruled(exchange, rule, request, found, made)
                    return
        in_time = gap is None or await outlasted(gap, exchange.receive)
        if in_time and await late(rule, server.waits, exchange.receive):
            with server.answering():
                await self._send_ruled(exchange, rule, request, found, made or empty())
        else:
            await lost(exchange, server.now())

    async def _send_ruled(
        self, exchange: Exchange, rule: RequestRule, request: HttpRequest, found: Found | Answer, made: Answer
    ) -> None:
        answer, headers = self._finished(request, found, with_headers(rule, made))
        await send_faulty(exchange, rule, answer, headers, request.method, self._server.now())

    def _rule(self, record: RequestRecord) -> RequestRule:
        """The rule for a request; where there is none, one that does nothing."""
        use = self._server.director.use_for(record.subject) if self._server.director.has(RequestRule) else None
        if use is None:
            return _NO_FAULT
        record.rules += (use.label,)
        assert isinstance(use.rule, RequestRule)
        return use.rule

    def _before_interrupt(self, exchange: Exchange) -> Waiting | None:
        """The gap `between_queue_and_interrupt`: the request is on its way while another prompt's turn comes."""
        queue = self._server.engine.queue
        if queue.running is None or (exchange.record.method, exchange.record.route) != ("POST", "/interrupt"):
            return None
        subject = PromptSubject(queue.running.place, queue.running.extra_data.get("client_id"))
        told = change_after(queue.running.prompt_id, queue)
        return self._gap("between_queue_and_interrupt", subject, exchange.record, told)

    def _before_answer(self, record: RequestRecord) -> Waiting | None:
        """The gap `events_before_answer`: the prompt is over before its client knows its id."""
        prompt = record.prompt
        if prompt is None or prompt.prompt_id is None or not prompt.accepted:
            return None
        subject = PromptSubject(prompt.place, prompt.client_id)
        return self._gap("events_before_answer", subject, record, end_of(prompt.prompt_id))

    def _gap(self, point: Point, subject: PromptSubject, record: RequestRecord, told: Told) -> Waiting | None:
        use = self._server.director.use_for(subject, point=point) if self._server.director.has(PointRule) else None
        if use is None:
            return None
        record.rules += (use.label,)
        assert isinstance(use.rule, PointRule)
        return self._server.waits.begin_point(use.rule, told=told)

    async def _websocket(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(request, scope)
        record = self._noted(request, scope, found)
        rule = self._rule(record)
        instead = answer_instead(rule)
        waits = self._server.waits
        # what comes meanwhile is left alone: it is for the socket, once that is open
        in_time = await late(rule, waits, None)
        # after a reset it would open a WebSocket of the fresh server, which nobody has asked for one
        if not in_time or rule.reset is not None or self._server.waits is not waits:
            await lost(Exchange(scope, receive, send, record), self._server.now())
            return
        if instead is None and isinstance(found, Found) and found.endpoint.handler is _without_upgrade:
            instead = await self._server.websocket_endpoint(WebSocket(scope, receive, send), record)
            if instead is None:
                return
        with self._server.answering():
            made = with_headers(rule, instead or self._made(request, found))
            answer, headers = self._finished(request, found, made)
            record.answered(self._server.now(), answer.status, answer.body)
            await refuse_upgrade(scope, receive, send, answer, headers)

    def _noted(self, request: HttpRequest, scope: Scope, found: Found | Answer) -> RequestRecord:
        """A request's record in the journal."""
        client = scope.get("client")
        record = self._server.journal.request(
            self._server.now(),
            request.method,
            request.raw_path,
            request.query,
            request.headers,
            request.body,
            None if client is None else tuple(client),
        )
        if isinstance(found, Found):
            record.route = found.endpoint.path
        return record

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

    async def _made_aside(self, request: HttpRequest, found: Found | Answer) -> Answer | None:
        """What a slow handler answers, made in a thread; None where there is none."""
        if not isinstance(found, Found) or not found.endpoint.slow:
            return None
        with self._server.answering():
            engine = self._server.engine  # what is due has happened now: it may be what makes the file asked for
        return await asyncio.to_thread(_handled, engine, request, found)

    def _made(self, request: HttpRequest, found: Found | Answer) -> Answer:
        """What the endpoint's handler answers, or what is answered without one."""
        return _handled(self._server.engine, request, found) if isinstance(found, Found) else found

    def _finished(self, request: HttpRequest, found: Found | Answer, made: Answer) -> tuple[Answer, RawHeaders]:
        """The answer as it is sent, and its headers."""
        engine = self._server.engine
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
        self, request: HttpRequest, record: RequestRecord, limit: int, receive: Receive, send: Send, *, unread: bool
    ) -> None:
        text = f"Maximum request body size {limit} exceeded."
        answer = text_answer(text, 413, from_exception=True)
        # A client that waits for leave to send its body does not send it after this answer.
        waits = unread and request.headers.get("expect", "").lower() == "100-continue"
        if waits:
            answer = replace(answer, headers=(("Connection", "close"),))
        headers = answer_headers(answer, request.method, self._server.engine.now)
        record.answered(self._server.now(), answer.status, answer.body)
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
    return Answer(500, TROUBLE, PLAIN, headers, from_exception=True)


def _without_upgrade(_engine: Any, request: HttpRequest) -> Answer:
    """GET /ws that does not open a WebSocket (protocol 1.3)."""
    return text_answer(upgrade_fault(request.headers) or "", 400, from_exception=True)
