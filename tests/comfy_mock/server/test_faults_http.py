"""Faults of HTTP exchanges, through real connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fault_driver import IMAGE, WAIT_S_MAX, asked, heard, open_socket, raw, received

from comfy_mock import ComfyMock, Instance
from comfy_mock.engine.script.model import AnyRule, RequestMatch, RequestRule, Script

QUEUE = RequestMatch(route="GET /queue")
PLAIN = "text/plain; charset=utf-8"
EMPTY_QUEUE = {"queue_running": [], "queue_pending": []}


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@pytest.fixture
def scripted(shared: ComfyMock) -> Callable[..., ComfyMock]:
    """A fresh server with these rules."""

    def begin(*rules: AnyRule, **arguments: Any) -> ComfyMock:
        shared.reset(**{"clock": "instant", "script": Script(rules=list(rules)), **arguments})
        return shared

    return begin


Scripted = Callable[..., ComfyMock]


@pytest.mark.parametrize(
    ("rule", "status", "text", "content_type"),
    [
        ({"status": 502}, 502, "502: Bad Gateway", "text/plain; charset=utf-8"),
        (
            {"status": 500},
            500,
            "500 Internal Server Error\n\nServer got itself in trouble",
            "text/plain; charset=utf-8",
        ),
        ({"status": 520}, 520, "520", "text/plain; charset=utf-8"),
        ({"status": 418, "body": "short and stout"}, 418, "short and stout", "text/plain; charset=utf-8"),
        ({"body": {"a": ["ä"]}}, 200, '{"a": ["\\u00e4"]}', "application/json; charset=utf-8"),
        ({"body": None}, 200, "null", "application/json; charset=utf-8"),
        ({"body": "<p>", "headers": {"content-type": "text/html"}}, 200, "<p>", "text/html"),
        ({"retry_after": 2}, 429, "429: Too Many Requests", "text/plain; charset=utf-8"),
    ],
)
def test_another_answer_is_sent(
    scripted: Scripted, rule: dict[str, Any], status: int, text: str, content_type: str
) -> None:
    server = scripted(RequestRule(match=QUEUE, times=1, **rule))
    answer = httpx.get(f"{server.url}/queue")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (status, text, content_type)
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE
    assert [use.served for use in server.rules] == [1]


@pytest.mark.parametrize(("seconds", "header"), [(0, "0"), (1, "1"), (1234567, "1234567")])
def test_retry_after(scripted: Scripted, seconds: int, header: str) -> None:
    server = scripted(RequestRule(status=503, retry_after=seconds, headers={"X-Pod": "7"}))
    answer = httpx.get(f"{server.url}/queue")
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-pod"]) == (503, header, "7")


def test_headers_alone_go_with_the_servers_own_answer(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, headers={"X-Cache": "HIT", "Content-Type": "a/b"}))
    answer = httpx.get(f"{server.url}/queue")
    assert answer.json() == EMPTY_QUEUE
    assert (answer.headers["x-cache"], answer.headers["content-type"]) == ("HIT", "a/b")


@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("fault", [{"status": 500}, {"reset": "before_headers"}])
def test_whether_the_server_did_what_it_was_asked(scripted: Scripted, handled: bool, fault: dict[str, Any]) -> None:
    server = scripted(RequestRule(match=RequestMatch(route="POST /settings/{id}"), handled=handled, **fault))
    try:
        assert httpx.post(f"{server.url}/settings/A", json=7).status_code == 500
    except httpx.TransportError:
        assert "reset" in fault
    assert httpx.get(f"{server.url}/settings/A").json() == (7 if handled else None)


def test_a_reset_before_the_headers_is_all_that_comes(scripted: Scripted) -> None:
    assert asked(scripted(RequestRule(match=QUEUE, reset="before_headers"))) == (b"", True)


def test_a_reset_after_the_headers(scripted: Scripted) -> None:
    got, was_reset = asked(scripted(RequestRule(match=QUEUE, reset="after_headers")))
    assert was_reset
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n")
    assert b"Content-Length: 42\r\n" in got


@pytest.mark.parametrize("length", [0, 7])
def test_a_truncated_body_has_the_length_of_the_whole(scripted: Scripted, length: int) -> None:
    got, _ = asked(scripted(RequestRule(match=QUEUE, truncate=length)))
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"Content-Length: 42" in head
    assert body == b'{"queue_running": [], "queue_pending": []}'[:length]


def test_a_large_truncated_body_comes_as_far_as_it_says(scripted: Scripted) -> None:
    server = scripted(RequestRule(truncate=1_000_000))
    with pytest.raises(httpx.RemoteProtocolError, match=r"received 1000000 bytes, expected \d+"):
        httpx.get(f"{server.url}/object_info")


def test_faults_leave_the_server_and_its_log_in_order(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    faults: list[dict[str, Any]] = [
        *({"reset": "before_headers"}, {"reset": "after_headers"}, {"truncate": 3}, {"status": 500, "truncate": 1}),
        {"delay": 0.001, "reset": "before_headers"},
    ]
    server = scripted(*[RequestRule(times=1, **fault) for fault in faults])
    for _ in faults:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/queue")
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE
    server.reset()
    assert caplog.messages == []


def test_a_delay_is_real_time_by_the_instant_clock(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, delay=0.1))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/queue", timeout=0.05)
    begun = time.monotonic()
    assert httpx.get(f"{server.url}/queue").json() == EMPTY_QUEUE
    assert time.monotonic() - begun >= 0.1


def test_a_delay_is_divided_by_the_speed_of_a_real_clock(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, delay=1000), clock="real", speed=100_000)
    begun = time.monotonic()
    assert httpx.get(f"{server.url}/queue", timeout=WAIT_S_MAX).json() == EMPTY_QUEUE
    assert time.monotonic() - begun >= 0.01


def asking(server: ComfyMock, method: str, path: str, **arguments: Any) -> tuple[threading.Thread, list[Any]]:
    """A request in a thread, and the list that its answer or failure comes into."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(httpx.request(method, f"{server.url}{path}", timeout=WAIT_S_MAX, **arguments))
        except httpx.TransportError as failure:
            answers.append(failure)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def test_a_delay_is_simulated_time_by_the_manual_clock(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, delay=5), clock="manual")
    thread, answers = asking(server, "GET", "/queue")
    server.journal.wait_for_request("GET /queue")
    server.advance(4.9)
    # asked and answered behind the one that waits, which is not answered yet
    assert httpx.get(f"{server.url}/history").json() == {}
    assert answers == []
    server.advance(0.1)
    thread.join()
    assert answers[0].json() == EMPTY_QUEUE


