"""A proxy before a fake server that can do whatever networks, proxies and older servers do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]
Fate = Literal["pass", "lose", "drop", "twice"]
RequestHook = Callable[[Request, bytes], Awaitable[Response | None]]
AnswerHook = Callable[[Request, Response], Awaitable[Response]]
MessageHook = Callable[[Message | bytes], Fate]
HandshakeHook = Callable[[WebSocket], Response | None]

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server", "host"}


class Misbehaving:
    """Listens at `url`, and passes everything on to `upstream`, which can be changed at any time.

    `on_request` may answer instead of the server, `on_answer` may change what it says, and `on_message` decides the
    fate of each message to a client, a dict of JSON or the bytes of a frame. `on_handshake` may refuse a WebSocket.
    `requests` counts by method and path. Below `prefix` alone there is something.
    """

    def __init__(self, upstream: str, prefix: str = "") -> None:
        self.upstream = upstream
        self.prefix = prefix
        self.on_handshake: HandshakeHook | None = None
        self.on_request: RequestHook | None = None
        self.on_answer: AnswerHook | None = None
        self.on_message: MessageHook | None = None
        self._once: list[tuple[str, str, Response]] = []
        self.refuses_sockets = False
        self.requests: dict[tuple[str, str], int] = {}
        self.sockets_opened = 0
        self.url = ""
        self._sockets: set[ClientConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    # What tests script

    def answer_once(self, method: str, path: str, status: int, *, headers: dict[str, str] | None = None) -> None:
        """Answer the next request like that with a status, without asking the server."""
        self._once.append((method, path, Response("scripted", status, headers)))

    def fail_after_once(self, method: str, path: str, status: int) -> None:
        """Let the server do what the next request like that asks, but answer with a status."""

        async def hook(request: Request, answer: Response) -> Response:
            if request.method == method and request.url.path.startswith(path):
                self.on_answer = None
                return Response("scripted", status)
            return answer

        self.on_answer = hook

    def drop_sockets(self) -> None:
        """Cut all WebSockets now."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: [socket.transport.abort() for socket in self._sockets])

    # The proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["path"].removeprefix(self.prefix)
        if scope["path"] != self.prefix + below:
            await Response(status_code=404)(scope, receive, send)
            return
        scope["path"] = below
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            request = Request(scope, receive)
            response = await self._http(request)
            await response(scope, receive, send)

    async def _http(self, request: Request) -> Response:
        body = await request.body()
        key = (request.method, request.url.path)
        self.requests[key] = self.requests.get(key, 0) + 1
        for method, path, answer in self._once:
            if request.method == method and request.url.path.startswith(path):
                self._once.remove((method, path, answer))
                return answer
        if self.on_request is not None:
            scripted = await self.on_request(request, body)
            if scripted is not None:
                return scripted
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        url = f"{self.upstream}{request.url.path}?{request.url.query}"
        async with httpx.AsyncClient(timeout=60, trust_env=False, verify=False) as http:
            passed = await http.request(request.method, url, headers=headers, content=body)
        kept = {name: value for name, value in passed.headers.items() if name not in _HOP_BY_HOP}
        response = Response(passed.content, passed.status_code, kept)
        return response if self.on_answer is None else await self.on_answer(request, response)

    async def _websocket(self, socket: WebSocket) -> None:
        if self.refuses_sockets:
            await socket.close()
            return
        refusal = None if self.on_handshake is None else self.on_handshake(socket)
        if refusal is not None:
            await socket.send_denial_response(refusal)
            return
        await socket.accept()
        self.sockets_opened += 1
        url = f"{self.upstream.replace('http', 'ws', 1)}/ws?{socket.url.query}"
        async with connect(url, max_size=None, ping_interval=None, close_timeout=0.1) as upstream:
            self._sockets.add(upstream)
            upward = asyncio.create_task(self._upward(socket, upstream))
            try:
                await self._downward(socket, upstream)
            finally:
                self._sockets.discard(upstream)
                upward.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await upward
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(1011)

    async def _upward(self, socket: WebSocket, upstream: ClientConnection) -> None:
        with contextlib.suppress(WebSocketDisconnect, ConnectionClosed, RuntimeError):
            while True:
                await upstream.send(await socket.receive_text())
        await upstream.close()

    async def _downward(self, socket: WebSocket, upstream: ClientConnection) -> None:
        with contextlib.suppress(WebSocketDisconnect, ConnectionClosed, RuntimeError):
            async for data in upstream:
                fate = "pass"
                if self.on_message is not None:
                    fate = self.on_message(json.loads(data) if isinstance(data, str) else data)
                if fate == "drop":
                    return
                for _ in range({"pass": 1, "lose": 0, "twice": 2}[fate]):
                    await (socket.send_text(data) if isinstance(data, str) else socket.send_bytes(data))


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """An ASGI app on a free port: its URL, and the event loop in which it runs. `options` are more of uvicorn's."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        ws=options.pop("ws", "websockets-sansio"),
        ws_max_size=2**30,
        ws_ping_interval=None,
        timeout_graceful_shutdown=1,
        **options,
    )
    server = _Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="asyncio_server", daemon=True)
    thread.start()
    assert server.ready.wait(30)
    assert server.loop is not None
    try:
        scheme = "https" if config.is_ssl else "http"
        yield f"{scheme}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", server.loop
    finally:
        server.loop.call_soon_threadsafe(server.leave.set)
        thread.join(30)


@contextlib.contextmanager
def misbehaving(upstream: str, *, prefix: str = "", **options: Any) -> Iterator[Misbehaving]:
    """A proxy at work; `options` are those of `serving`."""
    proxy = Misbehaving(upstream, prefix)
    with serving(proxy, **options) as (url, proxy._loop):
        proxy.url = url + prefix
        yield proxy


class _Server(uvicorn.Server):
    """uvicorn, told to exit by an event, and exiting at once, rather than by looking ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.leave = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self.loop, self.leave = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self.leave.wait()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        for _ in range(200):
            if not state.connections and not state.tasks:
                break
            await asyncio.sleep(0.005)
        for task in list(state.tasks):
            task.cancel()
