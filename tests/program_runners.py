"""Three ways to run a program: on the bare engine, on the app through ASGI, and on a server by real sockets.

Each gives a `Transcript`. All three have the same options, the same seeds and the same clock, which moves by hand, so
that every byte of the transcripts can be demanded to be the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock, Instance
from comfy_mock.engine.answers import Answer, ServerTrouble, json_answer, text_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.jobs import find_job, list_jobs
from comfy_mock.engine.options import Options
from comfy_mock.engine.uploads import UploadedFile, upload_image
from comfy_mock.engine.view import view
from comfy_mock.server.clocks import ROUNDING_S, START
from comfy_mock.server.sockets import encode
from programs import Program, Step, filled_in

OPTIONS: dict[str, Any] = {"models": {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}}
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"
QUIET = 30
"""So many rounds of an event loop are more than anything needs that is not waiting for something outside."""

Headers = list[tuple[str, str]]


@dataclass
class Said:
    """An answer. The bare engine knows of its headers but the type."""

    status: int
    content_type: str | None
    body: bytes
    headers: Headers | None = None


@dataclass
class Transcript:
    """What a server said: an answer or None for each step, and all that each socket got, in their order."""

    answers: list[Said | None] = field(default_factory=list)
    sockets: list[list[str | bytes]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def note(self, step: Step, said: Said | None) -> None:
        self.answers.append(said)
        if step["do"] == "submit" and said is not None and said.status == 200:
            self.ids.append(json.loads(said.body)["prompt_id"])


def picture(step: Step) -> bytes:
    """The file that an upload brings."""
    target = io.BytesIO()
    Image.new("RGB", (4, 3), (step["color"] * 90, 0, 0)).save(target, "PNG")
    return target.getvalue()


def request_of(step: Step) -> tuple[str, str, dict[str, Any]] | None:
    """Method, path and httpx's further arguments of a step that is a request."""
    routes = {"submit": "/prompt", "cancel": "/api/jobs/cancel"}
    if step["do"] in ("queue", "history", "interrupt", "free", *routes):
        path = routes.get(step["do"], f"/{step['do']}")
        return "POST", path, {"content": json.dumps(step["body"]).encode()}
    if step["do"] == "read":
        return "GET", step["path"], {}
    if step["do"] == "upload":
        # httpx would take a file without a name for a text
        edge = "edge"
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{step["name"]}"\r\n\r\n'.encode()
        ]
        parts += [picture(step), b"\r\n"]
        if step["overwrite"]:
            parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'.encode())
        headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        return "POST", "/upload/image", {"content": b"".join([*parts, f"--{edge}--\r\n".encode()]), "headers": headers}
    return None


# -- the engine


def on_engine(program: Program) -> Transcript:
    """Run a program by the engine's own verbs."""
    engine = Engine(Options(**OPTIONS), now=START)
    engine.keeps_unheard = True
    transcript, now = Transcript(), START
    numbers: list[int | None] = []

    def collect() -> None:
        for outgoing in engine.take_outgoing():
            for place, number in enumerate(numbers):
                if number in outgoing.sockets:
                    transcript.sockets[place].append(encode(outgoing.payload))

    for raw in program:
        step = filled_in(raw, transcript.ids)
        said = None
        if step["do"] == "wait":
            now += step["seconds"]
            while engine.advance_once(now + ROUNDING_S):
                pass
            engine.advance(now)
        elif step["do"] == "connect":
            transcript.sockets.append([])
            numbers.append(engine.connect(step["client"]))
        elif step["do"] in ("disconnect", "say"):
            place = step["socket"]
            number = numbers[place] if place < len(numbers) else None
            if number is not None and step["do"] == "say":
                engine.receive(number, step["text"])
            elif number is not None:
                collect()
                engine.disconnect(number)
                numbers[place] = None
        else:
            said = _said(_asked, engine, step)
        transcript.note(step, said)
        collect()
    return transcript


def _said(ask: Callable[[Engine, Step], Answer], engine: Engine, step: Step) -> Said:
    try:
        answer = ask(engine, step)
    except ServerTrouble:
        answer = text_answer(TROUBLE, 500)
    return Said(answer.status, answer.content_type, answer.body)


def _asked(engine: Engine, step: Step) -> Answer:
    body = json.loads(json.dumps(step.get("body")))
    if step["do"] == "submit":
        return engine.submit(body)
    if step["do"] == "queue":
        return engine.edit_queue(body)
    if step["do"] == "history":
        return engine.edit_history(body)
    if step["do"] == "cancel":
        return engine.cancel_jobs(body)
    if step["do"] == "free":
        return engine.free(body)
    if step["do"] == "interrupt":
        engine.interrupt(body.get("prompt_id"))
        return Answer()
    if step["do"] == "upload":
        fields: dict[str, Any] = {"image": UploadedFile(step["name"], picture(step))}
        if step["overwrite"]:
            fields["overwrite"] = "true"
        return upload_image(engine.files, engine.folders, fields, now=engine.now)
    return _read(engine, step["path"])


