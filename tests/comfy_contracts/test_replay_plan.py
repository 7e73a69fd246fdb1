from __future__ import annotations

import pytest
import traffic_maker as make
from traffic_maker import OTHER, PROMPT, exchange, har, message, queued, socket, status

from comfy_contracts.har import load, packaged_recordings
from comfy_contracts.replay_plan import Received, Step, Tally, received_before, received_by, steps_of

RECORDINGS = packaged_recordings("0.33.0")


def step(at: float, action: str = "request") -> Step:
    return Step(action, 0, make.START + at)  # type: ignore[arg-type]  # a plain word is what the test writes


def read(*messages: object) -> list[Received]:
    entry = har(socket(*[(1 + index / 10, one) for index, one in enumerate(messages)])).entries[0]
    return received_by(entry)


def same(recorded: str) -> str | None:
    return recorded


def test_steps_come_in_the_order_of_their_times() -> None:
    recording = har(
        socket((1.5, ["hello"]), (1.6, status(0)), at=0, until=4),
        exchange(at=1),
        socket(at=2, until=3),
        exchange(at=3.5),
    )
    assert [(one.action, one.entry) for one in steps_of(recording)] == [
        ("open", 0),
        ("request", 1),
        ("send", 0),
        ("open", 2),
        ("close", 2),
        ("request", 3),
        ("close", 0),
    ]


@pytest.mark.parametrize("name", RECORDINGS)
def test_requests_of_a_recording_keep_their_order_and_sockets_are_opened_first(name: str) -> None:
    steps = steps_of(load(RECORDINGS[name]))
    opened = set()
    assert [one.entry for one in steps if one.action in ("open", "request")] == sorted(
        one.entry for one in steps if one.action in ("open", "request")
    )
    for one in steps:
        if one.action == "open":
            opened.add(one.entry)
        elif one.action != "request":
            assert one.entry in opened


def test_a_message_of_an_earlier_time_is_needed() -> None:
    messages = read(status(0, "s"), status(1))
    assert received_before(step(1.05), messages) == messages[:1]
    assert received_before(step(0.5), messages) == []


def test_in_the_millisecond_of_a_request_only_what_it_cannot_have_caused_is_needed() -> None:
    # A request whose time is told as 1.000 may have been sent at 1.0009, after a message of 1.0005.
    recording = har(
        socket((1.0005, message("progress", value=1)), (1.0006, status(2)), (1.002, message("executed"))),
        exchange("POST", "/interrupt", at=1),
    )
    [request] = [one for one in steps_of(recording) if one.action == "request"]
    needed = received_before(request, received_by(recording.entries[0]))
    assert [one.kind for one in needed] == ["progress"]


def test_a_tally_tells_what_is_missing() -> None:
    needed = Tally(read(status(0, "s"), message("progress"), message("progress"), message("executing", node=None)))
    live = Tally(read(message("progress")))
    assert list(live.lacks(needed, same)) == [
        "1 x status",
        f"1 x progress of prompt {PROMPT}",
        f"1 x executing with node null of prompt {PROMPT}",
    ]
    assert not list(needed.lacks(needed, same))


def test_prompts_are_counted_apart_and_by_their_live_ids() -> None:
    needed = Tally(read(message("progress", PROMPT)))
    assert list(Tally(read(message("progress", OTHER))).lacks(needed, same))
    assert not list(Tally(read(message("progress", OTHER))).lacks(needed, {PROMPT: OTHER}.get))


def test_nothing_is_missing_of_a_prompt_that_was_not_accepted() -> None:
    assert not list(Tally().lacks(Tally(read(message("progress"))), {}.get))


def test_of_a_run_that_has_ended_nothing_more_is_expected_but_its_end() -> None:
    needed = Tally(read(message("progress"), message("execution_success"), message("executing", node=None)))
    ended = Tally(read(message("execution_interrupted")))
    assert [one.split(" of ")[0] for one in ended.lacks(needed, same)] == [
        "1 x execution_success",
        "1 x executing with node null",
    ]


def test_frames_count_for_the_prompt_that_was_spoken_of_last() -> None:
    needed = Tally(read(message("progress", PROMPT), b"\0\0\0\1xx"))
    assert not list(Tally(read(message("progress", PROMPT), b"\0\0\0\1yy")).lacks(needed, same))
    assert list(Tally(read(b"\0\0\0\1yy", message("progress", PROMPT))).lacks(needed, same))


def test_logs_are_not_waited_for() -> None:
    assert not list(Tally().lacks(Tally(read({"type": "logs", "data": {"entries": []}})), same))


@pytest.mark.parametrize("odd", ["not json", "5", "null", '{"type": 5}', '{"data": []}', b"", b"\0"])
def test_anything_can_be_received(odd: str | bytes) -> None:
    [received] = read(odd)
    assert received.prompt is None
    assert not received.is_greeting


def test_the_first_status_of_a_socket_greets_it() -> None:
    assert [one.is_greeting for one in read(status(0, "s"), status(0))] == [True, False]


def test_the_moment_of_a_post_precedes_what_it_causes() -> None:
    recording = har(socket((2.0015, status(1))), queued(at=2))
    [request] = [one for one in steps_of(recording) if one.action == "request"]
    assert received_before(request, received_by(recording.entries[0])) == []
