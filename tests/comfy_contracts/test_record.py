"""The recording proxy: nobody can tell that it is there, and it keeps what was said."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets.asyncio.client as ws_client
import websockets.asyncio.server as ws_server
from websockets.exceptions import ConnectionClosed, InvalidStatus

from comfy_contracts.har import Entry, Har, load
from comfy_contracts.record import RecordingProxy
from comfy_contracts.recorder import Recorder

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOW = 2_000_000_000.0


@asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    """A server that says, byte by byte, what a test has it say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def proxied(handler: Handler, **options: Any) -> AsyncIterator[tuple[RecordingProxy, Recorder]]:
    recorder = Recorder(**options)
    async with upstream(handler) as url, RecordingProxy(url, recorder) as proxy:
        yield proxy, recorder


async def connected(proxy: RecordingProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = proxy.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def said(proxy: RecordingProxy, request: bytes) -> bytes:
    """All that comes back for the bytes of a request that closes its connection."""
    reader, writer = await connected(proxy)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(answer: bytes, heard: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            if heard is not None:
                heard.append(head)
            writer.write(answer)
            await writer.drain()

    return handler


def entries(recorder: Recorder) -> list[Entry]:
    """What was recorded, as it comes back from a file."""
    return load(json.dumps(recorder.har(NOW).to_builtins()).encode()).entries


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


# HTTP


def test_status_line_and_headers_pass_as_they_are() -> None:
    answer = b'HTTP/1.1 200 Quite Fine\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nETag: W/"x"\r\nContent-Length: 2\r\n\r\nok'

    async def test() -> None:
        async with proxied(answering(answer)) as (proxy, recorder):
            got = await said(proxy, b"GET /a%20b/../c?x=%2F HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert got == answer.replace(b"\r\n\r\nok", b"\r\nConnection: close\r\n\r\nok")
            (entry,) = entries(recorder)
            assert entry.request.url == f"{proxy.target.origin}/a%20b/../c?x=%2F"
            assert (entry.response.status, entry.response.status_text) == (200, "Quite Fine")
            assert [(one.name, one.value) for one in entry.response.headers] == [
                ("X-B", "1"),
                ("x-a", "2"),
                ("X-B", "3"),
                ("ETag", 'W/"x"'),
                ("Content-Length", "2"),
            ]
            assert entry.response.body == b"ok"

    run(test)


def test_headers_of_one_connection_stay_on_it() -> None:
    heard: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: x-mine\r\nX-Mine: 1\r\nContent-Length: 0\r\n\r\n"

    async def test() -> None:
        async with proxied(answering(answer, heard)) as (proxy, recorder):
            got = await said(
                proxy,
                b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close, x-y\r\nX-Y: 1\r\nX-Z: 2\r\n\r\n",
            )
        assert b"Keep-Alive" not in got
        assert b"X-Mine" not in got
        assert heard == [f"GET / HTTP/1.1\r\nHost: {proxy.target.netloc}\r\nX-Z: 2\r\n\r\n".encode()]
        # The recording has what the two have really said.
        (entry,) = entries(recorder)
        assert entry.response.header("keep-alive") == "timeout=5"
        assert entry.request.header("te") == "trailers"

    run(test)


def test_host_and_origin_name_the_target_where_they_named_the_proxy() -> None:
    heard: list[bytes] = []

    async def test() -> None:
        async with proxied(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", heard)) as (proxy, _):
            own = proxy.url.removeprefix("http://").encode()
            for origin in (b"http://" + own, b"http://elsewhere.example"):
                await said(
                    proxy,
                    b"GET / HTTP/1.1\r\nHost: " + own + b"\r\nOrigin: " + origin + b"\r\nConnection: close\r\n\r\n",
                )
            target = proxy.target.netloc.encode()
        assert [b"Host: " + target in one for one in heard] == [True, True]
        assert b"Origin: http://" + target in heard[0]
        assert b"Origin: http://elsewhere.example" in heard[1]

    run(test)


def test_compression_is_left_alone() -> None:
    packed = gzip.compress(b'{"a": 1}', mtime=0)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"
    )

    async def test() -> None:
        async with proxied(answering(head.encode() + b"\r\n\r\n" + packed)) as (proxy, recorder):
            got = await said(proxy, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert got.endswith(packed)
            assert entries(recorder)[0].response.body == packed

    run(test)


@pytest.mark.parametrize(
    ("request_line", "answer", "body"),
    [
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
)
def test_answers_are_framed_as_they_were(request_line: bytes, answer: bytes, body: bytes) -> None:
    async def test() -> None:
        async with proxied(answering(answer)) as (proxy, recorder):
            got = await said(proxy, request_line + b"\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert got.replace(b"Connection: close\r\n", b"") == answer
            assert entries(recorder)[0].response.body == body

    run(test)


def test_one_connection_carries_many_requests() -> None:
    async def test() -> None:
        async with proxied(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")) as (proxy, recorder):
            reader, writer = await connected(proxy)
            for _ in range(3):
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await head_of(reader)
                assert await reader.readexactly(1) == b"x"
            writer.close()
            assert len(entries(recorder)) == 3

    run(test)


def test_an_answer_passes_piece_by_piece() -> None:
    has_arrived = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        await has_arrived.wait()
        writer.write(b"two")

    async def test() -> None:
        async with proxied(handler) as (proxy, recorder):
            reader, writer = await connected(proxy)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await head_of(reader)
            assert await reader.readexactly(3) == b"one"
            has_arrived.set()
            assert await reader.readexactly(3) == b"two"
            writer.close()
            assert entries(recorder)[0].response.body == b"onetwo"

    run(test)


def test_an_upload_passes_piece_by_piece_and_is_kept_up_to_a_limit() -> None:
    pieces = [bytes([number]) * 100_000 for number in range(20)]
    arrived: asyncio.Queue[int] = asyncio.Queue()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        for piece in pieces:
            assert await reader.readexactly(len(piece)) == piece
            arrived.put_nowait(len(piece))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def test() -> None:
        async with proxied(handler, limit=1_000_000) as (proxy, recorder):
            reader, writer = await connected(proxy)
            size = sum(map(len, pieces))
            writer.write(f"POST /upload/image HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode())
            for piece in pieces:
                # The next piece is sent when the server has this one: nobody waits for the whole.
                writer.write(piece)
                await arrived.get()
            await head_of(reader)
            writer.close()
            (entry,) = entries(recorder)
            data: Any = entry.request.post_data
            assert (data.omitted, data.sha256) == (True, hashlib.sha256(b"".join(pieces)).hexdigest())
            assert entry.request.body_size == size

    run(test)


def test_a_large_answer_is_kept_as_its_hash() -> None:
    async def test() -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50
        async with proxied(answering(answer), limit=49) as (proxy, recorder):
            await said(proxy, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            (entry,) = entries(recorder)
            assert entry.response.body is None
            assert entry.response.content.sha256 == hashlib.sha256(b"x" * 50).hexdigest()
            assert entry.response.content.size == 50

    run(test)


def test_a_client_that_asks_first_is_told_to_continue() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"100-continue" in await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(3) == b"abc"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def test() -> None:
        async with proxied(handler) as (proxy, recorder):
            reader, writer = await connected(proxy)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert (await head_of(reader)).startswith(b"HTTP/1.1 100 Continue\r\n")
            writer.write(b"abc")
            assert (await head_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
            assert entries(recorder)[0].request.body == b"abc"

    run(test)


def test_an_answer_may_come_before_the_upload_is_through() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    async def test() -> None:
        async with proxied(handler) as (proxy, recorder):
            reader, writer = await connected(proxy)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\nabc")
            assert (await reader.read()).endswith(b"big")
            writer.close()
            assert entries(recorder)[0].response.status == 413

    run(test)


def test_a_server_that_breaks_off_does_so_for_the_client_too() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

    async def test() -> None:
        async with proxied(handler) as (proxy, recorder):
            got = await said(proxy, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
            (entry,) = entries(recorder)
            assert entry.response.body == b"abc"
            assert entry.response.extra["_error"]

    run(test)


def test_a_client_that_hangs_up_does_so_for_the_server_too() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asked.set()
        assert await reader.read() == b""
        left.set()

    async def test() -> None:
        async with proxied(handler) as (proxy, recorder):
            _, writer = await connected(proxy)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked.wait()
            writer.close()
            await left.wait()
            (entry,) = entries(recorder)
            assert entry.response.status == 0
            assert entry.response.extra["_error"] == "the client hung up before it had its answer"

    run(test)


def test_a_target_that_is_not_there_is_a_bad_gateway() -> None:
    async def test() -> None:
        recorder = Recorder()
        async with RecordingProxy("http://127.0.0.1:1", recorder) as proxy, httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{proxy.url}/prompt")
        assert answer.status_code == 502
        assert "cannot reach http://127.0.0.1:1" in answer.text
        assert [entry.response.status for entry in entries(recorder)] == [0]

    run(test)


def test_what_is_not_http_is_refused() -> None:
    async def test() -> None:
        async with proxied(answering(b"")) as (proxy, recorder):
            assert (await said(proxy, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert entries(recorder) == []

    run(test)


@pytest.mark.parametrize("target", ["", "127.0.0.1:8188", "ftp://host", "http://"])
def test_a_target_must_be_an_address(target: str) -> None:
    with pytest.raises(ValueError, match="such as http://127"):
        RecordingProxy(target, Recorder())


def test_a_path_in_the_target_is_put_before_all_paths_and_not_recorded() -> None:
    heard: list[bytes] = []

    async def test() -> None:
        recorder = Recorder()
        async with (
            upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", heard)) as url,
            RecordingProxy(f"{url}/comfy/", recorder) as proxy,
        ):
            await said(proxy, b"GET /queue HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert heard[0].startswith(b"GET /comfy/queue ")
        assert entries(recorder)[0].request.url == f"{url}/queue"

    run(test)


# WebSockets


@asynccontextmanager
async def chatting(
    chat: Callable[[ws_server.ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[str, Recorder]]:
    """A WebSocket server behind a proxy; the address of the proxy."""
    recorder = Recorder()
    async with (
        ws_server.serve(chat, "127.0.0.1", 0, **options) as server,
        RecordingProxy(f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", recorder) as proxy,
    ):
        yield proxy.url.replace("http", "ws", 1), recorder


def messages(recorder: Recorder) -> list[tuple[str, str | bytes]]:
    (entry,) = entries(recorder)
    return [(message.type, message.payload) for message in entry.messages]


def closed(recorder: Recorder) -> Any:
    """How the recorded socket was closed. The proxy has ended: it has heard all."""
    (entry,) = entries(recorder)
    return entry.to_builtins()["_webSocketClose"]


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_pass_both_ways_and_are_kept(compression: str | None) -> None:
    async def chat(connection: ws_server.ServerConnection) -> None:
        await connection.send("hello é")
        await connection.send(b"\x00\x00\x00\x01picture" * 100)
        async for message in connection:
            await connection.send(message)

    async def test() -> None:
        async with (
            chatting(chat, subprotocols=["b", "a"]) as (url, recorder),
            ws_client.connect(
                f"{url}/ws?clientId=x", compression=compression, subprotocols=["a", "b"], proxy=None
            ) as client,
        ):
            assert client.subprotocol == "b"
            assert await client.recv() == "hello é"
            assert await client.recv() == b"\x00\x00\x00\x01picture" * 100
            await client.send(["in ", "two pieces"])
            assert await client.recv() == "in two pieces"
            await client.ping()
            await client.close(1001, "bye")
        assert closed(recorder) == {"code": 1001, "reason": "bye"}
        assert messages(recorder) == [
            ("receive", "hello é"),
            ("receive", b"\x00\x00\x00\x01picture" * 100),
            ("send", "in two pieces"),
            ("receive", "in two pieces"),
        ]
        (entry,) = entries(recorder)
        assert entry.is_socket
        assert entry.response.header("sec-websocket-protocol") == "b"
        assert ("deflate" in (entry.response.header("sec-websocket-extensions") or "")) is (compression is not None)

    run(test)


def test_the_code_of_a_server_that_closes_reaches_the_client() -> None:
    async def chat(connection: ws_server.ServerConnection) -> None:
        await connection.close(1012, "restart")

    async def test() -> None:
        async with chatting(chat) as (url, recorder), ws_client.connect(f"{url}/ws", proxy=None) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1012, "restart")
        assert closed(recorder) == {"code": 1012, "reason": "restart"}

    run(test)


def test_a_server_that_drops_a_socket_without_a_word() -> None:
    async def chat(connection: ws_server.ServerConnection) -> None:
        connection.transport.abort()

    async def test() -> None:
        async with chatting(chat) as (url, recorder), ws_client.connect(f"{url}/ws", proxy=None) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1006
        assert closed(recorder)["code"] == 1006

    run(test)


def test_a_client_that_drops_a_socket_without_a_word() -> None:
    gone = asyncio.Event()

    async def chat(connection: ws_server.ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()
        gone.set()

    async def test() -> None:
        async with chatting(chat) as (url, recorder):
            client = await ws_client.connect(f"{url}/ws", proxy=None)
            assert await client.recv() == "hello"
            client.transport.abort()
            await gone.wait()
        assert closed(recorder) == {"code": None, "reason": None}

    run(test)


def test_a_refused_socket_is_an_exchange() -> None:
    def refuse(connection: ws_server.ServerConnection, _: Any) -> Any:
        return connection.respond(403, "no")

    async def chat(_: ws_server.ServerConnection) -> None:
        raise AssertionError

    async def test() -> None:
        async with chatting(chat, process_request=refuse) as (url, recorder):
            with pytest.raises(InvalidStatus) as refused:
                await ws_client.connect(f"{url}/ws", proxy=None)
            assert refused.value.response.status_code == 403
            assert [(entry.response.status, entry.is_socket) for entry in entries(recorder)] == [(403, False)]

    run(test)


def test_an_open_socket_is_in_the_recording_with_what_it_has_got() -> None:
    async def chat(connection: ws_server.ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()

    async def test() -> None:
        async with chatting(chat) as (url, recorder), ws_client.connect(f"{url}/ws", proxy=None) as client:
            assert await client.recv() == "hello"
            assert messages(recorder) == [("receive", "hello")]
            assert entries(recorder)[0].to_builtins()["_webSocketClose"] == {}

    run(test)


def test_the_end_of_the_proxy_ends_its_connections() -> None:
    async def chat(connection: ws_server.ServerConnection) -> None:
        await connection.wait_closed()

    async def test() -> None:
        async with chatting(chat) as (url, recorder):
            client = await ws_client.connect(f"{url}/ws", proxy=None)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert isinstance(recorder.har(NOW), Har)

    run(test)
