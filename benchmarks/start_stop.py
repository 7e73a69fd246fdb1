"""What a start and a stop cost: `python benchmarks/start_stop.py`.

Times depend on the machine, so each is also given as a multiple of the same with a bare uvicorn and an app that does
nothing. Both must stay below 100 ms.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from socket import socket
from typing import TypeVar

import httpx
import uvicorn
from websockets.sync.client import connect

from comfy_mock import ComfyMock

ROUNDS = 30


async def empty_app(scope: object, receive: object, send: object) -> None:
    """An ASGI app that is never asked anything."""


class Bare(uvicorn.Server):
    """uvicorn as it is, in a thread."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config(empty_app, port=0, lifespan="off", log_config=None))
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def start(self) -> None:
        """Return when it listens."""
        self.thread.start()
        self.ready.wait()

    def stop(self) -> None:
        """Return when it is gone."""
        self.should_exit = True
        self.thread.join()


Server = TypeVar("Server", Bare, ComfyMock)


def seconds(action: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def started(make: Callable[[], Server]) -> tuple[Server, float]:
    """A server that was made and started, and how long that took."""
    began = time.perf_counter()
    server = make()
    server.start()
    return server, time.perf_counter() - began


def bare() -> tuple[float, float]:
    """A start and a stop of a bare uvicorn."""
    server, start = started(Bare)
    return start, seconds(server.stop)


def unused() -> tuple[float, float]:
    """A start and a stop of a fake that nobody asks anything."""
    server, start = started(ComfyMock)
    return start, seconds(server.stop)


def in_use() -> tuple[float, float]:
    """A start and a stop of a fake with a WebSocket and an HTTP connection open."""
    server, start = started(ComfyMock)
    with httpx.Client(base_url=server.url) as client, connect(f"{server.url.replace('http', 'ws')}/ws") as websocket:
        websocket.recv()
        client.get("/queue")
        return start, seconds(server.stop)


def main() -> None:
    """Measure and print medians."""
    bare(), unused()  # imports
    starts, stops = (statistics.median(times) for times in zip(*(bare() for _ in range(ROUNDS)), strict=True))
    print(f"{'bare uvicorn':<16}start {starts * 1e3:6.1f} ms          stop {stops * 1e3:6.1f} ms")
    for name, once in {"the fake, unused": unused, "the fake, in use": in_use}.items():
        start, stop = (statistics.median(times) for times in zip(*(once() for _ in range(ROUNDS)), strict=True))
        print(
            f"{name:<16} start {start * 1e3:5.1f} ms = {start / starts:4.1f}    stop {stop * 1e3:5.1f} ms = "
            f"{stop / stops:4.2f} of the bare one's"
        )


if __name__ == "__main__":
    main()