def test_a_late_answer_keeps_nobody_waiting(scripted: Scripted) -> None:
    """The prompt runs, and its messages go out, while its POST is not answered."""
    server = scripted(RequestRule(match=RequestMatch(route="POST /prompt"), hold="post"))
    with open_socket(server) as websocket:
        thread, answers = asking(server, "POST", "/prompt", json={"prompt": IMAGE, "client_id": "c"})
        assert heard(websocket)[-3:] == ["execution_success", "status", "executing null"]
        assert list(httpx.get(f"{server.url}/history").json())
        assert (answers, server.held) == ([], ["post"])
        assert server.release("post") == 1
        thread.join()
    assert answers[0].json()["number"] == 0
    assert server.held == []


@pytest.mark.parametrize("rules", [[], [RequestRule(match=QUEUE, status=500)]])
def test_a_punctual_answer_comes_before_the_prompts_first_message(
    rules: list[AnyRule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a script has rules, none of which is for it."""
    order: list[str] = []

    async def run() -> None:
        instance = Instance(script=Script(rules=rules))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def noted(message: Any) -> None:
                order.append("answer")
                await send(message)

            await instance.app(scope, receive, noted)

        monkeypatch.setattr(instance.runner.sockets, "deliver", lambda *message: order.append("event"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://comfy") as client:
            await client.post("/prompt", json={"prompt": IMAGE})
            await instance.journal.wait_for_event_async("status")
        await instance.runner.stop()

    asyncio.run(run())
    assert order[:3] == ["answer", "answer", "event"]


def test_what_is_held_is_let_go_when_its_client_goes(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    server = scripted(RequestRule(match=QUEUE, hold="q"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/queue", timeout=0.05)
    while server.held:
        httpx.get(f"{server.url}/history")
    assert caplog.messages == []


def test_a_reset_lets_go_of_late_answers(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, hold="q", delay=1000))
    thread, answers = asking(server, "GET", "/queue")
    server.journal.wait_for_hold("q")
    server.reset()
    thread.join()
    assert answers[0].json() == EMPTY_QUEUE


def test_a_server_stops_at_once_with_late_answers() -> None:
    with ComfyMock(script=Script(rules=[RequestRule(match=QUEUE, delay=1000)])) as server:
        thread, answers = asking(server, "GET", "/queue")
        server.journal.wait_for_request("GET /queue")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1.5
        thread.join()
        assert isinstance(answers[0], httpx.TransportError)


def test_rules_by_route_query_client_and_count(scripted: Scripted) -> None:
    server = scripted(
        RequestRule(match=RequestMatch(route="POST /prompt", client_id="bad"), status=403),
        RequestRule(match=RequestMatch(route="GET /view", query={"filename": "x.png"}), status=410),
        RequestRule(match=RequestMatch(route="GET /history/{prompt_id}"), after=1, times=2, status=500),
        RequestRule(match=RequestMatch(route="GET /api/jobs"), status=501),
    )
    prompt = {"prompt": IMAGE}
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/prompt", json={**prompt, "client_id": "bad"}).status_code == 403
        assert client.post("/prompt", json={**prompt, "client_id": "good"}).status_code == 200
        assert [client.get("/view", params={"filename": name}).status_code for name in ("x.png", "y.png")] == [410, 404]
        assert [client.get("/api/history/x").status_code for _ in range(4)] == [200, 500, 500, 200]
        assert client.get("/api/jobs").status_code == 501
    assert [use.served for use in server.rules] == [1, 1, 2, 1]


def test_rules_added_and_taken_away_while_it_runs(scripted: Scripted) -> None:
    server = scripted()
    with httpx.Client(base_url=server.url) as client:
        server.add_rules(RequestRule(name="a", status=503), RequestRule(name="b", priority=1, times=1, status=502))
        assert [client.get("/queue").status_code for _ in range(2)] == [502, 503]
        assert [use.rule.name for use in server.rules] == ["b", "a"]
        assert (server.remove_rules("a"), server.remove_rules("a")) == (1, 0)
        assert client.get("/queue").status_code == 200
        server.clear_rules()
        assert server.rules == []


def test_a_reset_begins_with_the_script_anew(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, times=1, status=500))
    for _ in range(2):
        assert [httpx.get(f"{server.url}/queue").status_code for _ in range(2)] == [500, 200]
        server.add_rules(RequestRule(status=418))
        server.reset()
    server.reset(script=Script())
    assert httpx.get(f"{server.url}/queue").status_code == 200


def test_requests_are_pipelined_behind_a_late_one_in_order(scripted: Scripted) -> None:
    server = scripted(RequestRule(match=QUEUE, times=1, delay=0.02))
    with raw(server) as connection:
        connection.sendall(
            b"GET /queue HTTP/1.1\r\nHost: x\r\n\r\nGET /prompt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        got, _ = received(connection)
    assert got.index(b"queue_running") < got.index(b"exec_info")


def test_the_journal_has_what_was_asked_and_what_was_sent(scripted: Scripted) -> None:
    server = scripted(
        RequestRule(match=QUEUE, status=500, handled=True, name="broken"),
        RequestRule(match=RequestMatch(route="GET /prompt"), reset="before_headers"),
        RequestRule(match=RequestMatch(route="POST /prompt"), status=502, handled=True),
    )
    httpx.get(f"{server.url}/queue?a=1")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/prompt")
    httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE})
    httpx.get(f"{server.url}/nowhere")
    requests = server.journal.requests()
    assert [(record.method, record.raw_path, record.status, record.route) for record in requests] == [
        ("GET", "/queue", 500, "/queue"),
        ("GET", "/prompt", None, "/prompt"),
        ("POST", "/prompt", 502, "/prompt"),
        ("GET", "/nowhere", 404, None),
    ]
    assert [record.rules for record in requests] == [("broken",), ("rules[1]",), ("rules[2]",), ()]
    assert (requests[0].query, requests[0].client[0]) == ({"a": "1"}, "127.0.0.1")
    assert requests[2].prompt.accepted


def in_process(instance: Instance) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://comfy", timeout=WAIT_S_MAX)


@pytest.mark.parametrize("fault", [{"reset": "before_headers"}, {"reset": "after_headers"}, {"truncate": 3}])
def test_without_a_network_a_broken_connection_is_an_exception(fault: dict[str, Any]) -> None:
    async def run() -> None:
        instance = Instance(script=Script(rules=[RequestRule(match=QUEUE, times=1, **fault)]))
        async with in_process(instance) as client:
            with pytest.raises(ConnectionResetError, match="as the fake's script says"):
                await client.get("/queue")
            assert (await client.get("/queue")).json() == EMPTY_QUEUE

    asyncio.run(run())


def test_without_a_network_answers_can_be_other_ones_and_late() -> None:
    async def run() -> tuple[int, Any]:
        rules = [RequestRule(match=QUEUE, times=1, status=502), RequestRule(match=QUEUE, delay=3, hold="h")]
        instance = Instance(clock="manual", script=Script(rules=[*rules]))
        async with in_process(instance) as client:
            status = (await client.get("/queue")).status_code
            asking = asyncio.create_task(client.get("/queue"))
            await instance.journal.wait_for_hold_async("h")
            assert instance.release("h") == 1
            while not asking.done():
                await instance.advance_async(1)
                await asyncio.sleep(0)
            return status, (await asking).json()

    assert asyncio.run(run()) == (502, EMPTY_QUEUE)
