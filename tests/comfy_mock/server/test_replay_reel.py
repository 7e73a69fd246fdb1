"""What a replay gives and tells, decided without a server: the pace, and what holds for any recording."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_making import (
    OTHER,
    PROMPT,
    as_chrome_saves,
    asked,
    exchange,
    har,
    history,
    message,
    packaged,
    queued,
    socket,
    status,
)

from comfy_contracts.har import Har
from comfy_mock.server.replay_answers import answer_of
from comfy_mock.server.replay_ids import Ids
from comfy_mock.server.replay_recording import Recorded, read_recording
from comfy_mock.server.replay_reel import Reel, Refused
from comfy_mock.server.replay_sockets import Later, PlayedSocket

GREETING = status(0, "watcher")


def reel(*entries: dict[str, Any], speed: float | None = None) -> Reel:
    return Reel(read_recording("run.har", har(*entries)), speed)


def answered(played: Reel, method: str, path: str, sent: Any = None, now: float = 0.0) -> Any:
    """The JSON of the answer, which has been sent."""
    found = played.answer(asked(method, path, sent), now)
    assert isinstance(found, Recorded), found
    played.passed(found, now)
    return json.loads(found.response.body or b"null")


def listening(played: Reel) -> PlayedSocket:
    found = played.open(asked("GET", "/ws?clientId=watcher"))
    assert found is not None
    found.opened()
    return found


# -- the pace


def test_with_a_speed_messages_follow_their_prompt_as_recorded() -> None:
    recorded = [(0.1, GREETING), (10.5, status(1)), (14.0, message("execution_start")), (20.0, status(0))]
    played = reel(socket(*recorded, until=99), queued(at=10), exchange("POST", "/interrupt", at=18), speed=2)
    listener = listening(played)
    assert listener.next(100.0) == json.dumps(GREETING)
    assert listener.next(100.0) is None
    answered(played, "POST", "/prompt", {"prompt": {}}, now=103.0)
    assert listener.next(103.0) == Later(0.25)
    assert listener.next(103.25) == json.dumps(status(1))
    assert listener.next(104.0) == Later(1.0)
    assert listener.next(105.0) == json.dumps(message("execution_start"))
    assert listener.next(999.0) is None
    answered(played, "POST", "/interrupt", now=1000.0)
    assert listener.next(1000.0) == Later(1.0)
    assert listener.next(1001.0) == json.dumps(status(0))


def test_without_a_speed_they_follow_at_once() -> None:
    recorded = [(0.1, GREETING), (10.5, status(1)), (99.0, message("execution_start"))]
    played = reel(socket(*recorded, until=999), queued(at=10))
    listener = listening(played)
    answered(played, "POST", "/prompt", {"prompt": {}})
    assert [listener.next(0.0) for _ in range(4)] == [*(json.dumps(what) for _, what in recorded), None]


def test_with_a_speed_polls_get_what_was_said_at_that_time() -> None:
    polls = [exchange("GET", f"/history/{PROMPT}", at=at, answer={"at": at}) for at in (12, 14, 16)]
    played = reel(queued(at=10), *polls, speed=2)
    answered(played, "POST", "/prompt", {"prompt": {}}, now=50.0)
    assert played.answer(asked("GET", f"/history/{PROMPT}"), 50.0) == Later(1.0)
    got = [answered(played, "GET", f"/history/{PROMPT}", now=now)["at"] for now in (51.0, 51.9, 52.0, 53.0, 99.0, 99.0)]
    assert got == [12, 12, 14, 16, 16, 16]


def test_with_a_speed_what_does_not_tell_of_prompts_is_not_waited_for() -> None:
    played = reel(queued(at=10), exchange("GET", "/view?filename=a", at=99, answer=[1]), speed=1)
    answered(played, "POST", "/prompt", {"prompt": {}})
    assert answered(played, "GET", "/view?filename=a") == [1]


# -- what follows what


def test_what_may_follow_a_request_of_an_unknown_kind_waits_for_it_until_more_is_done() -> None:
    said = {"type": "custom", "data": {}}
    entries = [
        socket((0.1, GREETING), (1.1, said), (3.1, message("execution_start")), until=9),
        exchange("POST", "/settings", at=3.05),
        exchange("POST", "/custom/route", at=1),
        queued(at=3),
    ]
    played = reel(*entries)
    listener = listening(played)
    assert [listener.next(0.0), listener.next(0.0)] == [json.dumps(GREETING), None]
    answered(played, "POST", "/custom/route")
    assert [listener.next(0.0), listener.next(0.0)] == [json.dumps(said), None]
    played = reel(*entries)
    listener = listening(played)
    answered(played, "POST", "/prompt", {"prompt": {}})
    assert [json.loads(str(listener.next(0.0)))["type"] for _ in range(3)] == ["status", "custom", "execution_start"]


def test_what_is_told_of_a_prompt_follows_it_whatever_the_clocks_say() -> None:
    played = reel(socket((0.1, GREETING), (0.9, message("execution_start")), until=9), queued(at=1))
    listener = listening(played)
    assert [listener.next(0.0), listener.next(0.0)] == [json.dumps(GREETING), None]
    answered(played, "POST", "/prompt", {"prompt": {}})
    assert listener.next(0.0) == json.dumps(message("execution_start"))


def test_what_a_client_says_later_is_enough() -> None:
    said = [(0.1, GREETING), (0.3, ["first"]), (0.4, status(1)), (0.5, ["second"]), (0.6, status(2))]
    listener = listening(reel(socket(*said, until=9)))
    assert [listener.next(0.0), listener.next(0.0)] == [json.dumps(GREETING), None]
    assert listener.hear("second")
    assert [listener.next(0.0), listener.next(0.0)] == [json.dumps(status(1)), json.dumps(status(2))]
    assert not listener.hear("second")


def test_a_prompt_that_was_refused_changes_nothing() -> None:
    played = reel(queued(at=0, status=400), exchange("GET", "/queue", at=1, answer=[1]))
    assert answered(played, "GET", "/queue") == [1]


# -- what is the same


@pytest.mark.parametrize(
    ("recorded", "live", "same"),
    [
        ({"a": 1, "b": [1.0, True, None, "x"]}, {"b": [1, True, None, "x"], "a": 1.0}, True),
        ({"a": float("nan")}, {"a": float("nan")}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": False}, {"a": 0}, False),
        ({"a": None}, {}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": []}, {"a": {}}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": PROMPT}, {"a": OTHER}, True),
        ({"a": f"{PROMPT}.png"}, {"a": f"{OTHER}.jpg"}, False),
        ({"a": PROMPT, "b": PROMPT}, {"a": OTHER, "b": OTHER}, True),
        ({"a": PROMPT, "b": PROMPT}, {"a": OTHER, "b": PROMPT}, False),
        ({"a": PROMPT, "b": OTHER}, {"a": OTHER, "b": OTHER}, False),
        ({"client_id": "me", "b": "me"}, {"client_id": "you", "b": "me"}, True),
        ({"client_id": "me", "b": "me"}, {"client_id": "you", "b": "you"}, False),
        ({"client_id": "me"}, {"client_id": ""}, False),
        ([], [], True),
    ],
)
def test_bodies_are_equal_but_for_what_the_client_makes_up(recorded: Any, live: Any, same: bool) -> None:
    found = reel(exchange("POST", "/free", sent=recorded)).answer(asked("POST", "/free", live), 0.0)
    assert isinstance(found, Recorded) == same


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("/userdata/a%2Fb?x=1&y=2&y=3", True),
        ("/userdata/%61%2fb?y=2&x=1&y=3", True),
        ("/userdata/a%2Fb?x=1&y=3&y=2", False),
        ("/userdata/a/b?x=1&y=2&y=3", False),
        ("/userdata/a%2Fb?x=1&y=2&y=3&z=", False),
        ("/api/userdata/a%2Fb?x=1&y=2&y=3", False),
    ],
)
def test_paths_are_equal_by_their_segments_and_queries_by_their_names(path: str, same: bool) -> None:
    played = reel(exchange("GET", "/userdata/a%2Fb?x=1&y=2&y=3"))
    assert (played.answer(asked("GET", path), 0.0) is not None) == same


@pytest.mark.parametrize(
    ("recorded", "live", "same"),
    [
        (None, OTHER, True),
        (PROMPT, None, True),
        (PROMPT, OTHER, True),
        (None, OTHER.replace("-", ""), False),
        (None, 5, False),
        ("x", "x", True),
        ("x", None, False),
    ],
)
def test_it_does_not_matter_who_names_a_prompt(recorded: Any, live: Any, same: bool) -> None:
    bodies = [{"prompt": {}, **({} if name is None else {"prompt_id": name})} for name in (recorded, live)]
    played = reel(queued(recorded or PROMPT, at=0, sent=bodies[0]))
    found = played.answer(asked("POST", "/prompt", bodies[1]), 0.0)
    assert isinstance(found, Recorded) == same
    if same:
        assert played.ids.text(f"prompt {PROMPT}") == f"prompt {OTHER if live == OTHER else PROMPT}"


def test_an_exact_request_comes_before_one_under_another_name() -> None:
    entries = [exchange("GET", "/ws", at=0)]
    sockets = [socket((n + 1.0, GREETING), path=f"/ws?clientId={n}", at=n, until=9) for n in range(3)]
    played = reel(*entries, *sockets)
    for n in (2, 1, 0):
        found = played.open(asked("GET", f"/ws?clientId={n}"))
        assert found is not None
        assert found.recorded.question.target == f"/ws?clientId={n}"


def test_an_id_has_one_name_and_a_name_is_of_one_id() -> None:
    entries = [exchange("POST", "/free", at=at, sent={"client_id": name}) for at, name in enumerate("abc")]
    played = reel(*entries)
    places = []
    for name in ("c", "x", "x", "y"):
        found = played.answer(asked("POST", "/free", {"client_id": name}), 0.0)
        places.append(found.place if isinstance(found, Recorded) else type(found))
    assert places == [2, 0, Refused, 1]


def test_a_prompt_cannot_be_named_otherwise_when_its_name_was_known() -> None:
    known = exchange("GET", "/history", at=0, answer={PROMPT: {}})
    entries = [known, queued(PROMPT, at=1, sent={"prompt": {}, "prompt_id": PROMPT})]
    assert reel(*entries).answer(asked("POST", "/prompt", {"prompt": {}, "prompt_id": OTHER}), 0.0) is None
    answered(reel(*entries), "POST", "/prompt", {"prompt": {}, "prompt_id": PROMPT})


def test_the_metadata_of_a_preview_tell_their_length_anew() -> None:
    ids = Ids(frozenset({PROMPT}))
    ids.bind({PROMPT: OTHER.replace("-", "")})
    metadata = json.dumps({"prompt_id": OTHER.replace("-", "")}).encode()
    recorded = json.dumps({"prompt_id": PROMPT}).encode()
    frame = [(4).to_bytes(4, "big") + len(each).to_bytes(4, "big") + each + b"JPEG" for each in (recorded, metadata)]
    assert ids.frame(frame[0]) == frame[1]


def test_a_packed_answer_is_packed_again_with_the_ids_of_now() -> None:
    packed = gzip.compress(json.dumps({"prompt_id": PROMPT}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    (entry,) = har(exchange(answer=packed, headers=headers)).entries
    ids = Ids(frozenset({PROMPT}))
    assert answer_of(entry.response, ids, "GET")[0].body == packed
    ids.bind({PROMPT: OTHER})
    answer, sent = answer_of(entry.response, ids, "GET")
    assert gzip.decompress(answer.body) == json.dumps({"prompt_id": OTHER}).encode()
    assert dict(sent)[b"content-length"] == str(len(answer.body)).encode()


# -- browsers


def test_a_recording_of_a_browser_is_played_as_any_other() -> None:
    """Their bodies are unpacked, though headers say otherwise, and several headers of a name stand in one."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "br", "Set-Cookie": "a=1\nb=2"}
    unanswered = exchange("GET", "/queue", at=1, status=0)
    page = exchange("GET", "/assets/index.js", at=1.5, host="cdn.example")
    recorded = har(exchange("GET", "/queue", at=0, answer='{"a": 1}', headers=headers), unanswered, page, queued(at=2))
    recording = read_recording("browser.har", recorded)
    assert [str(one) for one in recording.requests] == ["GET /queue (entry 0)", "POST /prompt (entry 2)"]
    answer, sent = answer_of(recording.requests[0].response, Ids(frozenset()), "GET")
    assert answer.body == b'{"a": 1}'
    names = [name for name, _ in sent]
    assert names.count(b"set-cookie") == 2
    assert b"content-encoding" not in names


