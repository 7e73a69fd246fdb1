"""The open WebSockets: each has a queue of its own and a task that sends from it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from starlette.websockets import WebSocket

from comfy_contracts import frames, messages
from comfy_mock.engine.clients import Outgoing, Payload

logger = logging.getLogger("comfy_mock.server")

BACKLOG_BYTES_MAX = 256 * 1024 * 1024
"""How much may wait for a socket that does not read. The real server lets everybody wait for it (protocol 6.9)."""


class Outbox:
    """What waits to be sent to one socket."""

    def __init__(self) -> None:
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self.overflowed = False

    def put(self, data: str | bytes) -> None:
        """Append a message; past the limit the socket is given up."""
        if self._bytes > BACKLOG_BYTES_MAX:
            self.overflowed = True
        else:
            self._waiting.append(data)
            self._bytes += len(data)
        self._wake.set()

    async def drain_into(self, websocket: WebSocket) -> None:
        """Send for ever, one message at a time, in order; returns when the socket was given up."""
        while not self.overflowed:
            self._wake.clear()
            while self._waiting:
                data = self._waiting.popleft()
                self._bytes -= len(data)
                if isinstance(data, str):
                    await websocket.send_text(data)
                else:
                    await websocket.send_bytes(data)
            await self._wake.wait()
        logger.warning("A WebSocket client does not read: %d MiB wait for it, it is dropped", self._bytes >> 20)


class Sockets:
    """The outboxes by socket number."""

    def __init__(self) -> None:
        self._outboxes: dict[int, Outbox] = {}

    def open(self, socket: int) -> Outbox:
        """A socket was accepted."""
        outbox = self._outboxes[socket] = Outbox()
        return outbox

    def close(self, socket: int) -> None:
        """A socket is gone."""
        self._outboxes.pop(socket, None)

    def deliver(self, outgoing: Outgoing) -> None:
        """Put one message into the outboxes of its sockets; it is encoded once."""
        data = None
        for socket in outgoing.sockets:
            outbox = self._outboxes.get(socket)
            if outbox is not None:
                data = data if data is not None else encode(outgoing.payload)
                outbox.put(data)


def encode(payload: Payload) -> str | bytes:
    """The frame's content: text for JSON messages, bytes for binary ones."""
    if isinstance(payload, (frames.PreviewFrame, frames.PreviewWithMetadata, frames.TextFrame)):
        return frames.encode(payload)
    return messages.encode(payload)
