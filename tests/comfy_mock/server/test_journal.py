"""What a journal holds, and questions to it."""

from __future__ import annotations

import threading

import pytest
from journal_making import GRAPH, new_journal, prompt, request
from msgspec import UNSET

from comfy_contracts.frames import PreviewFrame, TextFrame, UnknownFrame
from comfy_contracts.messages import Executing, NodeProgress, Progress, ProgressState, Status, Unknown
from comfy_mock.engine.answers import Answer, json_answer
from comfy_mock.engine.script.director import Director
from comfy_mock.server.journal_records import ANSWER_BYTES_MAX


def node_progress(node_id: str, value: float) -> NodeProgress:
    return NodeProgress(value, 20, "running", node_id, "p", node_id, None, node_id)


def test_a_request_from_its_coming_to_its_answer() -> None:
    journal, _time = new_journal()
    headers = {"comfy-user": "me"}
    record = journal.request(100.5, "POST", "/api/history%2Fx", {"a": "1"}, headers, b'{"clear": true}', ("1.2.3.4", 5))
    assert (record.status, record.ended_at, record.path) == (None, None, "/history/x")
    assert (record.json, record.client) == ({"clear": True}, ("1.2.3.4", 5))
    record.answered(101.0, 200, b"x" * (ANSWER_BYTES_MAX + 1))
    assert (record.status, record.ended_at, record.answer_bytes) == (200, 101.0, ANSWER_BYTES_MAX + 1)
    assert record.answer == b"x" * ANSWER_BYTES_MAX
    assert journal.requests() == [record]


@pytest.mark.parametrize(
    ("query", "body", "client_id"),
    [
        ({"clientId": "a"}, b"", "a"),
        ({}, b'{"client_id": "b"}', "b"),
        ({}, b'{"client_id": 5}', None),
        ({}, b'{"client_id": ', None),
        ({}, b"\xff\xd8", None),
    ],
)
def test_the_client_of_a_request(query: dict[str, str], body: bytes, client_id: str | None) -> None:
    journal, _time = new_journal()
    assert request(journal, "POST", "/prompt", query=query, body=body).client_id == client_id


def test_requests_by_route_and_by_what_they_have() -> None:
    journal, _time = new_journal()
    entry = request(journal, "GET", "/api/history/abc", headers={"comfy-user": "me"})
    listing = request(journal, "GET", "/history", query={"max_items": "3"}, status=500)
    post = request(journal, "POST", "/history", body=b'{"delete": ["a", "b"], "n": {"x": 1, "y": 2}}')
    assert journal.requests("GET /history/{prompt_id}") == [entry]
    assert journal.requests("/api/history") == journal.requests("* /history") == [listing, post]
    assert journal.requests("get /history/*") == [entry, listing]
    assert journal.requests("POST") == [post]
    assert journal.requests(query={"max_items": "3"}) == journal.requests(status=500) == [listing]
    assert journal.requests(headers={"Comfy-User": "me"}) == [entry]
    assert journal.requests(json_contains={"n": {"y": 2}}) == [post]
    assert journal.requests(json_contains={"delete": ["a"]}) == []
    assert journal.requests(json_contains={"n": {"x": True}}) == []


def test_prompts_that_were_accepted_and_refused() -> None:
    journal, _time = new_journal()
    first = prompt(journal, prompt_id="p1", client_id="me")
    refused = prompt(journal, {}, status=400, prompt_id="mine")
    second = prompt(journal, prompt_id="p2")
    assert [first.place, refused.place, second.place] == [1, None, 2]
    assert (first.prompt_id, first.number, first.client_id, first.graph) == ("p1", 5, "me", GRAPH)
    assert first.refusal is None
    assert refused.refusal == {
        "error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs"},
        "node_errors": {},
    }
    assert (refused.number, refused.request.status) == (None, 400)
    assert journal.prompts() == [first, second]
    assert journal.prompts(accepted=False) == [refused]
    assert journal.prompts(accepted=None) == [first, refused, second]
    assert journal.prompts(client_id="me") == journal.prompts(prompt_id="p1") == [first]
    assert journal.prompts(class_type="KSampler", inputs={"steps": 20.0, "model": ["4", 0]}) == [first, second]
    assert journal.prompts(node="9", class_type="KSampler") == []
    assert journal.prompts(class_type="SaveImage", inputs={"steps": 20}) == []


def test_a_prompt_is_accepted_where_the_server_took_it_whatever_its_client_was_told() -> None:
    journal, _time = new_journal()
    taken = journal.request(100.0, "POST", "/api/prompt", {}, {}, b'{"prompt": {}}')
    taken.handled(json_answer({"prompt_id": "p1", "number": 0, "node_errors": {}}))
    assert [record.prompt_id for record in journal.prompts()] == ["p1"]
    taken.answered(101.0, 500, b"lost")
    not_taken = journal.request(102.0, "POST", "/prompt", {}, {}, b'{"prompt": {}}')
    not_taken.answered(102.0, 429, b'{"error": "slow down"}')
    broken_off = journal.request(103.0, "POST", "/prompt", {}, {}, b'{"prompt": {}}')
    broken_off.answered(103.0, None)
    assert [record.request for record in journal.prompts()] == [taken]
    assert [record.request for record in journal.prompts(accepted=False)] == [not_taken, broken_off]
    assert [record.refusal for record in journal.prompts(accepted=False)] == [{"error": "slow down"}, {}]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"prompt": []}', b'{"prompt": {"1": 5, "2": {"inputs": []}}}', b"\xff"])
