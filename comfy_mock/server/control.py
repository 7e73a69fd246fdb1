"""The control API: a fake driven by HTTP, from any language (docs/control.md).

It stands under one prefix beside the routes of ComfyUI. What comes there is not in the journal, and the script's faults
do not touch it; a restart leaves its connections open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.awaited_event import EventNeverCame
from comfy_mock.engine.script.problems import ScriptError
from comfy_mock.engine.script.routes import CONTROL_PREFIX
from comfy_mock.server.asgi import BodyTooLarge, ClientGone, answer_headers, read_body, request_of, send_answer
from comfy_mock.server.control_access import refusal
from comfy_mock.server.control_actions import ACTIONS, BadRequest, Reply
from comfy_mock.server.http import HttpRequest
from comfy_mock.server.journal import NeverCame
from comfy_mock.server.wire_connection import gone

if TYPE_CHECKING:
    from comfy_mock.server.instance import Instance

logger = logging.getLogger("comfy_mock.server")

BODY_BYTES_MAX = 64 * 1024 * 1024
"""The largest body: scripts may hold pictures."""

_NOT_KEPT = (("Cache-Control", "no-store"),)

_STATUSES: Mapping[type[Exception], int] = {
    NeverCame: 408,
    EventNeverCame: 409,
    RuntimeError: 409,
    ValueError: 400,
    TypeError: 400,
}
"""What is answered when an action raises: it is asked in the wrong way, or the server is not in a state for it."""


class Control:
    """The ASGI app of the control API. `token`, if there is one, is what all must show who use it.

    Raises `ValueError` for an empty token.
    """

    def __init__(self, server: Instance, token: str | None = None) -> None:
        if token == "":
            raise ValueError("control_token cannot be empty: anybody could guess it")
        self._server, self._token = server, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        request = request_of(scope)
        client = scope.get("client")
        refused = refusal(request.headers, client[0] if client else None, self._token)
        if refused is not None:
            reply: Reply | None = _error(*refused)
        else:
            reply = await self._reply(request, receive)
        if reply is not None:
            answer = Answer(
                reply.status, reply.body, reply.content_type, (("Cache-Control", "no-store"), *reply.headers)
            )
            headers = answer_headers(answer, request.method, self._server.now())
            await send_answer(send, answer, headers, request.method)

    async def _reply(self, request: HttpRequest, receive: Receive) -> Reply | None:
        """What is answered; None where nobody waits for it any more."""
        path = request.path.removeprefix(CONTROL_PREFIX)
        method = "GET" if request.method == "HEAD" else request.method
        methods = [known for known, known_path in ACTIONS if known_path == path]
        if not methods:
            return _error(
                404, f"the control API has no {path or '/'}; GET {CONTROL_PREFIX}/openapi.json says what it has"
            )
        if method not in methods:
            return _error(405, f"{path} is for {' and '.join(methods)}", (("Allow", ", ".join(methods)),))
        try:
            request = await _with_body(request, receive)
            return await _while_heard(self._act(method, path, request), receive)
        except ClientGone:
            return None
        except BodyTooLarge:
            return _error(413, f"a body has at most {BODY_BYTES_MAX} bytes")

    async def _act(self, method: str, path: str, request: HttpRequest) -> Reply:
        try:
            return await ACTIONS[method, path](self._server, request)
        except ScriptError as error:
            problems = [
                {"path": problem.path, "text": problem.text, **(problem.place._asdict() if problem.place else {})}
                for problem in error.problems
            ]
            return Reply.json({"error": str(error), "problems": problems}, 400)
        except ServerTrouble as trouble:
            return _error(400, f"the body cannot be read: {trouble}")
        except (BadRequest, NeverCame, EventNeverCame, RuntimeError, ValueError, TypeError) as error:
            status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
            return _error(status, str(error))
        except Exception:
            logger.exception("A bug in comfy-mock: the control API broke off at %s %s", method, path)
            return _error(500, "a bug in comfy-mock; its log says more")


async def _with_body(request: HttpRequest, receive: Receive) -> HttpRequest:
    body = await read_body(receive, request, BODY_BYTES_MAX)
    return HttpRequest(
        method=request.method, path=request.path, query=request.query, headers=request.headers, body=body
    )


async def _while_heard(acting: Any, receive: Receive) -> Reply | None:
    """Act; break it off when the client goes away, who may have waited long enough."""
    action = asyncio.ensure_future(acting)
    leaving = asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait((action, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await action if action.done() else None
    finally:
        for task in (action, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, jsontext.dumps({"error": text}).encode("ascii"), headers=headers)
