"""The network and the waiting of `Client`. Its twin is `_async_io`; all else is the same text for both clients."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
from websockets.exceptions import ConcurrencyError, ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from comfy_client._requests import limited
from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings, lost, refused

HttpClient = httpx.Client
HttpTransport = httpx.BaseTransport

sleep = time.sleep
Lock = threading.Lock
whoami = threading.get_ident


def each(calls: Sequence[Callable[[], object]]) -> None:
    """Make all calls, one after the other. Where one fails the others are given up, and its error is raised."""
    for call in calls:
        call()


def exchange(http: HttpClient, request: httpx.Request, seconds: float | None, **options: Any) -> httpx.Response:
    """Send a request and read the answer whole, in about `seconds` at most. Raises what httpx raises.

    Nobody can break off a single step of it, so each of them takes `seconds` at most; but for the content of the
    answer there are few.
    """
    if seconds is None:
        return http.send(request, **options)
    until = time.monotonic() + seconds
    limited(request, http.timeout, seconds)
    response = http.send(request, stream=True, **options)
    try:
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Until(response.stream, until, request)
        response.read()
    finally:
        response.close()
    return response


class _Until(httpx.SyncByteStream):
    """The content of an answer, which must come until a time."""

    def __init__(self, stream: httpx.SyncByteStream, until: float, request: httpx.Request) -> None:
        self._stream, self._until, self._request = stream, until, request

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if time.monotonic() > self._until:
                raise httpx.ReadTimeout("no whole answer in time", request=self._request)
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _Connection(ClientConnection):
    """One that follows no redirection: the server says where it is, as of every other request."""

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            raise refused(error) from error


class Socket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection, closing: contextlib.ExitStack) -> None:
        self._connection = connection
        self._closing = closing

    @classmethod
    def open(
        cls,
        url: str,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
        settings: SocketSettings,
        timeout: float | None,
    ) -> Socket:
        """Connect. Raises `SocketRefused` for an answer that is no upgrade, and `SocketLost` where there is none."""
        closing = contextlib.ExitStack()
        try:
            connection = closing.enter_context(
                connect(
                    url,
                    additional_headers=headers,
                    ssl=context,
                    open_timeout=timeout,
                    create_connection=_Connection,
                    **settings.arguments(),
                )
            )
        except WebSocketException as error:
            raise SocketRefused(str(error)) from error
        except (OSError, EOFError, TimeoutError) as error:
            raise SocketLost(str(error) or "timed out") from error
        return cls(connection, closing)

    def send(self, text: str) -> None:
        """Send a text message. Raises `SocketLost`."""
        try:
            self._connection.send(text)
        except ConnectionClosed as error:
            raise lost(error) from error

    def receive(self, timeout: float | None) -> str | bytes | None:
        """The next message; None where none comes within `timeout` seconds. Raises `SocketLost`."""
        try:
            return self._connection.recv(timeout)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise lost(error) from error
        except ConcurrencyError as error:
            # A KeyboardInterrupt left the connection as if somebody were reading it still.
            self._closing.close()
            raise SocketLost(str(error)) from error

    def close(self) -> None:
        """Close in order."""
        self._closing.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._closing.close()


class News:
    """Wakes those who wait for something to happen.

    `lock` guards what they share. `takeovers` counts the calls of `tell_one`.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.takeovers = 0
        self._condition = threading.Condition(self.lock)

    def wait(self, subject: Any, version: int, takeovers: int, timeout: float | None) -> None:
        """Return when `subject.version` is no longer `version`, after `timeout` seconds, or when told to take over.

        The last is so when `takeovers` are no longer as many as given.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: subject.version != version or self.takeovers != takeovers,
                None if timeout is None else min(timeout, threading.TIMEOUT_MAX),
            )

    def tell(self, subjects: list[Any]) -> None:
        """Wake those who wait for one of these."""
        if subjects:
            with self._condition:
                self._condition.notify_all()

    def tell_one(self) -> None:
        """Wake those who wait, for one of them to take over."""
        with self._condition:
            self.takeovers += 1
            self._condition.notify_all()
