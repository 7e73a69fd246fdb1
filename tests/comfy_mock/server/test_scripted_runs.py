"""Rules for nodes, gaps and the server, as clients see them: through real sockets, by each clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from comfy_client import Client, ExecutionFailed
from comfy_mock import ComfyMock, EventNeverCame, Instance
from comfy_mock.engine.script.model import (
    BinaryAt,
    Expand,
    Failure,
    Hold,
    LogAt,
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


@pytest.mark.parametrize(("clock", "runs"), [("instant", 20), ("real", 4), ("manual", 20)])
def test_interrupts_at_step_three_of_twenty(scripted: Callable[..., ComfyMock], clock: str, runs: int) -> None:
    # by the real clock what takes time is waited for
    rules = [
        NodeRule(match=NodeMatch(class_type="CheckpointLoaderSimple"), duration=0, optional=True),
        NodeRule(match=SAMPLER, steps=20, step_time=0.01, holds=[Hold(name="three", at_step=3)]),
    ]
    server = scripted(*rules, clock=clock)
    with listen(server) as socket:
        for seed in range(runs):
            post(server, sampling(seed))
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


SERVED_METADATA = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})


@pytest.mark.parametrize(
    ("kind", "number", "signature"), [("JPEG", 1, b"\xff\xd8\xff"), ("PNG", 2, b"\x89PNG\r\n\x1a\n")]
)
def test_drawn_previews_with_and_without_metadata(
    scripted: Callable[..., ComfyMock], kind: Any, number: int, signature: bytes
) -> None:
    """Protocol 6.8: frames of type 1, or of type 4 for a client whose feature flags ask for them."""
    server = scripted(NodeRule(match=PREVIEWER, steps=2, previews=Previews(format=kind, size=16)))
    with listen(server) as socket:
        post(server, PREVIEWED)
        plain = [frame for frame in until(socket, "executing", node=None) if isinstance(frame, bytes)]
    assert [frame[:8] for frame in plain] == [struct.pack(">II", 1, number)] * 2
    assert all(frame[8:].startswith(signature) for frame in plain)
    server.reset()
    with listen(server) as socket:
        socket.send(SERVED_METADATA)
        until(socket, "feature_flags")
        prompt_id = post(server, PREVIEWED)
        marked = [frame for frame in until(socket, "executing", node=None) if isinstance(frame, bytes)]
    for frame, unmarked in zip(marked, plain, strict=True):
        event, length = struct.unpack(">II", frame[:8])
        metadata, picture = json.loads(frame[8 : 8 + length]), frame[8 + length :]
        assert (event, metadata["node_id"], metadata["prompt_id"]) == (4, "2", prompt_id)
        assert metadata["image_type"] == f"image/{kind.lower()}"
        assert picture == unmarked[8:]


def test_uneven_steps_take_their_time(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(NodeRule(match=PREVIEWER, duration=2, steps=4, step_time=[1, 3]), clock="manual")
    with listen(server) as socket:
        post(server, PREVIEWED)
        server.run_until("executing", node="2")
        counts = []
        for seconds in (2.9, 0.2, 2.8, 0.2, 2.8, 0.2, 3):
            server.advance(seconds)
            counts.append(len(server.journal.events("progress")))
        got = until(socket, "executing", node=None)
    assert counts == [0, 1, 1, 2, 2, 3, 4]
    assert [(each["data"]["value"], each["data"]["max"]) for each in got if each["type"] == "progress"] == [
        (value, 4) for value in (1, 2, 3, 4)
    ]


def test_any_ui_is_told_and_recorded(scripted: Callable[..., ComfyMock]) -> None:
    ui = {"points": [{"x": 1.5, "label": "ü"}], "count": [3], "text": ["two", "lines"]}
    server = scripted(NodeRule(match=PREVIEWER, ui=ui))
    with listen(server) as socket:
        prompt_id = post(server, PREVIEWED)
        got = until(socket, "executing", node=None)
    assert [each["data"]["output"] for each in got if each["type"] == "executed"] == [ui]
    assert httpx.get(f"{server.url}/history/{prompt_id}").json()[prompt_id]["outputs"] == {"2": ui}


@pytest.mark.parametrize("lines", [None, ['  File "/opt/pack/nodes.py", line 7, in run\n', "    boom()\n"]])
def test_any_exception_at_a_step_with_a_traceback(scripted: Callable[..., ComfyMock], lines: list[str] | None) -> None:
    """Protocol 5.11, 7.2: `execution_error`, and the same in the history."""
    failure = Failure(type="pack.errors.Boom", message="no ÿ", at_step=2, traceback=lines)
    server = scripted(NodeRule(match=SAMPLER, raises=failure))
    with listen(server) as socket:
        prompt_id = post(server, sampling())
        got = until(socket, "executing", node=None)
    assert progress(got) == [1, 2]
    (error,) = [each["data"] for each in got if each["type"] == "execution_error"]
    assert (error["node_id"], error["node_type"]) == ("4", "KSampler")
    assert (error["exception_type"], error["exception_message"].rstrip()) == ("pack.errors.Boom", "no ÿ")
    if lines is None:
        assert error["traceback"][0].startswith("  File ")
        assert "execution.py" in error["traceback"][0]
    else:
        assert error["traceback"] == lines
    status = httpx.get(f"{server.url}/history/{prompt_id}").json()[prompt_id]["status"]
    assert (status["status_str"], status["messages"][-1][1]["traceback"]) == ("error", error["traceback"])


def test_a_node_runs_though_it_is_cached(scripted: Callable[..., ComfyMock]) -> None:
    server = scripted(NodeRule(match=NodeMatch(node="1", prompt=2), cached=False))
    cached = []
    with listen(server) as socket:
        for _ in range(3):
            post(server, PREVIEWED)
            got = until(socket, "executing", node=None)
            cached += [each["data"]["nodes"] for each in got if each["type"] == "execution_cached"]
    assert cached == [[], [], ["1", "2"]]


def test_lines_in_the_log_of_their_levels(scripted: Callable[..., ComfyMock]) -> None:
    """Protocol 2: `/internal/logs/raw`, and `logs` messages to those who subscribed."""
    levels: list[Any] = ["INFO", "WARNING", "ERROR"]
    server = scripted(
        NodeRule(match=PREVIEWER, logs=[LogAt(text=f"a line of {level}", level=level) for level in levels])
    )
    with listen(server) as socket:
        httpx.patch(f"{server.url}/internal/logs/subscribe", json={"clientId": "a", "enabled": True})
        post(server, PREVIEWED)
        got = until(socket, "executing", node=None)
    told = "".join(entry["m"] for each in got if each["type"] == "logs" for entry in each["data"]["entries"])
    kept = "".join(entry["m"] for entry in httpx.get(f"{server.url}/internal/logs/raw").json()["entries"])
    for level in levels:
        assert f"a line of {level}" in told
        assert f"a line of {level}" in kept


def test_which_node_is_meant(scripted: Callable[..., ComfyMock]) -> None:
    def says(text: str, match: NodeMatch, **rule: Any) -> NodeRule:
        return NodeRule(match=match, text=text, **rule)

    server = scripted(
        says("any", NodeMatch()),
        says("by class", NodeMatch(class_type="PreviewAny"), priority=1, times=1, after=1),
        says("by id", NodeMatch(node="7"), priority=2),
        says("by inputs", NodeMatch(inputs={"source": "this"}), priority=3),
        says("by place", NodeMatch(prompt=2), priority=4),
        says("by client", NodeMatch(client_id="a", inputs={"source": "mine"}), priority=5),
    )
    shown = []
    with listen(server) as socket:
        for node_id, source in (
            ("1", "x"),
            ("1", "y"),
            ("7", "z"),
            ("7", "this"),
            ("1", "mine"),
            ("1", "v"),
            ("1", "w"),
        ):
            post(server, {node_id: {"class_type": "PreviewAny", "inputs": {"source": source}}})
            got = until(socket, "executing", node=None)
            shown += [each["data"]["output"]["text"][0] for each in got if each["type"] == "executed"]
    assert shown == ["any", "by place", "by id", "by inputs", "by client", "by class", "any"]


@pytest.mark.parametrize(
    ("point", "last", "running", "pending", "recorded"),
    [
        ("before_taken", "status", 0, 1, 0),
        ("before_first_event", "status", 1, 0, 0),
        ("after_success_before_history", "execution_success", 1, 0, 0),
        ("after_history_before_end", "status", 0, 0, 1),
    ],
)
def test_what_is_seen_in_a_gap(
    scripted: Callable[..., ComfyMock], point: Any, last: str, running: int, pending: int, recorded: int
) -> None:
    server = scripted(PointRule(point=point, hold="gap"))
    with listen(server) as socket:
        prompt_id = post(server, PREVIEWED)
        server.journal.wait_for_hold("gap")
        pong = socket.ping()
        assert pong.wait(5)
        got = []
        with contextlib.suppress(TimeoutError):
            while True:
                got.append(json.loads(socket.recv(timeout=0)))
        queue = httpx.get(f"{server.url}/queue").json()
        history = httpx.get(f"{server.url}/history/{prompt_id}").json()
        assert got[-1]["type"] == last
        assert (len(queue["queue_running"]), len(queue["queue_pending"]), len(history)) == (running, pending, recorded)
        server.release("gap")
        until(socket, "executing", node=None)


def test_a_thousand_interrupts_at_step_three_of_twenty_by_run_until() -> None:
    async def run() -> tuple[list[str], Instance]:
        instance = Instance(clock="manual")
        prompt_ids = []
        async with httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://comfy") as client:
            for seed in range(1000):
                prompt_ids.append((await client.post("/prompt", json={"prompt": sampling(seed)})).json()["prompt_id"])
                await instance.run_until_async("progress", value=3)
                await client.post("/interrupt")
                await instance.run_until_async("executing", node=None)
        await instance.runner.stop()
        return prompt_ids, instance

    prompt_ids, instance = asyncio.run(run())
    steps: dict[str | None, list[float]] = {prompt_id: [] for prompt_id in prompt_ids}
    for record in instance.journal.events("progress"):
        steps[record.prompt_id].append(record.data["value"])
    assert list(steps.values()) == [[1, 2, 3]] * 1000
