# Written by client/make_sync.py from _async_requests.py: change that one.
"""Sending calls to a server, again where that may help."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from comfy_client._calls import Call
from comfy_client._errors import ClientClosed, InvalidName, ServerUnreachable
from comfy_client._plugins import Plugin, chained
from comfy_client._requests import arguments_of, bad_status, error_of, joined, no_answer, read, shown, unfollowed
from comfy_client._retries import Failure, Retries
from comfy_client._sync_io import HttpClient, exchange, sleep

T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Requests:
    """The HTTP half of a connection. `headers` go with each request, beside those of `http`."""

    http: HttpClient
    base_url: httpx.URL
    retries: Retries
    rng: random.Random
    headers: Mapping[str, str] = field(default_factory=dict)
    plugins: list[Plugin] = field(default_factory=list)
    closed: bool = False

    def call(self, wanted: Call[T], *, retries: Retries | None = None, timeout: float | None = None) -> T:
        """Make a call, again where that may help. No attempt takes longer than `timeout`, in seconds.

        Raises `ServerUnreachable`, `ServerError` (`NotFound`) and `ProtocolError`.
        """
        return (self.counted(wanted, retries=retries, timeout=timeout))[0]

    def counted(
        self, wanted: Call[T], *, retries: Retries | None = None, timeout: float | None = None
    ) -> tuple[T, int]:
        """The same, with the number of attempts that it took."""
        policy = self.retries if retries is None else retries
        attempt = 1
        while True:
            failure, outcome = self.attempt(wanted, timeout)
            if failure is None:
                return outcome, attempt
            wait = policy.wait(failure, attempt, repeatable=wanted.repeatable, random=self.rng.random())
            if wait is None:
                raise outcome
            attempt += 1
            sleep(wait)

    def attempt(self, wanted: Call[Any], timeout: float | None) -> tuple[Failure | None, Any]:
        """Make a call once: (None, its result), or what failed and the error."""
        url = shown(joined(self.base_url, wanted.path))
        try:
            request = self.request(wanted.method, wanted.path, **arguments_of(wanted))
            response = unfollowed(wanted, self.send(request, timeout))
        except httpx.RequestError as error:
            self.check_open()
            failure = no_answer(error)
            unreachable = ServerUnreachable(url, failure.reason)
            unreachable.__cause__ = error
            return failure, unreachable
        if not response.is_success:
            return bad_status(response), error_of(wanted, response, url)
        return None, read(wanted, response, url)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Request:
        """A request to the server; arguments as of httpx's `build_request`. Raises `InvalidName`."""
        headers = httpx.Headers(self.headers)
        headers.update(arguments.pop("headers", None))
        try:
            return self.http.build_request(method, joined(self.base_url, path), headers=headers, **arguments)
        except UnicodeEncodeError as error:
            raise InvalidName(error.object) from error

    def send(self, request: httpx.Request, timeout: float | None = None) -> httpx.Response:
        """Send a request through the plugins. Raises `ClientClosed`, and what httpx raises."""
        self.check_open()
        flow = chained(self.plugins, request)
        current = next(flow)
        while True:
            try:
                response = exchange(self.http, current, timeout)
            except RuntimeError:
                self.check_open()  # httpx says so of a client that was closed meanwhile
                raise
            try:
                current = flow.send(response)
            except StopIteration as end:
                final: httpx.Response = end.value
                return final

    def check_open(self) -> None:
        """Raise `ClientClosed` where that is so."""
        if self.closed:
            raise ClientClosed
