"""Servers with scripts, and clients that see what becomes of bytes."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import websockets
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock

WAIT_S_MAX = 20.0

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 3, "color": 3}},
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
}
"""Three progress events and three pictures, in no time."""

SAVED = {**IMAGE, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "f"}}}


@contextlib.contextmanager
def open_socket(server: ComfyMock, client_id: str = "c", **arguments: Any) -> Iterator[ClientConnection]:
    """A WebSocket that waits for no farewell at its end: some servers here are deaf."""
    url = f"{server.url.replace('http', 'ws')}/ws?clientId={client_id}"
    with connect(url, proxy=None, max_size=None, max_queue=None, close_timeout=0.01, **arguments) as websocket:
        yield websocket


def post(server: ComfyMock, prompt: dict[str, Any] = IMAGE, client_id: str = "c") -> str:
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": prompt, "client_id": client_id})
    assert answer.status_code == 200, answer.text
    prompt_id: str = answer.json()["prompt_id"]
    return prompt_id


def kind(message: str | bytes) -> str:
    """What a message is, in a word: `status`, `progress 2`, `executing null`, `binary`."""
    if isinstance(message, bytes):
        return "binary"
    decoded = json.loads(message)
    if decoded["type"] == "progress":
        return f"progress {decoded['data']['value']}"
    if decoded["type"] == "executing" and decoded["data"]["node"] is None:
        return "executing null"
    return str(decoded["type"])


def heard(websocket: ClientConnection, last: str = "executing null") -> list[str]:
    """What comes, up to a message of this kind."""
    got = []
    while not got or got[-1] != last:
        got.append(kind(websocket.recv(timeout=WAIT_S_MAX)))
    return got


def until_lost(websocket: ClientConnection) -> tuple[list[str], int | None]:
    """What comes until the socket ends, and the code that it was closed with; None where it was broken off."""
    got = []
    try:
        while True:
            got.append(kind(websocket.recv(timeout=WAIT_S_MAX)))
    except websockets.ConnectionClosed as closed:
        return got, None if closed.rcvd is None else closed.rcvd.code


@contextlib.contextmanager
def raw(server: ComfyMock) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S_MAX) as connection:
        yield connection


def received(connection: socket.socket) -> tuple[bytes, bool]:
    """All that comes until the connection ends, and whether it ends with a reset."""
    got = b""
    try:
        while chunk := connection.recv(65536):
            got += chunk
    except ConnectionResetError:
        return got, True
    return got, False


def asked(server: ComfyMock, line: str = "GET /queue") -> tuple[bytes, bool]:
    """All that a request on a connection of its own brings."""
    with raw(server) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("ascii"))
        return received(connection)
