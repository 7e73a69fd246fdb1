"""A server that restarts, stops, starts up slowly, and the gaps that lie between its requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fault_driver import IMAGE, SAVED, WAIT_S_MAX, asked, heard, kind, open_socket, post, raw, received, until_lost

from comfy_mock import ComfyMock, CustomNode, Instance
from comfy_mock.engine.script.model import (
    AnyRule,
    EventMatch,
    PointRule,
    PromptMatch,
    RequestMatch,
    RequestRule,
    Script,
    ServerRule,
    SocketMatch,
    SocketRule,
)
from comfy_mock.server.clocks import START

EMPTY_QUEUE = {"queue_running": [], "queue_pending": []}
PICTURE = {"filename": "f_00001_.png"}
OTHER = {**SAVED, "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 9}}}

Scripted = Callable[..., ComfyMock]


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@pytest.fixture
def scripted(shared: ComfyMock) -> Scripted:
    """A fresh server with these rules."""

    def begin(*rules: AnyRule, **arguments: Any) -> ComfyMock:
        shared.reset(**{"clock": "manual", "script": Script(rules=list(rules)), **arguments})
        return shared

    return begin


# -- restarts


@pytest.mark.parametrize("storage", [False, True])
def test_memory_is_lost_and_files_are_kept(scripted: Scripted, tmp_path: Path, storage: bool) -> None:
    server = scripted(storage=tmp_path if storage else None)
    server.add_node(CustomNode("Mine", inputs={}, outputs=["INT"], function=lambda: 1))
    port = server.port
    first = post(server, SAVED)
    server.run_until("executing", node=None)
    httpx.post(f"{server.url}/settings/A", json=7)
    post(server, OTHER)
    picture = httpx.get(f"{server.url}/view", params=PICTURE).content
    time_before = server.now()
    server.restart()
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/queue").json() == EMPTY_QUEUE
        assert client.get("/history").json() == {}
        assert client.get("/settings").json() == {"A": 7}
        assert client.get("/view", params=PICTURE).content == picture
        assert list(client.get("/object_info/Mine").json()) == ["Mine"]
        again = client.post("/prompt", json={"prompt": SAVED}).json()
    assert (server.port, again["number"]) == (port, 0)
    assert again["prompt_id"] != first
    assert server.now() >= time_before


def test_clients_lose_their_connections(scripted: Scripted) -> None:
    server = scripted()
    with open_socket(server) as websocket, raw(server) as idle:
        idle.sendall(b"GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"exec_info": {"queue_remaining": 0}}'):
            answer += idle.recv(65536)
        post(server)
        server.run_until("executing", node="2")
        server.restart()
        got, code = until_lost(websocket)
        assert (got[-1], code) == ("executing", None)
        assert received(idle)[0] == b""
    with open_socket(server) as websocket:
        assert json.loads(websocket.recv(timeout=WAIT_S_MAX))["data"]["sid"] == "c"


def refused(server: ComfyMock) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S_MAX).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_server_that_is_down_refuses_connections(scripted: Scripted) -> None:
    server = scripted()
    with open_socket(server) as websocket, socket.create_connection(("127.0.0.1", server.port)) as idle:
        server.restart(down=60)
        assert until_lost(websocket)[1] is None
        assert received(idle)[0] == b""
    assert refused(server)
    server.advance(59)
    assert refused(server)
    server.advance(1)
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE
    # whoever was not let in is not in the journal
    assert [record.raw_path for record in server.journal.requests()] == ["/ws", "/queue"]


def test_a_server_that_is_down_may_be_restarted_and_reset(scripted: Scripted) -> None:
    server = scripted()
    server.restart(down=10)
    server.restart(down=60)
    server.advance(59)
    assert refused(server)
    server.restart()
    assert not refused(server)
    server.restart(down=60)
    server.reset()
    assert not refused(server)
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE


def test_a_server_that_is_down_comes_back_at_its_port_and_can_be_stopped() -> None:
    with ComfyMock(clock="manual") as server:
        port = server.port
        server.restart(down=60)
        server.advance(60)
        assert not refused(server)
        server.restart(down=60)
    with ComfyMock(port=port) as other:
        assert not refused(other)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only one program can bind a port")
def test_a_port_that_another_program_takes_meanwhile_ends_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with ComfyMock(clock="manual") as server:
        server.restart(down=60)
        with ComfyMock(port=server.port, seed=7) as other:
            with contextlib.suppress(RuntimeError):  # it may have ended before it can say that time has passed
                server.advance(60)
            while server.running:
                server.now()
            assert httpx.get(f"{other.url}/queue").json() == EMPTY_QUEUE
        with pytest.raises(RuntimeError, match="does not run"):
            server.reset()
        server.stop()
        server.start()
        assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE
    assert "cannot listen on 127.0.0.1" in caplog.text


def test_down_is_real_time_by_the_instant_clock(scripted: Scripted) -> None:
    server = scripted(clock="instant")
    server.restart(down=0.1)
    begun = time.monotonic()
    assert refused(server)
    while refused(server):
        pass
    assert time.monotonic() - begun > 0.05
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE


def test_a_restart_by_a_rule_comes_just_after_its_event(scripted: Scripted) -> None:
    server = scripted(ServerRule(event=EventMatch(event="executing", node="2"), action="restart", times=1))
    with open_socket(server) as websocket:
        post(server, SAVED)
        server.advance(100)
        got, code = until_lost(websocket)
        assert (got[-1], code) == ("executing", None)
    # the node was told to run, but did not come to it
    assert httpx.get(f"{server.url}/view", params=PICTURE).status_code == 404
    with open_socket(server) as websocket:
        post(server, SAVED)
        server.advance(100)
        assert heard(websocket)[-3:] == ["execution_success", "status", "executing null"]
    assert server.journal.events("executing", node="2")[0].rules == ("rules[0]",)
    assert [use.served for use in server.rules] == [1]


@pytest.mark.parametrize("clock", ["instant", "real", "manual"])
def test_a_restart_needs_no_listener(scripted: Scripted, clock: Any) -> None:
    rule = ServerRule(event=EventMatch(event="progress", value=1), action="restart", times=1)
    server = scripted(rule, clock=clock, speed=100)
    post(server)
    if clock == "manual":
        server.advance(10)
    server.journal.wait_for_event("progress", value=1)
    while httpx.get(f"{server.url}/queue").json() != EMPTY_QUEUE:
        pass
    assert httpx.get(f"{server.url}/history").json() == {}


def test_a_script_outlives_a_restart_and_holds_do_not(scripted: Scripted) -> None:
    server = scripted(
        RequestRule(match=RequestMatch(route="GET /queue"), times=2, status=500),
        RequestRule(match=RequestMatch(route="GET /prompt"), hold="h"),
        PointRule(point="before_first_event", match=PromptMatch(prompt=2), hold="second"),
        SocketRule(match=SocketMatch(connection=2), refuse=503),
    )
    assert httpx.get(f"{server.url}/queue").status_code == 500
    with open_socket(server):
        post(server)
    lost: list[bytes] = []
    waiting = threading.Thread(target=lambda: lost.append(asked(server, "GET /prompt")[0]))
    waiting.start()
    server.journal.wait_for_hold("h")
    server.restart()
    waiting.join()
    assert (server.held, lost) == ([], [b""])
    assert [httpx.get(f"{server.url}/queue").status_code for _ in range(2)] == [500, 200]
    with pytest.raises(Exception, match="HTTP 503"), open_socket(server):
        pass
    post(server)
    server.advance(100)
    assert server.held == ["second"]
    assert len(server.journal.prompts()) == 2


def test_run_until_goes_on_through_a_restart(scripted: Scripted) -> None:
    server = scripted(ServerRule(event=EventMatch(event="progress", value=1), action="restart", down=5))
    post(server)
    assert server.run_until("progress", value=1).value == 1  # type: ignore[union-attr]
    server.advance(5)
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE


def test_a_restart_within_a_late_answer(scripted: Scripted) -> None:
    """The answer that is late is never sent, the one after it is."""
    server = scripted(RequestRule(match=RequestMatch(route="POST /prompt"), times=1, delay=1000), clock="instant")
    lost: list[Exception] = []

    def ask() -> None:
        try:
            httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE}, timeout=WAIT_S_MAX)
        except httpx.TransportError as failure:
            lost.append(failure)

    asking = threading.Thread(target=ask)
    asking.start()
    server.journal.wait_for_prompt()
    server.restart()
    asking.join()
    assert len(lost) == 1
    post(server)


@pytest.mark.parametrize("down", [-1, float("nan")])
def test_a_server_is_not_down_for_less_than_no_time(scripted: Scripted, down: float) -> None:
    with pytest.raises(ValueError, match=f"from 0 up, not for {down}"):
        scripted().restart(down)


# -- starting and stopping


def test_a_slow_start() -> None:
    with ComfyMock(clock="manual", script=Script(start_up=30)) as server:
        assert refused(server)
        server.advance(30)
        assert httpx.get(f"{server.url}/queue").status_code == 200
        server.restart()
        assert httpx.get(f"{server.url}/queue").status_code == 200
        server.reset()
        assert refused(server)


def test_a_server_stops_by_a_rule_and_may_be_started_again() -> None:
    rule = ServerRule(event=EventMatch(event="progress", value=1), action="stop", times=1)
    with ComfyMock(script=Script(rules=[rule])) as server:
        url = server.url
        with open_socket(server) as websocket:
            post(server)
            got, code = until_lost(websocket)
        assert (got[-1], code) == ("progress 1", None)
        assert (server.running, server.url) == (False, url)
        while True:
            with pytest.raises(httpx.TransportError) as refused:
                httpx.get(f"{url}/queue")
            if isinstance(refused.value, httpx.ConnectError):
                break
        with pytest.raises(RuntimeError, match="does not run"):
            server.reset()
        assert [use.served for use in server.rules] == [1]
        server.start()
        assert server.running
        assert httpx.get(f"{server.url}/history").json() == {}


def test_connections_that_are_being_accepted_end_with_the_server() -> None:
    """One comes in each turn of its event loop, up to the last in which it listens; none is left open."""
    connections: list[socket.socket] = []

    def dial() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S_MAX))
            asyncio.get_running_loop().call_soon(dial)

    def begin() -> dict[str, Any]:
        dial()
        return {"ui": {"dialled": [True]}}

    rule = ServerRule(event=EventMatch(event="executed"), action="stop")
    with ComfyMock() as server:
        server.add_node(CustomNode("Dial", inputs={}, outputs=[], function=begin, output_node=True))
        server.add_rules(rule)
        post(server, {"1": {"class_type": "Dial", "inputs": {}}})
        server.journal.wait_for_event("executed")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1.5
    for connection in connections:
        with connection:
            assert received(connection)[0] == b""


def test_without_a_network_a_server_that_is_down_raises() -> None:
    async def run() -> dict[str, Any]:
        instance = Instance(clock="manual")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://comfy") as client:
            instance.restart(down=1)
            with pytest.raises(ConnectionResetError):
                await client.get("/queue")
            await instance.advance_async(1)
            answer: dict[str, Any] = (await client.get("/queue")).json()
            await instance.runner.stop()
            return answer

    assert asyncio.run(run()) == EMPTY_QUEUE


# -- gaps


def in_background(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    return thread, results


@pytest.mark.parametrize("clock", ["instant", "manual"])
def test_all_of_a_prompt_before_its_answer(scripted: Scripted, clock: str) -> None:
    server = scripted(PointRule(point="events_before_answer", match=PromptMatch(prompt=1)), clock=clock)
    with open_socket(server) as websocket:
        assert kind(websocket.recv(timeout=WAIT_S_MAX)) == "status"
        posting, answers = in_background(lambda: post(server))
        server.journal.wait_for_prompt()
        if clock == "manual":
            server.run_until("execution_success")
            assert answers == []
            server.run_until("executing", node=None)
        posting.join()
        messages = [json.loads(message) for message in texts(websocket)]
        assert messages[-1] == {"type": "executing", "data": {"node": None, "prompt_id": answers[0]}}


def test_all_of_a_prompt_without_a_client_before_its_answer(scripted: Scripted) -> None:
    server = scripted(PointRule(point="events_before_answer"), clock="instant")
    prompt_id = httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE}).json()["prompt_id"]
    assert list(httpx.get(f"{server.url}/history").json()) == [prompt_id]


def texts(websocket: Any) -> list[str]:
    """The text messages that have come by now, and some that are still under way."""
    got = []
    while not got or kind(got[-1]) != "executing null":
        message = websocket.recv(timeout=WAIT_S_MAX)
        got += [message] if isinstance(message, str) else []
    return got


def test_an_interrupt_that_is_late_hits_the_next_prompt(scripted: Scripted) -> None:
    """Protocol 4.4: without an id it is for whatever runs then."""
    server = scripted(PointRule(point="between_queue_and_interrupt"))
    ids = [post(server, SAVED), post(server, OTHER)]
    server.run_until("executing", node="1", prompt_id=ids[0])
    interrupting, answers = in_background(lambda: httpx.post(f"{server.url}/interrupt").status_code)
    server.journal.wait_for_request("POST /interrupt")
    server.run_until("execution_success", prompt_id=ids[0])
    assert answers == []
    server.run_until("execution_start", prompt_id=ids[1])
    interrupting.join()
    assert answers == [200]
    server.advance(100)
    history = httpx.get(f"{server.url}/history").json()
    assert [history[prompt_id]["status"]["status_str"] for prompt_id in ids] == ["success", "error"]
    assert history[ids[1]]["status"]["messages"][-1][0] == "execution_interrupted"


def test_an_interrupt_that_is_late_hits_nobody(scripted: Scripted) -> None:
    server = scripted(PointRule(point="between_queue_and_interrupt", match=PromptMatch(prompt=1)))
    ids = [post(server, SAVED)]
    server.run_until("executing", node="1")
    interrupting, answers = in_background(lambda: httpx.post(f"{server.url}/interrupt").status_code)
    server.journal.wait_for_request("POST /interrupt")
    server.run_until("executing", node=None)
    interrupting.join()
    ids.append(post(server, OTHER))
    server.advance(100)
    history = httpx.get(f"{server.url}/history").json()
    assert answers == [200]
    assert [history[prompt_id]["status"]["status_str"] for prompt_id in ids] == ["success", "success"]


def test_a_gap_of_the_worker_closes_by_polls(scripted: Scripted) -> None:
    """`execution_success` was seen, and the history has nothing for three questions more (protocol 6.9)."""
    server = scripted(PointRule(point="after_success_before_history", polls=3), clock="instant")
    with open_socket(server) as websocket, httpx.Client(base_url=server.url) as client:
        prompt_id = post(server)
        heard(websocket, "execution_success")
        assert [client.get(f"/history/{prompt_id}").json() for _ in range(2)] == [{}, {}]
        assert client.get("/system_stats").status_code == 200
        assert len(client.get("/queue").json()["queue_running"]) == 1
        assert heard(websocket)[-1] == "executing null"
        assert list(client.get("/history").json()) == [prompt_id]


def test_the_queue_can_be_paused(scripted: Scripted) -> None:
    server = scripted(clock="instant")
    server.pause_queue()
    with open_socket(server) as websocket:
        assert kind(websocket.recv(timeout=WAIT_S_MAX)) == "status"
        post(server)
        assert heard(websocket, "status") == ["status"]
        assert len(httpx.get(f"{server.url}/queue").json()["queue_pending"]) == 1
        server.resume_queue()
        assert heard(websocket)[-1] == "executing null"


def test_any_thread_may_say_what_is_to_happen(scripted: Scripted) -> None:
    server = scripted(clock="instant")

    def work() -> None:
        for number in range(20):
            server.add_rules(RequestRule(name=f"x{number}", status=503, match=RequestMatch(route="GET /nothing")))
            server.remove_rules(f"x{number}")
            server.release()
            server.push("tick")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.rules == []


def test_what_is_said_before_the_start_holds() -> None:
    server = ComfyMock()
    server.add_rules(RequestRule(status=418))
    server.pause_queue()
    with server:
        assert httpx.get(f"{server.url}/queue").status_code == 418
        server.clear_rules()
        post(server)
        assert len(httpx.get(f"{server.url}/queue").json()["queue_pending"]) == 1


def test_events_before_the_answer_for_simulated_seconds(scripted: Scripted) -> None:
    server = scripted(PointRule(point="events_before_answer", seconds=1000), clock="instant")
    post(server)
    assert server.now() >= START + 1000
    server.journal.assert_event("executing", node=None, times=1)
