"""The sockets of a server when what is to be sent cannot be."""

from __future__ import annotations

import json

import httpx
import pytest
from websockets.sync.client import connect

from comfy_contracts.messages import Status, Unknown
from comfy_mock import ComfyMock, CustomNode
from comfy_mock.engine.clients import Outgoing
from comfy_mock.server.sockets import Outbox, Sockets

NODE = {"1": {"class_type": "Mine", "inputs": {}}}


class Kept(Outbox):
    """Keeps what it should send."""

    def __init__(self) -> None:
        super().__init__()
        self.data: list[str | bytes] = []

    def put(self, data: str | bytes) -> None:
        self.data.append(data)


def test_a_message_that_cannot_be_encoded_is_logged_and_the_next_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("comfy_mock.server.sockets.Outbox", Kept)
    sockets = Sockets()
    outbox = sockets.open(1)
    assert isinstance(outbox, Kept)
    sockets.deliver(Outgoing((1,), Unknown(type="mine", data=object())))
    sockets.deliver(Outgoing((1, 2), Status(queue_remaining=0)))
    assert [json.loads(data)["type"] for data in outbox.data] == ["status"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == "A message cannot be encoded and is left out: Unknown"


@pytest.mark.parametrize("ui", [{"x": [object()]}, {"x": "text"}])
def test_ui_that_is_not_json_fails_its_prompt_and_nothing_else(ui: object) -> None:
    with ComfyMock() as server:
        server.add_node(CustomNode("Mine", {}, [], lambda: {"ui": ui}, output_node=True))
        with connect(f"{server.url.replace('http', 'ws')}/ws?clientId=c", proxy=None) as websocket:
            for _ in range(2):
                answer = httpx.post(f"{server.url}/prompt", json={"prompt": NODE, "client_id": "c"}).json()
                while True:
                    message = json.loads(websocket.recv(timeout=20))
                    if message["type"] == "execution_error":
                        break
                assert message["data"]["prompt_id"] == answer["prompt_id"]
                assert message["data"]["exception_type"] == "TypeError"
                assert message["data"]["exception_message"].startswith("Mine: ui")
        history = httpx.get(f"{server.url}/history")
        assert history.status_code == 200
        assert [entry["status"]["status_str"] for entry in history.json().values()] == ["error", "error"]
