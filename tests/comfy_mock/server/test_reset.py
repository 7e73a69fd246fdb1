"""A reset: the same port, and nothing of what was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock, CustomNode, Instance

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "n"}},
}
SAVED = {"filename": "n_00001_.png"}


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with ComfyMock(clock="manual") as running:
        yield running


@contextlib.contextmanager
def open_socket(server: ComfyMock, client_id: str = "c") -> Iterator[ClientConnection]:
    url = f"{server.url.replace('http', 'ws')}/ws?clientId={client_id}"
    with connect(url, proxy=None, max_size=None, max_queue=None) as websocket:
        yield websocket


def until_closed(websocket: ClientConnection) -> tuple[list[Any], int | None]:
    """The messages until the server closes the socket, and the code that it gives."""
    got = []
    try:
        while True:
            got.append(json.loads(websocket.recv(timeout=20)))
    except websockets.ConnectionClosed as closed:
        return got, closed.rcvd and closed.rcvd.code


def use(server: ComfyMock, client: httpx.Client) -> dict[str, Any]:
    """Leave something everywhere; what of it can be seen, and would differ in a server that is not fresh."""
    first = client.post("/prompt", json={"prompt": IMAGE, "client_id": "c"}).json()
    server.advance(60)
    client.post("/prompt", json={"prompt": IMAGE, "client_id": "c"})
    client.post("/settings/A", json=1)
    client.post("/userdata/a.txt", content=b"a")
    client.post("/upload/image", files={"image": ("up.png", b"x")})
    pages = ("/queue", "/history", "/settings", "/userdata?dir=", "/internal/logs", "/internal/files/output")
    seen = {page: client.get(page).text for page in pages}
    return {**seen, "first": first, "view": client.get("/view", params=SAVED).content}


def test_nothing_of_what_was_is_left(server: ComfyMock) -> None:
    with httpx.Client(base_url=server.url) as client:
        before = client.get("/internal/logs").text
        used = use(server, client)
        server.reset()
        assert client.get("/queue").json() == {"queue_running": [], "queue_pending": []}
        assert client.get("/history").json() == {}
        assert client.get("/settings").json() == {}
        assert client.get("/userdata/a.txt").status_code == 404
        assert client.get("/view", params=SAVED).status_code == 404
        assert client.get("/view", params={"filename": "up.png", "type": "input"}).status_code == 404
        assert client.get("/view", params={"filename": "example.png", "type": "input"}).status_code == 200
        assert client.get("/internal/logs").text == before
        server.reset()
        assert use(server, client) == used


def test_the_port_and_http_connections_stay(server: ComfyMock) -> None:
    url = server.url
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for _ in range(3):
            connection.sendall(b"GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while b'{"exec_info": {"queue_remaining": 0}}' not in answer:
                received = connection.recv(65536)
                assert received
                answer += received
            server.reset()
    assert server.url == url


def test_sockets_are_closed_when_all_has_been_sent_to_them(server: ComfyMock) -> None:
    with open_socket(server) as websocket:
        websocket.recv(timeout=20)
        body = {"prompt": IMAGE, "client_id": "c"}
        prompt_id = httpx.post(f"{server.url}/prompt", json=body).json()["prompt_id"]
        server.run_until("executing", node=None)
        server.reset()
        messages, code = until_closed(websocket)
    assert messages[-1] == {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}
    assert code == 1012


def test_an_old_socket_does_not_stand_in_for_a_new_one(server: ComfyMock) -> None:
    """Both are the first of their server, and have the same client id."""
    with open_socket(server) as old, open_socket(server, "other"):
        old.recv(timeout=20)
        server.reset()
        with open_socket(server) as new:
            assert json.loads(new.recv(timeout=20))["data"]["sid"] == "c"
            with pytest.raises(websockets.ConnectionClosed):
                old.recv(timeout=20)
            httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE, "client_id": "c"})
            server.run_until("execution_start")
            assert [json.loads(new.recv(timeout=20))["type"] for _ in range(3)] == [
                "status",
                "status",
                "execution_start",
            ]


def test_added_nodes_are_gone(server: ComfyMock) -> None:
    server.add_node(CustomNode("Mine", inputs={}, outputs=["INT"], function=lambda: 1))
    assert list(httpx.get(f"{server.url}/object_info/Mine").json()) == ["Mine"]
    server.reset()
    assert httpx.get(f"{server.url}/object_info/Mine").json() == {}


def test_a_directory_keeps_its_files_but_temp_ones(tmp_path: Path) -> None:
    with ComfyMock(storage=tmp_path) as server:
        for folder in ("output", "temp"):
            (tmp_path / folder / "mine.txt").write_text("x", encoding="utf-8")
        server.reset()
        assert (tmp_path / "output" / "mine.txt").exists()
        assert not (tmp_path / "temp" / "mine.txt").exists()


def loras(server: ComfyMock) -> Any:
    return httpx.get(f"{server.url}/models/loras").json()


def test_it_can_be_configured_anew_and_keeps_that() -> None:
    with ComfyMock(models={"loras": ["a.safetensors"]}) as server:
        server.reset()
        assert loras(server) == ["a.safetensors"]
        server.reset(models={"loras": ["b.safetensors"]}, clock="manual")
        server.reset()
        assert loras(server) == ["b.safetensors"]
        server.advance(1)
        server.reset(version="0.3.64")
        assert httpx.get(f"{server.url}/api/jobs").status_code == 404
        server.reset(version="0.33.0")
        assert httpx.get(f"{server.url}/api/jobs").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"clock": "fast"}, ValueError, "no clock 'fast'; the clocks are 'instant', 'real' and 'manual'"),
        ({"preview_metod": "none"}, TypeError, "preview_metod"),
        ({"storage": {"outputs": "x"}}, ValueError, "there is no folder 'outputs'"),
    ],
)
def test_wrong_arguments_reset_nothing(
    server: ComfyMock, arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with open_socket(server) as websocket:
        websocket.recv(timeout=20)
        httpx.post(f"{server.url}/settings/A", json=1)
        with pytest.raises(error, match=complaint):
            server.reset(**arguments)
        assert httpx.get(f"{server.url}/settings/A").json() == 1
        assert websocket.ping().wait(20)


def test_it_needs_a_running_server() -> None:
    server = ComfyMock()
    for _ in range(2):
        assert not server.running
        with pytest.raises(RuntimeError, match="does not run: use `with ComfyMock"):
            server.reset()
        with server:
            assert server.running


def test_a_run_that_is_under_way_is_forgotten() -> None:
    with ComfyMock(clock="real", speed=0.001) as server:
        httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE})
        server.reset(clock="instant")
        answer = httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE}).json()
        assert answer["number"] == 0
        while not (history := httpx.get(f"{server.url}/history").json()):
            pass
        assert list(history) == [answer["prompt_id"]]


def test_resets_in_the_midst_of_traffic_break_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    statuses = set()

    def ask(url: str) -> None:
        with httpx.Client(base_url=url) as client:
            for _ in range(40):
                statuses.add(client.post("/prompt", json={"prompt": IMAGE}).status_code)
                with (
                    contextlib.suppress(websockets.ConnectionClosed),
                    connect(f"{url.replace('http', 'ws')}/ws", proxy=None) as websocket,
                ):
                    websocket.recv(timeout=20)

    with ComfyMock() as server:
        threads = [threading.Thread(target=ask, args=(server.url,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            server.reset()
        for thread in threads:
            thread.join()
    assert statuses == {200}
    assert caplog.messages == []


def test_a_socket_that_is_just_being_opened_is_closed_too() -> None:
    async def run() -> tuple[int, int]:
        instance = Instance()
        old = instance.runner
        await instance.reset_async()
        old.wake()
        tasks = [task for task in asyncio.all_tasks() if "comfy-mock" in task.get_name()]
        ending = await asyncio.wait_for(old.sockets.open(1).drain_into(None), 20)
        return ending.code, len(tasks)

    assert asyncio.run(run()) == (1012, 0)


def test_without_a_network() -> None:
    async def run() -> tuple[list[Any], set[str]]:
        instance = Instance()
        numbers = []
        async with httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://comfy") as client:
            for _ in range(3):
                numbers.append((await client.post("/prompt", json={"prompt": IMAGE})).json()["number"])
                await instance.reset_async()
        return numbers, {task.get_name() for task in asyncio.all_tasks() if "comfy-mock" in task.get_name()}

    assert asyncio.run(run()) == ([0, 0, 0], set())
