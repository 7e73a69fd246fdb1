"""A server that tells generated traces: each prompt that is submitted is the next one's, whatever it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from comfy_contracts import messages
from comfy_contracts.strategies import Trace


class TraceServer:
    """Plays `traces` in their order, each when its prompt was posted: `play` begins anew with others.

    With `drops_after` the socket is broken off once so many messages have been sent, and what comes then is lost,
    unless the client opens another one. The history has an entry when all of its trace is over.
    """

    def __init__(self) -> None:
        self.play([])

    def play(self, traces: Sequence[Trace], drops_after: int | None = None) -> None:
        """Be a fresh server with these traces."""
        self._left = list(traces)
        self._drops_after = drops_after
        self._sent = 0
        self._running: list[str] = []
        self._done: dict[str, Any] = {}
        self._sockets: list[WebSocket] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            request = Request(scope, receive)
            await self._answer(request.method, request.url.path, await request.body())(scope, receive, send)

    def _answer(self, method: str, path: str, body: bytes) -> Response:
        if (method, path) == ("POST", "/prompt"):
            trace, posted = self._left.pop(0), json.loads(body)
            assert posted["prompt"] == trace.prompt
            prompt_id = posted["prompt_id"]
            self._running.append(prompt_id)
            self._telling = asyncio.ensure_future(self._tell(trace, prompt_id))
            return _json({"prompt_id": prompt_id, "number": trace.entry["prompt"][0], "node_errors": {}})
        if path == "/queue":
            running = [[0, prompt_id, {}, {}, []] for prompt_id in self._running]
            return _json({"queue_running": running, "queue_pending": []})
        if path.startswith("/history/"):
            prompt_id = path.rpartition("/")[2]
            return _json({prompt_id: self._done[prompt_id]} if prompt_id in self._done else {})
        return Response(status_code=404)

    async def _tell(self, trace: Trace, prompt_id: str) -> None:
        for data in trace.encoded():
            own = trace.prompt_id, prompt_id
            await self._send(data.replace(*own) if isinstance(data, str) else _renamed(data, *own))
            await asyncio.sleep(0)
        self._running.remove(prompt_id)
        self._done[prompt_id] = json.loads(json.dumps(trace.entry).replace(trace.prompt_id, prompt_id))

    async def _send(self, data: str | bytes) -> None:
        for socket in list(self._sockets):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await (socket.send_bytes(data) if isinstance(data, bytes) else socket.send_text(data))
        self._sent += 1
        if self._sent == self._drops_after:
            sockets, self._sockets = self._sockets, []
            for socket in sockets:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await socket.close(1011)

    async def _websocket(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(messages.encode(messages.Status(len(self._running), socket.query_params["clientId"])))
        self._sockets.append(socket)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await socket.receive_text()
        if socket in self._sockets:
            self._sockets.remove(socket)


def _renamed(data: bytes, recorded: str, own: str) -> bytes:
    # both are UUIDs, so that no length in the frame changes
    return data.replace(recorded.encode(), own.encode())


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type="application/json")
