"""Many prompts at once: over the wire in hundreds, and ten thousand in the answer of a queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import workflows
from both_clients import PACE, RETRIES, Kind, client_of
from misbehaving import Message, misbehaving
from starlette.requests import Request
from starlette.responses import Response

from comfy_client import AsyncClient, Plugin
from comfy_contracts import jsontext
from comfy_mock import ComfyMock

WAIT = 20
HUNDREDS = 200


class Counting(Plugin):
    """Counts requests by the first part of their path."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def flow(self, request: httpx.Request) -> Any:
        self.asked[f"{request.method} /{request.url.path.split('/')[1]}"] += 1
        yield request


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with workflows.add_nodes(ComfyMock()) as server:
        yield server


@pytest.mark.parametrize("path", ["websocket", "polling"])
def test_hundreds_are_followed_at_once_with_few_questions(path: Any, server: ComfyMock) -> None:
    async def main() -> Counter[str]:
        counting = Counting()
        # Long enough for all of them: each is asked for once, when it is over.
        pace = replace(PACE, watch_interval=WAIT, poll_interval=1.0)
        async with AsyncClient(server.url, pace=pace, retries=RETRIES, trust_env=False, verify=False) as client:
            client.use(counting)
            jobs = [await client.submit(workflows.slow(), path=path) for _ in range(HUNDREDS)]
            assert len({job.prompt_id for job in jobs}) == HUNDREDS
            ends = await asyncio.gather(*(job.wait(WAIT) for job in jobs))
            assert ends == ["success"] * HUNDREDS
            assert not asyncio.all_tasks() - {asyncio.current_task()}
        return counting.asked

    asked = asyncio.run(main())
    assert asked["POST /prompt"] == HUNDREDS
    assert HUNDREDS <= asked["GET /history"] <= HUNDREDS * 2
    assert asked["GET /queue"] <= 20


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.parametrize("path", ["websocket", "polling"])
def test_ten_thousand_in_the_queue_before_ours(kind: Kind, path: Any, server: ComfyMock) -> None:
    others = [
        [number, f"other-{number}", {"1": {"class_type": "X", "inputs": {}}}, {}, ["1"]] for number in range(9_999)
    ]
    listed = jsontext.dumps(others)[1:-1]
    asked = Counter[str]()
    positions = []

    async def long_queue(request: Request, answer: Response) -> Response:
        kept = request.url.path.split("/")[1]
        asked[kept] += 1
        if kept == "queue" and asked["queue"] == 1:
            mine = jsontext.dumps([10_000, job.prompt_id, {}, {}, []])
            running = jsontext.dumps([-1, "running", {}, {}, []])
            # A queue that takes so long is not asked again soon; but what may have been missed is asked for at once.
            proxy.on_message = None
            proxy.drop_sockets()
            return Response(f'{{"queue_running": [{running}], "queue_pending": [{mine}, {listed}]}}')
        return answer if asked["queue"] else Response("{}")

    def silent(message: Message | bytes) -> Any:
        return "lose"

    with (
        misbehaving(server.url) as proxy,
        client_of(kind, proxy.url, pace=replace(PACE, watch_interval=0.05)) as client,
    ):
        if path == "websocket":
            client.connect()
        proxy.on_message = silent
        job = client.submit(workflows.slow(), path=path)
        proxy.on_answer = long_queue
        job.on_progress(lambda progress: positions.append(progress.position))
        assert job.wait(WAIT) == "success"
    assert positions[0] == 10_000
    assert asked["queue"] <= 3
