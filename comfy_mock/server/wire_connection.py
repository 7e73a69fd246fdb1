"""The connection under a request: what ASGI has no words for, as an extension of the scope."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.types import Receive, Scope

EXTENSION = "comfy_mock.connection"
"""Its name among the `extensions` of a scope."""

_RESET_AT_ONCE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
_GONE = ("http.disconnect", "websocket.disconnect")


class Connection:
    """A TCP connection. `drained` returns when its protocol may write again, `on_silence` makes it deaf and dumb."""

    def __init__(
        self,
        transport: asyncio.Transport,
        drained: Callable[[], Awaitable[object]],
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport, self._drained, self.silence = transport, drained, on_silence

    async def flushed(self) -> None:
        """Return when the operating system has all that was written, or the connection is gone."""
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=0)
            await self._drained()

    def close(self) -> None:
        """Close it when all that was written has been sent."""
        self._transport.close()

    def abort(self) -> None:
        """Break it off without a word, as the end of a process does."""
        self._transport.abort()

    def reset(self) -> None:
        """Break it off with a TCP reset, where the platform lets one ask for that."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        self._transport.abort()


def connection_of(scope: Scope) -> Connection | None:
    """The connection that a scope came by; None where it came by no network, or by another server."""
    return cast("Connection | None", scope.get("extensions", {}).get(EXTENSION))


async def break_off(scope: Scope, receive: Receive) -> None:
    """End an exchange by ending its connection, when what was sent so far has left; returns when that is gone.

    Without a network there is none to end: raises `ConnectionResetError`, which a client in process sees instead.
    """
    connection = connection_of(scope)
    if connection is None:
        raise ConnectionResetError(errno.ECONNRESET, "the connection was broken off, as the fake's script says")
    await connection.flushed()
    connection.reset()
    await gone(receive)


async def close_after_this(scope: Scope, receive: Receive) -> None:
    """End a connection in the midst of an answer, when what was sent so far has left. Raises as `break_off` does."""
    connection = connection_of(scope)
    if connection is None:
        raise ConnectionResetError(errno.ECONNRESET, "the answer was cut short, as the fake's script says")
    connection.close()
    await gone(receive)


async def gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] not in _GONE:
        pass
