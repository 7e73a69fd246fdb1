"""Clients that do not read: they harm nobody but themselves (protocol 6.9, 9)."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from comfy_mock import ComfyMock
from comfy_mock.server import sockets

PROMPT = {"1": {"class_type": "PreviewAny", "inputs": {"source": "x"}}}


def deaf(server: ComfyMock, requests: int = 20) -> socket.socket:
    """A connection that asks for megabytes and reads nothing."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(b"GET /object_info HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
    return connection


def finished(server: ComfyMock) -> bool:
    """Whether a prompt that is posted now runs to its end."""
    with connect(server.url.replace("http", "ws") + "/ws?clientId=c", proxy=None) as websocket:
        answer = httpx.post(f"{server.url}/prompt", json={"prompt": PROMPT, "client_id": "c"})
        closing = {"type": "executing", "data": {"node": None, "prompt_id": answer.json()["prompt_id"]}}
        while json.loads(websocket.recv(timeout=20)) != closing:
            pass
    return True


def test_an_answer_that_nobody_reads_holds_no_prompt_up() -> None:
    with ComfyMock() as server, deaf(server), deaf(server):
        assert finished(server)


def test_a_server_stops_cleanly_with_an_answer_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    with ComfyMock() as server, deaf(server):
        assert finished(server)
        server.stop()
    assert [record.getMessage() for record in caplog.records] == []
    assert "comfy-mock" not in {thread.name for thread in threading.enumerate()}


def test_a_client_that_reads_gets_everything_however_fast_time_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide prompt's progress_state is large: the simulation waits for those who read, rather than drop them."""
    monkeypatch.setattr(sockets, "BACKLOG_BYTES_MAX", 2 * 1024 * 1024)
    monkeypatch.setattr(sockets, "BACKLOG_BYTES_EASY", 256 * 1024)
    nodes = 150
    prompt: dict[str, Any] = {
        "0": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}}
    }
    for number in range(1, nodes):
        prompt[str(number)] = {
            "class_type": "SaveImage",
            "inputs": {"images": ["0", 0], "filename_prefix": f"wide{number}"},
        }
    with ComfyMock(clock="real", speed=1000) as server:
        url = f"{server.url.replace('http', 'ws')}/ws?clientId=c"
        with connect(url, proxy=None, max_size=None, compression=None) as websocket:
            httpx.post(f"{server.url}/prompt", json={"prompt": prompt, "client_id": "c"})
            kinds: Counter[str] = Counter()
            while True:
                message = websocket.recv(timeout=20)
                assert isinstance(message, str)
                kinds[json.loads(message)["type"]] += 1
                if '"executing", "data": {"node": null' in message:
                    break
    assert kinds["progress_state"] == 2 * nodes
    assert kinds["executed"] == nodes - 1
