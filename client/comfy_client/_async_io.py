"""The network and the waiting of `AsyncClient`. Its twin is `_sync_io`; all else is the same text for both clients."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings, lost, refused

HttpClient = httpx.AsyncClient
HttpTransport = httpx.AsyncBaseTransport

sleep = asyncio.sleep
AsyncLock = asyncio.Lock


_AT_A_TIME = 8


async def each(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make all calls, several at a time. Where one fails the others are given up, and its error is raised."""
    gate = asyncio.Semaphore(_AT_A_TIME)

    async def made(call: Callable[[], Awaitable[object]]) -> None:
        async with gate:
            await call()

    tasks = [asyncio.ensure_future(made(call)) for call in calls]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [task.exception() for task in tasks if not task.cancelled()]
    for error in errors:
        if error is not None:
            raise error


class AsyncSocket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(
        cls,
        url: str,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
        settings: SocketSettings,
        timeout: float | None,
    ) -> AsyncSocket:
        """Connect. Raises `SocketRefused` for an answer that is no upgrade, and `SocketLost` where there is none."""
        try:
            connection = await connect(
                url, additional_headers=headers, ssl=context, open_timeout=timeout, **settings.arguments()
            )
        except InvalidStatus as error:
            raise refused(error) from error
        except InvalidHandshake as error:
            raise SocketRefused(str(error)) from error
        except (OSError, EOFError, TimeoutError, asyncio.TimeoutError) as error:
            raise SocketLost(str(error) or "timed out") from error
        return cls(connection)

    async def send(self, text: str) -> None:
        """Send a text message. Raises `SocketLost`."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise lost(error) from error

    async def receive(self, timeout: float | None) -> str | bytes | None:
        """The next message; None where none comes within `timeout` seconds. Raises `SocketLost`.

        No message is lost when this is cancelled.
        """
        try:
            return await asyncio.wait_for(self._connection.recv(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            return None
        except ConnectionClosed as error:
            raise lost(error) from error

    async def close(self) -> None:
        """Close in order; the connection is gone even when this is cancelled."""
        try:
            await self._connection.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the connection."""
        self._connection.transport.abort()


class AsyncNews:
    """Wakes those who wait for something to happen.

    As a context manager it guards what they share. In one event loop nothing runs between two `await`, so there is
    nothing to do.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._by_subject: dict[int, list[asyncio.Future[None]]] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    async def wait(self, subject: Any, version: int, timeout: float | None) -> None:
        """Return when `subject.version` is no longer `version`, after `timeout` seconds, or when told to take over."""
        if subject.version != version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        self._by_subject.setdefault(id(subject), []).append(future)
        try:
            await asyncio.wait([future], timeout=timeout)
        finally:
            del self._waiting[future]
            self._by_subject[id(subject)].remove(future)
            if not self._by_subject[id(subject)]:
                del self._by_subject[id(subject)]

    def tell(self, subjects: list[Any]) -> None:
        """Wake those who wait for one of these."""
        for subject in subjects:
            for future in self._by_subject.get(id(subject), ()):
                if not future.done():
                    future.set_result(None)

    def tell_one(self) -> None:
        """Wake one of those who wait, whatever for."""
        future = next((future for future in self._waiting if not future.done()), None)
        if future is not None:
            future.set_result(None)
