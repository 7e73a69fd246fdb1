"""A wait ends when it should, and the next one works, whatever became of the one before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from both_clients import PACE, Kind, client_of
from scripted_server import GRAPH, Scripted, entry, item, plain, scripted, trickling
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket
from websockets.exceptions import ConcurrencyError

from comfy_client import (
    AsyncClient,
    Client,
    ClientClosed,
    ComfyError,
    Plugin,
    ServerUnreachable,
    SocketSettings,
    WaitTimeout,
    _async_channel,
    _sync_channel,
    _tracker,
)
from comfy_client import events as ev
from comfy_client._async_io import AsyncSocket
from comfy_client._event_log import EventLog
from comfy_mock import ComfyMock

WAIT = 10
LATE = 1.0
"""How much later than its timeout a wait may end on a busy machine."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@contextlib.contextmanager
def takes(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + LATE


# Timeouts


@pytest.mark.parametrize("trickles", [True, False])
def test_answers_that_take_for_ever_do_not_hold_up_a_timeout(kind: Kind, trickles: bool, server: Scripted) -> None:
    server.on_post = server.waits
    answer: Any = trickling if trickles else server.hang
    with client_of(kind, server.url, timeout=3.0) as client:
        job = client.submit(GRAPH, path="polling")
        server.answers["/queue"] = server.answers[f"/history/{job.prompt_id}"] = answer
        with takes(0.2), pytest.raises(WaitTimeout):
            job.wait(0.2)


def test_the_last_try_keeps_the_timeout_too(kind: Kind, server: Scripted) -> None:
    server.on_post = server.waits
    pace = replace(PACE, unreachable_after=0.0)
    with client_of(kind, server.url, timeout=3.0, pace=pace) as client:
        job = client.submit(GRAPH, path="polling")
        asked: list[str] = []

        async def failing(request: Request) -> Response:
            asked.append(request.url.path)
            return Response(status_code=500) if len(asked) == 1 else await server.hang()

        server.answers["/queue"] = server.answers[f"/history/{job.prompt_id}"] = failing
        with takes(0.3), pytest.raises((WaitTimeout, ServerUnreachable)):
            job.wait(0.3)
        assert len(asked) == 2


def test_a_socket_that_is_slow_to_open_does_not_hold_up_a_timeout(kind: Kind, server: Scripted) -> None:
    async def late(socket: WebSocket) -> None:
        await asyncio.sleep(0.2)

    server.handshake, server.socket = late, server.hang  # type: ignore[assignment]
    server.pending = [item("p")]
    settings = SocketSettings(close_timeout=0.05, trust_env=False)
    with client_of(kind, server.url, socket=settings) as client, takes(0.3), pytest.raises(WaitTimeout):
        client.wait_for("p", timeout=0.3)


def test_an_upgrade_that_nobody_answers_does_not_hold_up_runs(
    kind: Kind, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.handshake = server.hang
    pace = replace(PACE, reconnect_max=10.0)
    settings = SocketSettings(open_timeout=0.2, trust_env=False)
    with client_of(kind, server.url, socket=settings, pace=pace) as client:
        client.run(GRAPH, timeout=WAIT)
        opened = server.requests.count("WS")
        for _ in range(5):
            client.run(GRAPH, timeout=WAIT)
        assert opened == 1
        assert server.requests.count("WS") <= 2
    monkeypatch.setattr(_tracker, "FIRST_ATTEMPT_S", 0.2)
    monkeypatch.setattr(_tracker, "NEXT_ATTEMPT_S", 0.2)
    with client_of(kind, server.url, socket=replace(settings, open_timeout=60.0)) as client, takes(0.2):
        client.run(GRAPH, timeout=WAIT)


def test_a_server_that_greets_nobody_does_not_hold_up_a_submit(
    kind: Kind, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.socket = server.hang
    for module in (_async_channel, _sync_channel):
        monkeypatch.setattr(module, "_GREETING_S", 0.1)
    with client_of(kind, server.url, socket=SocketSettings(close_timeout=0.05, trust_env=False)) as client, takes(0.1):
        client.submit(GRAPH)
        assert client.connected


# Sockets that cannot be had, or are of no use


@pytest.mark.parametrize("location", ["http://127.0.0.1/login", "/login", "ftp://x", "ws://127.0.0.1:9/ws"])
def test_an_upgrade_that_is_redirected_is_refused(kind: Kind, location: str, server: Scripted) -> None:
    async def redirect(socket: WebSocket) -> Response:
        return Response(status_code=302, headers={"Location": location})

    server.handshake = redirect
    with client_of(kind, server.url) as client:
        with pytest.raises(ComfyError, match="answered 302") as caught:
            client.connect("websocket")
        assert f"It redirects to {location}" in str(caught.value)
        assert client.run(GRAPH, timeout=WAIT).outputs == {}


@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_upgrade_that_is_answered_otherwise_is_refused(kind: Kind, status: int, server: Scripted) -> None:
    async def refuse(socket: WebSocket) -> Response:
        return Response(status_code=status)

    server.handshake = refuse
    with client_of(kind, server.url) as client:
        with pytest.raises(ComfyError, match=f"answered {status}"):
            client.connect("websocket")
        assert client.run(GRAPH, timeout=WAIT).outputs == {}


def test_an_expired_token_is_renewed_when_the_socket_is_refused(kind: Kind, server: Scripted) -> None:
    class Login(Plugin):
        token = "old"

        def flow(self, request: Any) -> Any:
            request.headers["Authorization"] = self.token
            response = yield request
            if response.status_code == 401:
                self.token = "new"
                request.headers["Authorization"] = self.token
                yield request

    async def check(socket: WebSocket) -> Response | None:
        return None if socket.headers["authorization"] == "new" else Response(status_code=401)

    server.handshake = check
    with client_of(kind, server.url) as client:
        client.use(Login())
        client.run(GRAPH, path="websocket", timeout=WAIT)


BIG = 10**400
NOISE: list[Any] = [
    {"type": "progress", "data": {"value": BIG, "max": BIG, "prompt_id": "P", "node": "1"}},
    {"type": "progress", "data": {"value": BIG, "max": 1, "prompt_id": "P", "node": "1"}},
    {"type": "progress", "data": {"value": float("nan"), "max": 3, "prompt_id": "P", "node": "1"}},
    {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": BIG}}}},
    {"type": "status", "data": 5},
    {"type": "executing"},
    {"type": "x\ud800", "data": {"prompt_id": "\ud800"}},
    {"type": "execution_cached", "data": {"nodes": None, "prompt_id": "P", "timestamp": BIG}},
    [],
    None,
]


def test_messages_that_cannot_be_used_are_left_out(
    kind: Kind, server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    posted = asyncio.Event()

    async def noisy(socket: WebSocket) -> None:
        await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}})
        await posted.wait()
        prompt_id = server.posts[0]["prompt_id"]
        for message in NOISE:
            if isinstance(message, dict) and isinstance(message.get("data"), dict) and "prompt_id" in message["data"]:
                message["data"]["prompt_id"] = message["data"]["prompt_id"].replace("P", prompt_id)
            await socket.send_text(json.dumps(message))
        for text in ("{{{", "[" * 100_000, '{"type": "x", "data": ' + "9" * 6000 + "}"):
            await socket.send_text(text)
        for frame in (b"", b"abc", b"\0\0\0\x63zz", b"\0\0\0\4\xff\xff\xff\xff{}", b"\0\0\0\3\0\0\0\2\xff\xfe\xff"):
            await socket.send_bytes(frame)
        server.running, server.history[prompt_id] = [], entry(prompt_id)
        await socket.send_json({"type": "execution_success", "data": {"prompt_id": prompt_id, "timestamp": 1}})
        await server.silent(socket)

    async def post(body: dict[str, Any], number: int) -> None:
        server.running = [item(body["prompt_id"])]
        posted.set()

    server.on_post, server.socket = post, noisy  # type: ignore[assignment]
    with client_of(kind, server.url) as client:
        assert client.run(GRAPH, path="websocket", timeout=WAIT).outputs == {}
    assert "is left out" in caplog.text


# Cancelling and closing


@pytest.mark.parametrize("steps", range(6))
def test_neither_a_cancellation_nor_a_message_is_lost_when_both_come_at_once(steps: int) -> None:
    async def main() -> None:
        came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        class Connection:
            async def recv(self) -> str:
                return await asyncio.shield(came)

        socket = AsyncSocket(Connection())  # type: ignore[arg-type]
        reading = asyncio.create_task(socket.receive(5.0))
        for _ in range(4):
            await asyncio.sleep(0)
        came.set_result("message")
        for _ in range(steps):
            await asyncio.sleep(0)
        if reading.cancel():
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await socket.receive(5.0) == "message"
        else:
            assert await reading == "message"

    asyncio.run(main())


def test_many_cancellations_all_count(server: Scripted) -> None:
    async def chatter(socket: WebSocket) -> None:
        await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}})
        while True:
            await socket.send_json({"type": "noise", "data": {}})
            await asyncio.sleep(0.0003)

    async def main() -> None:
        server.on_post, server.socket = server.waits, chatter
        settings = SocketSettings(close_timeout=0.05, trust_env=False)
        async with AsyncClient(server.url, pace=PACE, trust_env=False, socket=settings) as client:
            job = await client.submit(GRAPH)
            for number in range(60):
                waiting = asyncio.create_task(job.wait(30.0))
                await asyncio.sleep(0.002 + number % 7 * 0.0003)
                waiting.cancel()
                done, _ = await asyncio.wait([waiting], timeout=5)
                assert done
                assert waiting.cancelled()

    asyncio.run(main())


