"""How both clients connect, by HTTP and by WebSocket: TLS, credentials, proxies, heartbeats, limits of size."""

from __future__ import annotations

import base64
import logging
import ssl
import weakref
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import trustme
import workflows
from both_clients import PACE, Kind, client_of, sockets_to
from misbehaving import Misbehaving, misbehaving
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from comfy_client import ExecutionFailed, Plugin, ServerError, ServerUnreachable, SocketSettings
from comfy_mock import ComfyMock

WAIT = 20


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def tls(authority: trustme.CA, server: ComfyMock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Misbehaving]:
    """The fake behind TLS, with a certificate that nobody knows."""
    certificate = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).private_key_and_cert_chain_pem.write_to_path(
        certificate
    )
    with misbehaving(server.url, ssl_certfile=str(certificate)) as proxy:
        yield proxy


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("verify", ["context", "none"])
def test_both_connections_are_encrypted(kind: Kind, verify: str, tls: Misbehaving, authority: trustme.CA) -> None:
    assert tls.url.startswith("https://")
    before = tls.sockets_opened
    with client_of(kind, tls.url, verify=trusting(authority) if verify == "context" else False) as client:
        for path in ("websocket", "polling"):
            (image,) = client.run(workflows.image(), path=path, timeout=WAIT).images
            assert image.read().startswith(b"\x89PNG")
        assert image.url.startswith("https://")
    assert tls.sockets_opened == before + 1


def test_a_certificate_that_nobody_knows_is_refused(kind: Kind, tls: Misbehaving) -> None:
    with client_of(kind, tls.url, verify=True) as client:
        for ask in (lambda: client.queue(), lambda: client.connect("websocket"), lambda: client.run(workflows.image())):
            with pytest.raises(ServerUnreachable, match="CERTIFICATE_VERIFY_FAILED") as caught:
                ask()
            assert "give the client `verify`" in str(caught.value)


def test_a_client_of_httpx_of_ones_own(kind: Kind, tls: Misbehaving, authority: trustme.CA) -> None:
    context = trusting(authority)
    cls = httpx.Client if kind == "blocking" else httpx.AsyncClient
    own = cls(base_url=tls.url, verify=context, trust_env=False, headers={"X-Mine": "1"})
    with client_of(kind, "http://127.0.0.1:1", http_client=own, verify=context) as client:
        assert client.base_url.rstrip("/") == tls.url
        assert client.run(workflows.image(), path="websocket", timeout=WAIT).images
        client.close()
        assert not own.is_closed
        if kind == "async":
            client._loop.run_until_complete(own.aclose())
        else:
            own.close()


# Credentials, headers, places


class Seen:
    """The credentials, headers and paths of requests and of openings of a WebSocket."""

    def __init__(self, proxy: Misbehaving, *names: str) -> None:
        self.names = names
        self.requests: set[tuple[str | None, ...]] = set()
        self.handshakes: set[tuple[str | None, ...]] = set()
        proxy.on_request, proxy.on_handshake = self.on_request, self.on_handshake

    async def on_request(self, request: Request, body: bytes) -> Response | None:
        self.requests.add(tuple(request.headers.get(name) for name in self.names))
        return None

    def on_handshake(self, websocket: WebSocket) -> Response | None:
        self.handshakes.add(tuple(websocket.headers.get(name) for name in self.names))
        return None


def test_headers_cookies_user_and_credentials_go_with_both(kind: Kind, server: ComfyMock) -> None:
    options = {"auth": ("me", "secret"), "headers": {"X-Mine": "1"}, "cookies": {"session": "abc"}, "user": "bob"}
    with misbehaving(server.url) as proxy:
        seen = Seen(proxy, "authorization", "x-mine", "cookie", "comfy-user")
        with client_of(kind, proxy.url, **options) as client:
            client.run(workflows.image(), path="websocket", timeout=WAIT)
    basic = base64.b64encode(b"me:secret").decode()
    assert seen.requests == seen.handshakes == {(f"Basic {basic}", "1", "session=abc", "bob")}


def test_a_server_below_a_path(kind: Kind, server: ComfyMock) -> None:
    with misbehaving(server.url, prefix="/gpu/1") as proxy, client_of(kind, f"{proxy.url}/") as client:
        assert client.base_url.rstrip("/") == proxy.url
        (image,) = client.run(workflows.image(), path="websocket", timeout=WAIT).images
        assert image.url.startswith(f"{proxy.url}/view?")
        assert image.read() == client.view(image.file)
        assert proxy.sockets_opened == 1
        assert client.jobs().jobs
        with client_of(kind, proxy.url.removesuffix("/1")) as elsewhere, pytest.raises(ServerError):
            elsewhere.connect("websocket")


DIGEST = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'


class Guard:
    """Wants a header with credentials, of requests and of openings of a WebSocket."""

    def __init__(self, proxy: Misbehaving, good: str, challenge: str = "") -> None:
        self.good, self.challenge, self.refused = good, challenge, 0
        proxy.on_request, proxy.on_handshake = self.on_request, self.on_handshake

    def check(self, given: str | None) -> Response | None:
        if given is not None and given.startswith(self.good):
            return None
        self.refused += 1
        return Response(status_code=401, headers={"WWW-Authenticate": self.challenge} if self.challenge else None)

    async def on_request(self, request: Request, body: bytes) -> Response | None:
        if request.url.path == "/token":
            return JSONResponse(self.good)
        return self.check(request.headers.get("authorization"))

    def on_handshake(self, websocket: WebSocket) -> Response | None:
        return self.check(websocket.headers.get("authorization"))


