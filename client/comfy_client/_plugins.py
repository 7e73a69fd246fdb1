"""Plugins: code that sees and changes what a client sends, and sees what comes back.

A plugin that logs in before the first request, keeps its token, and logs in again when that has expired:

    class Login(Plugin):
        def __init__(self, url, user, password):
            self.url, self.user, self.password = url, user, password
            self.token = None

        def flow(self, request):
            if self.token is None:
                yield from self.log_in()
            request.headers["Authorization"] = f"Bearer {self.token}"
            response = yield request
            if response.status_code == 401:
                yield from self.log_in()
                request.headers["Authorization"] = f"Bearer {self.token}"
                yield request

        def log_in(self):
            login = {"user": self.user, "password": self.password}
            response = yield httpx.Request("POST", self.url, json=login)
            self.token = response.json()["token"]

    client.use(Login("https://example.com/login", "me", "secret"))

`flow` is a generator, as in `httpx.Auth`: it does no I/O itself, so one plugin serves both clients.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import httpx

Flow = Generator[httpx.Request, httpx.Response, None]


class Plugin:
    """Override what is of interest."""

    def flow(self, request: httpx.Request) -> Flow:
        """Around each request, the opening of a WebSocket too: yield requests to send, and be sent their responses.

        The response to the last one is what the client gets. The request that opens a WebSocket is yielded like any
        other; change it in place. A refusal is sent as its response; when the WebSocket opens, the generator is closed.
        """
        yield request

    def on_event(self, name: str, payload: Any) -> None:
        """For each event, under the names of `client.on`."""


class TokenPlugin(Plugin):
    """Sends a token with each request: in the header `Authorization`, or as the parameter `param` of the query."""

    def __init__(self, token: str, *, param: str | None = None, scheme: str = "Bearer") -> None:
        self.token = token
        self.param = param
        self.scheme = scheme

    def flow(self, request: httpx.Request) -> Flow:
        """Add the token."""
        if self.param is None:
            request.headers["Authorization"] = f"{self.scheme} {self.token}"
        else:
            request.url = request.url.copy_merge_params({self.param: self.token})
        yield request


def chained(
    plugins: Sequence[Plugin], request: httpx.Request
) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
    """The flows of several plugins in one: the first is the outermost. Returns the response that the client gets."""
    if not plugins:
        response = yield request
        return response
    flow = plugins[0].flow(request)
    inner = next(flow)
    while True:
        response = yield from chained(plugins[1:], inner)
        try:
            inner = flow.send(response)
        except StopIteration:
            return response
