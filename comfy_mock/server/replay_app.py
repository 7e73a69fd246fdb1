"""Recordings as an ASGI app: requests get the recorded answers, sockets the recorded messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from comfy_mock.engine.answers import Answer, json_answer
from comfy_mock.server.asgi import (
    BodyTooLarge,
    ClientGone,
    RawHeaders,
    read_body,
    refuse_upgrade,
    request_of,
    send_answer,
)
from comfy_mock.server.replay_answers import answer_of
from comfy_mock.server.replay_miss import NO_SUCH_REQUEST, Miss, Shelf, nearest
from comfy_mock.server.replay_question import Question, question_of
from comfy_mock.server.replay_recording import Recorded, Recording
from comfy_mock.server.replay_reel import Reel, Refused
from comfy_mock.server.replay_sockets import Closing, Later, PlayedSocket, shortened
from comfy_mock.server.wire_connection import gone

logger = logging.getLogger("comfy_mock.server")

NOT_RECORDED = 501
"""The status of what the recordings have no answer to. ComfyUI itself has no such answer."""

_BODY_BYTES_MAX = 1 << 30


class ReplayApp:
    """Plays recordings; `unmatched` has what was asked and is in none of them.

    A request is looked for in the recording that was last used for one that changes something or opens a socket, and
    then in the others, in their order.
    """

    def __init__(self, recordings: Iterable[Recording], speed: float | None) -> None:
        self._reels = [Reel(recording, speed) for recording in recordings]
        self._active = self._reels[0]
        self._news = asyncio.Event()
        self.unmatched: list[Miss] = []

    def unused(self) -> list[str]:
        """What the recordings have and nobody has asked for, opened or said; of several with the file's name."""
        several = len(self._reels) > 1
        return [f"{reel.recording.name}: {text}" if several else text for reel in self._reels for text in reel.unused()]

    def untold(self) -> int:
        """How many messages wait on sockets that were opened, for what has not been asked or said."""
        return sum(reel.untold() for reel in self._reels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    # HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, request_of(scope), _BODY_BYTES_MAX)
        except ClientGone:
            return
        except BodyTooLarge:
            await _send(send, json_answer({"error": f"a body has at most {_BODY_BYTES_MAX} bytes"}, 413), scope)
            return
        question = question_of(scope, body)
        found = await self._found(question, receive)
        if found is None:
            return
        if isinstance(found, Miss):
            self._missed(found)
            await _send(send, json_answer(found.json(), NOT_RECORDED), scope)
            return
        reel, recorded = found
        overtaken = reel.overtaken(recorded)
        if overtaken is not None:
            logger.warning("%s has come before %s: what followed both is told when both have come", question, overtaken)
        try:
            await send_answer(send, *answer_of(recorded.response, reel.ids, question.method), question.method)
        finally:
            reel.passed(recorded, time.monotonic())
            self._tell()

    async def _found(self, question: Question, receive: Receive) -> tuple[Reel, Recorded] | Miss | None:
        """What answers a question, when it is time; None where the client does not wait for that."""
        while True:
            found = self._look_up(question)
            if not isinstance(found, Later):
                return found
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(gone(receive), found.seconds)
                return None

    def _look_up(self, question: Question) -> tuple[Reel, Recorded] | Miss | Later:
        refused: list[Refused] = []
        for reel in self._in_turn():
            found = reel.answer(question, time.monotonic())
            if isinstance(found, Later):
                return found
            if isinstance(found, Recorded):
                if not found.is_safe:
                    self._active = reel
                return reel, found
            if found is not None:
                refused.append(found)
        unused = len(self.unused())
        if refused:
            return Miss(str(question), refused[0].why, str(refused[0].nearest), unused=unused)
        shelves = [Shelf(reel.recording.requests, reel.ids) for reel in self._in_turn()]
        return Miss(str(question), NO_SUCH_REQUEST, *nearest(question, shelves), unused)

    def _in_turn(self) -> Sequence[Reel]:
        return [self._active, *(reel for reel in self._reels if reel is not self._active)]

    def _missed(self, miss: Miss) -> None:
        self.unmatched.append(miss)
        logger.warning("Not as recorded: %s", miss)

    def _tell(self) -> None:
        """There may be something to send: all sockets look."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    # WebSockets

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        question = question_of({**scope, "method": "GET"})
        opened = next(((reel, one) for reel in self._in_turn() if (one := reel.open(question)) is not None), None)
        if opened is None:
            shelves = [Shelf(reel.recording.sockets, reel.ids) for reel in self._in_turn()]
            unused = len(self.unused())
            miss = Miss(f"WebSocket {question.target}", NO_SUCH_REQUEST, *nearest(question, shelves), unused)
            self._missed(miss)
            answer = json_answer(miss.json(), NOT_RECORDED)
            await refuse_upgrade(scope, receive, send, answer, _headers(answer))
            return
        self._active, played = opened
        if not played.recorded.is_open:
            await refuse_upgrade(scope, receive, send, *answer_of(played.recorded.response, self._active.ids, "GET"))
            return
        await self._serve(WebSocket(scope, receive, send), played)

    async def _serve(self, websocket: WebSocket, played: PlayedSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await websocket.accept()
            connection = played.opened()
            self._tell()
            sender = asyncio.create_task(self._send(websocket, played, connection))
            try:
                while True:
                    message = await websocket.receive()
                    if message["type"] == "websocket.disconnect":
                        return
                    text = message.get("text")
                    self._hear(played, text if text is not None else message.get("bytes") or b"")
            finally:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sender

    def _hear(self, played: PlayedSocket, payload: str | bytes) -> None:
        if not played.hear(payload):
            asked = f"the message {shortened(payload)} on {played.recorded}"
            self._missed(Miss(asked, "the recorded client did not say it there", unused=len(self.unused())))
        self._tell()

    async def _send(self, websocket: WebSocket, played: PlayedSocket, connection: int) -> None:
        # a socket that closes while something is being sent to it says so to `_serve` as well
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while played.connection == connection:
                news = self._news
                following = played.next(time.monotonic())
                if isinstance(following, Closing):
                    await websocket.close(following.code)
                    return
                if isinstance(following, str):
                    await websocket.send_text(following)
                elif isinstance(following, bytes):
                    await websocket.send_bytes(following)
                else:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(news.wait(), following.seconds if following is not None else None)


async def _send(send: Send, answer: Answer, scope: Scope) -> None:
    await send_answer(send, answer, _headers(answer), scope["method"])


def _headers(answer: Answer) -> RawHeaders:
    names = {"content-type": answer.content_type or "", "content-length": str(len(answer.body))}
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in names.items()]
