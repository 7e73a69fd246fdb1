"""Makes a HAR of traffic as it goes by: what the recording proxy (`record`) keeps of what it passes on.

Times come in as arguments, in epoch seconds. Nothing here reads or writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, structs

from comfy_contracts.har import (
    Content,
    Entry,
    Har,
    Log,
    NameValue,
    PostData,
    Request,
    Response,
    WebSocketClose,
    WebSocketMessage,
)
from comfy_contracts.replay_har import (
    exchange_entry,
    no_response,
    request_of,
    response_of,
    socket_entry,
    socket_message,
)

KEPT_BYTES = 10 * 1024 * 1024
"""The largest body that is kept, in bytes; of larger ones the size and the SHA-256."""

ABNORMAL_CLOSURE = 1006


class Body:
    """A body that passes by in pieces. `limit` is how many bytes of it are kept."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.size = 0
        self._limit = limit
        self._kept = bytearray()
        self._hash = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """The next piece of it."""
        self.size += len(piece)
        self._hash.update(piece)
        if self.size <= self._limit:
            self._kept += piece
        else:
            self._kept.clear()

    @property
    def content(self) -> bytes | None:
        """All of it; None where it is larger than the limit."""
        return bytes(self._kept) if self.size <= self._limit else None

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that has passed, in hexadecimal digits."""
        return self._hash.hexdigest()


class Exchange:
    """An HTTP exchange that goes on: fill it, and give it to `Recorder.finish`."""

    def __init__(self, method: str, url: str, headers: list[NameValue], started: float, limit: int) -> None:
        self.method, self.url, self.headers, self.started = method, url, headers, started
        self.sent, self.received = Body(limit), Body(limit)
        self.answer: tuple[int, str, list[NameValue]] | None = None
        self.problem = ""
        self.finished = False

    def entry(self, ended: float) -> Entry:
        """The exchange as it is now, as an entry of a HAR; status 0 where there is no answer."""
        return exchange_entry(self.request(), self.response(), self.started, ended)

    def request(self) -> Request:
        """The request, with what of its body is kept."""
        content = self.sent.content
        request = request_of(self.method, self.url, self.headers, content or b"")
        if content is not None:
            return request
        mime_type = next((one.value for one in self.headers if one.name.lower() == "content-type"), "")
        omitted = PostData(mime_type=mime_type, omitted=True, sha256=self.sent.sha256)
        return structs.replace(request, post_data=omitted, body_size=self.sent.size)

    def response(self) -> Response:
        """The answer, with what of its body is kept. What went wrong stands in `_error`."""
        if self.answer is None:
            return no_response(self.problem or "no answer")
        content = self.received.content
        response = response_of(*self.answer, content or b"")
        if content is None:
            mime_type = response.content.mime_type
            kept = Content(size=self.received.size, mime_type=mime_type, omitted=True, sha256=self.received.sha256)
            response = structs.replace(response, content=kept, body_size=self.received.size)
        return structs.replace(response, extra={"_error": self.problem}) if self.problem else response


class Socket:
    """A WebSocket connection that goes on."""

    def __init__(self, handshake: Exchange) -> None:
        self._handshake = handshake
        self._messages: list[WebSocketMessage] = []
        self._close: WebSocketClose | None = None
        self._ended: float | None = None

    def message(self, sender: str, payload: str | bytes, now: float) -> None:
        """A message has passed; `sender` is `send` for the client's and `receive` for the server's, as in HAR."""
        self._messages.append(socket_message(sender, payload, now))

    def closed(self, code: int, reason: str) -> None:
        """The server has said how it closes the connection. Only the first time counts."""
        self._close = self._close or WebSocketClose(code, reason)

    def ended(self, now: float, *, by_server: bool) -> None:
        """The connection is gone. `by_server` says whose end of it broke off, where nobody had said a word."""
        if self._ended is None:
            self._ended = now
            self._close = self._close or WebSocketClose(ABNORMAL_CLOSURE if by_server else None, None)

    def entry(self, now: float) -> Entry:
        """The connection as it is now, as an entry of a HAR."""
        return socket_entry(
            self._handshake.request(),
            self._handshake.response(),
            list(self._messages),
            self._close or WebSocketClose(),
            self._handshake.started,
            self._ended or now,
        )


class Recorder:
    """All that has been recorded. `about` is what is known of the server, for `log._comfy`; bodies of more than `limit`
    bytes are not kept."""

    def __init__(self, *, about: Mapping[str, Any] | None = None, comment: str = "", limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        self._about, self._comment = about, comment
        self._entries: list[Entry] = []
        self._sockets: list[Socket] = []

    def begin(self, method: str, url: str, headers: list[NameValue], now: float) -> Exchange:
        """A request has come in. It counts once it is given to `finish` or `upgrade`."""
        return Exchange(method, url, headers, now, self.limit)

    def finish(self, exchange: Exchange, now: float) -> None:
        """The exchange is over, or broken off. Only the first time counts."""
        if not exchange.finished:
            exchange.finished = True
            self._entries.append(exchange.entry(now))

    def upgrade(self, handshake: Exchange) -> Socket:
        """The exchange was answered with 101: it is a WebSocket from now on."""
        socket = Socket(handshake)
        self._sockets.append(socket)
        return socket

    def har(self, now: float) -> Har:
        """The recording so far, in the order in which requests came. Sockets that are open are in it with what they
        have got; requests without an answer are not."""
        entries = [*self._entries, *(socket.entry(now) for socket in self._sockets)]
        log = Log(
            version="1.2",
            creator={"name": "comfy-mock record", "version": "1"},
            comment=self._comment or UNSET,
            comfy=dict(self._about) if self._about else UNSET,
            entries=sorted(entries, key=lambda entry: entry.started),
        )
        return Har(log)
