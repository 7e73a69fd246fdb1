"""Rules for nodes, gaps and the server, as clients see them: through real sockets, by each clock."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from comfy_client import Client, ExecutionFailed
from comfy_mock import ComfyMock, EventNeverCame
from comfy_mock.engine.script.model import (
    BinaryAt,
    Expand,
    Failure,
    Hold,
    Memory,
    MessageAt,
    ModelChange,
    NodeMatch,
    NodeRule,
    OutputFile,
    PointRule,
    Previews,
    Script,
    TextAt,
)

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
SAMPLER = NodeMatch(class_type="KSampler")
JPEG = b"\xff\xd8\xff not a picture, but sent as one"


def sampling(seed: int = 1) -> dict[str, Any]:
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "seed": seed,
                "steps": 20,
                "cfg": 8.0,
                "denoise": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
            },
        },
        "5": {"class_type": "SaveLatent", "inputs": {"samples": ["4", 0], "filename_prefix": "x"}},
    }


PREVIEWED: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
PREVIEWER = NodeMatch(class_type="PreviewImage")


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@pytest.fixture
def scripted(shared: ComfyMock) -> Callable[..., ComfyMock]:
    def scripted(*rules: Any, clock: str = "instant", script: Script | None = None) -> ComfyMock:
        shared.reset(clock=clock, script=script or Script(rules=list(rules)))
        return shared

    return scripted


@contextlib.contextmanager
def listen(server: ComfyMock) -> Iterator[ClientConnection]:
    with connect(f"ws{server.url[4:]}/ws?clientId=a") as socket:
        assert json.loads(socket.recv(timeout=5))["type"] == "status"
        yield socket


def post(server: ComfyMock, prompt: dict[str, Any]) -> str:
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": prompt, "client_id": "a"})
    assert answer.status_code == 200, answer.text
    prompt_id: str = answer.json()["prompt_id"]
    return prompt_id


def until(socket: ClientConnection, event: str, **data: Any) -> list[Any]:
    """All that comes up to this message: bytes, and messages as they are."""
    got: list[Any] = []
    while True:
        frame = socket.recv(timeout=5)
        got.append(frame if isinstance(frame, bytes) else json.loads(frame))
        if isinstance(frame, str):
            message = got[-1]
            if message["type"] == event and all(message["data"][name] == value for name, value in data.items()):
                return got


def progress(got: list[Any]) -> list[float]:
    return [each["data"]["value"] for each in got if isinstance(each, dict) and each["type"] == "progress"]


@pytest.mark.parametrize("clock", ["instant", "real", "manual"])
def test_an_interrupt_at_step_three_of_twenty(scripted: Callable[..., ComfyMock], clock: str) -> None:
    # by the real clock what takes time is waited for
    rules = [
        NodeRule(match=NodeMatch(class_type="CheckpointLoaderSimple"), duration=0, optional=True),
        NodeRule(match=SAMPLER, steps=20, step_time=0.01, holds=[Hold(name="three", at_step=3)]),
    ]
    server = scripted(*rules, clock=clock)
    with listen(server) as socket:
        post(server, sampling())
        if clock == "manual":
            server.advance(5)
        got = until(socket, "progress", value=3)
        server.journal.wait_for_hold("three")
        httpx.post(f"{server.url}/interrupt")
        assert server.release("three") == 1
        if clock == "manual":
            server.advance(5)
        got += until(socket, "executing", node=None)
    assert progress(got) == [1, 2, 3]
    assert [each["type"] for each in got][-3:] == ["execution_interrupted", "status", "executing"]


def test_run_until_says_what_holds_the_run(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(NodeRule(match=SAMPLER, steps=20, holds=[Hold(name="three", at_step=3)]), clock="manual")
    post(server, sampling())
    server.run_until("progress", value=3)
    with pytest.raises(EventNeverCame, match=r"node 4 \(KSampler\) after step 3 is held: release\('three'\)"):
        server.run_until("progress", value=4)
    server.release()
    assert server.run_until("progress", value=4)


def test_after_a_hold_by_the_real_clock_time_goes_on_from_there(scripted: Callable[..., ComfyMock]) -> None:
    rule = NodeRule(match=PREVIEWER, duration=0, steps=2, step_time=0.05, holds=[Hold()])
    server = scripted(rule, clock="real")
    with listen(server) as socket:
        post(server, PREVIEWED)
        until(socket, "executing", node="2")
        server.journal.wait_for_hold()
        # real time passes while the run is held
        threading.Event().wait(0.12)
        begun = time.monotonic()
        server.release()
        until(socket, "progress", value=2)
        assert time.monotonic() - begun > 0.09


def test_what_custom_nodes_send_comes_byte_by_byte(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(
        NodeRule(
            match=PREVIEWER,
            steps=1,
            previews=Previews(images=[JPEG]),
            texts=[TextAt(text="ü", at_step=1)],
            messages=[MessageAt(type="pack.event", data={"x": [1, None]}, at_step=1, to="client")],
            binaries=[BinaryAt(event=101, data=b"\0raw", at_step=1)],
        )
    )
    with listen(server) as socket:
        post(server, PREVIEWED)
        got = until(socket, "executing", node=None)
    # protocol 6.8: unsigned 32-bit numbers, big-endian
    assert [each for each in got if isinstance(each, bytes)] == [
        b"\0\0\0\1\0\0\0\1" + JPEG,
        b"\0\0\0\3\0\0\0\1" + b"2\xc3\xbc",
        b"\0\0\0\x65\0raw",
    ]
    assert {"type": "pack.event", "data": {"x": [1, None]}} in got


def test_the_client_is_told_of_a_lack_of_memory(scripted: Callable[..., ComfyMock]) -> None:
    failure = Failure(type="torch.OutOfMemoryError", at_step=3)
    server = scripted(NodeRule(match=SAMPLER, raises=failure, times=1))
    with Client(server.url) as client:
        with pytest.raises(ExecutionFailed) as caught:
            client.run(sampling())
        assert (caught.value.node_id, caught.value.exception_type) == ("4", "torch.OutOfMemoryError")
        assert "you ran out of memory on your GPU" in str(caught.value.exception_message)
        assert client.run(sampling()).outputs["5"]["latents"]


def test_given_files_can_be_fetched(scripted: Callable[..., ComfyMock]) -> None:
    files = [OutputFile(filename="clip.mp4", subfolder="v", data=b"film", key="video")]
    server = scripted(NodeRule(match=PREVIEWER, files=files, text="made"))
    with Client(server.url) as client:
        result = client.run(PREVIEWED)
    item = {"filename": "clip.mp4", "subfolder": "v", "type": "output"}
    assert result.outputs["2"] == {"video": [item], "text": ["made"]}
    assert httpx.get(f"{server.url}/view", params=item).content == b"film"


def test_a_cached_run_and_an_expansion(scripted: Callable[..., ComfyMock]) -> None:
    child = {"class_type": "PreviewAny", "inputs": {"source": "child"}}
    server = scripted(
        NodeRule(match=NodeMatch(class_type="SaveLatent"), cached=True),
        NodeRule(match=PREVIEWER, expand=Expand(nodes={"1": child}, outputs=[["1", 0]])),
    )
    with listen(server) as socket:
        post(server, sampling())
        got = until(socket, "executing", node=None)
        assert [each["data"]["nodes"] for each in got if each["type"] == "execution_cached"] == [list("12345")]
        assert not progress(got)
        post(server, PREVIEWED)
        got = until(socket, "executing", node=None)
        assert [each["data"]["output"] for each in got if each["type"] == "executed"] == [{"text": ["child"]}]


def test_history_lags_for_two_polls(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(PointRule(point="after_success_before_history", polls=2))
    with listen(server) as socket:
        prompt_id = post(server, PREVIEWED)
        until(socket, "execution_success")
        queue = httpx.get(f"{server.url}/queue").json()
        assert [item[1] for item in queue["queue_running"]] == [prompt_id]
        assert httpx.get(f"{server.url}/history/{prompt_id}").json() == {}
        until(socket, "executing", node=None)
        assert prompt_id in httpx.get(f"{server.url}/history/{prompt_id}").json()


def test_the_queue_is_empty_before_the_history_has_the_prompt(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(PointRule(point="queue_empty_before_history", hold="gap"))
    with listen(server) as socket:
        prompt_id = post(server, PREVIEWED)
        until(socket, "execution_success")
        server.journal.wait_for_hold()
        assert httpx.get(f"{server.url}/queue").json() == {"queue_running": [], "queue_pending": []}
        assert httpx.get(f"{server.url}/prompt").json() == {"exec_info": {"queue_remaining": 0}}
        assert httpx.get(f"{server.url}/api/jobs/{prompt_id}").status_code == 404
        assert httpx.get(f"{server.url}/history").json() == {}
        server.release()
        until(socket, "executing", node=None)
        assert list(httpx.get(f"{server.url}/history").json()) == [prompt_id]


def test_the_client_gets_its_result_all_the_same(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(PointRule(point="after_success_before_history", polls=1))
    with Client(server.url) as client:
        for path in ("websocket", "polling"):
            assert client.run(PREVIEWED, path=path, timeout=5).outputs["2"]["images"]


def test_a_paused_queue_the_memory_and_the_models(scripted: Callable[..., ComfyMock]) -> None:
    script = Script(
        queue_paused=True,
        memory=Memory(vram_free=7),
        models=[ModelChange(folder="loras", add=["new.safetensors"], after_prompts=1)],
    )
    server = scripted(script=script)
    assert httpx.get(f"{server.url}/system_stats").json()["devices"][0]["vram_free"] == 7
    assert "new.safetensors" not in httpx.get(f"{server.url}/models/loras").json()
    with listen(server) as socket:
        post(server, PREVIEWED)
        assert "new.safetensors" in httpx.get(f"{server.url}/models/loras").json()
        info = httpx.get(f"{server.url}/object_info/LoraLoader").json()["LoraLoader"]
        assert "new.safetensors" in info["input"]["required"]["lora_name"][0]
        assert len(httpx.get(f"{server.url}/queue").json()["queue_pending"]) == 1
        server.push("pack.event", {"x": 1})
        assert until(socket, "pack.event")[-1]["data"] == {"x": 1}
        server.resume_queue()
        assert progress(until(socket, "executing", node=None)) == []
