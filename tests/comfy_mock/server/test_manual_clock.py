"""The manual clock: nothing happens but when the test says so, and then exactly that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from comfy_contracts import messages
from comfy_contracts.frames import PreviewFrame
from comfy_mock import ComfyMock, EventNeverCame, Instance
from comfy_mock.engine.nodes.sampling import STEP_SECONDS

STEPS = 20


def sampling(seed: int = 1) -> dict[str, Any]:
    """Twenty steps, to a picture that nobody decodes."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}},
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
                "steps": STEPS,
                "cfg": 8.0,
                "denoise": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
            },
        },
        "5": {"class_type": "SaveLatent", "inputs": {"samples": ["4", 0], "filename_prefix": "x"}},
    }


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with ComfyMock(clock="manual") as server:
        yield server


@pytest.fixture
def server(shared: ComfyMock) -> ComfyMock:
    shared.reset(clock="manual")
    return shared


@contextlib.contextmanager
def open_socket(server: ComfyMock) -> Iterator[ClientConnection]:
    url = f"{server.url.replace('http', 'ws')}/ws?clientId=c"
    with connect(url, proxy=None, max_size=None, max_queue=None) as websocket:
        assert json.loads(websocket.recv(timeout=20))["data"]["sid"] == "c"
        yield websocket


def post(server: ComfyMock, prompt: dict[str, Any], **body: Any) -> str:
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": prompt, **body})
    assert answer.status_code == 200, answer.text
    prompt_id: str = answer.json()["prompt_id"]
    return prompt_id


def queue(server: ComfyMock) -> tuple[int, int]:
    """How many prompts run, and how many wait."""
    shown = httpx.get(f"{server.url}/queue").json()
    return len(shown["queue_running"]), len(shown["queue_pending"])


def received(websocket: ClientConnection) -> list[str | bytes]:
    """All that was sent to the socket so far: the server's pong comes behind it."""
    assert websocket.ping().wait(20)
    got = []
    with contextlib.suppress(TimeoutError):
        while True:
            got.append(websocket.recv(timeout=0))
    return got


def progress_of(frames: list[str | bytes]) -> list[int]:
    told = [json.loads(frame) for frame in frames if isinstance(frame, str)]
    return [message["data"]["value"] for message in told if message["type"] == "progress"]


def test_nothing_happens_until_time_is_moved(server: ComfyMock) -> None:
    with open_socket(server) as websocket:
        post(server, sampling(), client_id="c")
        for _ in range(20):
            assert queue(server) == (0, 1)
        assert [json.loads(frame)["type"] for frame in received(websocket)] == ["status"]
        server.advance(3600)
        assert queue(server) == (0, 0)
        assert progress_of(received(websocket)) == list(range(1, STEPS + 1))


def test_time_is_what_it_was_moved_to(server: ComfyMock) -> None:
    dates = []
    for _ in range(2):
        dates.append(httpx.get(f"{server.url}/queue").headers["date"])
        server.advance(3600)
    assert dates == ["Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 01:00:00 GMT"]


@pytest.mark.parametrize("runs", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_interrupting_at_step_3_of_20_gives_exactly_three_progress_events(server: ComfyMock, runs: int) -> None:
    counts = []
    with open_socket(server) as websocket, httpx.Client(base_url=server.url) as client:
        for seed in range(runs):
            body = {"prompt": sampling(seed), "client_id": "c"}
            assert client.post("/prompt", json=body).status_code == 200
            server.run_until("progress", value=3)
            assert client.post("/interrupt").status_code == 200
            server.run_until("executing", node=None)
            counts.append(progress_of(received(websocket)))
    assert counts == [[1, 2, 3]] * runs


def test_events_of_one_moment_are_told_apart(server: ComfyMock) -> None:
    """SaveImageWebsocket sends all its pictures at once; no time passes between them."""
    image = {"width": 8, "height": 8, "batch_size": 5, "color": 3}
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    with open_socket(server) as websocket:
        post(server, prompt, client_id="c")
        assert isinstance(server.run_until("progress", value=2), messages.Progress)
        httpx.post(f"{server.url}/interrupt")
        server.run_until("execution_interrupted")
        assert progress_of(received(websocket)) == [0, 1, 2]


def test_success_comes_before_the_history_has_the_prompt(server: ComfyMock) -> None:
    """Protocol 6.9, in slow motion."""
    prompt_id = post(server, sampling())
    server.run_until("execution_success", prompt_id=prompt_id)
    assert queue(server) == (1, 0)
    assert httpx.get(f"{server.url}/history/{prompt_id}").json() == {}
    server.run_until("executing", node=None)
    assert httpx.get(f"{server.url}/history/{prompt_id}").json()[prompt_id]["status"]["completed"] is True


def test_events_that_no_socket_gets_count(server: ComfyMock) -> None:
    prompt_id = post(server, sampling())
    message = server.run_until("progress", node="4", value=3)
    assert message == messages.Progress(value=3, max=STEPS, prompt_id=prompt_id, node="4")
    assert queue(server) == (1, 0)


def test_a_prompt_is_told_from_another(server: ComfyMock) -> None:
    ids = [post(server, sampling(seed)) for seed in (1, 2)]
    message = server.run_until("execution_start", prompt_id=ids[1])
    assert isinstance(message, messages.ExecutionStart)
    assert message.prompt_id == ids[1]
    assert list(httpx.get(f"{server.url}/history").json()) == ids[:1]


def test_previews_can_be_waited_for(server: ComfyMock) -> None:
    server.reset(clock="manual", preview_method="latent2rgb")
    with open_socket(server) as websocket:
        post(server, sampling(), client_id="c")
        assert isinstance(server.run_until("preview"), PreviewFrame)
        frames = received(websocket)
        assert isinstance(frames[-1], bytes)
        assert progress_of(frames) == [1]


def test_coming_to_rest_first_says_what_came(server: ComfyMock) -> None:
    image = {"width": 8, "height": 8, "batch_size": 2, "color": 3}
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    post(server, prompt)
    with pytest.raises(EventNeverCame) as raised:
        server.run_until("progress", node="2", value=3)
    assert str(raised.value).splitlines() == [
        "the server came to rest before progress node='2' value=3; what came:",
        *("  status", "  execution_start", "  execution_cached", "  executing 1", "  executing 2"),
        *("  progress 2 0/2", "  progress 2 1/2", "  execution_success", "  status", "  executing None"),
    ]
    with pytest.raises(EventNeverCame, match=r"at rest: executed cannot come while its queue is empty\."):
        server.run_until("executed")


def test_moving_time_needs_the_manual_clock_and_a_running_server() -> None:
    with ComfyMock() as server:
        for move in (lambda: server.advance(1), lambda: server.run_until("status")):
            with pytest.raises(RuntimeError, match="for clock='manual'; by this server's InstantClock time moves by"):
                move()
    with pytest.raises(RuntimeError, match="does not run: use `with ComfyMock"):
        ComfyMock(clock="manual").advance(1)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_does_not_go_back_nor_to_its_end(server: ComfyMock, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"a number of seconds from 0 up, not by {seconds}"):
        server.advance(seconds)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strides=st.lists(st.integers(1, 8), max_size=6))
