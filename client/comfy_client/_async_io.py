"""The network and the waiting of `AsyncClient`. Its twin is `_sync_io`; all else is the same text for both clients."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConcurrencyError, ConnectionClosed, InvalidStatus, WebSocketException

from comfy_client._requests import limited
from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings, lost, refused

HttpClient = httpx.AsyncClient
HttpTransport = httpx.AsyncBaseTransport

sleep = asyncio.sleep
AsyncLock = asyncio.Lock

T = TypeVar("T")

_AT_A_TIME = 8


def whoami() -> int:
    """Who is at work: this task, as it is this thread in the twin."""
    return id(asyncio.current_task())


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


async def exchange(http: HttpClient, request: httpx.Request, seconds: float | None, **options: Any) -> httpx.Response:
    """Send a request and read the answer whole, in at most `seconds`. Raises what httpx raises."""
    if seconds is None:
        return await http.send(request, **options)
    limited(request, http.timeout, seconds)
    response = await _within(http.send(request, **options), seconds)
    if response is None:
        raise httpx.ReadTimeout(f"no whole answer within {seconds:.3g} s", request=request)
    return response


async def _within(work: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """What comes of `work`; None where it takes longer than that. A cancellation always ends it.

    `asyncio.wait_for` of Python 3.10 and 3.11 forgets one that comes in the same moment as the result.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # asked for, so that nobody warns of it where this is cancelled
    return None if task.cancelled() else task.result()


class _Connection(ClientConnection):
    """One that follows no redirection: the server says where it is, as of every other request."""

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            raise refused(error) from error


class AsyncSocket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._kept: list[str | bytes] = []

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
                url,
                additional_headers=headers,
                ssl=context,
                open_timeout=timeout,
                create_connection=_Connection,
                **settings.arguments(),
            )
        except WebSocketException as error:
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

        No message is lost when this is cancelled, and no cancellation when there is a message.
        """
        if self._kept:
            return self._kept.pop()
        task = asyncio.ensure_future(self._connection.recv())
        try:
            await asyncio.wait([task], timeout=timeout)
        except BaseException:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                self._kept.append(task.result())
            raise
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        try:
            return None if task.cancelled() else task.result()
        except ConnectionClosed as error:
            raise lost(error) from error
        except ConcurrencyError as error:
            raise SocketLost(str(error)) from error

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

    `lock` guards what they share; in one event loop nothing runs between two `await`, so there is nothing to do.
    `takeovers` counts the calls of `tell_one`.
    """

    def __init__(self) -> None:
        self.lock = nullcontext()
        self.takeovers = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._by_subject: dict[int, list[asyncio.Future[None]]] = {}

    async def wait(self, subject: Any, version: int, takeovers: int, timeout: float | None) -> None:
        """Return when `subject.version` is no longer `version`, after `timeout` seconds, or when told to take over.

        The last is so when `takeovers` are no longer as many as given, or this one is told.
        """
        if subject.version != version or self.takeovers != takeovers:
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
        self.takeovers += 1
        future = next((future for future in self._waiting if not future.done()), None)
        if future is not None:
            future.set_result(None)
