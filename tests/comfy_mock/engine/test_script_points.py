"""The gaps of the protocol, held open: what the server shows in each (protocol 4.2, 5.2, 5.12, 5.16, 6.9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from protocol_events import NOW, image, node
from scripted_watch import ScriptedWatch, told

from comfy_mock.engine.jobs import list_jobs
from comfy_mock.engine.script.model import (
    Failure,
    Hold,
    NodeMatch,
    NodeRule,
    Point,
    PointRule,
    PromptMatch,
)

SAVED = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
END = ["status 0", "executing null"]


def held(point: Point, *more: Any) -> tuple[ScriptedWatch, list[str]]:
    """A server that has a prompt held at this point, and what its client was told by then."""
    watch = ScriptedWatch(PointRule(point=point, hold="gap", times=1), *more)
    watch.post(SAVED)
    events = told(watch.rest())
    assert [gate.name for gate in watch.director.held] == ["gap"]
    assert watch.engine.standing() == [f"{point} of prompt 1 is held: release('gap')"]
    return watch, events


def shows(watch: ScriptedWatch) -> dict[str, Any]:
    """What the server says of its one prompt, in all places."""
    queue = watch.engine.queue
    jobs = json.loads(list_jobs(queue, {}).body)["jobs"]
    return {
        "running": len(queue.shown()["queue_running"]),
        "pending": len(queue.shown()["queue_pending"]),
        "remaining": watch.engine.queue_remaining,
        "history": len(queue.history),
        "jobs": [job["status"] for job in jobs],
    }


PENDING = {"running": 0, "pending": 1, "remaining": 1, "history": 0, "jobs": ["pending"]}
RUNNING = {"running": 1, "pending": 0, "remaining": 1, "history": 0, "jobs": ["in_progress"]}
NOWHERE = {"running": 0, "pending": 0, "remaining": 0, "history": 0, "jobs": []}
DONE = {"running": 0, "pending": 0, "remaining": 0, "history": 1, "jobs": ["completed"]}


@pytest.mark.parametrize(
    ("point", "last", "shown", "first_after"),
    [
        ("before_taken", "status 1", PENDING, "status 1"),
        ("before_first_event", "status 1", RUNNING, "execution_start"),
        ("after_success_before_history", "execution_success", RUNNING, "status 0"),
        ("after_history_before_end", "status 0", DONE, "executing null"),
        ("queue_empty_before_history", "execution_success", NOWHERE, "status 0"),
    ],
)
def test_what_is_seen_in_a_gap(point: Point, last: str, shown: dict[str, Any], first_after: str) -> None:
    watch, events = held(point)
    assert events[-1] == last
    assert shows(watch) == shown
    watch.director.release()
    after = told(watch.rest())
    assert after[0] == first_after
    assert [*events, *after] == told_without_a_script()
    assert shows(watch) == DONE


def told_without_a_script() -> list[str]:
    watch = ScriptedWatch()
    watch.post(SAVED)
    return told(watch.rest())


def test_before_taken_comes_before_the_second_status() -> None:
    assert held("before_taken")[1] == ["status 1"]
    assert held("before_first_event")[1] == ["status 1", "status 1"]


@pytest.mark.parametrize("point", ["after_success_before_history", "queue_empty_before_history"])
@pytest.mark.parametrize("end", ["execution_error 2", "execution_interrupted 2"])
def test_the_gaps_behind_errors_and_interruptions(point: Point, end: str) -> None:
    fails = NodeRule(match=NodeMatch(node="2"), raises=Failure()) if "error" in end else None
    stands = NodeRule(match=NodeMatch(node="1"), holds=[Hold()])
    watch = ScriptedWatch(PointRule(point=point, hold="gap"), *([fails] if fails else []), stands)
    watch.post(SAVED)
    watch.rest()
    if fails is None:
        watch.engine.interrupt()
    watch.director.release("hold")
    assert told(watch.rest())[-1] == end
    assert not watch.engine.queue.history
    watch.director.release()
    assert told(watch.rest()) == END


def test_for_so_many_polls() -> None:
    watch = ScriptedWatch(PointRule(point="after_success_before_history", polls=2))
    watch.post(SAVED)
    assert told(watch.rest())[-1] == "execution_success"
    assert watch.engine.standing() == ["after_success_before_history of prompt 1 waits for 2 more polls"]
    watch.engine.polled()
    assert watch.engine.next_wakeup() is None
    assert watch.engine.standing() == ["after_success_before_history of prompt 1 waits for 1 more polls"]
    watch.engine.polled()
    assert told(watch.rest()) == END
    assert not watch.engine.standing()


def test_polls_before_the_gap_do_not_count() -> None:
    watch = ScriptedWatch(PointRule(point="after_history_before_end", polls=1))
    watch.engine.polled()
    watch.post(SAVED)
    watch.engine.polled()
    assert told(watch.rest())[-1] == "status 0"
    watch.engine.polled()
    assert told(watch.rest()) == ["executing null"]


def test_for_so_many_seconds() -> None:
    watch = ScriptedWatch(PointRule(point="before_first_event", seconds=10))
    watch.post(SAVED)
    watch.engine.advance(NOW + 10)
    assert told(watch.take()) == ["status 1", "status 1"]
    watch.engine.advance(NOW + 10.005)
    assert told(watch.take())[0] == "execution_start"


@pytest.mark.parametrize("opens", ["polls", "hold", "seconds"])
def test_of_several_the_first_counts(opens: str) -> None:
    watch = ScriptedWatch(PointRule(point="before_first_event", seconds=10, polls=1, hold="gap"))
    watch.post(SAVED)
    watch.engine.advance(NOW + 1)
    watch.take()
    if opens == "polls":
        watch.engine.polled()
    elif opens == "hold":
        watch.director.release("gap")
    watch.engine.advance(NOW + (11 if opens == "seconds" else 2))
    assert told(watch.take())[-1] == "executing null"
    assert not watch.director.held
    assert not watch.engine.standing()


def test_something_else_that_is_released_does_not_shorten_the_seconds() -> None:
    watch = ScriptedWatch(PointRule(point="before_first_event", seconds=10))
    watch.post(SAVED)
    watch.engine.advance(NOW + 1)
    watch.take()
    watch.director.hold("other")
    watch.director.release()
    watch.engine.advance(NOW + 9)
    assert not watch.take()
    watch.engine.advance(NOW + 10.1)
    assert told(watch.take())[-1] == "executing null"


def test_a_rule_without_any_of_them_holds_nothing_open() -> None:
    watch = ScriptedWatch(PointRule(point="before_first_event"))
    watch.post(SAVED)
    assert told(watch.rest()) == told_without_a_script()
    assert watch.served() == [1]


def test_which_prompt_is_meant() -> None:
    watch = ScriptedWatch(
        PointRule(point="before_taken", match=PromptMatch(prompt=2), hold="second"),
        PointRule(point="before_taken", match=PromptMatch(client_id="other"), hold="others"),
    )
    watch.post(SAVED)
    watch.post(SAVED)
    watch.post(SAVED, "other")
    watch.rest()
    assert len(watch.engine.queue.history) == 1
    assert [gate.name for gate in watch.director.held] == ["second"]
    watch.director.release()
    watch.rest()
    assert len(watch.engine.queue.history) == 2
    assert [gate.name for gate in watch.director.held] == ["others"]


def test_an_interrupt_before_the_first_event_has_no_effect() -> None:
    # protocol 5.12: between taking an item and its start
    watch, _events = held("before_first_event")
    watch.engine.interrupt()
    watch.director.release()
    assert "execution_success" in told(watch.rest())


@pytest.mark.parametrize("body", [{"clear": True}, {"delete": True}])
def test_a_prompt_that_is_deleted_before_it_is_taken(body: dict[str, Any]) -> None:
    watch, _events = held("before_taken")
    if "delete" in body:
        body = {"delete": [watch.engine.queue.pending[0].prompt_id]}
    watch.engine.edit_queue(body)
    watch.rest()
    watch.director.release()
    assert not watch.rest()
    assert shows(watch) == NOWHERE
    watch.post(SAVED)
    assert told(watch.rest()) == told_without_a_script()


def test_another_one_in_front_is_taken_instead() -> None:
    watch, _events = held("before_taken")
    watch.post({"1": node("PreviewAny", source="front")}, front=True, number=-1)
    watch.director.release()
    watch.rest()
    assert [entry["prompt"][0] for entry in watch.engine.queue.history.values()] == [-1.0, 0]


def test_the_run_that_follows_is_not_hidden() -> None:
    watch, _events = held("queue_empty_before_history")
    watch.post({"1": node("PreviewAny", source="next")})
    assert told(watch.take()) == ["status 1"]
    watch.director.release()
    assert told(watch.rest())[:3] == ["status 1", "executing null", "status 1"]
    assert len(watch.engine.queue.history) == 2
