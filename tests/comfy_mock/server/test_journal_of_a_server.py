"""The journal of a server that runs: what comes through its sockets stands in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from comfy_mock import ComfyMock, Instance
from comfy_mock.script import Hold, Script, on_message, on_node, on_request

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
}
SOON = 20.0


@pytest.fixture(scope="module")
def started() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@pytest.fixture
def server(started: ComfyMock) -> ComfyMock:
    started.reset(clock="instant")
    return started


def url(server: ComfyMock) -> str:
    return f"{server.url.replace('http', 'ws', 1)}/ws?clientId=me"


def post(server: ComfyMock, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/api/prompt", json={"prompt": PROMPT, "client_id": "me", **body})


def test_requests_with_their_routes_and_answers(server: ComfyMock) -> None:
    with httpx.Client(base_url=server.url) as client:
        client.get("/api/queue", headers={"X-Mine": "1"})
        client.get("/history/abc?max_items=3")
        client.get("/nowhere")
        client.delete("/queue")
        client.post("/history", content=b'{"clear": true}')
        client.get("/view", params={"filename": "none.png"})
        client.options("/queue")
    records = server.journal.requests()
    assert [(record.method, record.raw_path, record.route, record.status) for record in records] == [
        ("GET", "/api/queue", "/queue", 200),
        ("GET", "/history/abc", "/history/{prompt_id}", 200),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/queue", None, 405),
        ("POST", "/history", "/history", 200),
        ("GET", "/view", "/view", 404),
        ("OPTIONS", "/queue", None, 200),
    ]
    assert records[0].headers["x-mine"] == "1"
    assert records[0].client is not None
    assert records[0].client[0] == "127.0.0.1"
    assert records[0].answer == b'{"queue_running": [], "queue_pending": []}'
    assert records[1].query == {"max_items": "3"}
    assert (records[4].body, records[4].json) == (b'{"clear": true}', {"clear": True})
    assert server.journal.unserved() == records[2:4]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_prompt_with_its_messages_and_its_socket(server: ComfyMock, compressed: bool) -> None:
    server.reset(clock="instant", enable_compress_response_body=compressed)
    with connect(url(server)) as websocket:
        websocket.recv(timeout=SOON)
        posted = post(server, number=7).json()
        journal = server.journal
        end = journal.wait_for_event("executing", node=None, timeout=SOON)
        assert (end.connections, end.prompt_id) == ((1,), posted["prompt_id"])
    (prompt,) = journal.prompts(class_type="SaveImage")
    assert (prompt.prompt_id, prompt.number, prompt.place) == (posted["prompt_id"], 7, 1)
    assert (prompt.request.status, prompt.client_id, prompt.graph) == (200, "me", PROMPT)
    assert [event.data["node"] for event in journal.events("executing", prompt_id=prompt.prompt_id)] == ["1", "2", None]
    socket = journal.wait_for_socket(open=False, timeout=SOON)
    assert (socket.connection, socket.client_id, socket.code) == (1, "me", 1000)
    assert [record.status for record in journal.requests("/ws")] == [101]


def test_refused_prompts_say_why(server: ComfyMock) -> None:
    posted = httpx.post(f"{server.url}/prompt", json={"prompt": {}}).json()
    server.journal.assert_prompt(accepted=False, times=1)
    assert server.journal.prompts(accepted=False)[0].refusal == posted
    assert server.journal.prompts() == []


def test_a_prompt_whose_answer_was_lost_is_accepted(server: ComfyMock) -> None:
    server.add_rules(on_request("POST /prompt", name="flaky", times=1, status=502, handled=True))
    server.add_rules(on_request("POST /prompt", name="busy", times=1, status=429))
    assert [post(server).status_code for _ in range(3)] == [502, 429, 200]
    told = [(prompt.request.status, prompt.request.rules) for prompt in server.journal.prompts()]
    assert told == [(502, ("flaky",)), (200, ())]
    assert server.journal.prompts(accepted=False)[0].request.rules == ("busy",)


def test_rules_stand_on_the_messages_that_they_were_used_on(server: ComfyMock) -> None:
    server.add_rules(on_message("execution_success", name="lossy", lose=True))
    with connect(url(server)):
        server.journal.wait_for_socket(timeout=SOON)
        post(server)
        server.journal.wait_for_event("executing", node=None, timeout=SOON)
    assert [event.rules for event in server.journal.events("execution_success")] == [("lossy",)]


@pytest.mark.parametrize("clock", ["instant", "real"])
def test_when_a_hold_is_there_all_that_was_said_before_it_is_too(server: ComfyMock, clock: str) -> None:
    script = Script(rules=[on_node("EmptyImage", steps=20, step_time=0.001, holds=Hold(name="third", at_step=3))])
    server.reset(clock=clock, speed=100, script=script)
    post(server)
    held = server.journal.wait_for_hold("third", timeout=SOON)
    server.journal.assert_event("progress_state", node="1", value=1)
    server.journal.assert_event("progress", value=4, times=0)
    assert server.journal.events()[-1].at <= held.at
    server.release("third")
    server.journal.wait_for_event("executing", node=None, timeout=SOON)
    assert not held.held


def test_a_held_answer_is_noted_before_anything_else_happens() -> None:
    script = Script(rules=[on_request("GET /queue", status=200, body="late", hold="queue")])
    with ComfyMock(script=script) as server, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(httpx.get, f"{server.url}/queue")
        server.journal.wait_for_hold("queue", timeout=SOON)
        assert server.journal.requests()[0].ended_at is None
        server.release()
        assert asking.result(SOON).text == "late"
        assert server.journal.wait_for_request(status=200, timeout=SOON).rules == ("rules[0]",)


def test_a_reset_begins_a_journal_and_a_restart_does_not(server: ComfyMock) -> None:
    httpx.get(f"{server.url}/queue")
    old = server.journal
    server.restart()
    assert server.journal is old
    httpx.get(f"{server.url}/history")
    assert len(old.requests()) == 2
    server.reset()
    assert server.journal.requests() == []
    assert len(old.requests()) == 2


def test_in_the_servers_own_event_loop_waits_are_awaited() -> None:
    async def run() -> None:
        instance = Instance()
        transport = httpx.ASGITransport(app=instance.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/prompt", json={"prompt": PROMPT})
            await instance.journal.wait_for_event_async("executing", node=None, timeout=SOON)
            with pytest.raises(RuntimeError, match="await the `_async` method"):
                instance.journal.wait_for_request("/queue")

    asyncio.run(run())
