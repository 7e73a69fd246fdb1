"""What a reset costs: `python benchmarks/reset.py`.

Times depend on the machine, so each is also given as a multiple of two others of the same run: an empty function call,
and the start of a bare uvicorn with an app that does nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from socket import socket

import httpx
import uvicorn

from comfy_mock import ComfyMock

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}},
}


async def empty_app(scope: object, receive: object, send: object) -> None:
    """An ASGI app that is never asked anything."""


class Bare(uvicorn.Server):
    """A server that ends as soon as it listens."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config(empty_app, port=0, lifespan="off", log_config=None))
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
        self.should_exit = True


def nothing() -> None:
    """What the rest is compared with."""


def seconds(action: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def bare_start() -> float:
    """How long a bare uvicorn takes, from the start of its thread, until it listens."""
    server = Bare()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))

    def start() -> None:
        thread.start()
        server.ready.wait()

    taken = seconds(start)
    thread.join()
    return taken


def reset_after_a_prompt(server: ComfyMock, client: httpx.Client) -> float:
    """How long a reset takes with a prompt in the history and a picture among the files."""
    client.post("/prompt", json={"prompt": IMAGE})
    while not client.get("/history").json():
        pass
    return seconds(server.reset)


def main() -> None:
    """Measure and print medians."""
    call = statistics.median(seconds(nothing) for _ in range(100_000))
    start = statistics.median(bare_start() for _ in range(50))
    with ComfyMock() as server, httpx.Client(base_url=server.url) as client:
        rows = {
            "reset, unused": statistics.median(seconds(server.reset) for _ in range(2000)),
            "reset, after a prompt": statistics.median(reset_after_a_prompt(server, client) for _ in range(300)),
        }
    print(f"{'an empty call':<24}{call * 1e6:9.2f} µs")
    print(f"{'start of a bare uvicorn':<24}{start * 1e6:9.0f} µs")
    for name, taken in rows.items():
        print(f"{name:<24}{taken * 1e6:9.0f} µs = {taken / call:,.0f} empty calls = {taken / start:.2f} starts")


if __name__ == "__main__":
    main()
