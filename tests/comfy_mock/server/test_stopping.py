"""A server that stops keeps nobody waiting, whatever is under way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import httpx
import msgspec
import pytest
from fault_driver import post, raw

from comfy_mock import ComfyMock
from comfy_mock.script import Expand, Script, on_node
from comfy_mock.server.calls import Calls

SOON = 20.0
NODE = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}}


def asked_again(
    call: Callable[[], object], begun: threading.Event, stopped: threading.Event, errors: list[str]
) -> None:
    try:
        while not stopped.is_set():
            call()
            begun.set()
    except RuntimeError as error:
        errors.append(str(error))


@pytest.mark.parametrize("what", ["release", "reset", "add_rules", "advance"])
def test_no_call_waits_for_a_server_that_stops(what: str) -> None:
    for _ in range(5):
        server = ComfyMock(clock="manual").start()
        calls: dict[str, Callable[[], object]] = {
            "release": server.release,
            "reset": server.reset,
            "add_rules": server.add_rules,
            "advance": lambda server=server: server.advance(0.01),
        }
        begun, stopped = threading.Event(), threading.Event()
        errors: list[str] = []
        asking = threading.Thread(target=asked_again, args=(calls[what], begun, stopped, errors), daemon=True)
        asking.start()
        assert begun.wait(SOON)
        server.stop()
        stopped.set()
        asking.join(SOON)
        assert not asking.is_alive()
        assert all("does not run" in error or "was stopped" in error for error in errors)


def test_no_task_waits_for_a_server_that_stops() -> None:
    async def main() -> None:
        async with ComfyMock(clock="manual") as server:
            waiting = [asyncio.ensure_future(server.run_until_async("executing")) for _ in range(3)]

            async def busy() -> None:
                while True:
                    await server.advance_async(0.001)

            busy_ones = [asyncio.ensure_future(busy()) for _ in range(3)]
            await server.advance_async(0)
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, *busy_ones, return_exceptions=True), SOON)
        assert all(isinstance(outcome, Exception) for outcome in outcomes)
        assert all(isinstance(outcome, RuntimeError) for outcome in outcomes[3:])

    asyncio.run(main())


def test_a_call_that_an_ended_loop_never_began_fails() -> None:
    async def begin() -> Calls:
        return Calls()

    calls = asyncio.run(begin())
    calls._loop = type("Deaf", (), {"call_soon_threadsafe": lambda *_: None})()  # type: ignore[assignment]

    async def nothing() -> None:
        raise AssertionError

    future = calls.submit(nothing)
    calls.abandon()
    with pytest.raises(RuntimeError, match="does not run"):
        future.result(0)
    with pytest.raises(RuntimeError, match="does not run"):
        calls.submit(nothing)


def test_time_that_is_let_pass_for_long_does_not_keep_a_server_from_stopping() -> None:
    rules = [on_node("EmptyImage", steps=1_000_000)]
    with ComfyMock(clock="manual", script=Script(rules=rules)) as server:
        post(server)
        errors: list[str] = []

        def run() -> None:
            try:
                server.advance(1e6)
            except RuntimeError as error:
                errors.append(str(error))

        running = threading.Thread(target=run, daemon=True)
        running.start()
        server.journal.wait_for_event("progress", timeout=SOON)
        server.stop()
        running.join(SOON)
        assert errors in (
            ["the server was stopped before so much time had passed"],
            ["this ComfyMock does not run: use `with ComfyMock() as server:` or call start()"],
        )


def test_half_an_upload_does_not_keep_a_server_from_stopping() -> None:
    server = ComfyMock().start()
    with raw(server) as connection:
        connection.sendall(b"POST /upload/image HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        httpx.get(f"{server.url}/queue")  # which comes after what was sent before
        begun = time.perf_counter()
        server.stop()
        assert time.perf_counter() - begun < 1


def test_a_wait_for_the_journal_does_not_keep_a_server_from_stopping() -> None:
    server = ComfyMock().start()
    body = b'{"for": "event"}'
    with raw(server) as connection:
        head = f"POST /__comfy_mock__/journal/wait HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        httpx.get(f"{server.url}/queue")
        begun = time.perf_counter()
        server.stop()
        assert time.perf_counter() - begun < 1


@pytest.mark.parametrize("clock", ["instant", "manual"])
def test_a_rule_does_not_fit_what_it_expands_to(clock: str) -> None:
    expanding = on_node("EmptyImage", expand=Expand(nodes={"a": NODE}, outputs=[["a", 0]]))
    within = on_node("EmptyImage", expand=Expand(nodes={"b": NODE}, outputs=[["b", 0]]), name="within")
    rules = [msgspec.structs.replace(expanding, times=9), within]
    with ComfyMock(clock=clock, script=Script(rules=rules)) as server:
        post(server)
        if clock == "manual":
            server.run_until("executing", node=None)
        server.journal.wait_for_event("executing", node=None)
        # the posted node, its child by the second rule, and that one's child by neither
        assert [use.served for use in server.rules] == [1, 1]
        server.journal.assert_event("execution_success", times=1)