def test_a_file_that_chrome_saved() -> None:
    recording = packaged("t2i_fresh")
    read = read_recording("run.har", recording)
    chrome = read_recording("chrome.har", Har.from_builtins(as_chrome_saves(recording)))
    assert [one.question.value for one in chrome.requests] == [one.question.value for one in read.requests]
    (one,), (other,) = read.sockets, chrome.sockets
    assert [said.payload for said in other.said] == [said.payload for said in one.said]


def test_a_browser_that_does_not_tell_of_messages_still_opens_its_socket() -> None:
    entry = socket(path="/ws?clientId=watcher")
    del entry["_webSocketMessages"], entry["_webSocketClose"]
    assert listening(reel(entry)).next(0.0) is None


def test_a_prompt_is_read_from_a_packed_answer() -> None:
    """Or an id that the server made would be taken for one of the client."""
    packed = gzip.compress(json.dumps({"prompt_id": PROMPT}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    posted = exchange("POST", "/prompt", at=0, sent={"prompt": {}}, answer=packed, headers=headers)
    recording = read_recording("run.har", har(posted, history(PROMPT, [], at=1)))
    assert recording.made_by_client == frozenset()
    assert recording.requests[0].posted == PROMPT


# -- any recording


RUNS = ["/queue", "/history", "/prompt"]
ANYTIME = ["/system_stats", "/users"]
Steps = list[tuple[str, str]]
STEPS = st.lists(st.just(("POST", "/prompt")) | st.tuples(st.just("GET"), st.sampled_from([*RUNS, *ANYTIME])))
"""Polls, and prompts that are all different."""


def play(steps: Steps) -> Reel:
    """A recording in which the answer to each request is its number."""
    entries = [
        exchange(method, path, at=number, answer=[number], sent=body(method, number))
        for number, (method, path) in enumerate(steps)
    ]
    return reel(*entries, exchange("GET", "/extensions", at=len(steps)))


def body(method: str, number: int) -> Any:
    return {"prompt": {"n": number}} if method == "POST" else None


@given(STEPS)
def test_the_same_requests_get_the_same_answers(steps: Steps) -> None:
    played = play(steps)
    got = [answered(played, method, path, body(method, number)) for number, (method, path) in enumerate(steps)]
    assert got == [[number] for number in range(len(steps))]
    assert played.unused() == [f"GET /extensions (entry {len(steps)})"]


@given(STEPS, st.lists(st.sampled_from([*RUNS, *ANYTIME, "POST"])))
def test_a_poll_gets_no_answer_of_another_point(steps: Steps, asks: list[str]) -> None:
    """Between the prompts that have been posted and those that have not: the recorded ones, each once, then the last
    one again; or none, where none was recorded there."""
    played = play(steps)
    posts = [number for number, (method, _) in enumerate(steps) if method == "POST"]
    posted = 0
    last: dict[str, int] = {}
    for ask in asks:
        if ask == "POST":
            if posted < len(posts):
                answered(played, "POST", "/prompt", body("POST", posts[posted]))
                posted += 1
            continue
        start, end = [-1, *posts][posted], [*posts, len(steps)][posted]
        there = [number for number, step in enumerate(steps) if step == ("GET", ask)]
        if ask in RUNS:
            there = [number for number in there if start < number < end]
        found = played.answer(asked("GET", ask), 0.0)
        if not there:
            assert found is None or isinstance(found, Refused)
            continue
        assert isinstance(found, Recorded)
        (number,) = json.loads(found.response.body or b"")
        assert number == next((one for one in there if one > last.get(ask, -1)), there[-1])
        last[ask] = number
