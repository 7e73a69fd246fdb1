"""How uvicorn puts a refused upgrade on the wire."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.http11 import Response

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=WebSocketProtocol)`: a refusal has the headers that the app gave it and no others.

    uvicorn adds a `Content-Type` to empty answers, and reports every refusal as an error of the app.
    """

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
            HTTPStatus(status).phrase,
            Headers([*((name.title(), value) for name, value in headers), ("Connection", "close")]),
            body,
        )
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()
