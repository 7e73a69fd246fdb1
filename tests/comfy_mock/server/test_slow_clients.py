"""Clients that do not read: they harm nobody but themselves (protocol 6.9, 9)."""

from __future__ import annotations

import json
import socket
import threading

import httpx
import pytest
from websockets.sync.client import connect

from comfy_mock import ComfyMock

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
