"""`/ws`: one connection from its upgrade to its end (protocol 6)."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.websockets import WebSocket, WebSocketDisconnect

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.script.director import RuleUse
from comfy_mock.engine.script.matching import PromptSubject, SocketSubject
from comfy_mock.engine.script.model import PointRule, SocketRule
from comfy_mock.server.faults import plain_answer
from comfy_mock.server.journal_records import RequestRecord, SocketRecord
from comfy_mock.server.runner import Runner
from comfy_mock.server.sockets import Outbox
from comfy_mock.server.wire_connection import connection_of

_SWITCHING_PROTOCOLS = 101
_WITHOUT_CODE = (1005, 1006)
_BROKEN_OFF = 1006


async def serve_websocket(runner: Runner, websocket: WebSocket, upgrade: RequestRecord) -> Answer | None:
    """Accept a connection, send it what the engine addresses to it, and hand the engine what it says.

    `upgrade` is the record of its request. Returns what that is to be answered instead, where a rule refuses it.
    """
    client_id = next(iter(websocket.query_params.getlist("clientId")), None)
    subject = SocketSubject(runner.next_connection(), client_id)
    record = runner.journal.socket(runner.now(), subject.connection, client_id)
    use = runner.director.use_for(subject) if runner.director.has(SocketRule) else None
    if use is not None and isinstance(use.rule, SocketRule) and use.rule.refuse is not None:
        record.rules, record.refused = (use.label,), use.rule.refuse
        record.closed(runner.now(), None)
        return plain_answer(use.rule.refuse)
    upgrade.answered(runner.now(), _SWITCHING_PROTOCOLS)
    try:
        record.code = await _serve(runner, websocket, subject, record, use)
    finally:
        record.closed(runner.now(), record.code)
    return None


async def _serve(
    runner: Runner, websocket: WebSocket, subject: SocketSubject, record: SocketRecord, use: RuleUse | None
) -> int | None:
    """Serve an upgrade that is not refused; returns the code with which the socket was closed."""
    engine, sockets = runner.engine, runner.sockets
    try:
        await websocket.accept()
    except WebSocketDisconnect:  # while its upgrade was late
        return None
    if not await _past_upgrade(runner, subject, record):
        await _abort(websocket)
        return None
    runner.wake()
    socket = engine.connect(subject.client_id)
    outbox = sockets.open(socket, subject.connection)
    if sockets.faults is not None:
        sockets.faults.opened(socket, outbox, record, subject, use)
    runner.flush()
    sender = asyncio.create_task(_send(outbox, websocket), name=f"comfy-mock socket {socket}")
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code")
                return None if code in _WITHOUT_CODE else code
            data = message.get("text")
            engine.receive(socket, data if data is not None else message.get("bytes") or b"")
            runner.flush()
    finally:
        sockets.close(socket)
        engine.disconnect(socket)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender


async def _past_upgrade(runner: Runner, subject: SocketSubject, record: SocketRecord) -> bool:
    """Whether the server is still there when it comes to registering a socket that was just opened."""
    if not runner.director.has(PointRule):
        return True
    use = runner.director.use_for(PromptSubject(None, subject.client_id), point="after_upgrade")
    if use is None:
        return True
    record.rules += (use.label,)
    assert isinstance(use.rule, PointRule)
    return await runner.waits.begin_point(use.rule)


async def _send(outbox: Outbox, websocket: WebSocket) -> None:
    # a socket that closes while something is being sent to it says so to `_serve` as well
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        ending = await outbox.drain_into(websocket)
        if ending.how == "silence":
            connection = connection_of(websocket.scope)
            if connection is not None:
                connection.silence()
            await outbox.ended_anew()
            await _abort(websocket)
        elif ending.how == "abort":
            await _abort(websocket)
        else:
            await websocket.close(ending.code)


async def _abort(websocket: WebSocket) -> None:
    """Break it off, when what was sent to it has left; without a network it is told the code that clients then see."""
    connection = connection_of(websocket.scope)
    if connection is None:
        await websocket.close(_BROKEN_OFF)
    else:
        await connection.flushed()
        connection.abort()
