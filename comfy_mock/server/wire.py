"""HTTP/1.1 as the real server writes it: uvicorn's protocol with the details that ASGI has no words for."""

from __future__ import annotations

import re
from typing import Any

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CHUNKED = re.compile(rb"transfer-encoding: chunked\r\n", re.IGNORECASE)

HEAD_BYTES_MAX = 4 * 1024 * 1024
"""The longest request line and headers. Beyond it uvicorn resets the connection; below it, clients get an answer."""


class HttpProtocol(H11Protocol):
    """For `uvicorn.Config(http=HttpProtocol)`: answers with a reason phrase of their own, and HEAD as recorded.

    The reason phrase is `reason` in the `http.response.start` message. The real server has one that tells what is wrong
    with a file name, and tells it nowhere else (protocol 2.6).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        connection = self.conn = _Connection(h11.SERVER, self.config.h11_max_incomplete_event_size or HEAD_BYTES_MAX)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_reason(message: Message) -> None:
                if message["type"] == "http.response.start":
                    connection.reason = message.get("reason")
                    connection.is_head = scope["method"] == "HEAD"
                await send(message)

            await inner(scope, receive, send_with_reason)

        self.app = app


class _Connection(h11.Connection):
    """An h11 connection that is told about the answer that comes next."""

    reason: str | None = None
    is_head = False

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if not isinstance(event, h11.Response):
            return super().send_with_data_passthrough(event)
        reason, self.reason = self.reason, None
        is_head, self.is_head = self.is_head, False
        headers = [(name.title(), value) for name, value in event.headers]
        phrase = event.reason if reason is None else reason.encode("latin-1")
        event = h11.Response(status_code=event.status_code, headers=headers, reason=phrase)
        head = super().send_with_data_passthrough(event)
        if is_head and head is not None:
            # h11 adds this to an answer without a length, even where there is no body to have one.
            return [_CHUNKED.sub(b"", b"".join(head))]
        return head
