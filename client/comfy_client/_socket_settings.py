"""What the WebSockets of both clients have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from websockets.exceptions import InvalidStatus


class SocketLost(Exception):
    """There is no connection (any more); the text says why."""


class SocketRefused(SocketLost):
    """The server answered, but not with an upgrade. `status` is None where the answer was no HTTP, or a wrong one."""

    def __init__(self, status: int | None, reason: str) -> None:
        super().__init__(reason)
        self.status = status


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
    status = error.response.status_code
    return SocketRefused(status, f"the server answered {status} instead of opening a WebSocket")
