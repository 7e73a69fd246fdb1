"""A proxy in front of a ComfyUI server that records all that passes, HTTP and WebSocket.

    async with RecordingProxy("http://127.0.0.1:8188", recorder, port=8189) as proxy:
        ...  # clients talk to proxy.url; recorder.har(time.time()) is what has been said

Client and server cannot tell it from a direct connection but by the port: status line, headers (except those that
concern one connection only), their order, compression and the bytes of a WebSocket pass as they are, in both
directions and piece by piece as they come. `Host`, and `Origin` and `Referer` that name the proxy, are made to name the
target, so that its rule about origins (protocol 1.4) holds as without a proxy.

ASGI and HTTP clients tidy up what a recording must keep (the reason phrase, headers' case and order, WebSocket
frames), so this speaks HTTP through h11 on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterable
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Union
from urllib.parse import urlsplit

import h11

from comfy_contracts.har import NameValue
from comfy_contracts.record_tap import Tap
from comfy_contracts.recorder import Exchange, Recorder

if TYPE_CHECKING:
    from typing_extensions import Self

_PIECE = 64 * 1024
_HEAD_BYTES_MAX = 256 * 1024
_ONE_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})
_PORTS = {"http": 80, "https": 443}
Headers = list[tuple[bytes, bytes]]
Event = Union[h11.Event, type[h11.NEED_DATA], type[h11.PAUSED]]


class RecordingProxy:
    """Listens on `host` and `port` (0: a free one), passes everything on to `target`, and tells `recorder`.

    `target` is the URL of a server; a path in it is put before every path that is asked for, and is not recorded.
    Raises `ValueError` where it is not an HTTP URL, and `OSError` at the start where the port cannot be had.
    """

    def __init__(self, target: str, recorder: Recorder, *, host: str = "127.0.0.1", port: int = 0) -> None:
        parts = urlsplit(target)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"the target must be an address such as http://127.0.0.1:8188, not {target!r}")
        self.target = _Target(
            parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], parts.netloc, parts.path.rstrip("/")
        )
        self.recorder = recorder
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients reach it. Raises `RuntimeError` before the start."""
        if self._server is None:
            raise RuntimeError("the proxy has not been started: use `async with`")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        client = _Peer(h11.SERVER, reader, writer)
        try:
            await _Link(client, self.target, self.recorder).run()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            # The connection is lost, or the proxy ends: there is nobody to tell.
            pass
        finally:
            self._links.discard(task)
            client.abort()


class _Target:
    def __init__(self, scheme: str, host: str, port: int, netloc: str, path: str) -> None:
        self.host, self.port, self.path = host, port, path.encode("ascii")
        self.netloc = netloc.rpartition("@")[2]
        self.origin = f"{scheme}://{self.netloc}"
        self.tls = ssl.create_default_context() if scheme == "https" else None

    async def connect(self) -> _Peer:
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        return _Peer(h11.CLIENT, reader, writer)


