"""`/ws`: one connection from its upgrade to its end (protocol 6)."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.websockets import WebSocket, WebSocketDisconnect

from comfy_mock.server.runner import Runner
from comfy_mock.server.sockets import Outbox


async def serve_websocket(runner: Runner, websocket: WebSocket) -> None:
    """Accept a connection, send it what the engine addresses to it, and hand the engine what it says."""
    await websocket.accept()
    engine = runner.engine
    runner.wake()
    client_id = next(iter(websocket.query_params.getlist("clientId")), None)
    socket = engine.connect(client_id)
    outbox = runner.sockets.open(socket)
    runner.flush()
    sender = asyncio.create_task(_send(outbox, websocket), name=f"comfy-mock socket {socket}")
    try:
        await _receive(runner, socket, websocket)
    finally:
        runner.sockets.close(socket)
        engine.disconnect(socket)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender


async def _receive(runner: Runner, socket: int, websocket: WebSocket) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("text")
        runner.engine.receive(socket, data if data is not None else message.get("bytes") or b"")
        runner.flush()


async def _send(outbox: Outbox, websocket: WebSocket) -> None:
    # a socket that closes while something is being sent to it says so to `_receive` as well
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.close(await outbox.drain_into(websocket))
