"""Pictures that take long to draw keep nobody else waiting."""

from __future__ import annotations

import asyncio
import io
import json
from threading import Event

import httpx
import PIL.Image
import pytest

from comfy_mock.server.instance import Instance

WAIT_S_MAX = 10.0
PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
}


def client(instance: Instance) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(instance.app), base_url="http://127.0.0.1:8188")


def png() -> bytes:
    data = io.BytesIO()
    PIL.Image.new("RGB", (3, 2), (1, 2, 3)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("url", ["/view?filename=late.png", "/view?filename=late.png&preview=webp"])
def test_others_are_answered_while_a_file_is_drawn_and_it_is_drawn_once(url: str) -> None:
    instance = Instance()
    begun, others_answered = Event(), Event()
    drawn: list[bool] = []

    def draw() -> bytes:
        begun.set()
        drawn.append(others_answered.wait(WAIT_S_MAX))
        return png()

    instance.engine.files.write("/comfyui/output/late.png", draw, now=0.0)

    async def run() -> tuple[httpx.Response, list[httpx.Response]]:
        async with client(instance) as http:
            looking = [asyncio.create_task(http.get(url)) for _ in range(2)]
            assert await asyncio.to_thread(begun.wait, WAIT_S_MAX)
            other = await http.get("/queue")
            others_answered.set()
            return other, [await look for look in looking]

    other, looks = asyncio.run(run())
    assert other.json() == {"queue_running": [], "queue_pending": []}
    assert drawn == [True]
    assert [look.status_code for look in looks] == [200, 200]
    assert looks[0].content == looks[1].content
    with PIL.Image.open(io.BytesIO(looks[0].content)) as picture:
        assert picture.size == (3, 2)


class HandClock:
    """A clock that a test moves, behind the server's back."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def wait(self, due: float | None, wake: asyncio.Event) -> None:
        await wake.wait()


def test_what_is_due_happens_before_a_file_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # the first run of a process imports much, and would be cut short for the sake of others
    monkeypatch.setattr("comfy_mock.server.runner.SLICE_S_MAX", WAIT_S_MAX)
    clock = HandClock()
    instance = Instance(clock=clock)

    async def run() -> list[int]:
        async with client(instance) as http:
            sent = await http.post("/prompt", content=json.dumps({"prompt": PROMPT}))
            early = await http.get("/view?filename=a_00001_.png")
            clock.time += 60.0
            late = await http.get("/view?filename=a_00001_.png")
            return [sent.status_code, early.status_code, late.status_code]

    assert asyncio.run(run()) == [200, 404, 200]


def test_what_fails_aside_is_answered_as_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    instance = Instance()
    instance.engine.files.write("/comfyui/output/a.txt", b"no picture", now=0.0)

    async def run() -> httpx.Response:
        async with client(instance) as http:
            return await http.get("/view?filename=a.txt&preview=webp")

    assert asyncio.run(run()).status_code == 500
    messages = [record.getMessage() for record in caplog.records if record.name == "comfy_mock.server"]
    assert [message.split(":")[0] for message in messages] == ["GET /view is answered 500, as a real server would"]
