"""Opening the WebSocket: by a request that plugins and credentials see and change, as they do every other."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from comfy_client._async_io import AsyncSocket, HttpClient, exchange
from comfy_client._plugins import Plugin, chained
from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings

_HEADERS_OF_EVERY_REQUEST = frozenset(
    {"host", "connection", "upgrade", "accept", "accept-encoding", "content-length", "user-agent"}
)


@dataclass(frozen=True, kw_only=True)
class AsyncHandshake:
    """What a WebSocket is opened with, until the time `until`."""

    http: HttpClient
    plugins: Sequence[Plugin]
    ssl_context: ssl.SSLContext | None
    settings: SocketSettings
    until: float

    async def open(self, wanted: httpx.Request) -> AsyncSocket:
        """Open a WebSocket by the request `wanted`.

        A refusal is shown to plugins, as the response to it. Raises `SocketRefused` where they know no better,
        `SocketLost`, and what httpx raises.
        """
        refusal = SocketRefused("a plugin did not send the request that opens the WebSocket")
        flow = chained(self.plugins, wanted)
        request = next(flow)
        try:
            while True:
                if request is wanted:
                    try:
                        return await self._authorized(wanted)
                    except SocketRefused as error:
                        refusal, response = error, _shown(error, wanted)
                else:
                    response = await exchange(self.http, request, self.left())
                request = flow.send(response)
        except StopIteration:
            raise refusal from None
        finally:
            flow.close()

    async def _authorized(self, wanted: httpx.Request) -> AsyncSocket:
        """The same, with the credentials of the HTTP client, which may answer a refusal as well."""
        refusal = SocketRefused("the credentials did not send the request that opens the WebSocket")
        flow = (self.http.auth or httpx.Auth()).async_auth_flow(wanted)
        try:
            request = await flow.__anext__()
            while True:
                if request is wanted:
                    try:
                        return await self._opened(wanted)
                    except SocketRefused as error:
                        refusal, response = error, _shown(error, wanted)
                else:
                    response = await exchange(self.http, request, self.left(), auth=None)
                request = await flow.asend(response)
        except StopAsyncIteration:
            raise refusal from None
        finally:
            await flow.aclose()

    async def _opened(self, request: httpx.Request) -> AsyncSocket:
        url = str(request.url.copy_with(scheme="wss" if request.url.scheme == "https" else "ws"))
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _HEADERS_OF_EVERY_REQUEST
        }
        return await AsyncSocket.open(url, headers, self.ssl_context, self.settings, self.left())

    def left(self) -> float:
        """How many seconds are left. Raises `SocketLost` where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise SocketLost("timed out")
        return left


def _shown(refusal: SocketRefused, request: httpx.Request) -> httpx.Response:
    """A refusal as a response. Raises it where it is none that HTTP knows."""
    response = refusal.response(request)
    if response is None:
        raise refusal
    return response