def test_a_thread_in_a_request_gets_to_know_that_the_client_was_closed(server: Scripted) -> None:
    server.on_post = server.waits
    asked = threading.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        await server.hang()
        return Response()

    errors: list[BaseException] = []
    with Client(server.url, timeout=0.3, pace=PACE, trust_env=False) as client:
        job = client.submit(GRAPH, path="polling")
        server.answers["/queue"] = server.answers[f"/history/{job.prompt_id}"] = slow

        def wait() -> None:
            with pytest.raises(ClientClosed) as caught:
                job.wait()
            errors.append(caught.value)

        thread = threading.Thread(target=wait)
        thread.start()
        assert asked.wait(WAIT)
        client.close()
        thread.join(WAIT)
    assert len(errors) == 1


# Threads


def test_events_can_be_taken_in_one_thread_while_they_come_in_another(server: Scripted) -> None:
    """The log is not safe in itself: whoever uses it holds the lock of the connection."""

    class Guarded(EventLog):
        touched = 0

        def _check(self) -> None:
            self.touched += 1
            assert lock._is_owned()  # type: ignore[attr-defined]

        def add(self, event: ev.Event) -> None:
            self._check()
            super().add(event)

        def pop(self) -> ev.Event | None:
            self._check()
            return super().pop()

    with Client(server.url, pace=PACE, trust_env=False) as client:
        lock = client._link.lock
        job = client.submit(GRAPH)
        events = job.events()
        state = job._state
        state._readers.discard(events._reader)
        events._reader = Guarded(10)
        state._readers.add(events._reader)
        assert list(events)[-1] == ev.Ended(job.prompt_id, "success")
        assert events._reader.touched > 1


