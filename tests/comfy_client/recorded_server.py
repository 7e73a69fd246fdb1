"""A server that says again what a real one said: a recording, played to a client that submits its prompts anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from comfy_contracts.har import Entry, Har


def path_of(entry: Entry) -> str:
    """The path of a request, without the alias `/api`."""
    path = urlsplit(entry.request.url).path
    return path.removeprefix("/api") if not path.startswith("/api/jobs") else path


@dataclass
class Post:
    """A recorded `POST /prompt`, with what became of its prompt."""

    at: float
    body: dict[str, Any]
    status: int
    answer: Any
    prompt_id: str | None
    history: dict[str, Any] | None = None
    messages: list[Any] = field(default_factory=list)
    """Those on the socket of its client that name it."""

    def ending(self) -> str | None:
        """How it ended: by the history, or else by the messages; None where neither says so."""
        said = [kind for kind, _ in self.history["status"]["messages"]] if self.history else [
            message["type"]
            for message in self.messages
            if message["type"] != "execution_error" or "timestamp" in message["data"]
        ]  # fmt: skip
        ends = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}
        return next((ends[kind] for kind in reversed(said) if kind in ends), None)


def sockets_of(har: Har, client_id: str | None) -> list[Entry]:
    """The recorded WebSockets of a client, in their order."""
    queries = [(socket, parse_qs(urlsplit(socket.request.url).query)) for socket in har.sockets()]
    return [socket for socket, query in queries if client_id in query.get("clientId", ())]


def posts_of(har: Har, client_id: str | None = None) -> list[Post]:
    """The prompts of a recording that a client can send: a graph of nodes that each have class and inputs.

    Their messages are those that came to `client_id`. An id that was used twice is left out: what was recorded does not
    say which of the two it is about.
    """
    posts = []
    histories: dict[str, Any] = {}
    for entry in har.exchanges():
        path = path_of(entry)
        asks_history = entry.request.method == "GET" and path.startswith("/history") and entry.response.status == 200
        if asks_history and entry.response.header("content-encoding") is None:
            histories.update(json.loads(entry.response.body or b"{}"))
        if entry.request.method != "POST" or path != "/prompt" or entry.response.status not in (200, 400):
            continue
        body = _sound_body(entry)
        answer = json.loads(entry.response.body or b"null")
        if body is not None and isinstance(answer, dict):
            posts.append(Post(entry.started, body, entry.response.status, answer, answer.get("prompt_id")))
    socket_messages = [
        json.loads(message.payload)
        for socket in sockets_of(har, client_id)
        for message in socket.messages
        if message.type == "receive" and isinstance(message.payload, str)
    ]
    ids = [post.prompt_id for post in posts]
    posts = [post for post in posts if post.prompt_id is None or ids.count(post.prompt_id) == 1]
    for post in posts:
        post.history = histories.get(post.prompt_id or "")
        post.messages = [
            message for message in socket_messages if (message.get("data") or {}).get("prompt_id") == post.prompt_id
        ]
    return posts


def _sound_body(entry: Entry) -> dict[str, Any] | None:
    try:
        body = json.loads(entry.request.body)
    except ValueError:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("prompt"), dict):
        return None
    nodes = body["prompt"].values()
    sound = all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
        and isinstance(node.get("_meta", {}), dict)
        for node in nodes
    )  # fmt: skip
    return body if sound else None


class RecordedServer:
    """Plays the part of one client's server: its sockets in their order, and its prompts as they are submitted.

    After each `POST /prompt` the socket goes on to what was recorded before the next one. The history has an entry
    when all messages about it were sent.
    """

    def __init__(self, har: Har, client_id: str | None) -> None:
        self.posts = posts_of(har, client_id)
        self.client_id = client_id
        # One that was replaced before anything was posted plays no part.
        self._sockets = [socket for socket in sockets_of(har, client_id) if len(socket.messages) > 1]
        self._played = 0
        """How many messages of the first of them were sent."""
        self._ids: dict[str, str] = {}
        """The client's ids by the recorded ones."""
        self._posted = 0
        self._sent: dict[str, int] = {}
        self._news = asyncio.Event()

    @property
    def limit(self) -> float:
        """Up to which recorded time the sockets may go now."""
        return self.posts[self._posted].at if self._posted < len(self.posts) else float("inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            request = Request(scope, receive)
            await self._answer(request.method, request.url.path, await request.body())(scope, receive, send)

    def _answer(self, method: str, path: str, body: bytes) -> Response:
        if (method, path) == ("POST", "/prompt"):
            return self._post(json.loads(body))
        if path == "/queue":
            running = [[0, self._ids[post.prompt_id], {}, {}, []] for post in self._unfinished() if post.prompt_id]
            return _json({"queue_running": running, "queue_pending": []})
        if path.startswith("/history/"):
            return Response(self._history(path.rpartition("/")[2]), media_type="application/json")
        return Response(status_code=404)

    def _post(self, body: dict[str, Any]) -> Response:
        post = self.posts[self._posted]
        assert json.dumps(body["prompt"]) == json.dumps(post.body["prompt"])
        self._posted += 1
        self._news.set()
        if post.prompt_id is not None:
            self._ids[post.prompt_id] = body["prompt_id"]
            return _json({**post.answer, "prompt_id": body["prompt_id"]}, post.status)
        return _json(post.answer, post.status)

    def _done(self, post: Post) -> bool:
        return self._sent.get(post.prompt_id or "", 0) >= len(post.messages)

    def _unfinished(self) -> list[Post]:
        return [post for post in self.posts[: self._posted] if post.prompt_id in self._ids and not self._done(post)]

    def _history(self, prompt_id: str) -> str:
        for post in self.posts[: self._posted]:
            if self._ids.get(post.prompt_id or "") == prompt_id and post.history is not None and self._done(post):
                return self._renamed(json.dumps({post.prompt_id: post.history}))
        return "{}"

    def _renamed(self, text: str) -> str:
        for recorded, own in self._ids.items():
            text = text.replace(recorded, own)
        return text

    async def _websocket(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            if self._played or not self._sockets:
                await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}})
            if self._sockets:
                await self._play(socket, self._sockets[0])
                self._sockets.pop(0)
                self._played = 0
            while not self._sockets:
                await socket.receive_text()
        except WebSocketDisconnect:
            return
        await socket.close()

    async def _play(self, socket: WebSocket, entry: Entry) -> None:
        received = [message for message in entry.messages if message.type == "receive"]
        gone = asyncio.ensure_future(_until_gone(socket))
        while self._played < len(received):
            message = received[self._played]
            # The first one comes before anything is posted, whatever the clocks of the recorder said.
            if self._played and message.time >= self.limit:
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait([news, gone], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if gone.done():
                    raise WebSocketDisconnect
                continue
            payload = message.payload
            await (socket.send_bytes(payload) if isinstance(payload, bytes) else self._send_text(socket, payload))
            self._played += 1
        gone.cancel()

    async def _send_text(self, socket: WebSocket, payload: str) -> None:
        about = (json.loads(payload).get("data") or {}).get("prompt_id")
        if about is not None:
            self._sent[about] = self._sent.get(about, 0) + 1
        await socket.send_text(self._renamed(payload))


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")  # unlike JSONResponse, with NaN


async def _until_gone(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()