class _Peer:
    """One of the two whom the proxy talks to."""

    def __init__(self, role: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self.reader, self.writer = reader, writer
        self._next: Event = h11.NEED_DATA

    async def event(self) -> Event:
        """The next thing that is said. Raises `h11.RemoteProtocolError` where it is not HTTP."""
        while True:
            event, self._next = self._next, h11.NEED_DATA
            if event is h11.NEED_DATA:
                event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self.reader.read(_PIECE))

    @property
    def has_ended(self) -> bool:
        """Whether the message was complete with what `event` gave last."""
        if self._next is h11.NEED_DATA and self.http.their_state is h11.SEND_BODY:
            self._next = self.http.next_event()
        return isinstance(self._next, h11.EndOfMessage)

    async def send(self, event: h11.Event) -> None:
        """Say something, and wait while too much is under way already."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def abort(self) -> None:
        """Hang up; what has been handed over still goes out."""
        self.writer.close()


class _Link:
    """A connection of a client, and the one to the server that stands for it."""

    def __init__(self, client: _Peer, target: _Target, recorder: Recorder) -> None:
        self._client, self._target, self._recorder = client, target, recorder
        self._server: _Peer | None = None

    async def run(self) -> None:
        """Pass on requests until one of the two hangs up."""
        try:
            while True:
                try:
                    request = await self._client.event()
                except h11.RemoteProtocolError as error:
                    await self._refuse(error.error_status_hint, f"This is not HTTP: {error}")
                    return
                if not isinstance(request, h11.Request):
                    return
                if not await self._exchange(request):
                    return
        finally:
            if self._server is not None:
                self._server.abort()

    async def _exchange(self, request: h11.Request) -> bool:
        """Pass on a request and its answer. Whether the client's connection can be used for another one."""
        headers, upgrade = self._asked(request), _wants_websocket(request)
        url = f"{self._target.origin}{request.target.decode('latin-1')}"
        recorded = self._recorder.begin(request.method.decode("ascii"), url, _pairs(headers), time.time())
        try:
            server = await self._connected()
        except OSError as error:
            recorded.problem = f"cannot reach {self._target.origin}: {error.strerror or error}"
            self._recorder.finish(recorded, time.time())
            await self._refuse(502, f"comfy-mock record {recorded.problem}")
            return False
        target = self._target.path + request.target
        passed = headers if upgrade else _without_those_of_a_connection(headers)
        await server.send(h11.Request(method=request.method, target=target, headers=passed))
        uploading = asyncio.create_task(self._upload(server, recorded))
        try:
            switched = await self._answer(server, recorded, uploading)
        except (OSError, h11.ProtocolError) as error:
            recorded.problem = recorded.problem or str(error) or type(error).__name__
            self._recorder.finish(recorded, time.time())
            return False
        finally:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
        if switched:
            await self._relay(server, recorded)
            return False
        return self._next_cycle(server)

    def _asked(self, request: h11.Request) -> Headers:
        """The headers of a request as the target would get them without a proxy."""
        own = next((value for name, value in request.headers if name == b"host"), b"")
        target = self._target.netloc.encode("idna" if not self._target.netloc.isascii() else "ascii")
        headers = []
        for name, value in request.headers.raw_items():
            if name.lower() == b"host":
                value = target
            elif name.lower() in (b"origin", b"referer") and own and f"://{own.decode('latin-1')}".encode() in value:
                scheme = self._target.origin.partition("://")[0].encode()
                value = scheme + b"://" + target + value.partition(b"://")[2][len(own) :]
            headers.append((name, value))
        return headers

    async def _connected(self) -> _Peer:
        if self._server is None or self._server.reader.at_eof():
            if self._server is not None:
                self._server.abort()
            self._server = await self._target.connect()
        return self._server

    async def _upload(self, server: _Peer, recorded: Exchange) -> None:
        """Pass on the body of a request; then notice when the client hangs up."""
        while True:
            event = await self._client.event()
            if isinstance(event, h11.Data):
                recorded.sent.add(bytes(event.data))
                await server.send(event)
            elif isinstance(event, h11.EndOfMessage):
                await server.send(h11.EndOfMessage())
            else:
                break
        while data := await self._client.reader.read(_PIECE):
            self._client.http.receive_data(data)
        self._client.http.receive_data(b"")

    async def _answer(self, server: _Peer, recorded: Exchange, uploading: asyncio.Task[None]) -> bool:
        """Pass on the answer. Whether it says that the connection is a WebSocket from now on."""
        while True:
            event = await self._event_unless_gone(server, uploading)
            if isinstance(event, h11.Data):
                recorded.received.add(bytes(event.data))
            if isinstance(event, (h11.InformationalResponse, h11.Response)):
                headers = list(event.headers.raw_items())
                answer = (event.status_code, bytes(event.reason).decode("latin-1"), _pairs(headers))
                if isinstance(event, h11.Response) or event.status_code == 101:
                    recorded.answer = answer
                if event.status_code == 101:
                    await self._client.send(_again(event, headers))
                    return True
                event = _again(event, _without_those_of_a_connection(headers))
            if server.has_ended or isinstance(event, h11.EndOfMessage):
                # Whoever has the whole answer finds it in the recording.
                self._recorder.finish(recorded, time.time())
            if isinstance(event, (h11.InformationalResponse, h11.Response, h11.Data)):
                await self._client.send(event)
            elif isinstance(event, h11.EndOfMessage):
                await self._client.send(h11.EndOfMessage())
                return False
            else:
                raise ConnectionResetError("the server hung up before its answer was complete")

    async def _event_unless_gone(self, server: _Peer, uploading: asyncio.Task[None]) -> Event:
        """The server's next event. Raises `ConnectionResetError` where the client hangs up first."""
        reading = asyncio.create_task(server.event())
        try:
            await asyncio.wait({reading, uploading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            if uploading.exception() is not None and isinstance(uploading.exception(), OSError):
                # The server does not want the body; what it has to say may be on its way.
                return await reading
            raise ConnectionResetError("the client hung up before it had its answer")
        finally:
            reading.cancel()

    def _next_cycle(self, server: _Peer) -> bool:
        if server.http.our_state is h11.DONE and server.http.their_state is h11.DONE:
            server.http.start_next_cycle()
        else:
            server.abort()
            self._server = None
        if self._client.http.our_state is h11.DONE and self._client.http.their_state is h11.DONE:
            self._client.http.start_next_cycle()
            return True
        return False

    async def _refuse(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        if self._client.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(
                    status_code=status,
                    headers=[*headers, ("Connection", "close")],
                    reason=HTTPStatus(status).phrase.encode("ascii"),
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                await self._client.send(event)

    # WebSockets

    async def _relay(self, server: _Peer, recorded: Exchange) -> None:
        """Pass on the bytes of a WebSocket in both directions until one side hangs up."""
        socket = self._recorder.upgrade(recorded)
        answer = recorded.answer[2] if recorded.answer else []
        extensions = ", ".join(one.value for one in answer if one.name.lower() == "sec-websocket-extensions")
        taps: dict[Literal["send", "receive"], Tap] = {
            "send": Tap("send", extensions, lambda what: socket.message("send", what, time.time()), lambda *_: None),
            "receive": Tap(
                "receive", extensions, lambda what: socket.message("receive", what, time.time()), socket.closed
            ),
        }
        ways = [
            asyncio.create_task(_pour(self._client, server, taps["send"])),
            asyncio.create_task(_pour(server, self._client, taps["receive"])),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            socket.ended(time.time(), by_server=ways[1] in done)
            if ways[1] not in done:
                # The server may still answer the client's goodbye.
                await asyncio.wait(ways, timeout=1)
        finally:
            socket.ended(time.time(), by_server=False)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pour(source: _Peer, sink: _Peer, tap: Tap) -> None:
    data, _ = source.http.trailing_data
    data = bytes(data)
    while True:
        if data:
            tap.feed(data)
            sink.writer.write(data)
            await sink.writer.drain()
        try:
            data = await source.reader.read(_PIECE)
        except OSError:
            data = b""
        if not data:
            with contextlib.suppress(OSError):
                if sink.writer.can_write_eof():
                    sink.writer.write_eof()
            return


def _again(event: h11.Response | h11.InformationalResponse, headers: Headers) -> h11.Event:
    kind = h11.Response if isinstance(event, h11.Response) else h11.InformationalResponse
    return kind(status_code=event.status_code, headers=headers, reason=event.reason)


def _wants_websocket(request: h11.Request) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in request.headers)


def _without_those_of_a_connection(headers: Headers) -> Headers:
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _ONE_CONNECTION | named]


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[NameValue]:
    return [NameValue(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
