"""Calls that are made again, and how long is waited before: over the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import workflows
from both_clients import PACE, Kind, client_of
from misbehaving import Misbehaving, misbehaving
from starlette.requests import Request
from starlette.responses import Response

from comfy_client import Retries, ServerError, ServerUnreachable, _async_requests, _sync_requests
from comfy_mock import ComfyMock

WAIT = 20


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture
def proxy(server: ComfyMock) -> Iterator[Misbehaving]:
    with misbehaving(server.url) as proxy:
        yield proxy


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(_sync_requests, "sleep", waits.append)
    monkeypatch.setattr(_async_requests, "sleep", sleep)
    return waits


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    kind: Kind, status: int, proxy: Misbehaving, waits: list[float]
) -> None:
    proxy.answer_once("GET", "/system_stats", status, headers={"Retry-After": "7"})
    proxy.answer_once("GET", "/queue", status)
    with client_of(kind, proxy.url, retries=Retries(first_wait=0.5)) as client:
        assert client.system_stats().system.comfyui_version
        assert client.queue().queue_pending == []
    assert proxy.requests["GET", "/system_stats"] == proxy.requests["GET", "/queue"] == 2
    assert waits[0] == 7.0
    assert 0.25 <= waits[1] <= 0.75


def test_attempts_come_to_an_end(kind: Kind, proxy: Misbehaving, waits: list[float]) -> None:
    async def busy(request: Request, body: bytes) -> Response | None:
        return Response("busy", 503)

    proxy.on_request = busy
    policy, said = Retries(attempts=5, first_wait=1.0, longest_wait=2.0), r"answered 503: busy.*try again later"
    with client_of(kind, proxy.url, retries=policy) as client, pytest.raises(ServerError, match=said):
        client.features()
    assert proxy.requests["GET", "/features"] == 5
    assert [0.5 <= waits[0] <= 1.5, *(1.0 <= wait <= 3.0 for wait in waits[1:])] == [True] * 4


def test_other_failures_and_calls_that_may_not_be_repeated_are_made_once(
    kind: Kind, proxy: Misbehaving, waits: list[float]
) -> None:
    proxy.answer_once("GET", "/features", 500)
    proxy.answer_once("POST", "/interrupt", 503)
    with client_of(kind, proxy.url) as client:
        for ask in (client.features, client.interrupt):
            with pytest.raises(ServerError):
                ask()
    assert not waits


def cut(kind: Kind, *errors: httpx.RequestError) -> Any:
    """A transport that fails so at first, and notes its requests."""
    left, base = list(errors), httpx.HTTPTransport if kind == "blocking" else httpx.AsyncHTTPTransport

    class Cut(base):  # type: ignore[misc, valid-type]
        paths: list[str] = []  # noqa: RUF012 - of a class for one test

        def _note(self, request: httpx.Request) -> None:
            self.paths.append(request.url.path)
            if left:
                raise left.pop(0)

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self._note(request)
            return super().handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self._note(request)
            return await super().handle_async_request(request)

    return Cut()


def test_connections_that_fail_are_made_again(kind: Kind, server: ComfyMock, waits: list[float]) -> None:
    transport = cut(kind, httpx.ConnectError("refused"), httpx.ReadError("cut"), httpx.ReadTimeout("slow"))
    with client_of(kind, server.url, transport=transport) as client:
        assert client.queue().queue_pending == []
    assert transport.paths == ["/queue"] * 4
    assert len(waits) == 3


def test_what_may_have_arrived_is_not_sent_again(kind: Kind, server: ComfyMock, waits: list[float]) -> None:
    for error, attempts in ((httpx.ConnectError("refused"), 2), (httpx.ReadError("cut"), 1)):
        transport = cut(kind, error)
        with client_of(kind, server.url, transport=transport) as client:
            if attempts == 1:
                with pytest.raises(ServerUnreachable, match="cut"):
                    client.interrupt()
            else:
                client.interrupt()
        assert transport.paths == ["/interrupt"] * attempts


def test_a_prompt_that_was_not_sent_is_posted_again(kind: Kind, server: ComfyMock) -> None:
    transport = cut(kind, httpx.ConnectError("refused"))
    with client_of(kind, server.url, transport=transport) as client:
        assert client.run(workflows.image(), path="polling", timeout=WAIT).images
    assert transport.paths[:2] == ["/prompt", "/prompt"]


def test_a_prompt_is_looked_for_before_it_is_posted_again(kind: Kind, proxy: Misbehaving) -> None:
    proxy.answer_once("POST", "/prompt", 503)
    transport = cut(kind)
    with client_of(kind, proxy.url, transport=transport) as client:
        assert client.run(workflows.image(), path="polling", timeout=WAIT).images
    assert transport.paths[:4] == ["/prompt", "/queue", transport.paths[2], "/prompt"]
    assert transport.paths[2].startswith("/history/")


def test_a_prompt_may_have_its_own_interval_of_polling(kind: Kind) -> None:
    looks = 0
    with workflows.add_nodes(ComfyMock(clock="manual")) as server, misbehaving(server.url) as proxy:

        async def count(request: Request, body: bytes) -> Response | None:
            nonlocal looks
            looks += request.url.path == "/queue" or request.url.path.startswith("/history/")
            if looks == 12:
                threading.Thread(target=server.advance, args=(60.0,)).start()
            return None

        proxy.on_request = count
        # At the client's own interval twelve looks would take minutes.
        with client_of(kind, proxy.url, pace=replace(PACE, poll_interval=60.0)) as client:
            job = client.submit(workflows.slow(), path="polling", poll_interval=0.01)
            assert job.wait(5) == "success"
            assert client.wait_for(job.prompt_id, path="polling", poll_interval=0.01, timeout=5).outputs
    assert looks >= 12
