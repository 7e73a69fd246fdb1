"""Where clients of ComfyUI commonly fail: each case of the issue by its name, for both clients and on both paths."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import workflows
from both_clients import PACE, Kind, client_of
from misbehaving import Message, Misbehaving, misbehaving
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from comfy_client import ExecutionFailed, ExecutionInterrupted, PromptLost, ServerError, ServerUnreachable, WaitTimeout
from comfy_client import events as ev
from comfy_mock import ComfyMock

kinds = pytest.mark.parametrize("kind", ["blocking", "async"])
ways = pytest.mark.parametrize(
    ("kind", "path"), [("async", "websocket"), ("async", "polling"), ("blocking", "auto"), ("blocking", "polling")]
)
WAIT = 20

PATIENT = replace(PACE, lost_after=30.0, entry_after=30.0)
"""For answers that lie for a while: how long is a matter of the machine's load."""

HURRIED = replace(PACE, lost_after=0.2)
"""For prompts that are lost."""


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture
def proxy(server: ComfyMock) -> Iterator[Misbehaving]:
    with misbehaving(server.url) as proxy:
        yield proxy


@pytest.fixture
def real_time() -> Iterator[ComfyMock]:
    """A server on which `Slow` takes 0.3 s."""
    with workflows.add_nodes(ComfyMock(clock="real")) as server:
        yield server


@pytest.fixture
def real_proxy(real_time: ComfyMock) -> Iterator[Misbehaving]:
    with misbehaving(real_time.url) as proxy:
        yield proxy


def kind_of(message: Message | bytes) -> str:
    return "frame" if isinstance(message, bytes) else str(message["type"])


def runs(server: ComfyMock) -> int:
    """How many prompts the server has run or will run."""
    with httpx.Client(base_url=server.url, verify=False) as http:
        queue = http.get("/queue").json()
        return len(http.get("/history").json()) + len(queue["queue_running"]) + len(queue["queue_pending"])


@ways
def test_a_fully_cached_prompt_that_ends_before_the_post_answer_is_read(
    kind: Kind, path: Any, proxy: Misbehaving, server: ComfyMock
) -> None:
    graph = workflows.image(outputs=2)
    over = threading.Event()

    def hook(message: Message | bytes) -> Any:
        if isinstance(message, dict) and message["type"] == "executing" and message["data"]["node"] is None:
            over.set()
        return "pass"

    with client_of(kind, proxy.url) as client:
        first = client.run(graph, path=path, timeout=WAIT)

        async def late(request: Request, answer: Response) -> Response:
            if request.method == "POST" and path != "polling":
                assert await asyncio.to_thread(over.wait, WAIT)
            return answer

        over.clear()
        proxy.on_message, proxy.on_answer = hook, late
        assert client.run(graph, path=path, timeout=WAIT) == first
        assert sorted(first.outputs) == ["2", "3"]


@ways
def test_events_of_other_prompts_and_other_clients_are_kept_apart(kind: Kind, path: Any, server: ComfyMock) -> None:
    with client_of(kind, server.url) as mine, client_of("blocking", server.url) as other:
        mine_jobs = []
        others = []
        for number in range(6):
            mine_jobs.append(mine.submit(workflows.sampled(), path=path))
            others.append(other.submit(workflows.sampled(steps=3 + number)))
            # without a client id, what happens is told to everybody
            httpx.post(f"{server.url}/prompt", json={"prompt": workflows.sampled()}, verify=False)
        for job in mine_jobs:
            events = list(job.events())
            assert {event.prompt_id for event in events} == {job.prompt_id}
            assert events[-1] == ev.Ended(job.prompt_id, "success")
            (output,) = [event for event in events if isinstance(event, ev.NodeOutput)]
            assert output.output == job.result(WAIT).outputs["9"]
        for job in others:
            assert job.wait(WAIT) == "success"


@ways
def test_an_error_of_another_prompt_is_not_ours(kind: Kind, path: Any, server: ComfyMock) -> None:
    with client_of(kind, server.url) as client, client_of("blocking", server.url) as other:
        bad, foreign = client.submit(workflows.failing(), path=path), other.submit(workflows.failing())
        good = client.submit(workflows.image(), path=path)
        assert good.result(WAIT).images
        with pytest.raises(ExecutionFailed) as caught:
            bad.result(WAIT)
        assert (caught.value.node_id, caught.value.exception_type) == ("2", "ValueError")
        assert "boom" in str(caught.value)
        assert caught.value.current_inputs["value"]
        assert foreign.wait(WAIT) == "error"


