"""A server whose every answer a test can write: queue and history are what it says, and nothing runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from misbehaving import serving
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
}

PNG = b"\x89PNG\r\n\x1a\n"

Answering = Callable[[Request], "Response | Awaitable[Response]"]


def item(prompt_id: str, number: float = 0) -> list[Any]:
    """A prompt in the queue."""
    return [number, prompt_id, {}, {}, ["2"]]


def entry(prompt_id: str, number: float = 0, outputs: Any = None) -> dict[str, Any]:
    """A prompt that went well, in the history."""
    status = {"status_str": "success", "completed": True, "messages": []}
    return {"prompt": item(prompt_id, number), "outputs": outputs or {}, "status": status, "meta": {}}


class Scripted:
    """`answers` are by path, and come before all else; `on_post` is told of each prompt, and may answer as well.

    By default a prompt that is posted is in the history at once. `socket` lives a WebSocket, from its acceptance on;
    `handshake` may refuse one, or let it wait.
    """

    def __init__(self) -> None:
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self.history: dict[str, Any] = {}
        self.answers: dict[str, Answering] = {}
        self.requests: list[str] = []
        self.posts: list[dict[str, Any]] = []
        self.on_post: Callable[[dict[str, Any], int], Awaitable[Response | None]] = self.done
        self.handshake: Callable[[WebSocket], Awaitable[Response | None]] | None = None
        self.socket: Callable[[WebSocket], Awaitable[None]] = self.silent
        self.url = ""
        self._over = asyncio.Event()

    async def done(self, body: dict[str, Any], number: int) -> Response | None:
        """The prompt has run."""
        self.history[body["prompt_id"]] = entry(body["prompt_id"], number)
        return None

    async def waits(self, body: dict[str, Any], number: int) -> Response | None:
        """The prompt waits."""
        self.pending.append(item(body["prompt_id"], number))
        return None

    async def silent(self, socket: WebSocket) -> None:
        """Say what every server says first, and then nothing."""
        await socket.send_json(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}}
        )
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()

    async def hang(self, *_: Any) -> Any:
        """Answer nothing, until the test is over."""
        await self._over.wait()
        return Response()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            response = await self._http(Request(scope, receive))
            await response(scope, receive, send)

    async def _websocket(self, socket: WebSocket) -> None:
        self.requests.append("WS")
        refusal = None if self.handshake is None else await self.handshake(socket)
        if refusal is not None:
            await socket.send_denial_response(refusal)
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self.socket(socket)
            await socket.close()

    async def _http(self, request: Request) -> Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path}")
        body = await request.body()
        if path in self.answers:
            made = self.answers[path](request)
            return made if isinstance(made, Response) else await made
        if (request.method, path) == ("POST", "/prompt"):
            self.posts.append(json.loads(body))
            number = len(self.posts) - 1
            answer = await self.on_post(self.posts[-1], number)
            prompt_id = self.posts[-1]["prompt_id"]
            taken = {"prompt_id": prompt_id, "number": number, "node_errors": {}}
            return JSONResponse(taken) if answer is None else answer
        if path == "/queue":
            return JSONResponse({"queue_running": self.running, "queue_pending": self.pending})
        if path.startswith("/history/"):
            prompt_id = path.rpartition("/")[2]
            return JSONResponse({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})
        return Response(status_code=200 if request.method == "POST" else 404)


def plain(status: int, content: Any = b"", **headers: str) -> Answering:
    """The same answer each time."""
    return lambda request: Response(
        content if isinstance(content, bytes) else json.dumps(content), status, {**headers, "X-Scripted": "1"}
    )


def trickling(request: Request) -> Response:
    """An answer that comes byte by byte, and never ends."""

    async def content() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    return StreamingResponse(content())


def broken_off(request: Request) -> Response:
    """An answer that is promised and does not come: the connection is closed."""

    class Broken(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", b"100"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            raise ConnectionAbortedError

    return Broken()


@contextlib.contextmanager
def scripted() -> Iterator[Scripted]:
    """Such a server at work."""
    server = Scripted()
    with serving(server) as (server.url, loop):
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(server._over.set)
