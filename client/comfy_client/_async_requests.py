"""Sending calls to a server, again where that may help."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from comfy_client._async_io import HttpClient, sleep
from comfy_client._calls import Call
from comfy_client._errors import ClientClosed, ServerUnreachable
from comfy_client._plugins import Plugin, chained
from comfy_client._requests import arguments_of, bad_status, error_of, no_answer, read
from comfy_client._retries import Failure, Retries

T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class AsyncRequests:
    """The HTTP half of a connection."""

    http: HttpClient
    retries: Retries
    rng: random.Random
    plugins: list[Plugin] = field(default_factory=list)
    closed: bool = False

    async def call(self, wanted: Call[T], *, retries: Retries | None = None, timeout: float | None = None) -> T:
        """Make a call, again where that may help.

        Raises `ServerUnreachable`, `ServerError` (`NotFound`) and `ProtocolError`.
        """
        policy = self.retries if retries is None else retries
        attempt = 1
        while True:
            failure, outcome = await self.attempt(wanted, timeout)
            if failure is None:
                result: T = outcome
                return result
            wait = policy.wait(failure, attempt, repeatable=wanted.repeatable, random=self.rng.random())
            if wait is None:
                raise outcome
            attempt += 1
            await sleep(wait)

    async def attempt(self, wanted: Call[Any], timeout: float | None) -> tuple[Failure | None, Any]:
        """Make a call once: (None, its result), or what failed and the error."""
        arguments = arguments_of(wanted)
        if timeout is not None:
            arguments["timeout"] = timeout
        try:
            response = await self.send(self.http.build_request(wanted.method, wanted.path, **arguments))
        except httpx.RequestError as error:
            failure = no_answer(error)
            unreachable = ServerUnreachable(str(self.http.base_url.join(wanted.path)), failure.reason)
            unreachable.__cause__ = error
            return failure, unreachable
        if response.status_code >= 400:
            return bad_status(response), error_of(wanted, response)
        return None, read(wanted, response)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the plugins. Raises `ClientClosed`, and what httpx raises."""
        self.check_open()
        flow = chained(self.plugins, request)
        current = next(flow)
        while True:
            response = await self.http.send(current)
            try:
                current = flow.send(response)
            except StopIteration as end:
                final: httpx.Response = end.value
                return final

    def check_open(self) -> None:
        """Raise `ClientClosed` where that is so."""
        if self.closed:
            raise ClientClosed