@ways
def test_an_interrupt_of_another_prompt_is_not_ours(kind: Kind, path: Any, real_time: ComfyMock) -> None:
    with client_of(kind, real_time.url) as client, client_of("blocking", real_time.url) as other:
        foreign = other.submit(workflows.sampled(steps=500))
        mine = client.submit(workflows.image(), path=path)
        for event in foreign.events():
            if isinstance(event, ev.NodeProgress):
                assert foreign.cancel()
        with pytest.raises(ExecutionInterrupted) as caught:
            foreign.result(WAIT)
        assert caught.value.node_id == "3"
        assert mine.result(WAIT).images


@kinds
def test_two_and_more_output_nodes_are_equal_on_both_paths(kind: Kind, server: ComfyMock) -> None:
    graph = workflows.image(outputs=5)
    with client_of(kind, server.url) as client:
        results = [client.run(graph, path=path, timeout=WAIT) for path in ("websocket", "polling", "auto")]
    assert results[0] == results[1] == results[2]
    assert sorted(results[0].outputs) == ["2", "3", "4", "5", "6"]
    assert len(results[0].images) == 5


@kinds
@pytest.mark.parametrize("when", ["execution_start", "progress_state", "executed", "execution_success", "executing"])
def test_the_socket_is_dropped_during_the_run(kind: Kind, when: str, proxy: Misbehaving, server: ComfyMock) -> None:
    dropped = []

    def hook(message: Message | bytes) -> Any:
        if kind_of(message) == when and not dropped:
            dropped.append(when)
            return "drop"
        return "pass"

    proxy.on_message = hook
    with client_of(kind, proxy.url) as client:
        job = client.submit(workflows.sampled())
        assert job.result(WAIT).images
        assert dropped
    assert runs(server) == 1


@kinds
def test_the_socket_is_dropped_before_the_run(kind: Kind, proxy: Misbehaving) -> None:
    with client_of(kind, proxy.url) as client:
        client.connect()
        proxy.drop_sockets()
        assert client.run(workflows.image(), timeout=WAIT).images
        assert client.run(workflows.image(), timeout=WAIT).images
        client.disconnect()


@kinds
def test_the_socket_comes_back_in_a_long_run_with_the_same_client_id(kind: Kind, real_proxy: Misbehaving) -> None:
    with client_of(kind, real_proxy.url) as client:
        job = client.submit(workflows.sampled(steps=12))
        cut, after = False, 0
        for event in job.events():
            if isinstance(event, ev.NodeProgress):
                after += cut and real_proxy.sockets_opened > 1
                if not cut:
                    cut = True
                    real_proxy.drop_sockets()
        assert job.wait(WAIT) == "success"
        assert after > 0


@ways
def test_the_terminal_event_is_lost(kind: Kind, path: Any, proxy: Misbehaving) -> None:
    def hook(message: Message | bytes) -> Any:
        end = isinstance(message, dict) and message["type"] == "executing" and message["data"]["node"] is None
        return "lose" if end or kind_of(message) in ("execution_success", "status") else "pass"

    with client_of(kind, proxy.url) as client:
        client.run(workflows.image(), path=path, timeout=WAIT)
        proxy.on_message = hook
        assert client.run(workflows.image(), path=path, timeout=WAIT).images


@ways
def test_success_is_seen_before_the_history_has_the_entry(kind: Kind, path: Any, proxy: Misbehaving) -> None:
    left = 4

    async def hook(request: Request, answer: Response) -> Response:
        nonlocal left
        if request.url.path.startswith("/history/") and left:
            left -= 1
            return JSONResponse({})
        return answer

    proxy.on_answer = hook
    with client_of(kind, proxy.url, pace=PATIENT) as client:
        result = client.run(workflows.image(), path=path, timeout=WAIT)
    assert result.images
    assert result.entry is not None
    assert not left


@ways
def test_an_empty_queue_before_the_history_has_it_is_no_loss(kind: Kind, path: Any, proxy: Misbehaving) -> None:
    asked = 0

    async def hook(request: Request, answer: Response) -> Response:
        nonlocal asked
        if request.url.path == "/queue":
            return JSONResponse({"queue_running": [], "queue_pending": []})
        if request.url.path.startswith("/history/"):
            asked += 1
            return JSONResponse({}) if asked < 4 else answer
        return answer

    proxy.on_answer = hook
    proxy.on_message = lambda message: "lose" if kind_of(message).startswith("execut") else "pass"
    with client_of(kind, proxy.url, pace=PATIENT) as client:
        assert client.run(workflows.image(), path=path, timeout=WAIT).images


