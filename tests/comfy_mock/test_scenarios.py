"""The scenarios of `fixtures/` through real sockets, each written in three ways that must give the same bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock
from comfy_mock.script import (
    BinaryAt,
    EventMatch,
    Failure,
    LogAt,
    Memory,
    MessageAt,
    Previews,
    Script,
    TextAt,
    at_point,
    load_script,
    on_node,
    on_request,
    on_socket,
    to_json,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
WORKFLOW = json.loads((FIXTURES / "workflows" / "text_to_image.json").read_text("utf-8"))
SAMPLER = "3"

IN_PYTHON = {
    "out_of_memory": Script(
        memory=Memory(vram_total=8589934592, vram_free=104857600),
        rules=[
            on_node(
                "KSampler",
                name="the card is full",
                times=1,
                steps=20,
                raises=Failure(type="torch.OutOfMemoryError", at_step=3),
                logs=LogAt(text="OOM: unloading all loaded models", level="ERROR", at_step=3),
            )
        ],
    ),
    "flaky_network": Script(
        rules=[
            on_request(
                "POST /prompt",
                name="the proxy has lost the server",
                times=1,
                status=502,
                body="<html><body>502 Bad Gateway</body></html>",
                headers={"Content-Type": "text/html"},
            ),
            on_request("GET /history/{prompt_id}", name="the history breaks off", times=1, truncate=20, optional=True),
            on_request("GET /view", name="the picture breaks off", times=1, reset="after_headers", optional=True),
            on_socket(
                name="the socket dies at step 3",
                connection=1,
                end="abort",
                event=EventMatch(event="progress", value=3),
            ),
            on_socket(name="then it cannot be had", connection=2, refuse=503, optional=True),
        ]
    ),
    "busy_server": Script(
        rules=[
            on_request("POST /prompt", name="rate limit", times=2, status=429, retry_after=0),
            at_point("before_taken", name="the queue is long", prompt=1, seconds=30),
            at_point("after_success_before_history", name="success is told before history has it", prompt=1, polls=2),
        ]
    ),
    "slow_model_load": Script(
        rules=[
            on_node(
                "CheckpointLoaderSimple",
                name="the checkpoint is read",
                times=1,
                duration=30,
                logs="loading weights from a slow disk",
            ),
            on_node(
                "KSampler",
                name="the first step warms up",
                times=1,
                steps=20,
                step_time=[8, 0.4],
                previews=Previews(size=256),
            ),
        ]
    ),
    "custom_node_events": Script(
        rules=[
            on_node(
                "KSampler",
                name="a sampler with much to say",
                steps=4,
                step_time=0.5,
                texts=["warming up", TextAt(text="halfway there", at_step=2)],
                messages=[
                    MessageAt(type="pack.sampler.stage", data={"stage": "warm-up", "node": "3"}),
                    MessageAt(type="pack.sampler.stage", data={"stage": "done", "node": "3"}, at_step=4, to="client"),
                ],
                binaries=BinaryAt(event=1001, data=b"\x00\x01\x02\x03", at_step=1),
                logs="pack: the cache of kernels is stale",
            )
        ]
    ),
}


def path_of(name: str) -> Path:
    return FIXTURES / "scenarios" / f"{name}.yaml"


@pytest.mark.parametrize("name", IN_PYTHON)
def test_a_scenario_and_its_python_are_one_script(name: str) -> None:
    assert load_script(path_of(name)) == IN_PYTHON[name]


def by_file(name: str) -> ComfyMock:
    return ComfyMock(script=path_of(name))


def in_python(name: str) -> ComfyMock:
    return ComfyMock(script=IN_PYTHON[name])


def by_http(name: str) -> ComfyMock:
    return ComfyMock()


def put(server: ComfyMock, name: str) -> None:
    answer = httpx.put(f"{server.url}/__comfy_mock__/script", content=to_json(IN_PYTHON[name]))
    assert answer.status_code == 200, answer.text


@contextlib.contextmanager
def started(way: Callable[[str], ComfyMock], name: str) -> Iterator[ComfyMock]:
    with way(name) as server:
        if way is by_http:
            put(server, name)
        yield server


class Trace:
    """All bytes that a client gets from a server: answers, their headers, and messages."""

    def __init__(self, server: ComfyMock) -> None:
        self.got: list[object] = []
        self._server = server
        self._http = httpx.Client(base_url=server.url)

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response | None:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            self.got.append(type(error).__name__)
            return None
        self.got.append((answer.status_code, answer.headers.raw, answer.content))
        return answer

    def post_prompt(self) -> str:
        while True:
            answer = self.ask("POST", "/prompt", json={"prompt": WORKFLOW, "client_id": "me"})
            if answer is not None and answer.status_code == 200:
                prompt_id: str = answer.json()["prompt_id"]
                return prompt_id

    def listen(self) -> ClientConnection:
        url = f"{self._server.url.replace('http', 'ws')}/ws?clientId=me"
        return connect(url, proxy=None, max_size=None, ping_interval=None)

    def hear(self, websocket: ClientConnection, last: str) -> list[Any]:
        """Messages until one has `last` in its text, or the socket is gone."""
        heard: list[Any] = []
        try:
            while True:
                message = websocket.recv(timeout=20)
                self.got.append(message)
                heard.append(message if isinstance(message, bytes) else json.loads(message))
                if isinstance(message, str) and last in message:
                    return heard
        except ConnectionClosed as closed:
            self.got.append(str(closed))
            return heard

    def close(self) -> list[object]:
        self._http.close()
        return self.got


END = '"node": null'


def run_through(server: ComfyMock) -> list[object]:
    """Two prompts, one after the other, with all that a client may ask and hear."""
    trace = Trace(server)
    for _ in range(2):
        try:
            websocket = trace.listen()
        except InvalidStatus as refused:
            trace.got.append((refused.response.status_code, refused.response.headers.items(), refused.response.body))
            websocket = trace.listen()
        with websocket:
            trace.hear(websocket, '"sid"')
            prompt_id = trace.post_prompt()
            if server.rules[0].rule.name == "rate limit":  # the history is late until it was asked for
                trace.hear(websocket, "execution_success")
                trace.ask("GET", f"/history/{prompt_id}")
                trace.ask("GET", "/queue")
            trace.hear(websocket, END)
        server.journal.wait_for_event("executing", node=None, prompt_id=prompt_id)
        for path in (f"/history/{prompt_id}", "/history", "/system_stats", "/queue", "/internal/logs"):
            trace.ask("GET", path)
        trace.ask("GET", "/view", params={"filename": "ComfyUI_00001_.png"})
    return trace.close()


@pytest.mark.parametrize("name", IN_PYTHON)
def test_file_python_and_http_give_the_same_bytes(name: str) -> None:
    traces = []
    for way in (by_file, in_python, by_http):
        with started(way, name) as server:
            traces.append(run_through(server))
    assert len(traces[0]) > 20
    assert traces[0] == traces[1] == traces[2]


def events(server: ComfyMock, kind: str) -> list[Any]:
    return [record.data for record in server.journal.events(kind)]


def test_the_card_is_full_at_step_3() -> None:
    with ComfyMock(script=path_of("out_of_memory")) as server:
        run_through(server)
        (error,) = events(server, "execution_error")
        assert (error["exception_type"], error["node_id"]) == ("torch.OutOfMemoryError", SAMPLER)
        steps = [event["value"] for event in events(server, "progress")]
        assert steps[:4] == [1, 2, 3, 1]
        assert len(events(server, "execution_success")) == 1
        server.journal.assert_rules_used()


def test_the_network_is_flaky_once() -> None:
    with ComfyMock(script=path_of("flaky_network")) as server:
        run_through(server)
        assert [record.status for record in server.journal.requests("POST /prompt")] == [502, 200, 200]
        assert [record.refused for record in server.journal.sockets()] == [None, 503, None]
        assert all(use.served == 1 for use in server.rules)


def test_the_server_is_busy() -> None:
    with ComfyMock(script=path_of("busy_server")) as server:
        began = server.now()
        run_through(server)
        assert [record.status for record in server.journal.requests("POST /prompt")] == [429, 429, 200, 200]
        (first, _second) = server.journal.events("execution_start")
        assert first.at - began >= 30
        late, *others = server.journal.requests("GET /history/*")
        assert late.answer == b"{}"
        assert all(record.answer != b"{}" for record in others)
        server.journal.assert_rules_used()


def test_the_model_is_slow_to_load() -> None:
    with ComfyMock(script=path_of("slow_model_load")) as server:
        run_through(server)
        start, *_ = server.journal.events("execution_start")
        first, second, *_ = server.journal.events("progress")
        assert first.at - start.at == pytest.approx(38, abs=0.5)
        assert second.at - first.at == pytest.approx(0.4, abs=0.01)
        assert len(server.journal.events("preview")) == 20
        assert "loading weights from a slow disk" in httpx.get(f"{server.url}/internal/logs").json()


def test_custom_nodes_send_messages_of_their_own() -> None:
    with ComfyMock(script=path_of("custom_node_events")) as server:
        trace = Trace(server)
        with trace.listen() as websocket:
            trace.post_prompt()
            heard = trace.hear(websocket, END)
        stages = [
            message["data"]["stage"] for message in heard if isinstance(message, dict) and "pack" in message["type"]
        ]
        assert stages == ["warm-up", "done"]
        assert (1001).to_bytes(4, "big") + b"\x00\x01\x02\x03" in heard
        texts = [message[9:] for message in heard if isinstance(message, bytes) and message[3] == 3]
        assert texts == [b"warming up", b"halfway there"]
        trace.close()