def test_a_thread_that_is_about_to_wait_takes_over_the_reading(server: Scripted) -> None:
    async def ticking(socket: WebSocket) -> None:
        await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}})
        while True:
            await socket.send_json({"type": "tick", "data": {}})
            await asyncio.sleep(0.02)

    server.socket, server.on_post = ticking, server.waits
    settings = SocketSettings(close_timeout=0.05, trust_env=False)
    pace = replace(PACE, watch_interval=60.0)
    with Client(server.url, pace=pace, trust_env=False, socket=settings) as client:
        client.connect()
        job = client.submit(GRAPH)
        link = client._link
        reading = threading.Event()
        client.once("tick", lambda message: reading.set())

        def read() -> None:
            with pytest.raises(WaitTimeout):
                job.wait(0.3)

        reader = threading.Thread(target=read)
        reader.start()
        assert reading.wait(WAIT)
        original = link._news.wait

        def late(*arguments: Any) -> None:
            reader.join(WAIT)  # it leaves between the decision to wait and the waiting
            original(*arguments)

        link._news.wait = late  # type: ignore[method-assign]
        heard: list[str] = []

        def listen() -> None:
            heard.extend(name for name, _ in client.listen(timeout=WAIT) if name == "tick" and link.close() is None)

        listener = threading.Thread(target=listen)
        listener.start()
        listener.join(WAIT / 2)
        assert not listener.is_alive()
        assert "tick" in heard


