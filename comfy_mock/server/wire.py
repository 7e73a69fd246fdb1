"""HTTP/1.1 as the real server writes it: uvicorn's protocol with the details that ASGI has no words for."""

from __future__ import annotations

import re
from time import time
from typing import Any

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from comfy_mock.engine.script.routes import CONTROL_PREFIX
from comfy_mock.server.asgi import answer_headers
from comfy_mock.server.refusals import complaint, malformed
from comfy_mock.server.upgrades import upgrade_fault
from comfy_mock.server.wire_connection import EXTENSION, Connection

_CHUNKED = re.compile(rb"transfer-encoding: chunked\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"connection: close\r\n", re.IGNORECASE)

HEAD_BYTES_MAX = 4 * 1024 * 1024
"""The longest request line and headers. Beyond it uvicorn resets the connection; below it, clients get an answer."""


class HttpProtocol(H11Protocol):
    """For `uvicorn.Config(http=HttpProtocol)`: reason phrases of an answer's own, and HEAD and HTTP/1.0 as recorded.

    The reason phrase is `reason` in the `http.response.start` message. The real server has one that tells what is wrong
    with a file name, and tells it nowhere else (protocol 2.6). `http_version` there makes it another version. Scopes
    have their `Connection` among their extensions.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        connection = self.conn = _Connection(h11.SERVER, self.config.h11_max_incomplete_event_size or HEAD_BYTES_MAX)
        self._received = b""
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_details(message: Message) -> None:
                if message["type"] == "http.response.start":
                    connection.reason = message.get("reason")
                    connection.is_head = scope["method"] == "HEAD"
                    connection.is_old = "1.0" in (scope["http_version"], message.get("http_version"))
                await send(message)

            scope.setdefault("extensions", {})[EXTENSION] = self._connection()
            await inner(scope, receive, send_with_details)

        self.app = app

    def _connection(self) -> Connection:
        return Connection(self.transport, self.flow.drain)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being answered yet that would come soon: half a request, or one to control the fake."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return bool(cycle.more_body or (self._controls and not cycle.response_started))

    @property
    def _controls(self) -> bool:
        return self.scope is not None and self.scope["path"].startswith(CONTROL_PREFIX)

    def break_off(self) -> None:
        """End the connection without a word, unless it is there to control the fake."""
        if not self._controls:
            self._connection().reset()

    def data_received(self, data: bytes) -> None:
        self._received = data
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Complain about what is no HTTP request, as the real server does, unless an answer is under way."""
        begins = self.cycle is None or self.cycle.response_complete
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = malformed(complaint(self._received) if begins else msg)
            headers = answer_headers(answer, "GET", time())
            lines = [b"HTTP/1.0 400 Bad Request", *(name.title() + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        """Only to what opens a WebSocket where there is one; all else is an ordinary request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        return (
            self.scope["method"] == "GET"
            and self.scope["path"] in ("/ws", "/api/ws")
            and self._should_upgrade_to_ws()
            and upgrade_fault(headers) is None
        )


class _Connection(h11.Connection):
    """An h11 connection that is told about the answer that comes next."""

    reason: str | None = None
    is_head = False
    is_old = False

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if not isinstance(event, h11.Response):
            return super().send_with_data_passthrough(event)
        reason, self.reason = self.reason, None
        headers = [(name.title(), value) for name, value in event.headers]
        if self.is_old:
            # h11 has to know that the connection ends here; HTTP/1.0 clients do so without being told.
            headers.append((b"Connection", b"close"))
        phrase = event.reason if reason is None else reason.encode("latin-1")
        event = h11.Response(status_code=event.status_code, headers=headers, reason=phrase)
        written = super().send_with_data_passthrough(event)
        if written is None:
            return None
        head = b"".join(written)
        if self.is_head:
            # h11 adds this to an answer without a length, even where there is no body to have one.
            head = _CHUNKED.sub(b"", head)
        if self.is_old:
            head = _CLOSE.sub(b"", head.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        return [head]
