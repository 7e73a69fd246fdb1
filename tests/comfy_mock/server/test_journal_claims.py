"""Claims and waits that could mislead: misspelt names, journals that are over, waits that cannot end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fault_driver import post

from comfy_mock import ComfyMock, Instance
from comfy_mock.script import Hold, Script, on_node
from comfy_mock.server.journal import Journal, NeverCame

SOON = 20.0


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (lambda journal: journal.assert_no_request("POST /interupt"), "did you mean 'POST /interrupt'"),
        (lambda journal: journal.assert_no_request("/interupt"), "did you mean '/interrupt'"),
        (lambda journal: journal.assert_no_request("POST interrupt"), "must begin with a slash"),
        (lambda journal: journal.assert_request("POST /interupt", times=0), "did you mean 'POST /interrupt'"),
        (lambda journal: journal.assert_event("excuted", times=0), "did you mean 'executed'"),
        (lambda journal: journal.assert_prompt(class_type="EmptyImge", times=0), "did you mean 'EmptyImage'"),
        (lambda journal: journal.assert_prompt(class_type="Qqqqqq", times=0), "the server has no class 'Qqqqqq'"),
        (
            lambda journal: journal.assert_prompt(class_type="EmptyImage", inputs={"widht": 64}, times=0),
            "EmptyImage has no input 'widht'; did you mean 'width'",
        ),
    ],
)
def test_a_claim_of_nothing_with_a_misspelt_name(claim: Callable[[Journal], None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claim(Instance().journal)


@pytest.mark.parametrize(
    "claim",
    [
        lambda journal: journal.assert_no_request(),
        lambda journal: journal.assert_no_request("POST /interrupt"),
        lambda journal: journal.assert_no_request("POST"),
        lambda journal: journal.assert_no_request("/api/history/{prompt_id}"),
        lambda journal: journal.assert_no_request("GET /customnode/getlist"),
        lambda journal: journal.assert_event("my_pack.progress", times=0),
        lambda journal: journal.assert_event("executed", times=0),
        lambda journal: journal.assert_prompt(class_type="EmptyImage", inputs={"whatever": 1}, times=0),
        lambda journal: journal.assert_prompt(class_type="Mine", accepted=False, times=0),
    ],
)
def test_a_claim_of_nothing_that_proves_something(claim: Callable[[Journal], None]) -> None:
    claim(Instance().journal)


def test_the_journal_of_before_a_reset_proves_nothing_of_after() -> None:
    with ComfyMock() as server:
        old = server.journal
        server.reset()
        post(server)
        with pytest.raises(RuntimeError, match=r"the server was reset, and goes on in `server\.journal`"):
            old.assert_no_request("POST /prompt")
        with pytest.raises(RuntimeError, match="cannot come any more: the server was reset"):
            old.wait_for_prompt()


def test_a_reset_wakes_those_who_wait() -> None:
    with ComfyMock() as server:
        journal, begun, told = server.journal, threading.Event(), []
        listening = journal.listening

        def noticed(*arguments: Any) -> Any:
            begun.set()
            return listening(*arguments)

        journal.listening = noticed  # type: ignore[method-assign]

        def wait() -> None:
            try:
                journal.wait_for_event("executed", timeout=SOON)
            except RuntimeError as error:
                told.append(str(error))

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert begun.wait(SOON)
        server.reset()
        waiting.join(SOON)
        assert told == [
            "what was waited for cannot come any more: the server was reset, and goes on in `server.journal`"
        ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "one waits for 1 record or more, not for 0"),
        ({"count": "2"}, "one waits for 1 record or more, not for '2'"),
        ({"timeout": None}, "timeout is a number of seconds"),
        ({"timeout": -1}, "timeout is a number of seconds"),
        ({"timeout": float("nan")}, "timeout is a number of seconds"),
    ],
)
def test_a_wait_for_what_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with ComfyMock() as server:
        with pytest.raises(ValueError, match=message):
            server.journal.wait_for_request("GET /queue", **arguments)
        with pytest.raises(ValueError, match=message):
            asyncio.run(server.journal.wait_for_request_async("GET /queue", **arguments))


def test_what_is_there_needs_no_time() -> None:
    with ComfyMock() as server:
        httpx.get(f"{server.url}/queue")
        assert server.journal.wait_for_request("GET /queue", timeout=0).path == "/queue"
        assert asyncio.run(server.journal.wait_for_request_async("GET /queue", timeout=0)).path == "/queue"


def test_a_wait_in_vain_tells_what_is_held() -> None:
    with ComfyMock(script=Script(rules=[on_node("EmptyImage", holds=Hold(name="step 3"))])) as server:
        post(server)
        server.journal.wait_for_hold("step 3")
        with pytest.raises(ValueError, match="nothing is held under 'stpe 3'; did you mean 'step 3'"):
            server.release("stpe 3")
        with pytest.raises(NeverCame, match="Held now: 'step 3'"):
            server.journal.wait_for_event("executed", timeout=0.01)


def test_a_wait_in_vain_tells_of_a_clock_that_stands_still() -> None:
    with ComfyMock(clock="manual") as server:
        post(server)
        with pytest.raises(NeverCame, match=r"prompts run only in advance\(\) and run_until\(\)"):
            server.journal.wait_for_event("executed", timeout=0.01)


def test_a_server_does_not_wait_for_itself_before_it_was_asked_anything() -> None:
    async def wait() -> None:
        Instance().journal.wait_for_event("executed", timeout=0.01)

    with pytest.raises(RuntimeError, match="would wait for itself"):
        asyncio.run(wait())


def test_another_loop_may_be_blocked() -> None:
    with ComfyMock() as server:
        server.reset()

        async def wait() -> None:
            server.journal.wait_for_event("executed", timeout=0.01)

        with pytest.raises(NeverCame):
            asyncio.run(wait())


def test_a_rule_that_another_one_hides_says_so() -> None:
    rules = [on_node(duration=0.1, name="all"), on_node("EmptyImage", duration=3)]
    with ComfyMock(script=Script(rules=rules)) as server:
        post(server)
        server.journal.wait_for_event("executing", node=None)
        with pytest.raises(AssertionError, match="all was asked first, and took it") as caught:
            server.journal.assert_rules_used()
        assert "Nothing of its kind came" not in str(caught.value)
