"""A prompt is queued once or not at all, and what is asked for is what there is."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from both_clients import PACE, RETRIES, Kind, client_of
from scripted_server import GRAPH, PNG, Scripted, broken_off, entry, item, scripted
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from comfy_client import (
    AsyncClient,
    Client,
    Plugin,
    PromptLost,
    Retries,
    ServerError,
    ServerUnreachable,
    WaitTimeout,
    WorkflowError,
)
from comfy_client.images import save_file

WAIT = 10
PATIENT = Retries(attempts=6, first_wait=0.05, longest_wait=0.2)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def slowly(server: Scripted, seconds: float, *, status: int = 200) -> Any:
    """Take a prompt, and only then queue it."""

    async def post(body: dict[str, Any], number: int) -> Response | None:
        await asyncio.sleep(seconds)
        await server.waits(body, number)
        return None if status == 200 else Response(status_code=status)

    return post


def test_a_prompt_whose_answer_is_slow_is_found_and_not_posted_again(kind: Kind, server: Scripted) -> None:
    server.on_post = slowly(server, 0.3)
    with client_of(kind, server.url, timeout=0.1, retries=PATIENT) as client:
        job = client.submit(GRAPH, path="polling")
        assert job.status() == "queued"
    assert server.requests.count("POST /prompt") == 1


def test_a_prompt_that_does_not_turn_up_is_not_posted_again_and_the_error_has_its_id(
    kind: Kind, server: Scripted
) -> None:
    gone_on = threading.Event()

    async def post(body: dict[str, Any], number: int) -> None:
        await asyncio.to_thread(gone_on.wait, WAIT)
        await server.done(body, number)

    server.on_post = post
    with client_of(kind, server.url, timeout=0.1, retries=RETRIES) as client:
        with pytest.raises(ServerUnreachable, match="may have queued it all the same") as caught:
            client.submit(GRAPH, path="polling")
        prompt_id = server.posts[0]["prompt_id"]
        assert caught.value.prompt_id == prompt_id
        gone_on.set()
        assert client.wait_for(prompt_id, path="polling", timeout=WAIT).outputs == {}
    assert server.requests.count("POST /prompt") == 1


@pytest.mark.parametrize("taken", [True, False])
def test_a_connection_that_breaks_during_the_post(kind: Kind, taken: bool, server: Scripted) -> None:
    async def post(body: dict[str, Any], number: int) -> Response:
        if taken:
            await server.waits(body, number)
        return broken_off(Request({"type": "http"}))

    server.on_post = post
    with client_of(kind, server.url, retries=RETRIES) as client:
        if taken:
            assert client.submit(GRAPH, path="polling").status() == "queued"
        else:
            with pytest.raises(ServerUnreachable, match="may have queued it all the same"):
                client.submit(GRAPH, path="polling")
    assert server.requests.count("POST /prompt") == 1


def test_a_gateway_that_gave_up_waiting_has_not_refused(kind: Kind, server: Scripted) -> None:
    later: list[asyncio.Task[None]] = []

    async def post(body: dict[str, Any], number: int) -> Response:
        async def take() -> None:
            await asyncio.sleep(0.15)
            await server.waits(body, number)

        later.append(asyncio.create_task(take()))
        return Response(status_code=504)

    server.on_post = post
    with client_of(kind, server.url, retries=PATIENT) as client:
        assert client.submit(GRAPH, path="polling").status() == "queued"
    assert server.requests.count("POST /prompt") == 1


def test_where_nobody_can_tell_what_became_of_a_prompt_it_is_not_posted_again(kind: Kind, server: Scripted) -> None:
    async def post(body: dict[str, Any], number: int) -> Response:
        return Response(status_code=503)

    server.on_post = post
    server.answers["/queue"] = lambda request: Response(status_code=500)
    with client_of(kind, server.url, retries=RETRIES) as client:
        with pytest.raises(ServerError, match="may have queued it all the same") as caught:
            client.submit(GRAPH, path="polling")
        assert (caught.value.status, caught.value.prompt_id) == (503, server.posts[0]["prompt_id"])
    assert server.requests.count("POST /prompt") == 1


def test_a_server_that_is_not_there_says_nothing_of_a_prompt(kind: Kind) -> None:
    with client_of(kind, "http://127.0.0.1:9", retries=RETRIES) as client:
        with pytest.raises(ServerUnreachable) as caught:
            client.submit(GRAPH, path="polling")
        assert caught.value.prompt_id is None
        assert "queued" not in str(caught.value)


# Ids that were used before


def test_an_id_that_is_used_again_with_the_same_number(kind: Kind, server: Scripted) -> None:
    server.history["mine"] = entry("mine", 1, {"2": {"text": ["old"]}})

    async def post(body: dict[str, Any], number: int) -> Response:
        server.pending = [item("mine", 1)]
        return JSONResponse({"prompt_id": "mine", "number": 1, "node_errors": {}})

    server.on_post = post
    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, prompt_id="mine", number=1, path="polling")
        with pytest.raises(WaitTimeout):
            job.result(0.2)
        server.pending, server.history["mine"] = [], entry("mine", 1, {"2": {"text": ["new"]}})
        assert job.result(WAIT).texts == {"2": ("new",)}


def test_an_id_of_ones_own_is_found_after_a_lost_answer(kind: Kind, server: Scripted) -> None:
    server.history["mine"] = entry("mine", 1, {"2": {"text": ["old"]}})

    async def post(body: dict[str, Any], number: int) -> Response:
        server.history["mine"] = entry("mine", 2, {"2": {"text": ["new"]}})
        return Response(status_code=500)

    server.on_post = post
    with client_of(kind, server.url, retries=RETRIES) as client:
        assert client.run(GRAPH, prompt_id="mine", path="polling", timeout=WAIT).texts == {"2": ("new",)}
    assert server.requests.count("POST /prompt") == 1


# Cancelling


@pytest.mark.parametrize("gone", [True, False])
def test_a_cancelled_prompt_whose_answer_was_lost_was_cancelled(kind: Kind, gone: bool, server: Scripted) -> None:
    server.on_post = server.waits
    answers = [broken_off, lambda request: JSONResponse({"cancelled": False})]

    def cancel(request: Request) -> Response:
        if gone:
            server.pending = []
        return answers.pop(0)(request)

    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, path="polling")
        server.answers[f"/api/jobs/{job.prompt_id}/cancel"] = cancel
        assert job.cancel() is gone
        if gone:
            assert job.wait(WAIT) == "interrupted"
        else:
            assert job.status() == "queued"


def test_a_prompt_that_was_not_cancelled_by_us_is_lost(kind: Kind, server: Scripted) -> None:
    server.on_post = server.waits
    with client_of(kind, server.url, pace=replace(PACE, lost_after=0.1)) as client:
        job = client.submit(GRAPH, path="polling")
        server.pending = []
        server.answers[f"/api/jobs/{job.prompt_id}/cancel"] = lambda request: JSONResponse({"cancelled": False})
        assert not job.cancel()
        with pytest.raises(PromptLost):
            job.result(WAIT)


def test_a_cancelled_submit_leaves_no_socket(server: Scripted) -> None:
    async def main() -> None:
        posted = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def post(body: dict[str, Any], number: int) -> None:
            loop.call_soon_threadsafe(posted.set)
            await asyncio.sleep(WAIT)

        server.on_post = post
        async with AsyncClient(server.url, trust_env=False) as client:
            submitting = asyncio.create_task(client.submit(GRAPH))
            await posted.wait()
            assert client.connected
            submitting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submitting
            assert not client.connected

    asyncio.run(main())


# What is asked for


def test_options_that_there_are_not(kind: Kind, server: Scripted) -> None:
    with client_of(kind, server.url) as client:
        with pytest.raises(TypeError, match="no option 'fornt'; did you mean 'front'"):
            client.submit(GRAPH, fornt=True)
        with pytest.raises(TypeError, match="no option 'timeout'"):
            client.submit(GRAPH, timeout=3)
        ways = (
            lambda **bad: client.submit(GRAPH, **bad),
            lambda **bad: client.job("p", **bad),
            lambda **bad: client.wait_for("p", **bad),
            client.listen,
        )
        for way in ways:
            with pytest.raises(ValueError, match="path is one of 'auto', 'websocket', 'polling', not 'socket'"):
                way(path="socket")
            for interval in (0, -1, float("nan")):
                with pytest.raises(ValueError, match="poll_interval"):
                    way(poll_interval=interval)
        with pytest.raises(ValueError, match="path"):
            client.connect("socket")
        with pytest.raises(ValueError, match="timeout"):
            client.job("p").wait(float("nan"))
    assert not server.requests


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", True])
def test_what_is_no_seed(kind: Kind, seed: Any, server: Scripted) -> None:
    with client_of(kind, server.url) as client, pytest.raises(ValueError, match="a seed is a whole number"):
        client.submit(GRAPH, seed=seed)


@pytest.mark.parametrize(
    ("workflow", "said"),
    [("workflow.json", "from_file"), (Path("workflow.json"), "from_file"), (None, "NoneType"), ([1], "list")],
)
def test_what_is_no_workflow(kind: Kind, workflow: Any, said: str, server: Scripted) -> None:
    with client_of(kind, server.url) as client, pytest.raises(WorkflowError, match=said):
        client.run(workflow)
    assert not server.requests


async def awaited(*_: Any) -> None:
    """What nobody would await."""


class Awaited:
    async def __call__(self, *_: Any) -> None:
        """The same."""


@pytest.mark.parametrize("listener", [awaited, Awaited()])
def test_listeners_that_would_have_to_be_awaited(kind: Kind, listener: Any, server: Scripted) -> None:
    class Awaiting(Plugin):
        on_event = listener

    with client_of(kind, server.url) as client:
        for use in (
            lambda: client.run(GRAPH, on_progress=listener),
            lambda: client.job("p").on_progress(listener),
            lambda: client.on("status", listener),
            lambda: client.once("status", listener),
            lambda: client.use(Awaiting()),
        ):
            with pytest.raises(TypeError, match="not awaited"):
                use()
    assert not server.requests


def test_a_client_of_httpx_of_ones_own_is_used_as_it_is(kind: Kind, server: Scripted) -> None:
    cls = httpx.Client if kind == "blocking" else httpx.AsyncClient
    with (
        pytest.raises(TypeError, match="give headers, timeout to the http_client of your own"),
        client_of(kind, server.url, http_client=cls(), headers={"X": "1"}, timeout=3.0),
    ):
        pass
    own = cls(trust_env=False)
    before = dict(own.headers)
    seen: list[str | None] = []

    def look(request: Request) -> Response:
        seen.append(request.headers.get("comfy-user"))
        return JSONResponse({})

    server.answers["/object_info"] = look
    with client_of(kind, server.url, http_client=own, user="bob") as client:
        client.object_info()
        assert client.base_url.rstrip("/") == server.url
        assert (dict(own.headers), str(own.base_url)) == (before, "")
        if kind == "async":
            client._loop.run_until_complete(own.aclose())
        else:
            own.close()
    assert seen == ["bob"]


# Files


@pytest.mark.parametrize("form", ["bytes", "bytearray", "memoryview", "file", "path", "text path", "stream"])
def test_what_can_be_uploaded(kind: Kind, form: str, server: Scripted, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    sent: list[Any] = []

    async def upload(request: Request) -> Response:
        async with request.form() as fields:
            image: Any = fields["image"]
            sent.append((image.filename, await image.read()))
        return JSONResponse({"name": "a.png", "subfolder": "", "type": "input"})

    server.answers["/upload/image"] = upload
    with client_of(kind, server.url) as client, path.open("rb") as file:
        makers: dict[str, Any] = {
            "bytes": PNG,
            "bytearray": bytearray(PNG),
            "memoryview": memoryview(PNG),
            "file": file,
            "path": path,
            "text path": str(path),
            "stream": io.BytesIO(PNG),
        }
        needs_name = form in ("bytes", "bytearray", "memoryview", "stream")
        client.upload_image(makers[form], name="picture.png" if needs_name else None)
        assert sent == [("picture.png", PNG)]
        if needs_name:
            with pytest.raises(ValueError, match="has no name of its own"):
                client.upload_image(makers[form])
        with pytest.raises(TypeError, match="mode 'rb'"):
            client.upload_image(io.StringIO("text"), name="a.txt")


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert save_file(PNG, "a.png", Path(f"{tmp_path}/out/")) == tmp_path / "out" / "a.png"
    assert save_file(PNG, "a.png", tmp_path / "out") == tmp_path / "out" / "a (1).png"
    assert save_file(PNG, "a.png", tmp_path / "b.png") == tmp_path / "b.png"
    assert save_file(PNG, "README", tmp_path / "LICENSE") == tmp_path / "LICENSE"
    assert save_file(PNG, "a\ud800.png", tmp_path).name == "a_.png"


def test_the_result_is_the_same_each_time(server: Scripted) -> None:
    files = {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}

    async def post(body: dict[str, Any], number: int) -> None:
        server.history[body["prompt_id"]] = entry(body["prompt_id"], number, files)

    server.on_post = post
    server.answers["/view"] = lambda request: Response(PNG)
    with Client(server.url, pace=PACE, trust_env=False) as client:
        job = client.submit(GRAPH, path="polling")
        for _ in range(3):
            assert job.result(WAIT).images[0].read() == PNG
    assert server.requests.count("GET /view") == 1
