"""Every call of the clients, against the fake."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
import workflows
from both_clients import Kind, client_of

from comfy_client import (
    ExecutionFailed,
    InvalidWorkflow,
    NotFound,
    Plugin,
    PromptLost,
    PromptRejected,
    ServerError,
    ServerUnreachable,
    TokenPlugin,
    WaitTimeout,
    Workflow,
    WorkflowError,
)
from comfy_contracts.messages import Status
from comfy_mock import ComfyMock

WAIT = 20


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def client(kind: Kind, shared: ComfyMock) -> Iterator[Any]:
    with client_of(kind, shared.url) as client:
        yield client


def png(size: tuple[int, int] = (4, 3), color: Any = "red", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    PIL.Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def test_status_and_metadata(client: Any) -> None:
    assert client.queue_remaining() == 0
    assert client.system_stats().system.comfyui_version == "0.33.0"
    assert client.features().max_upload_size == 104857600
    assert len(client.object_info()) >= 887
    assert list(client.object_info("KSampler")) == ["KSampler"]
    assert client.object_info("NoSuch") == {}
    assert "KSampler" in client.catalogue()
    assert "ConditioningAverage " in client.node_replacements()
    assert client.workflow_templates() == {}
    assert client.translations() == {}
    assert all(path.startswith("/extensions/") for path in client.extensions())
    assert isinstance(client.global_subgraphs(), dict)
    assert client.global_subgraph("nothing") is None


def test_models(client: Any) -> None:
    assert "checkpoints" in client.model_types()
    checkpoint = next(name for name in client.models("checkpoints") if name.startswith("v1-5"))
    assert checkpoint in client.checkpoints()
    assert any(file["name"] == checkpoint for file in client.model_files("checkpoints"))
    assert any(folder["name"] == "loras" for folder in client.model_folders())
    assert "euler" in client.samplers()
    assert "karras" in client.schedulers()
    assert "pixel_space" in client.vaes()
    for names in (
        client.loras(),
        client.controlnets(),
        client.upscalers(),
        client.hypernetworks(),
        client.embeddings(),
    ):
        assert all(isinstance(name, str) for name in names)
    with pytest.raises(NotFound):
        client.models("clip")
    with pytest.raises(NotFound):
        client.model_metadata("checkpoints", "none.safetensors")
    with pytest.raises(NotFound):
        client.model_preview("checkpoints", "none.safetensors")


def test_queue_and_history(kind: Kind) -> None:
    with workflows.add_nodes(ComfyMock(clock="real")) as server, client_of(kind, server.url) as client:
        running = client.submit(workflows.slow())
        while running.status() != "running":
            assert running.phase == "queued"
        later = client.submit(workflows.slow(), extra_data={"mine": 1}, workflow_metadata={"id": "w"})
        front = client.submit(workflows.slow(), front=True)
        placed = client.submit(workflows.slow(), number=7)
        assert (later.number, front.number, placed.number) == (1, -2, 7.0)
        queue = client.queue()
        assert len(queue.queue_running) + len(queue.queue_pending) == 4 == client.queue_remaining()
        (item,) = [item for item in queue.queue_pending if item.prompt_id == later.prompt_id]
        assert item.extra_data["mine"] == 1
        assert item.extra_data["extra_pnginfo"] == {"workflow": {"id": "w"}}
        assert client.prompt_status(later.prompt_id) == "queued" == later.status()
        assert later.progress().position == 2
        with pytest.raises(WaitTimeout):
            client.prompt_result(later.prompt_id)
        assert client.prompt_status(str(uuid.uuid4())) == "lost"
        assert {job.id for job in client.jobs(status=["pending", "in_progress"]).jobs} >= {later.prompt_id}
        assert client.get_job(later.prompt_id).status == "pending"
        assert client.cancel_jobs(later.prompt_id)
        client.delete_from_queue(placed.prompt_id)
        client.clear_queue()
        assert running.wait(WAIT) == "success"
        assert list(client.history()) == [running.prompt_id]
        assert client.history(max_items=1, offset=1) == {}
        assert client.history_entry(running.prompt_id).outputs == {"1": {"value": ["done"]}}
        assert client.history_entry(later.prompt_id) is None
        client.delete_from_history(running.prompt_id)
        assert client.history() == {}
        client.clear_history()
        with pytest.raises(NotFound):
            client.get_job(running.prompt_id)
        client.interrupt()
        client.interrupt(running.prompt_id)
        client.free(unload_models=True, free_memory=True)


def test_results_of_prompts_of_others(client: Any, shared: ComfyMock) -> None:
    body = {"prompt": workflows.image(outputs=2)}
    prompt_id = httpx.post(f"{shared.url}/prompt", json=body).json()["prompt_id"]
    for path in ("polling", "websocket", "auto"):
        result = client.wait_for(prompt_id, path=path, timeout=WAIT)
        assert len(result.images) == 2
    assert client.prompt_outputs(prompt_id) == result.outputs
    assert client.prompt_result(prompt_id) == result
    names = result.reduce(lambda found, output, node_id: [*found, (node_id, len(output["images"]))], [])
    assert sorted(names) == [("2", 1), ("3", 1)]
    bad = client.submit(workflows.failing())
    assert bad.wait(WAIT) == "error"
    with pytest.raises(ExecutionFailed):
        client.prompt_result(bad.prompt_id)
    with pytest.raises(PromptLost):
        client.prompt_result(str(uuid.uuid4()))


def test_running_with_options(client: Any) -> None:
    own_id = str(uuid.uuid4())
    graph = workflows.sampled(seed=5)
    result = client.run(graph, prompt_id=own_id, seed=77, timeout=WAIT)
    assert result.prompt_id == own_id
    assert result.entry.prompt.prompt["3"]["inputs"]["seed"] == 77
    assert graph["3"]["inputs"]["seed"] == 5
    seeds = {client.run(graph, seed="random", timeout=WAIT).entry.prompt.prompt["3"]["inputs"]["seed"] for _ in "ab"}
    assert len(seeds) == 2
    both = workflows.image(outputs=2)
    assert list(client.run(both, targets=["3"], timeout=WAIT).outputs) == ["3"]
    seen = []
    client.run(workflows.sampled(), on_progress=seen.append, timeout=WAIT)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert (seen[-1].phase, seen[-1].fraction) == ("success", 1.0)


def test_a_workflow_of_the_builder(client: Any, kind: Kind) -> None:
    workflow = Workflow()
    image = workflow.add("EmptyImage", {"width": 8, "height": 8, "batch_size": 1, "color": 3})
    workflow.add("PreviewImage", {"images": image[0]})
    assert len(client.run(workflow, timeout=WAIT).images) == 1
    with pytest.raises(WorkflowError):
        client.run({"nodes": [], "links": []})


def test_a_workflow_is_checked_before_it_is_sent_as_far_as_it_will_run(client: Any, shared: ComfyMock) -> None:
    workflow = Workflow()
    image = workflow.add("EmptyImage", {"width": 8, "height": 8, "batch_size": 1, "color": 4})
    good = workflow.add("PreviewImage", {"images": image[0]})
    workflow.add("PreviewImage", node_id="bad", check=False)
    before = httpx.get(f"{shared.url}/history").json()
    for options in ({}, {"targets": ["bad"]}, {"targets": ["nothing"]}, {"targets": []}):
        with pytest.raises(InvalidWorkflow) as caught:
            client.submit(workflow, **options)
        assert caught.value.problems
        assert isinstance(caught.value, WorkflowError)
    assert httpx.get(f"{shared.url}/history").json() == before
    for targets in ([good.id], good.id):
        assert list(client.run(workflow, targets=targets, timeout=WAIT).outputs) == [good.id]


def test_a_refusal_is_readable(client: Any) -> None:
    graph = workflows.sampled()
    graph["3"]["inputs"]["steps"] = 0
    graph["3"]["_meta"] = {"title": "my sampler"}
    with pytest.raises(PromptRejected) as caught:
        client.run(graph, timeout=WAIT)
    assert caught.value.node_errors["3"].errors[0].type == "value_smaller_than_min"
    text = str(caught.value)
    for part in ("node 3", "'my sampler'", "KSampler", "steps", "0", "from 1 to 10000"):
        assert part in text
    assert client.run(workflows.image(), timeout=WAIT).images


def test_partly_refused_outputs_are_told(client: Any) -> None:
    graph = workflows.image(outputs=2)
    del graph["3"]["inputs"]["images"]
    job = client.submit(graph)
    assert list(job.node_errors) == ["3"]
    assert list(job.result(WAIT).outputs) == ["2"]


def test_files(client: Any, tmp_path: Path) -> None:
    result = client.run(workflows.image(prefix="files"), timeout=WAIT)
    (image,) = result.images
    content = image.read()
    assert content.startswith(b"\x89PNG")
    assert image.pil().size == (16, 8) == client.view_image(image.file).size
    assert client.view(image.file) == content == httpx.get(image.url).content
    assert client.view_url(image.file) == image.url
    assert client.view(image.filename, preview="webp;50")[8:12] == b"WEBP"
    assert image.metadata().prompt["1"]["class_type"] == "EmptyImage"
    saved = image.save(tmp_path)
    assert saved.read_bytes() == content
    assert image.save(tmp_path) != saved
    assert f"{image.filename} [output]" in client.files("output")
    with pytest.raises(NotFound):
        client.view("none.png")
    assert isinstance(client.folder_paths(), dict)


def test_uploads(client: Any, tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / f"{kind}.png"
    path.write_bytes(png())
    uploaded = client.upload_image(path, subfolder="sub")
    assert (uploaded.name, uploaded.subfolder, uploaded.type) == (path.name, "sub", "input")
    assert client.view(uploaded) == png()
    other = client.upload_image(png(color="blue"), name=path.name, subfolder="sub")
    assert other.name == f"{kind} (1).png"
    again = client.upload_image(png(color="blue"), name=path.name, subfolder="sub", overwrite=True)
    assert again.name == path.name
    mask = client.upload_mask(png(mode="RGBA", color=(0, 0, 0, 7)), uploaded, name=f"mask-{kind}.png")
    assert client.view_image(mask).getpixel((0, 0)) == (0, 0, 255, 7)
    with pytest.raises(NotFound):
        client.upload_mask(png(), uploaded.__class__("none.png", "", "input"), name="m.png")
    with pytest.raises(ValueError, match="name"):
        client.upload_image(b"x")


def test_users_settings_and_user_data(kind: Kind, server: ComfyMock) -> None:
    with client_of(kind, server.url, user="bob") as client:
        assert client.users()["storage"] == "server"
        assert client.create_user("bob smith!").startswith("bob-smith-_")
        with pytest.raises(ServerError):
            client.create_user(" ")
        client.store_settings({"a": 1, "b": [None]})
        client.store_setting("c.d", {"x": True})
        client.store_setting("none", None)
        assert client.settings() == {"a": 1, "b": [None], "c.d": {"x": True}, "none": None}
        assert client.setting("a") == 1
        assert client.setting("unknown") is None
        assert client.store_user_data("workflows/ü a.json", b"{}") == "workflows/ü a.json"
        with pytest.raises(ServerError) as caught:
            client.store_user_data("workflows/ü a.json", b"", overwrite=False)
        assert caught.value.status == 409
        assert client.user_data("workflows/ü a.json") == b"{}"
        assert client.user_data("none") is None
        assert client.list_user_data("workflows") == ["ü a.json"]
        (info,) = client.list_user_data("workflows", recurse=True, full_info=True)
        assert info["size"] == 2
        assert client.move_user_data("workflows/ü a.json", "b.json") == "b.json"
        client.delete_user_data("b.json")
        with pytest.raises(NotFound):
            client.delete_user_data("b.json")


def test_logs(client: Any) -> None:
    assert isinstance(client.logs(), str)
    assert set(client.raw_logs()) == {"entries", "size"}
    client.connect("websocket")
    client.subscribe_logs()
    client.subscribe_logs(False)
    client.disconnect()


def test_any_request(client: Any) -> None:
    assert client.request("GET", "/system_stats").status_code == 200
    assert client.request("GET", "/none").status_code == 404


def test_listeners_get_every_event(client: Any) -> None:
    seen: dict[str, list[Any]] = {"all": [], "once": [], "unhandled": [], "executed": []}
    client.on("*", lambda name, payload: seen["all"].append(name))
    client.once("progress_state", seen["once"].append)
    client.on("unhandled", lambda *payload: seen["unhandled"].append(payload))
    off = client.on("executed", seen["executed"].append)
    assert set(client.listened_names()) == {"*", "progress_state", "unhandled", "executed"}
    client.run(workflows.sampled(), timeout=WAIT, path="websocket", extra_data={"preview_method": "latent2rgb"})
    known = {"status", "execution_start", "execution_cached", "progress_state", "executing", "progress", "executed"}
    assert known | {"feature_flags", "preview", "execution_success", "connected"} <= set(seen["all"])
    assert len(seen["once"]) == 1
    assert len(seen["executed"]) == 1
    assert seen["unhandled"]
    off()
    client.off("*")
    client.run(workflows.sampled(), timeout=WAIT, path="websocket")
    assert len(seen["executed"]) == 1


def test_a_listener_that_fails_ends_nothing(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    client.on("executed", lambda message: 1 / 0)
    assert client.run(workflows.image(), timeout=WAIT, path="websocket").images
    assert "ZeroDivisionError" in caplog.text


def test_connecting_and_listening(client: Any) -> None:
    assert not client.connected
    client.connect()
    assert client.connected
    listening = client.listen(WAIT)
    job = client.submit(workflows.image())
    for name, payload in listening:
        if name == "execution_success":
            assert payload.prompt_id == job.prompt_id
            break
    job.wait(WAIT)
    assert client.connected
    client.disconnect()
    assert not client.connected
    client.connect("polling")
    assert not client.connected
    name, payload = next(client.listen(WAIT, path="polling"))
    assert (name, payload) == ("status", Status(0))
    assert list(client.listen(0.0)) == []


def test_a_socket_is_kept_no_longer_than_needed(client: Any) -> None:
    job = client.submit(workflows.image())
    assert client.connected
    job.wait(WAIT)
    assert not client.connected


class Login(Plugin):
    """The plugin that the documentation shows."""

    def __init__(self, url: str) -> None:
        self.url, self.token, self.logins, self.names = url, None, 0, []

    def flow(self, request: httpx.Request) -> Any:
        if self.token is None:
            yield from self.log_in()
        request.headers["Authorization"] = f"Bearer {self.token}"
        response = yield request
        if response.status_code == 401:
            yield from self.log_in()
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request

    def log_in(self) -> Any:
        response = yield httpx.Request("POST", self.url)
        self.token = response.json()["token"]
        self.logins += 1

    def on_event(self, name: str, payload: Any) -> None:
        self.names.append(name)


def test_a_login_plugin(kind: Kind, server: ComfyMock) -> None:
    from misbehaving import misbehaving
    from starlette.responses import JSONResponse, Response

    valid = {"token": "a"}
    with misbehaving(server.url) as proxy:

        async def guard(request: Any, body: bytes) -> Response | None:
            if request.url.path == "/login":
                return JSONResponse(valid)
            good = request.headers.get("authorization") == f"Bearer {valid['token']}"
            return None if good else Response(status_code=401)

        proxy.on_request = guard
        with client_of(kind, proxy.url) as client:
            with pytest.raises(ServerError, match="credentials"):
                client.queue()
            plugin = Login(f"{proxy.url}/login")
            client.use(plugin)
            assert client.run(workflows.image(), timeout=WAIT, path="websocket").images
            valid["token"] = "b"
            assert client.queue_remaining() == 0
            assert plugin.logins == 2
            assert "execution_success" in plugin.names


def test_a_token_goes_into_the_query_of_requests_and_of_the_socket(kind: Kind, server: ComfyMock) -> None:
    from misbehaving import misbehaving

    seen = []
    with misbehaving(server.url) as proxy:

        async def look(request: Any, body: bytes) -> None:
            seen.append(request.query_params.get("token"))

        proxy.on_request = look
        with client_of(kind, proxy.url) as client:
            client.use(TokenPlugin("secret", param="token"))
            assert client.run(workflows.image(), timeout=WAIT, path="websocket").images
    assert set(seen) == {"secret"}


def test_credentials_and_headers_of_httpx(kind: Kind, server: ComfyMock) -> None:
    from misbehaving import misbehaving

    seen = []
    with misbehaving(server.url) as proxy:

        async def look(request: Any, body: bytes) -> None:
            seen.append((request.headers.get("authorization"), request.headers.get("x-mine")))

        proxy.on_request = look
        with client_of(kind, proxy.url, auth=("me", "secret"), headers={"X-Mine": "1"}) as client:
            client.queue()
            client.run(workflows.image(), timeout=WAIT, path="websocket")
    assert set(seen) == {("Basic bWU6c2VjcmV0", "1")}


def test_nobody_answers(kind: Kind) -> None:
    with client_of(kind, "127.0.0.1:1") as client:
        for path in ("auto", "websocket", "polling"):
            with pytest.raises(ServerUnreachable, match=re.escape("127.0.0.1:1")):
                client.run(workflows.image(), path=path)
        with pytest.raises(ServerUnreachable):
            client.connect()
    with pytest.raises(ValueError, match="no server"):
        client_of(kind, "ftp://x").__enter__()
