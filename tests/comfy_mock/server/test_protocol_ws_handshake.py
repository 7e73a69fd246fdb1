"""The upgrade, the socket's id, and what a client may do to a socket (protocol 6.1, 6.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as running:
        yield running


def opened(server: ComfyMock, query: str, **options: Any) -> ClientConnection:
    return connect(server.url.replace("http", "ws") + "/ws" + query, proxy=None, max_size=None, **options)


@pytest.mark.parametrize(
    ("query", "sid"),
    [
        ("?clientId=a&clientId=b", "a"),
        ("?x=1&clientId=b&clientid=c", "b"),
        ("?clientId=a%20b%2F%C3%A9", "a b/é"),
        ("?clientId=a+b", "a b"),
    ],
)
def test_the_id_is_the_first_value_any_text(server: ComfyMock, query: str, sid: str) -> None:
    with opened(server, query) as socket:
        assert json.loads(socket.recv(timeout=10))["data"]["sid"] == sid


@pytest.mark.parametrize("query", ["", "?clientId=", "?clientid=x", "?clientId=&clientId=b"])
def test_without_one_the_server_makes_32_hex_digits(server: ComfyMock, query: str) -> None:
    with opened(server, query) as socket:
        sid = json.loads(socket.recv(timeout=10))["data"]["sid"]
    assert len(sid) == 32
    assert set(sid) <= set("0123456789abcdef")


def test_compression_if_offered_and_never_a_subprotocol(server: ComfyMock) -> None:
    with opened(server, "", subprotocols=["x", "y"]) as socket:
        assert socket.subprotocol is None
        assert socket.response is not None
        assert socket.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    with opened(server, "", compression=None) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


def test_a_client_may_send_anything_and_is_still_heard(server: ComfyMock) -> None:
    with opened(server, "?clientId=wild") as socket:
        socket.recv(timeout=10)
        for nothing in ("", "null", "[" * 100_000, b"\xff\x00", "x" * 4194304):
            socket.send(nothing)
        assert socket.ping(b"alive").wait(10)
        socket.send('{"type": "feature_flags"}')
        assert json.loads(socket.recv(timeout=10))["type"] == "feature_flags"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.com"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_refused_upgrade_is_empty_and_no_error_of_the_server(
    server: ComfyMock, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(server, "", additional_headers=headers):
        pass
    response = refused.value.response
    assert (response.status_code, bytes(response.body or b"")) == (403, b"")
    assert {name.lower() for name in response.headers} == {"content-length", "date", "server", "connection"}
    assert caplog.records == []