def test_durations_add_up(server: ComfyMock, strides: list[int]) -> None:
    """The sum of many small floats is not quite the large one, which must not hide a step."""
    server.reset(clock="manual")
    post(server, sampling())
    server.run_until("progress", value=1)
    for stride in strides:
        server.advance(stride * STEP_SECONDS)
    done = 1 + sum(strides)
    if done < STEPS:
        message = server.run_until("progress")
        assert isinstance(message, messages.Progress)
        assert message.value == done + 1
    else:
        with pytest.raises(EventNeverCame):
            server.run_until("progress")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.floats(0, 2), max_size=5))
def test_the_bytes_do_not_depend_on_how_time_is_cut(server: ComfyMock, parts: list[float]) -> None:
    traces = []
    for cut in ([], parts):
        server.reset(clock="manual")
        with open_socket(server) as websocket:
            post(server, sampling(), client_id="c")
            for part in cut:
                server.advance(part)
            server.advance(100)
            traces.append(received(websocket))
    assert traces[0] == traces[1]


def test_any_thread_may_move_time(server: ComfyMock) -> None:
    post(server, sampling())
    thread = threading.Thread(target=server.run_until, args=("executing",), kwargs={"node": None})
    thread.start()
    thread.join()
    assert queue(server) == (0, 0)


def test_the_servers_own_thread_is_told_that_it_would_wait_for_itself() -> None:
    async def within() -> None:
        server = ComfyMock(clock="manual")
        ready = asyncio.Event()
        serving = asyncio.create_task(server.serve(ready.set))
        await ready.wait()
        with pytest.raises(RuntimeError, match="in the server's own event loop await the `_async` method"):
            server.advance(1)
        await server.advance_async(1)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(RuntimeError, match="does not run"):
            await server.advance_async(1)

    asyncio.run(within())


def test_time_waits_for_answers_that_are_under_way() -> None:
    async def run() -> None:
        instance = Instance(clock="manual")
        instance.engine.submit({"prompt": sampling()})
        for moving in (instance.run_until_async("progress"), instance.advance_async(1)):
            with instance.answering(), instance.answering():
                task = asyncio.create_task(moving)
                now = instance.engine.now
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not task.done()
                assert instance.engine.now == now
            await task
            assert instance.engine.now > now

    asyncio.run(run())


def test_from_another_event_loop() -> None:
    async def run() -> tuple[Any, dict[str, Any]]:
        async with ComfyMock(clock="manual") as server, httpx.AsyncClient(base_url=server.url) as client:
            await client.post("/prompt", json={"prompt": sampling()})
            await server.advance_async(0.1)
            message = await server.run_until_async("progress", value=20)
            await server.reset_async()
            return message, (await client.get("/queue")).json()

    message, queue_after = asyncio.run(run())
    assert message.value == STEPS
    assert queue_after == {"queue_running": [], "queue_pending": []}


def test_without_a_network() -> None:
    async def run() -> list[Any]:
        instance = Instance(clock="manual")
        transport = httpx.ASGITransport(instance.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://comfy") as client:
            seen = []
            for _ in range(2):
                prompt_id = (await client.post("/prompt", json={"prompt": sampling()})).json()["prompt_id"]
                seen.append(await instance.run_until_async("progress", value=3, prompt_id=prompt_id))
                await instance.advance_async(60)
                seen.append((await client.get(f"/history/{prompt_id}")).json()[prompt_id]["status"]["completed"])
                await instance.reset_async()
            return seen

    seen = asyncio.run(run())
    assert [getattr(item, "value", item) for item in seen] == [3, True, 3, True]
    assert seen[0] == seen[2]
