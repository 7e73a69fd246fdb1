"""Waiting until something stands in a journal."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from journal_making import new_journal, prompt, request

from comfy_contracts.messages import Executing, Progress, Status
from comfy_mock.engine.script.director import Director
from comfy_mock.server.journal import Journal, NeverCame

SOON = 20.0
NOT_LONG = 0.01


def waiting(journal: Journal, wait: Callable[[], object]) -> tuple[ThreadPoolExecutor, object]:
    """A wait in a thread of its own, begun."""
    pool = ThreadPoolExecutor(1)
    begun = threading.Event()
    listening = journal.listening

    def noticed(*arguments: object) -> object:
        begun.set()
        return listening(*arguments)  # type: ignore[arg-type]

    journal.listening = noticed  # type: ignore[assignment, method-assign]
    future = pool.submit(wait)
    assert begun.wait(SOON)
    return pool, future


def test_what_has_come_is_there_at_once() -> None:
    journal, _time = new_journal(Director())
    first = request(journal, "GET", "/queue")
    second = request(journal, "GET", "/queue", status=500)
    posted = prompt(journal)
    sent = journal.event(100.0, Executing(node=None, prompt_id="p"), ())
    opened = journal.socket(100.0, 1, "me")
    journal.director.hold("step 3")
    elsewhere(journal)
    assert journal.wait_for_request("GET /queue") is first
    assert journal.wait_for_request("GET /queue", count=2) is second
    assert journal.wait_for_request(status=500) is second
    assert journal.wait_for_prompt(class_type="KSampler") is posted
    assert journal.wait_for_event("executing", node=None) is sent
    assert journal.wait_for_socket(open=True) is opened
    assert journal.wait_for_hold().name == journal.wait_for_hold("step 3").name == "step 3"


def elsewhere(journal: Journal) -> None:
    """Let another thread be the one in which the server runs."""
    thread = threading.Thread(target=lambda: request(journal, "GET", "/elsewhere"))
    thread.start()
    thread.join()


def test_what_comes_later_wakes_the_waiter() -> None:
    journal, _time = new_journal(Director())
    pool, future = waiting(journal, lambda: journal.wait_for_event("progress", node="3", count=2, timeout=SOON))
    with pool:
        journal.event(100.0, Status(1), ())
        steps = [journal.event(100.0, Progress(value=n, max=9, prompt_id="p", node="3"), ()) for n in (1, 2, 3)]
        assert future.result(SOON) is steps[1]  # type: ignore[attr-defined]
    pool, future = waiting(journal, lambda: journal.wait_for_hold("a", timeout=SOON))
    with pool:
        journal.director.hold("b")
        journal.director.hold("a")
        assert future.result(SOON).name == "a"  # type: ignore[attr-defined]


def test_what_changes_later_wakes_the_waiter_and_counts_once() -> None:
    journal, _time = new_journal()
    pool, future = waiting(journal, lambda: journal.wait_for_request(status=200, timeout=SOON))
    with pool:
        record = journal.request(100.0, "GET", "/queue", {}, {})
        assert not future.done()  # type: ignore[attr-defined]
        record.answered(101.0, 200)
        assert future.result(SOON) is record  # type: ignore[attr-defined]
    pool, future = waiting(journal, lambda: journal.wait_for_request("/x", count=2, timeout=SOON))
    with pool:
        request(journal, "GET", "/x")
        assert not future.done()  # type: ignore[attr-defined]
        second = request(journal, "GET", "/x")
        assert future.result(SOON) is second  # type: ignore[attr-defined]
    opened = journal.socket(100.0, 1, "me")
    pool, future = waiting(journal, lambda: journal.wait_for_socket(open=False, timeout=SOON))
    with pool:
        opened.closed(101.0, 1000)
        assert future.result(SOON) is opened  # type: ignore[attr-defined]


def test_waiting_in_an_event_loop() -> None:
    async def run() -> None:
        journal, _time = new_journal(Director())
        wait = asyncio.ensure_future(journal.wait_for_prompt_async(class_type="SaveImage", timeout=SOON))
        await asyncio.sleep(0)
        posted = prompt(journal)
        assert await wait is posted
        assert await journal.wait_for_request_async("POST /prompt") is posted.request
        sent = journal.event(100.0, Status(0), (1,))
        assert await journal.wait_for_event_async("status", connection=1) is sent
        opened = journal.socket(100.0, 1, "me")
        assert await journal.wait_for_socket_async(client_id="me") is opened
        hold = asyncio.ensure_future(journal.wait_for_hold_async("a", timeout=SOON))
        await asyncio.sleep(0)
        journal.director.hold("a")
        assert (await hold).name == "a"
        with pytest.raises(NeverCame):
            await journal.wait_for_hold_async("b", timeout=NOT_LONG)

    asyncio.run(run())


def test_a_server_in_this_thread_cannot_be_waited_for() -> None:
    journal, _time = new_journal()
    request(journal, "GET", "/queue")
    with pytest.raises(RuntimeError, match="await the `_async` method"):
        journal.wait_for_request("GET /history")


def test_the_end_of_the_wait_says_what_came_instead() -> None:
    journal, _time = new_journal(Director())
    journal.director.hold("step 2")
    journal.director.release()
    prompt(journal)
    journal.event(100.0, Progress(value=1, max=9, prompt_id="p", node="3"), ())
    elsewhere(journal)
    expected = (
        "after 0.01 s there was not what was waited for:\n"
        '    journal.wait_for_event("progress", node="4")\n'
        "The nearest of 1 others is progress 3 1/9 to nobody:\n"
        "    (- wanted, + got)\n"
        '    - node: "4"\n'
        '    + node: "3"\n'
        "This would match it:\n"
        '    journal.wait_for_event("progress", node="3")'
    )
    with pytest.raises(NeverCame, match=f"^{re.escape(expected)}$"):
        journal.wait_for_event("progress", node="4", timeout=NOT_LONG)
    with pytest.raises(TimeoutError, match=r"1 prompts like this came:\n    prompt 1 \(p\)"):
        journal.wait_for_prompt(count=2, timeout=NOT_LONG)
    with pytest.raises(NeverCame, match='nearest of 1 others is "step 2", released'):
        journal.wait_for_hold("step 2", timeout=NOT_LONG)
    with pytest.raises(NeverCame, match="There were no WebSockets"):
        journal.wait_for_socket(timeout=NOT_LONG)


def test_waiters_leave_nothing_behind() -> None:
    journal, _time = new_journal()
    with pytest.raises(NeverCame):
        journal.wait_for_request("/x", timeout=NOT_LONG)
    assert journal._listeners == ()
