"""The network and the waiting of `Client`. Its twin is `_async_io`; all else is the same text for both clients."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings, lost, refused

HttpClient = httpx.Client
HttpTransport = httpx.BaseTransport

sleep = time.sleep
Lock = threading.Lock


def each(calls: Sequence[Callable[[], object]]) -> None:
    """Make all calls, one after the other. Where one fails the others are given up, and its error is raised."""
    for call in calls:
        call()


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
                connect(url, additional_headers=headers, ssl=context, open_timeout=timeout, **settings.arguments())
            )
        except InvalidStatus as error:
            raise refused(error) from error
        except InvalidHandshake as error:
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

    def close(self) -> None:
        """Close in order."""
        self._closing.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._closing.close()


class News:
    """Wakes those who wait for something to happen.

    As a context manager it guards what they share.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.RLock())
        self._takeovers = 0

    def __enter__(self) -> None:
        self._condition.acquire()

    def __exit__(self, *_: object) -> None:
        self._condition.release()

    def wait(self, subject: Any, version: int, timeout: float | None) -> None:
        """Return when `subject.version` is no longer `version`, after `timeout` seconds, or when told to take over."""
        with self._condition:
            takeovers = self._takeovers
            self._condition.wait_for(
                lambda: subject.version != version or self._takeovers != takeovers,
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
            self._takeovers += 1
            self._condition.notify_all()
