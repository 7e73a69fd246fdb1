"""WebSockets as uvicorn has them: how a refused upgrade is put on the wire, and how one falls silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.http11 import Response

from comfy_mock.server.faults import phrase
from comfy_mock.server.wire_connection import EXTENSION, Connection

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=WebSocketProtocol)`: a refusal has the headers that the app gave it and no others.

    uvicorn adds a `Content-Type` to empty answers, and reports every refusal as an error of the app. Scopes have their
    `Connection` among their extensions.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silent = False

    async def run_asgi(self) -> None:
        """Call the app."""
        connection = Connection(self.transport, self.writable.wait, self._fall_silent)
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[EXTENSION] = connection
        await super().run_asgi()

    def _fall_silent(self) -> None:
        self._silent = True

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, unless nothing is to be answered any more, not even a ping."""
        if not self._silent:
            super().data_received(data)

    def shutdown(self) -> None:
        """The server stops."""
        if self._silent:
            self.transport.abort()
        else:
            super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        """Take a message of the app."""
        if message["type"] == "websocket.http.response.body" and self.initial_response is not None:
            self._refuse(message["body"])
        else:
            await super().send(message)

    def _refuse(self, body: bytes) -> None:
        assert self.initial_response is not None
        status, headers, _body = self.initial_response
        response = Response(
            status,
            phrase(status),
            Headers([*((name.title(), value) for name, value in headers), ("Connection", "close")]),
            body,
        )
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()
