"""Embedding: on a port beside the test's own code, in its event loop, or without a network at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
import websockets
from websockets.sync.client import connect

from comfy_mock import ComfyMock, Instance, PortTaken
from comfy_mock.server import network
from comfy_mock.server.listening import Port

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "n"}},
}


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("comfy-mock")]


def test_a_server_is_ready_when_with_is_entered_and_gone_when_it_is_left() -> None:
    with ComfyMock() as server:
        assert httpx.get(f"{server.url}/prompt").json() == {"exec_info": {"queue_remaining": 0}}
        port = server.port
    assert not ours()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/prompt")


def test_start_and_stop_without_with_and_a_second_start() -> None:
    server = ComfyMock().start()
    with pytest.raises(RuntimeError, match="running already"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = server.url
    with server:
        assert httpx.get(f"{server.url}/queue").status_code == 200


def test_several_servers_know_nothing_of_each_other() -> None:
    with ComfyMock() as one, ComfyMock() as two:
        httpx.post(f"{one.url}/settings/A", json=1)
        assert httpx.get(f"{two.url}/settings/A").json() is None


def test_the_server_stops_with_sockets_open() -> None:
    with contextlib.ExitStack() as stack:
        server = ComfyMock().start()
        url = f"{server.url.replace('http', 'ws')}/ws"
        sockets = [stack.enter_context(connect(url, proxy=None)) for _ in range(3)]
        for websocket in sockets:
            assert json.loads(websocket.recv())["type"] == "status"
        stopping = time.monotonic()
        server.stop()
        assert time.monotonic() - stopping < 1.5
        assert not ours()
        for websocket in sockets:
            with pytest.raises(websockets.ConnectionClosed):
                websocket.recv(timeout=5)


def test_the_server_stops_in_the_middle_of_a_run() -> None:
    with ComfyMock(clock="real", speed=0.001) as server:
        assert httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE}).status_code == 200
    assert not ours()


async def serve_and_ask() -> int:
    async with ComfyMock() as server, httpx.AsyncClient() as client:
        return (await client.get(f"{server.url}/queue")).status_code


def test_async_with() -> None:
    assert asyncio.run(serve_and_ask()) == 200
    assert not ours()


def test_the_bare_app_needs_no_network() -> None:
    async def run() -> dict[str, object]:
        instance = Instance()
        transport = httpx.ASGITransport(instance.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://comfy") as client:
            prompt_id = (await client.post("/prompt", json={"prompt": IMAGE})).json()["prompt_id"]
            for _ in range(1000):
                entry = (await client.get(f"/history/{prompt_id}")).json()
                if entry:
                    return dict(entry[prompt_id]["status"])
                await asyncio.sleep(0)
            raise AssertionError("the prompt never ends")

    assert asyncio.run(run())["completed"] is True


def test_one_app_in_two_event_loops() -> None:
    instance = Instance()

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://comfy") as client:
            return (await client.post("/prompt", json={"prompt": IMAGE})).json()["number"]

    assert [asyncio.run(ask()), asyncio.run(ask())] == [0, 1]


def test_a_taken_port_is_said_clearly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}.*free one"):
            ComfyMock(port=port).start()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only one program can bind a port")
def test_a_port_that_is_taken_at_the_last_moment_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two have bound a port and nobody listens, the first who listens has it."""
    with contextlib.ExitStack() as others:

        class Contested(Port):
            def __init__(self, host: str, number: int) -> None:
                super().__init__(host, number)
                other = others.enter_context(socket.socket())
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind((host, self.number))
                other.listen()

        server = ComfyMock()
        with monkeypatch.context() as patch:
            patch.setattr(network, "Port", Contested)
            with pytest.raises(PortTaken, match=r"cannot listen on 127\.0\.0\.1"):
                server.start()
            with pytest.raises(PortTaken):
                asyncio.run(server.serve())
        assert not server.running
        with server:
            assert httpx.get(f"{server.url}/queue").status_code == 200


def test_wrong_arguments_fail_at_the_call() -> None:
    with pytest.raises(ValueError, match="'instant', 'real' and 'manual'"):
        ComfyMock(clock="fast")
    with pytest.raises(ValueError, match="speed must be above 0"):
        ComfyMock(clock="real", speed=0)
    with pytest.raises(TypeError, match="preview_metod"):
        ComfyMock(preview_metod="none")
    with pytest.raises(ValueError, match="there is no folder 'outputs'"):
        ComfyMock(storage={"outputs": "x"})


PROGRAM = """
import hashlib, json, sys
import httpx
from websockets.sync.client import connect
from comfy_mock import ComfyMock

prompt = json.loads(sys.argv[1])
digest = hashlib.sha256()
with ComfyMock(seed=7, preview_method="latent2rgb") as server, httpx.Client(base_url=server.url) as client:
    with connect(server.url.replace("http", "ws") + "/ws", proxy=None, max_size=None) as websocket:
        first = websocket.recv()
        digest.update(first.encode())
        sid = json.loads(first)["data"]["sid"]
        for _ in range(2):
            answer = client.post("/prompt", json={"prompt": prompt, "client_id": sid})
            digest.update(answer.content)
            while True:
                message = websocket.recv()
                digest.update(message if isinstance(message, bytes) else message.encode())
                if isinstance(message, str) and '"executing", "data": {"node": null' in message:
                    break
        digest.update(client.get("/history").content)
        digest.update(client.get("/view?filename=n_00001_.png").content)
        digest.update(client.get("/view?filename=n_00001_.png").headers["etag"].encode())
print(digest.hexdigest())
"""


def test_two_runs_with_the_same_seed_give_identical_bytes() -> None:
    prompt = {
        **IMAGE,
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "4": {"class_type": "MaskPreview", "inputs": {"mask": ["5", 0]}},
        "5": {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": 8, "height": 8}},
    }
    runs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(prompt)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(runs) == 1


def test_one_who_is_cancelled_while_it_starts_leaves_nothing_behind() -> None:
    async def run() -> None:
        for _ in range(4):
            task = asyncio.create_task(serve_and_ask())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert not ours()


def test_stop_ends_serve() -> None:
    async def run() -> None:
        server, ready = ComfyMock(), asyncio.Event()
        serving = asyncio.create_task(server.serve(ready.set))
        await ready.wait()
        server.stop()
        await asyncio.wait_for(serving, 20)

    asyncio.run(run())


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="to 65535, not 99999"):
        ComfyMock(port=99999)
