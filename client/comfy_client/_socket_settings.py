"""What the WebSockets of both clients have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.http11 import Response

from comfy_client._requests import shown


class SocketLost(Exception):
    """There is no connection (any more); the text says why."""


class MessageTooLarge(SocketLost):
    """The connection was closed by this side, as a message was larger than it takes."""


class SocketRefused(SocketLost):
    """The server answered, but not with an upgrade. `answer` is None where that was no HTTP, or a wrong one."""

    def __init__(self, reason: str, answer: Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer

    @property
    def status(self) -> int | None:
        """The status of the answer."""
        return None if self.answer is None else self.answer.status_code

    @property
    def location(self) -> str | None:
        """Where the answer redirects to."""
        where = None if self.answer is None else self.answer.headers.get("Location")
        return None if where is None else shown(where)

    def response(self, request: httpx.Request) -> httpx.Response | None:
        """The answer as httpx has it, for those who can do something about it."""
        if self.answer is None:
            return None
        headers = list(self.answer.headers.raw_items())
        return httpx.Response(
            self.answer.status_code, headers=headers, content=bytes(self.answer.body), request=request
        )


@dataclass(frozen=True)
class SocketSettings:
    """How a WebSocket is kept.

    `max_size` is the largest message in bytes (None: any). Every `ping_interval` seconds the server is pinged, and one
    that does not answer within `ping_timeout` seconds is taken for gone; None turns that off. `max_queue` messages may
    wait to be read before the server is made to wait; it makes all its clients wait then (protocol 6.9).
    `trust_env` takes a proxy from the environment, as httpx does.
    """

    max_size: int | None = 256 * 1024 * 1024
    max_queue: int | None = 4096
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    close_timeout: float = 2.0
    open_timeout: float = 10.0
    trust_env: bool = True

    def arguments(self) -> dict[str, Any]:
        """The arguments of `websockets`' connect."""
        return {
            "max_size": self.max_size,
            "max_queue": self.max_queue,
            "ping_interval": self.ping_interval,
            "ping_timeout": self.ping_timeout,
            "close_timeout": self.close_timeout,
            "proxy": True if self.trust_env else None,
        }


def refused(error: InvalidStatus) -> SocketRefused:
    """What an answer other than 101 means."""
    reason = f"the server answered {error.response.status_code} instead of opening a WebSocket"
    return SocketRefused(reason, error.response)


def lost(error: ConnectionClosed) -> SocketLost:
    """What the end of a connection means."""
    if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
        return MessageTooLarge("a message was larger than SocketSettings.max_size allows")
    return SocketLost(str(error))