# Ctrl-C


def test_an_interrupt_before_an_action_is_done_leaves_it_to_the_next_wait(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(server.url, pace=PACE, trust_env=False) as client:
        job = client.submit(GRAPH, path="polling")

        def interrupted() -> None:
            if client._link.tracker._busy:
                monkeypatch.undo()
                raise KeyboardInterrupt

        monkeypatch.setattr(client._link, "_hand_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.wait(WAIT)
        assert job.wait(WAIT) == "success"


def test_an_interrupt_where_an_action_is_about_to_be_finished(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(action: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with Client(server.url, pace=PACE, trust_env=False) as client:
        server.on_post = server.waits
        job = client.submit(GRAPH, path="polling")
        monkeypatch.setattr(client._link.tracker, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.wait(WAIT)
        assert client._link.tracker._busy
        server.pending, server.history[job.prompt_id] = [], entry(job.prompt_id)
        assert job.wait(WAIT) == "success"


def test_an_interrupt_where_the_reading_is_about_to_be_given_up() -> None:
    pace = replace(PACE, watch_interval=WAIT)
    with ComfyMock(clock="manual") as fake, Client(fake.url, pace=pace, trust_env=False) as client:
        job = client.submit(GRAPH)
        client._link._reader = threading.get_ident()
        fake.advance(1)
        with takes(0.0):
            assert job.wait(WAIT) == "success"


def test_a_listener_may_wait_itself() -> None:
    pace = replace(PACE, watch_interval=WAIT)
    with ComfyMock(clock="manual") as fake, Client(fake.url, pace=pace, trust_env=False) as client:
        job = client.submit(GRAPH)
        heard: list[str] = []
        client.once("hello", lambda _: heard.append(job.wait(WAIT)))
        fake.push("hello", {})
        fake.advance(1)
        with takes(0.0):
            assert job.wait(WAIT) == "success"
        assert heard == ["success"]


def test_a_socket_that_an_interrupt_has_spoiled_is_replaced(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on_post = server.waits
    with Client(server.url, pace=PACE, trust_env=False) as client:
        job = client.submit(GRAPH)

        def spoiled(timeout: float | None) -> None:
            raise ConcurrencyError("somebody reads already")

        monkeypatch.setattr(client._link._socket._connection, "recv", spoiled)
        server.pending, server.history[job.prompt_id] = [], entry(job.prompt_id)
        assert job.wait(WAIT) == "success"
    assert server.requests.count("WS") >= 1


# Failures now and then


def test_failures_of_before_a_pause_do_not_count(kind: Kind, server: Scripted) -> None:
    server.on_post = server.waits
    with client_of(kind, server.url, pace=replace(PACE, unreachable_after=0.3)) as client:
        job = client.submit(GRAPH, path="polling")
        server.answers["/queue"] = server.answers[f"/history/{job.prompt_id}"] = plain(500)
        with pytest.raises(WaitTimeout):
            job.wait(0.2)
        link = client._link if kind == "blocking" else client._target._link
        link.tracker._failing_since -= 60.0  # as if that had been a minute ago
        link.tracker._failed_at -= 60.0
        link.tracker._asks_again_at -= 60.0
        asked: list[int] = []

        def once(request: Request) -> Response:
            asked.append(1)
            return Response(status_code=500) if len(asked) == 1 else JSONResponse({job.prompt_id: entry(job.prompt_id)})

        server.answers[f"/history/{job.prompt_id}"] = once
        assert job.wait(WAIT) == "success"
