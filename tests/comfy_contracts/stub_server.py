"""A server for tests of the replay: it knows nothing of ComfyUI, says what it is told, and keeps what it hears."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from comfy_contracts.har import Har
from comfy_contracts.replay import replay


@dataclass
class Heard:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """`answers` maps `METHOD /path` to (status, headers, body); `afterwards` to messages for all sockets.

    A socket gets `greeting` first, and `replies` maps what a client says to what is said to it; a number closes.
    """

    answers: dict[str, tuple[int, dict[str, str], Any]] = field(default_factory=dict)
    afterwards: dict[str, list[Any]] = field(default_factory=dict)
    greeting: Callable[[str], list[Any]] = lambda query: []
    replies: dict[str, list[Any]] = field(default_factory=dict)
    refuse_sockets: bool = False
    heard: list[Heard] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    socket_headers: list[dict[str, str]] = field(default_factory=list)
    _connected: list[Any] = field(default_factory=list)

    @property
    def requests(self) -> list[str]:
        return [f"{one.method} {one.target}" for one in self.heard]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.heard.append(Heard(scope["method"], target, _headers(scope), body))
        self.story.append(self.requests[-1])
        route = f"{scope['method']} {target.partition('?')[0]}"
        status, headers, answer = self.answers.get(route, (200, {}, b""))
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": raw})
        for message in self.afterwards.get(route, []):
            for one in self._connected:
                await _say(one, message)

    async def _socket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.socket_headers.append(_headers(scope))
        if self.refuse_sockets:
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.accept"})
        query = scope["query_string"].decode()
        self.story.append(f"open {query}")
        self._connected.append(send)
        for message in self.greeting(query):
            await _say(send, message)
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text") if message.get("text") is not None else message["bytes"].hex()
            self.story.append(f"said {text}")
            for reply in self.replies.get(text, []):
                await _say(send, reply)
        self.story.append(f"close {query} {message['code']}")
        self._connected = [one for one in self._connected if one is not send]


async def _say(send: Any, message: Any) -> None:
    if isinstance(message, int):
        await send({"type": "websocket.close", "code": message})
    elif isinstance(message, bytes):
        await send({"type": "websocket.send", "bytes": message})
    else:
        await send({"type": "websocket.send", "text": json.dumps(message)})


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in scope["headers"]}


class _Server(uvicorn.Server):
    def __init__(self, stub: Stub) -> None:
        super().__init__(
            uvicorn.Config(
                stub.app,
                interface="asgi3",
                lifespan="off",
                ws="websockets-sansio",
                log_config=None,
                timeout_graceful_shutdown=1,
            )
        )
        self.ready, self.leave = asyncio.Event(), asyncio.Event()

    def install_signal_handlers(self) -> None:
        pass

    async def main_loop(self) -> None:
        self.ready.set()
        await self.leave.wait()


@asynccontextmanager
async def serving(stub: Stub) -> AsyncIterator[str]:
    """The base URL of the stub, on a free port."""
    listener = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM, sockets.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _Server(stub)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave.set()
        await task


def replayed(recording: Har, stub: Stub, *, timeout: float = 20) -> Har:
    """What the replay of a recording against the stub gives."""

    async def run() -> Har:
        async with serving(stub) as url:
            return await replay(recording, url, timeout=timeout)

    return asyncio.run(run())
