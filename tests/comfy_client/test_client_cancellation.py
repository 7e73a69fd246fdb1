"""Cancelling the task of an asynchronous client, at every point at which it waits for something."""

from __future__ import annotations

import asyncio
import gc
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest
import workflows
from both_clients import PACE, RETRIES, sockets_to

from comfy_client import AsyncClient
from comfy_client import events as ev
from comfy_mock import ComfyMock

POINTS_MAX = 400


@types.coroutine
def cancelled_at(coroutine: Coroutine[Any, Any, Any], point: int) -> Generator[Any, Any, bool]:
    """Run a coroutine, and cancel it when it waits for the `point`th time; whether it was over before."""
    waits = 0
    send: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731 - what to do next, anew each time
    while True:
        try:
            waited_for = send()
        except StopIteration:
            return waits < point
        except asyncio.CancelledError:
            return False
        waits += 1
        if waits == point:
            # What was waited for is given up, as asyncio does it.
            if waited_for is not None:
                waited_for._asyncio_future_blocking = False
                waited_for.cancel()
            send = lambda: coroutine.throw(asyncio.CancelledError())  # noqa: E731
            continue
        try:
            yield waited_for
        except BaseException as error:
            problem = error
            send = lambda: coroutine.throw(problem)  # noqa: B023, E731 - used before the loop goes on
        else:
            send = lambda: coroutine.send(None)  # noqa: E731


async def run(client: AsyncClient) -> None:
    await client.run(workflows.image(), path="websocket")


async def poll(client: AsyncClient) -> None:
    await client.run(workflows.image(), path="polling")


async def transfer(client: AsyncClient) -> None:
    uploaded = await client.upload_image(b"content", name="file.bin", overwrite=True)
    assert await client.view(uploaded) == b"content"
    result = await client.run(workflows.image(outputs=3), path="polling", fetch=True)
    assert [await image.read() for image in result.images]


async def connect(client: AsyncClient) -> None:
    await client.connect()
    await client.disconnect()
    await client.connect("polling")


async def follow(client: AsyncClient) -> None:
    answer = await client.request("POST", "/prompt", json={"prompt": workflows.image()})
    assert await client.job(answer.json()["prompt_id"]).wait() == "success"


async def read_events(client: AsyncClient) -> None:
    job = await client.submit(workflows.sampled())
    events = [event async for event in job.events()]
    assert events[-1] == ev.Ended(job.prompt_id, "success")


async def cancel_running(client: AsyncClient) -> None:
    job = await client.submit(workflows.sampled(steps=2000))
    await job.cancel()
    await job.wait()


async def listen(client: AsyncClient) -> None:
    await client.connect()
    job = await client.submit(workflows.image())
    async for name, _ in client.listen():
        if name == "execution_success":
            break
    await job.wait()


@pytest.mark.parametrize("work", [run, poll, transfer, connect, follow, read_events, cancel_running, listen])
def test_cancellation_at_every_await_point(work: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def main(url: str) -> int:
        for point in range(1, POINTS_MAX):
            async with AsyncClient(url, pace=PACE, retries=RETRIES, trust_env=False, verify=False) as client:
                done = await cancelled_at(work(client), point)
                # the client works on, and what it leaves behind is cleared away when it is closed
                assert (await asyncio.wait_for(client.run(workflows.image()), 20)).images
            assert asyncio.all_tasks() == {asyncio.current_task()}
            if done:
                return point
        raise AssertionError("never came to an end")

    with workflows.add_nodes(ComfyMock()) as server:
        threads = set(threading.enumerate())
        points = asyncio.run(main(server.url))
        assert points > 5
        left = set(threading.enumerate()) - threads
        assert not [thread for thread in left if not thread.name.startswith("asyncio_")]  # those are the server's
        assert not sockets_to(server.url)
    gc.collect()  # what was left open would warn here, and warnings are errors


def test_one_of_two_waiting_is_cancelled_and_the_other_goes_on() -> None:
    async def main(url: str) -> None:
        async with AsyncClient(url, pace=PACE, trust_env=False, verify=False) as client:
            jobs = [await client.submit(workflows.slow()) for _ in range(3)]
            started = asyncio.Event()
            client.on("executing", lambda message: started.set())
            waiting = [asyncio.create_task(job.wait(20)) for job in jobs]
            await started.wait()
            waiting[-1].cancel()
            assert await asyncio.gather(*waiting[:-1]) == ["success", "success"]
            with pytest.raises(asyncio.CancelledError):
                await waiting[-1]
            assert await jobs[-1].wait(20) == "success"

    with workflows.add_nodes(ComfyMock(clock="real"), seconds=0.3) as server:
        asyncio.run(main(server.url))


def test_closing_wakes_those_who_wait() -> None:
    from comfy_client import ClientClosed

    async def main(url: str) -> None:
        client = AsyncClient(url, pace=PACE, trust_env=False, verify=False)
        job = await client.submit(workflows.slow())
        waits: Awaitable[Any] = asyncio.ensure_future(job.wait())
        started = asyncio.Event()
        client.on("execution_start", lambda message: started.set())
        await started.wait()
        await client.close()
        with pytest.raises(ClientClosed):
            await waits
        with pytest.raises(ClientClosed):
            await client.queue()
        await client.close()

    with workflows.add_nodes(ComfyMock(clock="real"), seconds=30) as server:
        asyncio.run(main(server.url))


def test_threads_share_a_blocking_client() -> None:
    from comfy_client import Client

    phases: list[str] = []
    with (
        workflows.add_nodes(ComfyMock()) as server,
        Client(server.url, pace=PACE, trust_env=False, verify=False) as client,
    ):

        def work() -> None:
            for _ in range(5):
                assert client.run(workflows.image(), timeout=20).images
                phases.append("success")

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(phases) == 30
