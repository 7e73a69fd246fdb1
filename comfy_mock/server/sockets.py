"""The open WebSockets: each has a queue of its own and a task that sends from it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Union

from starlette.websockets import WebSocket

from comfy_contracts import frames, messages
from comfy_mock.engine.clients import Outgoing, Payload
from comfy_mock.server.faults_waiting import Waiting

if TYPE_CHECKING:
    from comfy_mock.server.faults_sockets import SocketFaults, ToldEvent

logger = logging.getLogger("comfy_mock.server")

BACKLOG_BYTES_MAX = 256 * 1024 * 1024
"""How much may wait for a socket that does not read. The real server lets everybody wait for it (protocol 6.9)."""

BACKLOG_BYTES_EASY = 8 * 1024 * 1024
"""How much may wait for a socket that does read before time is held up for it."""

STALL_S = 0.2
"""A socket that takes nothing for so long is one that does not read: nothing is held up for it."""

_TRY_AGAIN_LATER = 1013


@dataclass(frozen=True)
class Ending:
    """How a socket ends: closed with `code`, broken off without a word, or silent while it stays open."""

    how: Literal["close", "abort", "silence"]
    code: int = 1000


class Outbox:
    """What waits to be sent to one socket; `handed` counts its messages."""

    def __init__(self) -> None:
        self.handed = 0
        self._waiting: deque[Union[str, bytes, Waiting]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._sent = asyncio.Event()
        self._stalled = False

    def put(self, data: str | bytes) -> None:
        """Append a message, unless the socket is to end; past the limit it is given up."""
        if self._ending is not None:
            return
        if self._bytes <= BACKLOG_BYTES_MAX:
            self._waiting.append(data)
            self._bytes += len(data)
            self._wake.set()
        else:
            logger.warning("A WebSocket client does not read: %d MiB wait for it, it is dropped", self._bytes >> 20)
            self._waiting.clear()
            self.end(Ending("close", _TRY_AGAIN_LATER))

    def pause(self, waiting: Waiting) -> None:
        """Send what comes from now on only when this is done."""
        self._waiting.append(waiting)
        self._wake.set()

    def end(self, ending: Ending) -> None:
        """End the socket so once what waits has been sent."""
        self._ending = ending
        self._wake.set()

    async def relieved(self) -> None:
        """Return when little waits for this socket, or when it turns out to take nothing."""
        while self._bytes > BACKLOG_BYTES_EASY and not self._stalled:
            self._sent.clear()
            try:
                await asyncio.wait_for(self._sent.wait(), STALL_S)
            except asyncio.TimeoutError:
                self._stalled = True

    async def drain_into(self, websocket: WebSocket) -> Ending:
        """Send, one message at a time, in order, until the socket is to end; returns how."""
        while True:
            self._wake.clear()
            while self._waiting:
                data = self._waiting.popleft()
                if isinstance(data, asyncio.Future):
                    if not await data:
                        return Ending("abort")
                    continue
                self._bytes -= len(data)
                if isinstance(data, str):
                    await websocket.send_text(data)
                else:
                    await websocket.send_bytes(data)
                self._stalled = False
                self._sent.set()
            if self._ending is not None:
                return self._ending
            await self._wake.wait()

    async def ended_anew(self) -> Ending:
        """Return when a socket that has fallen silent is to end in another way: how."""
        while self._ending is None or self._ending.how == "silence":
            self._wake.clear()
            await self._wake.wait()
        return self._ending


class Sockets:
    """The outboxes by socket number. `faults` is what a script does to them."""

    def __init__(self, faults: SocketFaults | None = None) -> None:
        self.faults = faults
        self._outboxes: dict[int, Outbox] = {}
        self._connections: dict[int, int] = {}
        self._ending: Ending | None = None

    def open(self, socket: int, connection: int = 0) -> Outbox:
        """A socket was accepted; `connection` is its place among those of the server."""
        outbox = self._outboxes[socket] = Outbox()
        self._connections[socket] = connection
        if self._ending is not None:
            outbox.end(self._ending)
        return outbox

    def end_all(self, ending: Ending) -> None:
        """End all sockets so, each after what waits for it, and those that are just being opened."""
        self._ending = ending
        for outbox in self._outboxes.values():
            outbox.end(ending)

    def close(self, socket: int) -> None:
        """A socket is gone."""
        self._outboxes.pop(socket, None)
        self._connections.pop(socket, None)
        if self.faults is not None:
            self.faults.closed(socket)

    async def relieved(self) -> None:
        """Return when little waits for any socket that reads."""
        for outbox in list(self._outboxes.values()):
            await outbox.relieved()

    def connections(self, sockets: tuple[int, ...]) -> tuple[int, ...]:
        """The places of those of these sockets that are open."""
        return tuple(self._connections[socket] for socket in sockets if socket in self._connections)

    def deliver(self, outgoing: Outgoing, told: ToldEvent | None = None) -> None:
        """Put one message into the outboxes of its sockets; it is encoded once, and left out if it cannot be.

        With `told` the script's rules have their way with it.
        """
        reached = [(socket, self._outboxes[socket]) for socket in outgoing.sockets if socket in self._outboxes]
        if not reached:
            return
        try:
            data = encode(outgoing.payload)
        except Exception:
            # one message less is a smaller harm than a server whose runner has ended
            logger.exception("A message cannot be encoded and is left out: %s", type(outgoing.payload).__name__)
            return
        for socket, outbox in reached:
            outbox.handed += 1
            if told is None or self.faults is None:
                outbox.put(data)
                continue
            try:
                self.faults.put(socket, data, told)
            except Exception:
                logger.exception("A fault cannot be played, and its message is left out: %s", told.subject.event)


_FRAMES = (frames.PreviewFrame, frames.PreviewWithMetadata, frames.TextFrame, frames.UnknownFrame)


def encode(payload: Payload) -> str | bytes:
    """The frame's content: text for JSON messages, bytes for binary ones."""
    if isinstance(payload, _FRAMES):
        return frames.encode(payload)
    return messages.encode(payload)
