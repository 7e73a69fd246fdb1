"""`/ws` over real sockets: who gets what, when (protocol 6)."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.sync.client import ClientConnection, connect

from comfy_mock import ComfyMock

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "w"}},
}


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as running:
        yield running


def open_socket(server: ComfyMock, client_id: str | None = None, path: str = "/ws", **kwargs: Any) -> ClientConnection:
    query = "" if client_id is None else f"?clientId={client_id}"
    return connect(server.url.replace("http", "ws") + path + query, proxy=None, max_size=None, **kwargs)


def receive(websocket: ClientConnection) -> dict[str, Any]:
    message = websocket.recv(timeout=20)
    assert isinstance(message, str)
    decoded: dict[str, Any] = json.loads(message)
    return decoded


def until_end(websocket: ClientConnection, prompt_id: str) -> list[dict[str, Any]]:
    got = []
    while True:
        got.append(receive(websocket))
        if got[-1] == {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}:
            return got


def post(server: ComfyMock, **body: Any) -> str:
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE, **body})
    assert answer.status_code == 200, answer.text
    prompt_id: str = answer.json()["prompt_id"]
    return prompt_id


def settled(server: ComfyMock) -> None:
    """Return when the server is idle: a new socket's first message says so, and comes after all that was due."""
    while True:
        with open_socket(server, "probe") as probe:
            if receive(probe)["data"]["status"]["exec_info"]["queue_remaining"] == 0:
                return


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
def test_the_first_frame_is_status_with_the_sid(server: ComfyMock, path: str) -> None:
    with open_socket(server, "me", path) as websocket:
        expected = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"}
        assert receive(websocket) == {"type": "status", "data": expected}


@pytest.mark.parametrize("query", ["", "?clientId=", "?clientid=x"])
def test_a_socket_without_client_id_gets_one_of_32_hex_digits(server: ComfyMock, query: str) -> None:
    with open_socket(server, path=f"/ws{query}") as websocket:
        sid = receive(websocket)["data"]["sid"]
        assert len(sid) == 32
        int(sid, 16)


def test_a_prompts_messages_go_to_its_client_and_status_to_all(server: ComfyMock) -> None:
    with open_socket(server, "mine") as mine, open_socket(server, "other") as other:
        receive(mine), receive(other)
        prompt_id = post(server, client_id="mine")
        assert {m["type"] for m in until_end(mine, prompt_id)} > {"execution_start", "executed", "execution_success"}
        settled(server)
        assert [receive(other)["type"] for _ in range(3)] == ["status"] * 3


def test_the_end_is_success_then_status_then_executing_null(server: ComfyMock) -> None:
    with open_socket(server, "c") as websocket:
        got = until_end(websocket, post(server, client_id="c"))
    assert [m["type"] for m in got[-3:]] == ["execution_success", "status", "executing"]


def test_a_newer_socket_displaces_the_older_and_the_olders_end_silences_it(server: ComfyMock) -> None:
    with contextlib.ExitStack() as stack:
        older = stack.enter_context(open_socket(server, "same"))
        receive(older)
        newer = stack.enter_context(open_socket(server, "same"))
        receive(newer)
        until_end(newer, post(server, client_id="same"))
        older.close()
        settled(server)
        post(server, client_id="same")
        settled(server)
        newer.ping().wait(20)
        with pytest.raises(TimeoutError):
            newer.recv(timeout=0)


def test_reconnecting_in_the_middle_of_a_run_is_told_the_running_node() -> None:
    with ComfyMock(clock="real", speed=0.01) as slow:
        with open_socket(slow, "c") as first:
            receive(first)
            post(slow, client_id="c")
            while receive(first)["type"] != "executing":
                pass
        with open_socket(slow, "c") as second:
            assert receive(second)["data"]["sid"] == "c"
            assert receive(second) == {"type": "executing", "data": {"node": "1"}}


def test_feature_flags_are_answered_only_as_the_first_object(server: ComfyMock) -> None:
    flags = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
    with open_socket(server, "c") as websocket:
        receive(websocket)
        for ignored in ("not json", b"\x00\x01", "[]", "5", "null", '"x"'):
            websocket.send(ignored)
        websocket.send(flags)
        answer = receive(websocket)
        assert answer["type"] == "feature_flags"
        assert answer["data"] == httpx.get(f"{server.url}/features").json()
    with open_socket(server, "d") as websocket:
        receive(websocket)
        websocket.send("{}")
        websocket.send(flags)
        post(server)
        assert receive(websocket)["type"] == "status"


def test_a_foreign_origin_is_refused_at_the_upgrade(server: ComfyMock) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        open_socket(server, "c", additional_headers={"Origin": "http://evil.example"})
    assert refused.value.response.status_code == 403
    assert refused.value.response.body in (b"", None)