def _read(engine: Engine, target: str) -> Answer:
    parts = urlsplit(target)
    path, query = parts.path, dict(parse_qsl(parts.query))
    last = unquote(path.rpartition("/")[2])
    if path == "/queue":
        return json_answer(engine.queue.shown())
    if path == "/prompt":
        return json_answer({"exec_info": {"queue_remaining": engine.queue_remaining}})
    if path == "/history":
        if not query.get("offset", "0").isdecimal():
            raise ServerTrouble("offset is no number")
        most = int(query["max_items"]) if "max_items" in query else None
        return json_answer(engine.queue.shown_history(most, int(query.get("offset", -1))))
    if path.startswith("/history/"):
        return json_answer({key: entry for key, entry in engine.queue.history.items() if key == last})
    if path == "/api/jobs":
        return list_jobs(engine.queue, query)
    if path.startswith("/api/jobs/"):
        return find_job(engine.queue, last)
    assert path == "/view"
    return view(engine.files, engine.folders, query, {})


# -- the app


class AsgiSocket:
    """A WebSocket of an ASGI app, without a network."""

    def __init__(self, app: Any, client: str, got: list[str | bytes]) -> None:
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._got = got
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": "/ws",
            "raw_path": b"/ws", "query_string": f"clientId={client}".encode(), "root_path": "", "subprotocols": [],
            "headers": [
                (b"host", b"testserver"), (b"upgrade", b"websocket"), (b"connection", b"Upgrade"),
                (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}, "extensions": {},
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self._inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            text = message.get("text")
            self._got.append(message["bytes"] if text is None else text)

    def say(self, text: str) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def close(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})


async def _quiet() -> None:
    for _ in range(QUIET):
        await asyncio.sleep(0)


def on_app(program: Program) -> Transcript:
    """Run a program on the ASGI app, in one event loop and without a network."""
    return asyncio.run(_on_app(program))


async def _on_app(program: Program) -> Transcript:
    instance = Instance(clock="manual", **OPTIONS)
    transcript = Transcript()
    sockets: list[AsgiSocket | None] = []
    transport = httpx.ASGITransport(instance.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        for raw in program:
            step = filled_in(raw, transcript.ids)
            said = None
            if step["do"] == "wait":
                await instance.advance_async(step["seconds"])
            elif step["do"] == "connect":
                transcript.sockets.append([])
                sockets.append(AsgiSocket(instance.app, step["client"], transcript.sockets[-1]))
            elif step["do"] in ("disconnect", "say"):
                _act(step, sockets)
            else:
                said = await _answered(client.request, step)
            await _quiet()
            transcript.note(step, said)
        for socket in sockets:
            if socket is not None:
                socket.close()
        await asyncio.gather(*(socket.task for socket in sockets if socket is not None))
    await instance.runner.stop()
    return transcript


def _act(step: Step, sockets: list[Any]) -> None:
    place = step["socket"]
    socket = sockets[place] if place < len(sockets) else None
    if socket is None:
        return
    if step["do"] == "say":
        socket.say(step["text"])
    else:
        socket.close()
        sockets[place] = None


async def _answered(request: Callable[..., Awaitable[httpx.Response]], step: Step) -> Said:
    wanted = request_of(step)
    assert wanted is not None
    method, path, arguments = wanted
    return _of_response(await request(method, path, **arguments))


def _of_response(response: httpx.Response) -> Said:
    headers = response.headers.multi_items()
    return Said(response.status_code, response.headers.get("content-type"), response.content, headers)


# -- the server


class RealSocket:
    """A WebSocket by the network."""

    def __init__(self, server: ComfyMock, client: str, got: list[str | bytes]) -> None:
        self._server, self._got = server, got
        url = f"{server.url.replace('http', 'ws')}/ws?clientId={client}"
        self._closing = contextlib.ExitStack()
        self._socket: ClientConnection = self._closing.enter_context(
            connect(url, proxy=None, compression=None, max_size=None, max_queue=None)
        )
        self._got.append(self._socket.recv(timeout=20))

    def say(self, text: str) -> None:
        self._socket.send(text)
        self.read()

    def close(self) -> None:
        self.read()
        self._closing.close()

    def read(self) -> None:
        """Take all that came so far: when a ping is answered, all before it was read there, and sent here."""
        for _ in range(2):
            assert self._socket.ping().wait(20)
            settle(self._server)
        assert self._socket.ping().wait(20)
        with contextlib.suppress(TimeoutError):
            while True:
                self._got.append(self._socket.recv(timeout=0))


def settle(server: ComfyMock) -> None:
    """Return when the server has done what it was told: its tasks take their turns in the order they were woken."""
    for _ in range(2):
        server.advance(0)


def on_server(program: Program, server: ComfyMock, client: httpx.Client) -> Transcript:
    """Run a program on a server, which becomes a fresh one first. `client` is one for its URL."""
    server.reset(clock="manual", **OPTIONS)
    transcript = Transcript()
    sockets: list[RealSocket | None] = []
    for raw in program:
        step = filled_in(raw, transcript.ids)
        said = None
        if step["do"] == "wait":
            server.advance(step["seconds"])
        elif step["do"] == "connect":
            transcript.sockets.append([])
            sockets.append(RealSocket(server, step["client"], transcript.sockets[-1]))
        elif step["do"] in ("disconnect", "say"):
            _act(step, sockets)
            settle(server)
        else:
            wanted = request_of(step)
            assert wanted is not None
            said = _of_response(client.request(wanted[0], wanted[1], **wanted[2]))
        transcript.note(step, said)
    for socket in sockets:
        if socket is not None:
            socket.close()
    return transcript
