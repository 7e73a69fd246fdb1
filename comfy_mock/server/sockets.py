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

BACKLOG_BYTES_EASY = 8 * 1024 * 1024
"""How much may wait for a socket that does read before time is held up for it."""

STALL_S = 0.2
"""A socket that takes nothing for so long is one that does not read: nothing is held up for it."""

_TRY_AGAIN_LATER = 1013


class Outbox:
    """What waits to be sent to one socket."""

    def __init__(self) -> None:
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._sent = asyncio.Event()
        self._stalled = False

    def put(self, data: str | bytes) -> None:
        """Append a message; past the limit the socket is given up."""
        if self._bytes <= BACKLOG_BYTES_MAX:
            self._waiting.append(data)
            self._bytes += len(data)
            self._wake.set()
        elif self._close_code is None:
            logger.warning("A WebSocket client does not read: %d MiB wait for it, it is dropped", self._bytes >> 20)
            self._waiting.clear()
            self.close(_TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        """Close the socket once what waits has been sent."""
        self._close_code = code
        self._wake.set()

    async def relieved(self) -> None:
        """Return when little waits for this socket, or when it turns out to take nothing."""
        while self._bytes > BACKLOG_BYTES_EASY and not self._stalled:
            self._sent.clear()
            try:
                await asyncio.wait_for(self._sent.wait(), STALL_S)
            except asyncio.TimeoutError:
                self._stalled = True

    async def drain_into(self, websocket: WebSocket) -> int:
        """Send, one message at a time, in order, until the socket is to be closed; returns the code for that."""
        while True:
            self._wake.clear()
            while self._waiting:
                data = self._waiting.popleft()
                self._bytes -= len(data)
                if isinstance(data, str):
                    await websocket.send_text(data)
                else:
                    await websocket.send_bytes(data)
                self._stalled = False
                self._sent.set()
            if self._close_code is not None:
                return self._close_code
            await self._wake.wait()


class Sockets:
    """The outboxes by socket number."""

    def __init__(self) -> None:
        self._outboxes: dict[int, Outbox] = {}
        self._close_code: int | None = None

    def open(self, socket: int) -> Outbox:
        """A socket was accepted."""
        outbox = self._outboxes[socket] = Outbox()
        if self._close_code is not None:
            outbox.close(self._close_code)
        return outbox

    def close_all(self, code: int) -> None:
        """Close all sockets with this code, each after what waits for it, and those that are just being opened."""
        self._close_code = code
        for outbox in self._outboxes.values():
            outbox.close(code)

    def close(self, socket: int) -> None:
        """A socket is gone."""
        self._outboxes.pop(socket, None)

    async def relieved(self) -> None:
        """Return when little waits for any socket that reads."""
        for outbox in list(self._outboxes.values()):
            await outbox.relieved()

    def deliver(self, outgoing: Outgoing) -> None:
        """Put one message into the outboxes of its sockets; it is encoded once, and left out if it cannot be."""
        outboxes = [outbox for socket in outgoing.sockets if (outbox := self._outboxes.get(socket)) is not None]
        if not outboxes:
            return
        try:
            data = encode(outgoing.payload)
        except Exception:
            # one message less is a smaller harm than a server whose runner has ended
            logger.exception("A message cannot be encoded and is left out: %s", type(outgoing.payload).__name__)
            return
        for outbox in outboxes:
            outbox.put(data)


def encode(payload: Payload) -> str | bytes:
    """The frame's content: text for JSON messages, bytes for binary ones."""
    if isinstance(payload, (frames.PreviewFrame, frames.PreviewWithMetadata, frames.TextFrame)):
        return frames.encode(payload)
    return messages.encode(payload)
