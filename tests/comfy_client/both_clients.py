"""One way to drive both clients: what is awaitable is awaited, so that a test reads as for the blocking one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from comfy_client import AsyncClient, AsyncJob, Client, Pace, Retries
from comfy_client._async_jobs import AsyncEvents, AsyncListening, AsyncOutput, AsyncResult

Kind = Literal["blocking", "async"]

PACE = Pace(
    poll_interval=0.05,
    watch_interval=0.3,
    lost_after=1.0,
    entry_after=0.5,
    unreachable_after=2.0,
    reconnect_first=0.02,
    reconnect_max=0.1,
)
RETRIES = Retries(first_wait=0.01, longest_wait=0.05)

_WRAPPED = (AsyncClient, AsyncJob, AsyncEvents, AsyncListening, AsyncOutput, AsyncResult)


class Blocking:
    """An object of the asynchronous client whose methods block."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return self._wrap(value)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            return self._wrap(self._loop.run_until_complete(result) if inspect.isawaitable(result) else result)

        return call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._wrap(self._loop.run_until_complete(self._target.__anext__()))
        except StopAsyncIteration:
            raise StopIteration from None

    def __eq__(self, other: object) -> bool:
        return bool(self._target == getattr(other, "_target", other))

    __hash__ = None  # type: ignore[assignment]

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, _WRAPPED):
            return Blocking(value, self._loop)
        if isinstance(value, list):
            return [self._wrap(item) for item in value]
        return value


def sockets_to(url: str) -> list[socket.socket]:
    """The connections of this process to a server."""
    things = gc.get_objects()
    # `type`, as proxies of others may lie about their class, or be gone
    kinds = {kind for kind in set(map(type, things)) if issubclass(kind, socket.socket)}
    sockets = [thing for thing, kind in zip(things, map(type, things), strict=True) if kind in kinds]
    return [one for one in sockets if _port_at_other_end(one) == urlsplit(url).port]


def _port_at_other_end(one: socket.socket) -> int | None:
    with contextlib.suppress(OSError):
        if one.family == socket.AF_INET and one.fileno() != -1:
            return int(one.getpeername()[1])
    return None


@contextlib.contextmanager
def client_of(kind: Kind, url: str, **options: Any) -> Iterator[Any]:
    """A client at work. When it is closed, no task and no thread of it is left.

    It trusts whoever answers unless told otherwise: to load who may be trusted takes longer than most tests.
    """
    options = {"pace": PACE, "retries": RETRIES, "trust_env": False, "verify": False, **options}
    threads = set(threading.enumerate())
    if kind == "blocking":
        with Client(url, **options) as client:
            yield client
    else:
        loop = asyncio.new_event_loop()
        try:
            client = AsyncClient(url, **options)
            try:
                yield Blocking(client, loop)
            finally:
                loop.run_until_complete(client.close())
                assert not asyncio.all_tasks(loop)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith("asyncio_"):  # those are of servers in the same process
            thread.join(5)
            assert not thread.is_alive()