def test_bodies_that_are_no_prompts_are_kept_too(body: bytes) -> None:
    journal, _time = new_journal()
    record = journal.request(100.0, "POST", "/prompt", {}, {}, body)
    record.handled(Answer(500, b"trouble"))
    record.answered(100.0, 500, b"trouble")
    assert journal.prompts(class_type="KSampler", accepted=None) == []
    assert len(journal.prompts(accepted=False)) == 1


def test_sockets_until_they_are_gone() -> None:
    journal, _time = new_journal()
    first = journal.socket(100.0, 1, "me")
    refused = journal.socket(100.0, None, "you")
    refused.refused = 503
    assert journal.sockets(open=True) == journal.sockets(connection=1) == [first]
    assert journal.sockets(client_id="you") == journal.sockets(open=False) == [refused]
    first.closed(101.0, 1001)
    assert journal.sockets(open=True) == []
    assert (first.closed_at, first.code) == (101.0, 1001)


def test_messages_by_type_node_and_connection() -> None:
    journal, _time = new_journal()
    journal.event(100.0, Status(1), (1, 2))
    step = journal.event(100.0, Progress(value=3, max=20, prompt_id="p", node="3"), (1,))
    nodes = {"4": node_progress("4", 20), "3": node_progress("3", 3)}
    state = journal.event(100.0, ProgressState(prompt_id="p", nodes=nodes), (1,))
    end = journal.event(100.0, Executing(node=None, prompt_id="p"), ())
    text = journal.event(100.0, TextFrame("5", "hello"), (1, 2))
    preview = journal.event(100.0, PreviewFrame(1, b"jpeg"), (2,))
    custom = journal.event(100.0, Unknown("mine", {"node": "7", "prompt_id": "q"}), (1, 2))
    binary = journal.event(100.0, UnknownFrame(77, b"x"), (1,))
    assert journal.events("progress", node="3", value=3) == [step]
    assert journal.events("progress_state", node="3", value=3) == [state]
    assert journal.events("progress_state", node="4", value=3) == []
    assert journal.events("executing", node=None) == [end]
    assert journal.events("text", node="5") == [text]
    assert journal.events("preview") == [preview]
    assert journal.events("mine", node="7", prompt_id="q") == [custom]
    assert journal.events("binary") == [binary]
    assert journal.events(prompt_id="p") == [step, state, end]
    assert journal.events(connection=2)[1:] == [text, preview, custom]
    assert (step.data, preview.data) == ({"value": 3, "max": 20, "prompt_id": "p", "node": "3"}, UNSET)
    with pytest.raises(ValueError, match="no 'status' event has a node"):
        journal.events("status", node="3")


def test_what_is_held_and_released() -> None:
    director = Director()
    journal, time = new_journal(director)
    director.hold("a")
    director.hold("b")
    time.now = 101.0
    director.release("a")
    first, second = journal.holds()
    assert (first.name, first.at, first.released_at, first.held) == ("a", 100.0, 101.0, False)
    assert (second.name, second.held) == ("b", True)


@pytest.mark.parametrize(
    ("status", "route", "rules", "unserved"),
    [
        (404, None, (), True),
        (405, None, (), True),
        (404, "/view", (), False),
        (404, None, ("mine",), False),
        (403, None, (), False),
        (200, None, (), False),
        (None, None, (), False),
    ],
)
def test_unserved_is_what_no_route_and_no_rule_served(
    status: int | None, route: str | None, rules: tuple[str, ...], unserved: bool
) -> None:
    journal, _time = new_journal()
    record = journal.request(100.0, "GET", "/nowhere", {}, {})
    record.route, record.rules = route, rules
    record.answered(100.0, status)
    assert journal.unserved() == ([record] if unserved else [])


def test_the_oldest_go_when_there_are_too_many() -> None:
    journal, _time = new_journal(records_max=3)
    records = [journal.event(100.0, Status(number), ()) for number in range(5)]
    assert (journal.events(), journal.dropped) == (records[2:], 2)


def test_the_oldest_go_when_they_keep_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfy_mock.server.journal_store.BYTES_MAX", 100)
    journal, _time = new_journal()
    request(journal, "POST", "/upload/image", body=b"x" * 60)
    journal.event(100.0, PreviewFrame(1, b"x" * 30), ())
    assert journal.dropped == 0
    answer = request(journal, "GET", "/view", answer=b"x" * 40)
    preview = journal.event(100.0, PreviewFrame(1, b"x" * 31), ())
    assert (journal.records, journal.dropped) == ([answer, preview], 2)
    huge = request(journal, "POST", "/upload/image", body=b"x" * 200)
    assert journal.records == [huge]


def test_it_can_be_read_while_it_is_written() -> None:
    journal, _time = new_journal(records_max=50)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            journal.event(100.0, Status(1), ())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(len(journal.events("status")) <= 50 for _ in range(300))
    finally:
        stop.set()
        writer.join()


def test_misspelt_arguments_are_told() -> None:
    journal, _time = new_journal()
    with pytest.raises(TypeError, match="'clas_type'; did you mean 'class_type'"):
        journal.prompts(clas_type="KSampler")  # type: ignore[call-arg]
