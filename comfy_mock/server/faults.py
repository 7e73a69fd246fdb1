"""Faults of HTTP exchanges: what is answered instead, how late, and how answers get lost on their way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from msgspec import UNSET
from starlette.types import Receive, Scope, Send

from comfy_contracts.messages import Executing, ExecutionStart
from comfy_mock.engine.answers import PLAIN, Answer, empty, json_answer, text_answer
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.content_types import BINARY
from comfy_mock.engine.queue import PromptQueue
from comfy_mock.engine.script.model import RequestRule
from comfy_mock.server.asgi import RawHeaders, send_answer, send_beginning
from comfy_mock.server.faults_waiting import Told, Waiting, Waits
from comfy_mock.server.journal_records import RequestRecord
from comfy_mock.server.wire_connection import break_off, close_after_this, gone

TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"
"""The body of the real server's own 500 (protocol 1.3)."""

_RATE_LIMITED = 429
_BODILESS = (204, 304)


@dataclass(frozen=True)
class Exchange:
    """A request under way: how it came, how it is answered, and what the journal has of it."""

    scope: Scope
    receive: Receive
    send: Send
    record: RequestRecord


def plain_answer(status: int) -> Answer:
    """What a server of this kind says with a status: its name as text, and its own words with a 500 (protocol 1.3)."""
    if status in _BODILESS:
        return replace(empty(status), from_exception=True)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return Answer(status, TROUBLE, PLAIN, from_exception=True)
    return text_answer(f"{status}: {phrase(status)}".removesuffix(": "), status, from_exception=True)


def phrase(status: int) -> str:
    """The name of a status; empty for one that has none, such as those of some proxies."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def answer_instead(rule: RequestRule) -> Answer | None:
    """What a rule sends in place of the server's answer; None where it leaves that as it is.

    `retry_after` alone makes it a 429, a body alone a 200.
    """
    status = rule.status
    if status is None and rule.retry_after is not None:
        status = _RATE_LIMITED
    if status is None and rule.body is UNSET:
        return None
    answer = plain_answer(200 if status is None else status)
    return answer if rule.body is UNSET else replace(_with_body(rule.body, answer.status), from_exception=True)


def _with_body(body: Any, status: int) -> Answer:
    if isinstance(body, str):
        return text_answer(body, status)
    if isinstance(body, bytes):
        return Answer(status, body, BINARY)
    return json_answer(body, status)


def with_headers(rule: RequestRule, answer: Answer) -> Answer:
    """The answer with a rule's headers, which replace its own."""
    given = dict(rule.headers)
    if rule.retry_after is not None:
        given["Retry-After"] = f"{rule.retry_after}"
    names = {name.lower() for name in given}
    content_type = next((value for name, value in given.items() if name.lower() == "content-type"), answer.content_type)
    kept = [(name, value) for name, value in answer.headers if name.lower() not in names]
    added = [(name, value) for name, value in given.items() if name.lower() != "content-type"]
    return replace(answer, headers=(*kept, *added), content_type=content_type)


async def outlasted(waiting: Waiting, receive: Receive | None) -> bool:
    """Wait; whether there is still somebody to answer, and a server that does.

    What comes from the client is thrown away, and its leaving ends the wait; with None nothing is received.
    """
    if receive is None:
        return await waiting
    if not waiting.done():
        leaving = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
            if not waiting.done():
                waiting.cancel()
    return not waiting.cancelled() and waiting.result()


def is_punctual(rule: RequestRule) -> bool:
    """Whether a rule does not hold its answer back."""
    return rule.hold is None and not rule.delay


async def late(rule: RequestRule, waits: Waits, receive: Receive | None) -> bool:
    """Hold an answer back as its rule says; see `outlasted`."""
    held = rule.hold is None or await outlasted(waits.begin(hold=rule.hold), receive)
    return held and (not rule.delay or await outlasted(waits.begin(seconds=rule.delay), receive))


async def lost(exchange: Exchange, now: float) -> None:
    """Break an exchange off before anything was answered."""
    exchange.record.answered(now, None)
    await break_off(exchange.scope, exchange.receive)


async def send_faulty(
    exchange: Exchange, rule: RequestRule, answer: Answer, headers: RawHeaders, method: str, now: float
) -> None:
    """Send an answer as far as the rule lets it come."""
    body = b"" if method == "HEAD" else answer.body
    if rule.reset == "before_headers":
        await lost(exchange, now)
    elif rule.reset == "after_headers":
        exchange.record.answered(now, answer.status)
        await send_beginning(exchange.send, answer, headers, b"")
        await break_off(exchange.scope, exchange.receive)
    elif rule.truncate is not None:
        exchange.record.answered(now, answer.status, body[: rule.truncate])
        await send_beginning(exchange.send, answer, headers, body[: rule.truncate])
        await close_after_this(exchange.scope, exchange.receive)
    else:
        exchange.record.answered(now, answer.status, body)
        await send_answer(exchange.send, answer, headers, method)


def end_of(prompt_id: str) -> Told:
    """The last message of a prompt (protocol 5.16)."""
    return lambda payload: isinstance(payload, Executing) and payload.node is None and payload.prompt_id == prompt_id


def change_after(prompt_id: str, queue: PromptQueue) -> Told:
    """The moment when a running prompt has given way to another one, or to nothing."""
    ended = end_of(prompt_id)

    def is_it(payload: Payload) -> bool:
        if isinstance(payload, ExecutionStart):
            return payload.prompt_id != prompt_id
        return ended(payload) and not queue.pending

    return is_it