@kinds
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_post_prompt_is_refused_once_by_the_network(
    kind: Kind, status: int, proxy: Misbehaving, server: ComfyMock
) -> None:
    proxy.answer_once("POST", "/prompt", status, headers={"Retry-After": "0"})
    with client_of(kind, proxy.url) as client:
        assert client.run(workflows.image(), timeout=WAIT).images
    assert runs(server) == 1


@ways
@pytest.mark.parametrize("status", [500, 504])
def test_post_prompt_is_answered_500_although_it_was_taken_and_runs_once(
    kind: Kind, path: Any, status: int, proxy: Misbehaving, server: ComfyMock
) -> None:
    proxy.fail_after_once("POST", "/prompt", status)
    with client_of(kind, proxy.url) as client:
        assert client.run(workflows.image(), path=path, timeout=WAIT).images
    assert runs(server) == 1
    assert proxy.requests["POST", "/prompt"] == 1


@kinds
def test_post_prompt_that_always_fails_says_so(kind: Kind, proxy: Misbehaving, server: ComfyMock) -> None:
    async def hook(request: Request, body: bytes) -> Response | None:
        return Response("broken", 500) if request.method == "POST" else None

    proxy.on_request = hook
    with client_of(kind, proxy.url) as client, pytest.raises(ServerError) as caught:
        client.run(workflows.image(), timeout=WAIT)
    assert caught.value.status == 500
    assert "broken" in str(caught.value)
    assert runs(server) == 0


@ways
@pytest.mark.parametrize("path_asked", ["/history", "/queue"])
def test_history_and_queue_are_answered_500_once(kind: Kind, path: Any, path_asked: str, proxy: Misbehaving) -> None:
    proxy.answer_once("GET", path_asked, 500)
    proxy.on_message = lambda message: "lose" if kind_of(message).startswith("execut") else "pass"
    with client_of(kind, proxy.url) as client:
        assert client.run(workflows.image(), path=path, timeout=WAIT).images


@ways
def test_a_prompt_deleted_while_pending_is_lost(kind: Kind, path: Any, real_time: ComfyMock) -> None:
    with client_of(kind, real_time.url, pace=HURRIED) as client:
        running = client.submit(workflows.slow(), path=path)
        pending = client.submit(workflows.slow(), path=path)
        client.delete_from_queue(pending.prompt_id)
        with pytest.raises(PromptLost):
            pending.result(WAIT)
        assert running.wait(WAIT) == "success"


@ways
def test_the_server_was_restarted_with_an_empty_history(
    kind: Kind, path: Any, real_proxy: Misbehaving, server: ComfyMock
) -> None:
    with client_of(kind, real_proxy.url, pace=HURRIED) as client:
        job = client.submit(workflows.sampled(steps=2000), path=path)
        real_proxy.upstream = server.url
        real_proxy.drop_sockets()
        with pytest.raises(PromptLost):
            job.result(WAIT)


@kinds
def test_a_server_of_an_older_protocol(kind: Kind, proxy: Misbehaving) -> None:
    late = {"progress_state", "execution_success", "feature_flags"}
    proxy.on_message = lambda message: "lose" if kind_of(message) in late else "pass"
    with client_of(kind, proxy.url) as client:
        job = client.submit(workflows.sampled(), path="websocket")
        events = list(job.events())
        assert events[-1] == ev.Ended(job.prompt_id, "success")
        finished = [event.node_id for event in events if isinstance(event, ev.NodeFinished)]
        assert sorted(finished) == ["3", "4", "5", "6", "7", "8", "9"]
        assert [event.value for event in events if isinstance(event, ev.NodeProgress)] == [1, 2, 3, 4]
        assert job.result().images
        with pytest.raises(ExecutionFailed):
            client.run(workflows.failing(), timeout=WAIT)


@kinds
def test_an_old_server_mints_the_prompt_id_itself(kind: Kind, proxy: Misbehaving) -> None:
    async def hook(request: Request, body: bytes) -> Response | None:
        if request.method == "POST" and request.url.path == "/prompt":
            changed = {
                key: value for key, value in httpx.Response(200, content=body).json().items() if key != "prompt_id"
            }
            async with httpx.AsyncClient(verify=False) as http:
                answer = await http.post(f"{proxy.upstream}/prompt", json=changed)
            return Response(answer.content, answer.status_code)
        return None

    proxy.on_request = hook
    with client_of(kind, proxy.url) as client:
        job = client.submit(workflows.image(outputs=2))
        events = list(job.events())
        assert {event.prompt_id for event in events} == {job.prompt_id}
        assert any(isinstance(event, ev.Cached) for event in events)
        assert len(job.result(WAIT).images) == 2


