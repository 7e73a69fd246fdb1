"""A live WebSocket connection that stands for a recorded one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import websockets.http11
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from comfy_contracts.har import Entry, NameValue, Response, WebSocketClose, WebSocketMessage
from comfy_contracts.replay_har import headers_of, request_of, response_of, socket_entry, socket_message
from comfy_contracts.replay_plan import Received, Tally, received_by

_SET_BY_THE_LIBRARY = frozenset({"host", "connection", "upgrade", "user-agent"})


class ReplaySocket:
    """Keeps all that is said on a connection. `news` is notified at every message and at the end."""

    def __init__(self, recorded: Entry, news: asyncio.Condition) -> None:
        self.expected = received_by(recorded)
        self.received: list[Received] = []
        self.tally = Tally()
        self._recorded, self._news = recorded, news
        self._messages: list[WebSocketMessage] = []
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._started, self._ended = time.time(), 0.0
        self._request = recorded.request
        self._response = Response(status=0, status_text="")

    @property
    def is_open(self) -> bool:
        """Whether more can come."""
        return self._connection is not None and not self._ended

    @property
    def url(self) -> str:
        """Where it is connected to."""
        return self._request.url

    async def open(self, url: str, headers: list[NameValue], timeout: float) -> None:
        """Connect with the headers of the recorded client.

        A refusal is kept as the answer. Raises `OSError`, `InvalidHandshake` or `TimeoutError` where no answer comes.
        """
        names = {header.name.lower() for header in headers}
        extra = [(header.name, header.value) for header in headers if not _is_set_by_the_library(header.name)]
        self._request = request_of("GET", url, headers)
        try:
            connection = await connect(
                url,
                additional_headers=extra,
                user_agent_header=next((one.value for one in headers if one.name.lower() == "user-agent"), None),
                compression="deflate" if "sec-websocket-extensions" in names else None,
                max_size=None,
                ping_interval=None,
                open_timeout=timeout,
                proxy=None,
            )
        except InvalidStatus as error:
            self._response = _answer(error.response)
            self._ended = time.time()
            return
        assert connection.request is not None
        assert connection.response is not None
        self._request = request_of("GET", url, headers_of(connection.request.headers.raw_items()))
        self._response = _answer(connection.response)
        self._connection = connection
        self._reader = asyncio.create_task(self._read(connection))

    async def _read(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for payload in connection:
                now = time.time()
                self._messages.append(socket_message("receive", payload, now))
                message = Received.read(payload, now)
                async with self._news:
                    self.received.append(message)
                    self.tally.add(message)
                    self._news.notify_all()
        async with self._news:
            self._ended = time.time()
            self._news.notify_all()

    async def send(self, payload: str | bytes) -> None:
        """Send a message; one to a server that has hung up is lost."""
        self._messages.append(socket_message("send", payload, time.time()))
        if self._connection is not None:
            with suppress(ConnectionClosed):
                await self._connection.send(payload)

    async def flush(self) -> None:
        """Read all that the server has sent up to now: its answer to a ping comes after it."""
        if self._connection is not None:
            with suppress(ConnectionClosed):
                await (await self._connection.ping())

    async def close(self, code: int = 1000) -> None:
        """Hang up if the server has not, and read to the end."""
        if self._connection is not None:
            await self._connection.close(code)
        if self._reader is not None:
            await self._reader

    async def closed_by_server(self) -> None:
        """Wait until the server hangs up."""
        if self._reader is not None:
            # Whoever tires of waiting must not end the reading.
            await asyncio.shield(self._reader)

    def entry(self) -> Entry:
        """The connection as an entry of a HAR."""
        close = WebSocketClose()
        if self._connection is not None and self._ended:
            close = WebSocketClose(self._connection.close_code, self._connection.close_reason)
        ended = self._ended or time.time()
        return socket_entry(self._request, self._response, self._messages, close, self._started, ended)


def _answer(response: websockets.http11.Response) -> Response:
    return response_of(response.status_code, response.reason_phrase, headers_of(response.headers.raw_items()))


def _is_set_by_the_library(name: str) -> bool:
    return name.lower() in _SET_BY_THE_LIBRARY or name.lower().startswith("sec-websocket-")
