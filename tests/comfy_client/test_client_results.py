"""What runs made: files that are fetched at once, and pictures that come by socket alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import workflows
from both_clients import Kind, client_of
from misbehaving import Misbehaving, misbehaving
from starlette.requests import Request
from starlette.responses import Response

from comfy_client import NotFound
from comfy_client._tracker import Tracker
from comfy_contracts import frames, messages
from comfy_contracts.prompts import PromptAccepted
from comfy_contracts.results import HistoryEntry
from comfy_mock import ComfyMock

WAIT = 20
NOW = 100.0


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture
def proxy(server: ComfyMock) -> Iterator[Misbehaving]:
    with misbehaving(server.url) as proxy:
        yield proxy


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def test_files_are_fetched_when_they_are_read_and_once(kind: Kind, proxy: Misbehaving) -> None:
    with client_of(kind, proxy.url) as client:
        result = client.run(workflows.image(outputs=3), timeout=WAIT)
        assert ("GET", "/view") not in proxy.requests
        first = [image.read() for image in result.images]
        assert [image.read() for image in result.images] == first
        assert proxy.requests["GET", "/view"] == 3


def test_all_files_can_be_fetched_at_once(kind: Kind, proxy: Misbehaving) -> None:
    under_way: list[str] = []
    most = 0

    async def look(request: Request, body: bytes) -> Response | None:
        nonlocal most
        if request.url.path == "/view":
            under_way.append(request.query_params["filename"])
            most = max(most, len(under_way))
            # Time for the others to come, where they do.
            await asyncio.sleep(0.05)
            under_way.pop()
        return None

    proxy.on_request = look
    with client_of(kind, proxy.url) as client:
        result = client.run(workflows.image(outputs=4), timeout=WAIT, fetch=True)
        assert proxy.requests["GET", "/view"] == 4
        assert result.fetch() == result
        assert all(image.read().startswith(b"\x89PNG") for image in result.images)
        assert proxy.requests["GET", "/view"] == 4
    assert (most > 1) is (kind == "async")


def test_a_file_that_cannot_be_fetched(kind: Kind, proxy: Misbehaving) -> None:
    async def lose(request: Request, body: bytes) -> Response | None:
        lost = request.query_params.get("filename", "").startswith("test1")
        return Response(status_code=404) if lost else None

    with client_of(kind, proxy.url) as client:
        result = client.run(workflows.image(outputs=2), timeout=WAIT)
        proxy.on_request = lose
        with pytest.raises(NotFound):
            result.fetch()
        proxy.on_request = None
        assert all(image.read() for image in result.fetch().images)


def sending(batch: int) -> dict[str, Any]:
    graph = workflows.image(outputs=1)
    graph["1"]["inputs"]["batch_size"] = batch
    graph["5"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    return graph


def test_pictures_that_are_sent_by_socket(kind: Kind, server: ComfyMock, tmp_path: Path) -> None:
    with client_of(kind, server.url) as client:
        graph = sending(3)
        result = client.run(graph, path="websocket", timeout=WAIT)
        polled = client.run(graph, path="polling", timeout=WAIT)
    assert [(image.node_id, image.image_type) for image in result.socket_images] == [("5", "image/png")] * 3
    assert result.socket_images[0].pil().size == (16, 8)
    paths = [image.save(tmp_path) for image in result.socket_images]
    assert [path.read_bytes() for path in paths] == [image.content for image in result.socket_images]
    assert polled.socket_images == []
    assert len(polled.images) == 3


def test_previews_are_no_pictures_of_the_result(kind: Kind, server: ComfyMock) -> None:
    with client_of(kind, server.url) as client:
        job = client.submit(workflows.sampled(), extra_data={"preview_method": "latent2rgb"})
        assert job.result(WAIT).socket_images == []
        assert job.progress().previews


def tracked() -> tuple[Tracker, Any]:
    tracker = Tracker()
    tracker.socket_opened(NOW)
    state = tracker.submitting("p", NOW, uses_socket=True, nodes=["1", "5"], senders=["5"])
    tracker.accepted("p", PromptAccepted("p", 0, {}), NOW)
    return tracker, state


def entry() -> HistoryEntry:
    status = {"status_str": "success", "completed": True, "messages": []}
    return HistoryEntry.from_builtins({"prompt": [0, "p", {}, {}, []], "outputs": {}, "status": status})


def picture(node_id: str) -> frames.PreviewWithMetadata:
    return frames.PreviewWithMetadata(
        node_id=node_id,
        prompt_id="p",
        display_node_id=node_id,
        parent_node_id=None,
        real_node_id=node_id,
        image_type="image/png",
        image=b"png",
    )


def test_pictures_on_their_way_are_waited_for_when_the_history_is_ahead() -> None:
    tracker, state = tracked()
    tracker.history("p", entry(), NOW + 1, NOW + 1)
    assert not state.ended
    tracker.frame(picture("5"), NOW + 2)
    tracker.message(messages.ExecutionSuccess("p", 1), NOW + 2)
    tracker.history("p", entry(), NOW + 2, NOW + 2)
    assert state.phase == "success"
    assert [image.content for image in state.sent] == [b"png"]


def test_pictures_that_never_come_do_not_hold_up_the_end() -> None:
    tracker, state = tracked()
    moment, looks = NOW + 1, 0
    while not state.ended:
        tracker.history("p", entry(), moment, moment)
        action = tracker.next_action("p", moment)
        moment = getattr(action, "at", moment)
        looks += 1
    assert tracker.pace.entry_after <= moment - NOW - 1 <= tracker.pace.entry_after + 0.5
    assert looks < 10


def test_an_old_server_does_not_say_of_which_node_a_picture_is() -> None:
    tracker, state = tracked()
    tracker.message(messages.Progress(0, 1, "p", "5"), NOW)
    tracker.frame(frames.PreviewFrame(frames.PNG, b"png"), NOW)
    tracker.message(messages.Progress(1, 2, "p", "1"), NOW)
    tracker.frame(frames.PreviewFrame(frames.PNG, b"preview"), NOW)
    assert [(image.node_id, image.image_type, image.content) for image in state.sent] == [("5", "image/png", b"png")]