class Fetched(httpx.Auth):
    """Credentials that are fetched by a request of their own."""

    def __init__(self, url: str) -> None:
        self.url = url

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield httpx.Request("POST", self.url)
        request.headers["Authorization"] = response.json()
        yield request


def test_credentials_that_answer_a_challenge_open_the_socket_too(kind: Kind, server: ComfyMock) -> None:
    with misbehaving(server.url) as proxy:
        guard = Guard(proxy, 'Digest username="me"', DIGEST)
        with client_of(kind, proxy.url, auth=httpx.DigestAuth("me", "secret")) as client:
            client.connect("websocket")
            assert guard.refused == 1
            assert client.run(workflows.image(), path="websocket", timeout=WAIT).images


def test_credentials_that_ask_for_themselves_open_the_socket_too(kind: Kind, server: ComfyMock) -> None:
    with misbehaving(server.url) as proxy:
        guard = Guard(proxy, "Bearer x")
        with client_of(kind, proxy.url, auth=Fetched(f"{proxy.url}/token")) as client:
            assert client.run(workflows.image(), path="websocket", timeout=WAIT).images
        assert guard.refused == 0
        assert proxy.sockets_opened == 1


def test_a_plugin_sees_that_the_socket_is_refused_and_may_mend_that(kind: Kind, server: ComfyMock) -> None:
    statuses: list[int] = []

    class Mending(Plugin):
        token = "old"

        def flow(self, request: httpx.Request) -> Any:
            request.headers["Authorization"] = self.token
            response = yield request
            statuses.append(response.status_code)
            if response.status_code == 401:
                self.token = request.headers["Authorization"] = "new"
                yield request

    with misbehaving(server.url) as proxy:
        Guard(proxy, "new")
        with client_of(kind, proxy.url) as client:
            client.use(Mending())
            client.connect("websocket")
            assert client.connected
        assert statuses == [401]
        Guard(proxy, "newer")
        with client_of(kind, proxy.url) as client:
            client.use(Mending())
            with pytest.raises(ServerError, match="wants other credentials") as caught:
                client.connect("websocket")
        assert caught.value.status == 401


def test_a_transport_of_ones_own(kind: Kind, server: ComfyMock) -> None:
    paths: list[str] = []
    base: Any = httpx.HTTPTransport if kind == "blocking" else httpx.AsyncHTTPTransport

    class Noting(base):  # type: ignore[misc]
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return super().handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return await super().handle_async_request(request)

    with client_of(kind, server.url, transport=Noting()) as client:
        client.queue()
    assert paths == ["/queue"]


# Heartbeats and limits


class Silenced(WebSocketsSansIOProtocol):
    """WebSockets of a server that can fall silent: from then on it reads nothing, so it answers no ping."""

    alive: ClassVar[weakref.WeakSet[Silenced]] = weakref.WeakSet()
    silent = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.alive.add(self)

    def data_received(self, data: bytes) -> None:
        if not self.silent:
            super().data_received(data)


def test_a_server_that_falls_silent_is_noticed_and_the_prompt_is_asked_for(
    kind: Kind, server: ComfyMock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "comfy_client")
    settings = SocketSettings(ping_interval=0.05, ping_timeout=0.05, close_timeout=0.05, trust_env=False)
    # But for the heartbeat nothing would be asked for a minute.
    pace = replace(PACE, watch_interval=60.0)
    with (
        misbehaving(server.url, ws=Silenced) as proxy,
        client_of(kind, proxy.url, socket=settings, pace=pace) as client,
    ):
        client.connect("websocket")
        proxy.on_message = lambda message: "lose"
        for connection in list(Silenced.alive):
            connection.silent = True
        assert client.run(workflows.image(), path="websocket", timeout=10).images
    assert "keepalive ping timeout" in caplog.text


def test_a_server_that_answers_pings_is_kept(kind: Kind, server: ComfyMock) -> None:
    settings = SocketSettings(ping_interval=0.02, ping_timeout=5.0, trust_env=False)
    lost: list[None] = []
    with client_of(kind, server.url, socket=settings) as client:
        client.on("disconnected", lost.append)
        client.connect("websocket")
        list(client.listen(0.15))
        assert client.run(workflows.image(), path="websocket", timeout=WAIT).images
        assert client.connected
        assert not lost


def test_a_message_that_is_too_large_costs_the_socket_and_not_the_prompt(
    kind: Kind, server: ComfyMock, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SocketSettings(max_size=20_000, trust_env=False)
    with client_of(kind, server.url, socket=settings) as client:
        graph = {"1": {"class_type": "Text", "inputs": {"size": 30_000}}}
        result = client.run(graph, path="websocket", timeout=WAIT)
        assert len(result.texts["1"][0]) == 30_000
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["the WebSocket is gone: a message was larger than SocketSettings.max_size allows"]


def test_nothing_is_left_open(kind: Kind, server: ComfyMock, tmp_path: Path) -> None:
    with client_of(kind, server.url) as client:
        client.connect()
        with pytest.raises(ExecutionFailed):
            client.run(workflows.failing(), timeout=WAIT)
        for path in ("websocket", "polling"):
            client.run(workflows.image(), path=path, timeout=WAIT).fetch()
        next(client.submit(workflows.image()).events())
        client.submit(workflows.image()).cancel()
        next(client.listen())
        assert sockets_to(server.url)
    assert not sockets_to(server.url)
