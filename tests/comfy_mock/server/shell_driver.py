"""A shell around a stub engine, asked in process or over a real socket, and the recordings to hold it against."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.websockets import WebSocket

from comfy_contracts import har
from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer, text_answer
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.uploads import upload_image, upload_mask
from comfy_mock.engine.view import view
from comfy_mock.server.clocks import InstantClock
from comfy_mock.server.faults_waiting import Waits
from comfy_mock.server.http import Endpoint, HttpRequest
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_records import RequestRecord
from comfy_mock.server.shell import Shell
from comfy_mock.server.wire import HttpProtocol

NOW = 1_795_440_265.25
HOST = "127.0.0.1:8189"
FREE_HEADERS = ("date", "last-modified", "etag")


@dataclass
class StubEngine:
    options: Options = field(default_factory=Options)
    files: MemoryFiles = field(default_factory=MemoryFiles)
    folders: Folders = field(default_factory=Folders)
    now: float = NOW


def upload(engine: StubEngine, request: HttpRequest) -> Answer:
    return upload_image(engine.files, engine.folders, request.form(), now=engine.now)


def mask(engine: StubEngine, request: HttpRequest) -> Answer:
    return upload_mask(engine.files, engine.folders, request.form(), now=engine.now)


def look(engine: StubEngine, request: HttpRequest) -> Answer:
    return view(engine.files, engine.folders, request.query, request.headers)


def remaining(engine: StubEngine, request: HttpRequest) -> Answer:
    return json_answer({"exec_info": {"queue_remaining": 0}})


def queue(engine: StubEngine, request: HttpRequest) -> Answer:
    return json_answer({"queue_running": [], "queue_pending": []})


def nothing(engine: StubEngine, request: HttpRequest) -> Answer:
    return json_answer({})


def echo(engine: StubEngine, request: HttpRequest) -> Answer:
    return json_answer(
        {
            "method": request.method,
            "path": request.path,
            "params": dict(request.path_params),
            "query": dict(request.query),
            "size": len(request.body),
        }
    )


def read_json(engine: StubEngine, request: HttpRequest) -> Answer:
    return json_answer(request.json())


def trouble(engine: StubEngine, request: HttpRequest) -> Answer:
    raise ServerTrouble("asked for")


def bug(engine: StubEngine, request: HttpRequest) -> Answer:
    raise ZeroDivisionError("asked for")


def split(engine: StubEngine, request: HttpRequest) -> Answer:
    return Answer(200, b"x", None, (("X-Name", request.query["name"]),))


def reasoned(engine: StubEngine, request: HttpRequest) -> Answer:
    return Answer(400, reason='Invalid filename. Please avoid special characters like :\\/*?"<>|')


ENDPOINTS = [
    Endpoint("GET", "/prompt", remaining),
    Endpoint("POST", "/prompt", read_json),
    Endpoint("GET", "/queue", queue),
    Endpoint("POST", "/queue", lambda engine, request: empty()),
    Endpoint("GET", "/history", nothing),
    Endpoint("GET", "/history/{prompt_id}", echo),
    Endpoint("GET", "/api/jobs", nothing),
    Endpoint("GET", "/api/jobs/{job_id}", echo),
    Endpoint("POST", "/api/jobs/cancel", nothing),
    Endpoint("GET", "/system_stats", nothing),
    Endpoint("GET", "/object_info", nothing),
    Endpoint("GET", "/embeddings", nothing),
    Endpoint("POST", "/interrupt", lambda engine, request: empty()),
    Endpoint("POST", "/free", lambda engine, request: empty()),
    Endpoint("GET", "/view", look),
    Endpoint("POST", "/upload/image", upload),
    Endpoint("POST", "/upload/mask", mask),
    Endpoint("GET", "/internal/logs", lambda engine, request: text_answer("log"), alias=False),
    Endpoint("PATCH", "/internal/logs/subscribe", lambda engine, request: empty(), alias=False),
    Endpoint("GET", "/echo/{name}/{tail:rest}", echo),
    Endpoint("POST", "/echo", echo),
    Endpoint("POST", "/unread", echo, reads_body=False),
    Endpoint("GET", "/assets/{id:uuid}", echo),
    Endpoint("GET", "/trouble", trouble),
    Endpoint("GET", "/bug", bug),
    Endpoint("GET", "/split", split),
    Endpoint("POST", "/reasoned", reasoned),
]


class WithoutScript:
    """What the shell asks of a server that follows no script."""

    engine: Any
    down = False

    def __init__(self) -> None:
        self.director = Director()
        self.journal = Journal(self.director)
        self.waits = Waits(InstantClock(), self.director)

    def now(self) -> float:
        return self.engine.now

    def polled(self) -> None:
        pass


class StubServer(WithoutScript):
    """A server as the shell wants it, which counts what the shell does with it."""

    def __init__(self, engine: StubEngine | None = None, **options: Any) -> None:
        super().__init__()
        self.engine = engine or StubEngine(Options(**options))
        self.answering_now = 0
        self.answered = 0

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        self.answering_now += 1
        try:
            yield
        finally:
            self.answering_now -= 1
            self.answered += 1

    async def websocket_endpoint(self, websocket: WebSocket, record: RequestRecord) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()


def app(server: StubServer | None = None, **options: Any) -> Shell:
    return Shell(server or StubServer(**options), ENDPOINTS)


def client(shell: Shell) -> httpx.AsyncClient:
    """An in-process client with the headers of the recordings' one."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(shell, raise_app_exceptions=True), base_url=f"http://{HOST}")


def recording(name: str) -> list[har.Entry]:
    return list(har.load(har.packaged_recordings("0.33.0")[name]).exchanges())


def sent_again(http: httpx.AsyncClient, entry: har.Entry, renamed: dict[str, str]) -> httpx.Request:
    """The recorded request with its headers, values in `renamed` (ETags) replaced, `Content-Length` made anew."""
    headers = [(header.name, renamed.get(header.value, header.value)) for header in entry.request.headers]
    return http.build_request(
        entry.request.method,
        entry.request.url,
        headers=[(name, value) for name, value in headers if name.lower() != "content-length"],
        content=entry.request.body,
    )


def shown(headers: Any) -> dict[str, str]:
    """Headers that can be compared: of the free ones only that they are there, no framing that HTTP servers add."""
    pairs = {name.lower(): value for name, value in headers}
    pairs.pop("transfer-encoding", None)
    return {name: "" if name in FREE_HEADERS else value for name, value in pairs.items()}


def expected_headers(entry: har.Entry) -> dict[str, str]:
    return shown((header.name, header.value) for header in entry.response.headers)


@contextlib.contextmanager
def on_a_port(server: StubServer | None = None, **options: Any) -> Iterator[int]:
    """The shell behind uvicorn on a free port, in a thread."""
    config = uvicorn.Config(
        app(server, **options),
        http=HttpProtocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        runner.should_exit = True
        thread.join()
        listener.close()


def exchange(port: int, sent: bytes, *, until_closed: bool = False) -> bytes:
    """What comes back for raw bytes: one answer, or all until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while until_closed or not _is_complete(received):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
        return received


def _is_complete(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if headers.get(b"transfer-encoding") == b"chunked":
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(headers.get(b"content-length", b"0"))
