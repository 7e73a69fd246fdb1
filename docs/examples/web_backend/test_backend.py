"""The back end against a fake ComfyUI: the browser is httpx, and nothing but ComfyUI is faked."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import PIL.Image
import pytest
from backend import create_app

from comfy_client import AsyncClient, Pace, Retries
from comfy_mock import ComfyMock
from comfy_mock.script import EventMatch, Script, at_point, on_node, on_request, on_server, on_socket

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def browser(comfy_mock: ComfyMock) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to a back end that has less patience with ComfyUI than in earnest."""
    pace = Pace(watch_interval=0.05, poll_interval=0.05, lost_after=0.1, unreachable_after=0.5, reconnect_first=0.01)
    comfyui = AsyncClient(comfy_mock.url, pace=pace, retries=Retries(attempts=2, first_wait=0.01))
    app = create_app(comfyui)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as client,
    ):
        yield client


async def generate(browser: httpx.AsyncClient, **wish: Any) -> str:
    """Ask for a picture: the path of the job."""
    answer = await browser.post("/generate", json={"prompt": "a fox in the snow", **wish})
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


async def events(browser: httpx.AsyncClient, job: str) -> list[tuple[str, Any]]:
    """All server-sent events of a job; the stream ends with it."""
    answer = await browser.get(f"{job}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    messages = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.split("\n\n")[:-1]]
    return [(message["event"], json.loads(message["data"])) for message in messages]


async def test_from_the_wish_to_the_picture(browser: httpx.AsyncClient, comfy_mock: ComfyMock) -> None:
    job = await generate(browser, width=256, height=128)
    name, ended = (await events(browser, job))[-1]
    assert (name, ended["state"], ended["progress"]) == ("ended", "success", 1.0)

    picture = await browser.get(ended["image"])
    assert picture.headers["Content-Type"] == "image/png"
    assert PIL.Image.open(io.BytesIO(picture.content)).size == (256, 128)
    comfy_mock.journal.assert_prompt(class_type="CLIPTextEncode", inputs={"text": "a fox in the snow"})
    comfy_mock.journal.assert_prompt(class_type="EmptyLatentImage", inputs={"width": 256, "height": 128})


async def test_every_step_is_told_once_and_in_order(browser: httpx.AsyncClient) -> None:
    told = await events(browser, await generate(browser))
    steps = [data["value"] for name, data in told if name == "progress" and data["max"] == 20]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20


@pytest.mark.comfy_mock(script=Script(rules=[on_node("KSampler", steps=4, previews=True)]))
async def test_the_page_can_show_previews(browser: httpx.AsyncClient) -> None:
    told = await events(browser, await generate(browser))
    previews = [data["url"] for name, data in told if name == "preview"]
    assert len(previews) == 4
    assert all(url.startswith("data:image/jpeg;base64,/9j/") for url in previews)


async def test_two_browsers_that_look_at_one_job_see_the_same(browser: httpx.AsyncClient) -> None:
    job = await generate(browser)
    first, second = await asyncio.gather(events(browser, job), events(browser, job))
    assert first == second
    late = await events(browser, job)  # progress that is out of date is left out
    assert (late[0], late[-1]) == (first[0], first[-1])


@pytest.mark.comfy_mock(clock="manual")
async def test_a_job_half_way(browser: httpx.AsyncClient, comfy_mock: ComfyMock) -> None:
    job = await generate(browser)
    await comfy_mock.run_until_async("progress", value=10)
    assert (await browser.get(job)).json()["state"] == "running"
    assert (await browser.get(f"{job}/image")).status_code == 409

    await comfy_mock.advance_async(60)  # seconds
    assert (await events(browser, job))[-1][0] == "ended"
    assert (await browser.get(job)).json()["state"] == "success"
    assert (await browser.get(f"{job}/image")).status_code == 200


@pytest.mark.comfy_mock(clock="manual")
async def test_stopping_a_job(browser: httpx.AsyncClient, comfy_mock: ComfyMock) -> None:
    job, next_job = await generate(browser), await generate(browser)
    await comfy_mock.run_until_async("progress", value=3)
    assert (await browser.delete(job)).json() == {"stopped": True}

    await comfy_mock.advance_async(60)
    assert (await events(browser, job))[-1][1]["error"] == "the job was stopped"
    assert (await events(browser, next_job))[-1][1]["state"] == "success"  # it hit no other one
    assert (await browser.delete(job)).json() == {"stopped": False}


@pytest.mark.comfy_mock(script=Script(rules=[on_node("KSampler", raises="out_of_memory")]))
async def test_a_picture_that_is_too_large(browser: httpx.AsyncClient) -> None:
    job = await generate(browser, width=1024, height=1024)
    _name, ended = (await events(browser, job))[-1]
    assert (ended["state"], ended["error"]) == ("error", "the picture is too large for the graphics card")
    assert (await browser.get(f"{job}/image")).status_code == 409


@pytest.mark.comfy_mock(script=Script(rules=[on_server("progress", value=3, times=1)]))
async def test_a_restart_of_comfyui_ends_the_job(browser: httpx.AsyncClient) -> None:
    job = await generate(browser)
    assert (await events(browser, job))[-1][1]["state"] == "lost"


@pytest.mark.comfy_mock(
    script=Script(
        rules=[
            on_socket(times=1, end="abort", event=EventMatch(event="progress", value=5)),
            at_point("after_success_before_history", polls=2),
            on_request("GET /view", times=1, reset="after_headers"),
        ]
    )
)
async def test_a_bad_line_to_comfyui_is_not_the_problem_of_the_page(browser: httpx.AsyncClient) -> None:
    job = await generate(browser)
    name, ended = (await events(browser, job))[-1]
    assert (name, ended["state"]) == ("ended", "success")
    assert (await browser.get(ended["image"])).content.startswith(b"\x89PNG")


@pytest.mark.comfy_mock(script=Script(rules=[on_request("POST /prompt", status=503)]))
async def test_a_comfyui_that_has_too_much_to_do(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/generate", json={"prompt": "a fox"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


async def test_a_comfyui_that_is_down(browser: httpx.AsyncClient, comfy_mock: ComfyMock) -> None:
    comfy_mock.stop()
    answer = await browser.post("/generate", json={"prompt": "a fox"})
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text  # where it lives is nobody's business


@pytest.mark.comfy_mock(models={"checkpoints": []})
async def test_a_comfyui_without_the_checkpoint(browser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = await browser.post("/generate", json={"prompt": "a fox"})
    assert answer.status_code == 502
    assert "ckpt_name" in caplog.text


@pytest.mark.parametrize("wish", [{}, {"prompt": ""}, {"prompt": "a fox", "width": 100_000}, {"prompt": "a", "w": 1}])
async def test_wishes_that_nobody_can_fulfil(
    browser: httpx.AsyncClient, comfy_mock: ComfyMock, wish: dict[str, Any]
) -> None:
    assert (await browser.post("/generate", json=wish)).status_code == 422
    comfy_mock.journal.assert_no_request("POST /prompt")


async def test_there_is_no_such_job(browser: httpx.AsyncClient) -> None:
    for path in ("/jobs/0", "/jobs/0/events", "/jobs/0/image"):
        assert (await browser.get(path)).status_code == 404