def test_an_oversized_message_closes_that_socket_only(server: ComfyMock) -> None:
    with open_socket(server, "big") as big, open_socket(server, "small") as small:
        receive(big), receive(small)
        big.send("x" * (4 * 1024 * 1024 + 1))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            big.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        until_end(small, post(server, client_id="small"))


def test_post_prompt_is_answered_before_the_prompts_first_event(server: ComfyMock) -> None:
    """One raw connection each: the answer's bytes are there before the first event's, in 50 of 50 cached runs."""
    with open_socket(server, "c") as websocket, httpx.Client(base_url=server.url) as client:
        receive(websocket)
        for _ in range(50):
            answer = client.post("/prompt", json={"prompt": IMAGE, "client_id": "c"})
            events = until_end(websocket, answer.json()["prompt_id"])
            assert events[2]["type"] == "execution_start"


WEDGES = {
    "an undeclared link to nowhere": {
        **IMAGE,
        "2": {"class_type": "SaveImage", "inputs": {**IMAGE["2"]["inputs"], "x": ["99", 0]}},  # type: ignore[dict-item]
    },
    "a node without inputs off the output paths": {**IMAGE, "7": {"class_type": "EmptyImage"}},
    "an undeclared link to a slot that is not there": {
        **IMAGE,
        "2": {"class_type": "SaveImage", "inputs": {**IMAGE["2"]["inputs"], "x": ["1", 7]}},  # type: ignore[dict-item]
    },
    "a cycle of undeclared inputs": {
        "1": {"class_type": "EmptyImage", "inputs": {**IMAGE["1"]["inputs"], "x": ["2", 0]}},  # type: ignore[dict-item]
        "2": IMAGE["2"],
    },
}


@pytest.mark.parametrize("prompt", WEDGES.values(), ids=WEDGES.keys())
def test_what_wedges_a_real_server_is_accepted_and_does_no_harm(server: ComfyMock, prompt: dict[str, Any]) -> None:
    with open_socket(server, "c") as websocket:
        receive(websocket)
        until_end(websocket, post(server, prompt=prompt, client_id="c"))
        events = until_end(websocket, post(server, prompt=IMAGE, client_id="c"))
        assert events[-3]["type"] == "execution_success"


@pytest.mark.parametrize("client_id", [{"a": 1}, ["x"], 5, True, None, ""])
def test_a_strange_client_id_is_accepted_and_does_no_harm(server: ComfyMock, client_id: Any) -> None:
    post(server, client_id=client_id)
    settled(server)
    assert len(httpx.get(f"{server.url}/history").json()) == 1


def test_two_pending_prompts_of_one_number_and_id_answer_500_and_both_run() -> None:
    prompt_id = "11111111-2222-4333-8444-555555555555"
    with ComfyMock(clock="real", speed=1.0) as server:
        body = {"prompt": IMAGE, "prompt_id": prompt_id, "number": 3}
        post(server, number=1)
        answers = [httpx.post(f"{server.url}/prompt", json=body).status_code for _ in range(2)]
        assert answers[0] == 200
        assert answers[1] in (200, 500)
        settled(server)
        assert list(httpx.get(f"{server.url}/history").json())[-1] == prompt_id


def test_null_feature_flags_fail_runs_with_previews_and_only_those() -> None:
    with ComfyMock() as server, open_socket(server, "c") as websocket:
        receive(websocket)
        websocket.send('{"type": "feature_flags", "data": null}')
        assert receive(websocket)["type"] == "feature_flags"
        sampler = {
            "1": IMAGE["1"],
            "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        }
        events = until_end(websocket, post(server, prompt=sampler, client_id="c"))
        error = events[-3]
        assert error["type"] == "execution_error"
        assert error["data"]["exception_type"] == "AttributeError"
        assert error["data"]["exception_message"] == "'NoneType' object has no attribute 'get'\n"
        events = until_end(websocket, post(server, client_id="c"))
        assert events[-3]["type"] == "execution_success"


def test_previews_follow_progress_or_precede_it_with_metadata() -> None:
    prompt = {"1": IMAGE["1"], "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}}

    def kinds(server: ComfyMock, client_id: str, websocket: ClientConnection) -> list[str | int]:
        prompt_id = post(server, prompt=prompt, client_id=client_id)
        got: list[str | int] = []
        while True:
            message = websocket.recv(timeout=20)
            if isinstance(message, bytes):
                got.append(struct.unpack(">I", message[:4])[0])
            else:
                got.append(json.loads(message)["type"])
                if prompt_id in message and '"node": null' in message:
                    return [kind for kind in got if kind in ("progress", 1, 4)]

    with ComfyMock() as server:
        with open_socket(server, "plain") as websocket:
            receive(websocket)
            assert kinds(server, "plain", websocket) == ["progress", 1]
        with open_socket(server, "flagged") as websocket:
            receive(websocket)
            websocket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            receive(websocket)
            assert kinds(server, "flagged", websocket) == [4, "progress"]