@ways
def test_an_output_of_100_megabytes(kind: Kind, path: Any, server: ComfyMock) -> None:
    # What is left out differs by code that knows no sizes.
    size = (100 if (kind, path) in (("async", "websocket"), ("blocking", "polling")) else 5) * 1024 * 1024
    with client_of(kind, server.url) as client:
        result = client.run({"1": {"class_type": "Text", "inputs": {"size": size}}}, path=path, timeout=60)
        assert len(result.texts["1"][0]) == size


@kinds
def test_a_slow_consumer_of_events(kind: Kind, server: ComfyMock) -> None:
    with client_of(kind, server.url) as client, client_of("blocking", server.url) as other:
        graph = workflows.sampled(steps=300)
        job = client.submit(graph, extra_data={"preview_method": "latent2rgb"})
        events = job.events()
        first = next(events)
        # nobody reads while the run goes on and ends, and other clients are served meanwhile
        assert other.wait_for(job.prompt_id, timeout=60, path="polling").images
        rest = [first, *events]
        values = [event.value for event in rest if isinstance(event, ev.NodeProgress)]
        assert values == sorted(values)
        assert values[-1] == 300
        assert rest[-1] == ev.Ended(job.prompt_id, "success")


@ways
def test_a_timeout_passes_and_the_prompt_goes_on(kind: Kind, path: Any, real_time: ComfyMock) -> None:
    with client_of(kind, real_time.url) as client:
        job = client.submit(workflows.slow(), path=path)
        with pytest.raises(WaitTimeout) as caught:
            job.wait(0.05)
        assert caught.value.state in ("queued", "running")
        assert job.wait(WAIT) == "success"


@ways
def test_cancelling_pending_and_running_prompts(kind: Kind, path: Any, real_time: ComfyMock) -> None:
    with client_of(kind, real_time.url) as client:
        running = client.submit(workflows.sampled(steps=2000), path=path)
        pending = client.submit(workflows.image(), path=path)
        assert pending.cancel()
        with pytest.raises(ExecutionInterrupted) as caught:
            pending.result(WAIT)
        assert caught.value.node_id is None
        assert running.cancel()
        with pytest.raises(ExecutionInterrupted):
            running.result(WAIT)
        assert not running.cancel()


@kinds
def test_cancelling_on_a_server_without_that_route(kind: Kind, real_proxy: Misbehaving) -> None:
    async def hook(request: Request, body: bytes) -> Response | None:
        return Response(status_code=405) if request.url.path.startswith("/api/jobs") else None

    real_proxy.on_request = hook
    with client_of(kind, real_proxy.url) as client:
        running = client.submit(workflows.sampled(steps=2000))
        pending = client.submit(workflows.image())
        assert pending.cancel()
        assert pending.wait(WAIT) == "interrupted"
        assert running.status() == "running"
        assert running.cancel()
        assert running.wait(WAIT) == "interrupted"


@kinds
def test_no_socket_can_be_had(kind: Kind, proxy: Misbehaving) -> None:
    proxy.refuses_sockets = True
    with client_of(kind, proxy.url) as client:
        assert client.run(workflows.image(), path="auto", timeout=WAIT).images
        with pytest.raises(ServerError) as caught:
            client.run(workflows.image(), path="websocket", timeout=WAIT)
        assert caught.value.status == 403


@ways
def test_the_server_goes_away_for_good(kind: Kind, path: Any) -> None:
    pace = replace(PACE, unreachable_after=0.3)
    with workflows.add_nodes(ComfyMock(clock="real")) as server, client_of(kind, server.url, pace=pace) as client:
        job = client.submit(workflows.sampled(steps=2000), path=path)
        server.stop()
        with pytest.raises(ServerUnreachable):
            job.wait(WAIT)


@kinds
def test_messages_come_twice(kind: Kind, proxy: Misbehaving) -> None:
    proxy.on_message = lambda message: "twice"
    with client_of(kind, proxy.url) as client:
        events = list(client.submit(workflows.sampled()).events())
    told = [event for event in events if isinstance(event, (ev.NodeStarted, ev.NodeFinished, ev.NodeOutput))]
    assert len({(type(event), event.node_id) for event in told}) == len(told) == 15
    assert sum(isinstance(event, ev.Ended) for event in events) == 1
