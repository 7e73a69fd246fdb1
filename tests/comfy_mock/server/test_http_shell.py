"""How the shell treats bodies, failures and the runner (protocol 1.1, 1.3)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from shell_driver import StubServer, app, client, recording

from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.server.asgi import BodyTooLarge, ClientGone, answer_headers, read_body
from comfy_mock.server.http import HttpRequest, MalformedJson


def requests_to(path: str) -> list[tuple[HttpRequest, int]]:
    """The recorded bodies that were sent to one route, and the statuses of their answers."""
    return [
        (
            HttpRequest(
                "POST",
                path,
                headers={header.name.lower(): header.value for header in entry.request.headers},
                body=entry.request.body,
            ),
            entry.response.status,
        )
        for entry in recording("malformed_bodies")
        if entry.request.method == "POST" and entry.request.url.endswith(path)
    ]


def test_what_is_json_is_what_the_settings_took() -> None:
    taken = requests_to("/settings/Some.Id")
    assert len(taken) == 21
    assert [not kind_of_body(request).startswith("no ") for request, _ in taken] == [
        status == 200 for _, status in taken
    ]


def kind_of_body(request: HttpRequest) -> str:
    try:
        return "an object" if isinstance(request.json(), dict) else "another value"
    except MalformedJson:
        return "no JSON"
    except ServerTrouble:
        return "no text"


def test_what_is_no_text_is_told_from_what_is_no_json() -> None:
    """/interrupt ignores a body that is not JSON, but fails on one that is not text, and on JSON of another shape."""
    statuses = {"an object": 200, "another value": 500, "no JSON": 200, "no text": 500}
    taken = requests_to("/interrupt")
    assert [statuses[kind_of_body(request)] for request, _ in taken] == [status for _, status in taken]
    assert {kind_of_body(request) for request, _ in taken} == set(statuses)


def test_a_body_is_decoded_with_its_charset() -> None:
    headers = {"content-type": "application/json; charset=utf-16"}
    assert HttpRequest("POST", "/prompt", headers=headers, body='{"ü": 1}'.encode("utf-16")).json() == {"ü": 1}
    with pytest.raises(ServerTrouble):
        HttpRequest("POST", "/prompt", headers={"content-type": "text/plain; charset=nope"}, body=b"{}").json()


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_what_python_cannot_hold_is_trouble_even_where_malformed_json_is_none(body: bytes) -> None:
    with pytest.raises(ServerTrouble) as caught:
        HttpRequest("POST", "/interrupt", body=body).json()
    assert not isinstance(caught.value, MalformedJson)


def received(*messages: dict[str, Any]) -> Any:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    receive.left = waiting  # type: ignore[attr-defined]
    return receive


def test_a_body_is_read_to_its_end() -> None:
    receive = received(
        {"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"}
    )
    assert asyncio.run(read_body(receive, HttpRequest("POST", "/"), 3)) == b"abc"


def test_reading_stops_as_soon_as_the_limit_is_passed() -> None:
    receive = received(*[{"type": "http.request", "body": b"x" * 10, "more_body": True}] * 9)
    with pytest.raises(BodyTooLarge) as refused:
        asyncio.run(read_body(receive, HttpRequest("POST", "/"), 25))
    assert refused.value.unread
    assert len(receive.left) == 6


@pytest.mark.parametrize("length", ["26", "9" * 30])
def test_nothing_is_read_of_a_body_that_says_it_is_too_large(length: str) -> None:
    receive = received({"type": "http.request", "body": b"x"})
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(receive, HttpRequest("POST", "/", headers={"content-length": length}), 25))
    assert receive.left


def test_a_client_that_leaves_early_is_no_error() -> None:
    receive = received({"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        asyncio.run(read_body(receive, HttpRequest("POST", "/"), 25))


def sent_to(server: StubServer, method: str, path: str, **arguments: Any) -> Any:
    async def run() -> Any:
        async with client(app(server)) as http:
            return await http.request(method, path, **arguments)

    return asyncio.run(run())


def test_the_answer_is_sent_while_the_runner_waits() -> None:
    """Or the first event of a prompt could be seen before POST /prompt is answered."""
    server = StubServer()
    during: list[int] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            during.append(server.answering_now)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/prompt",
            "raw_path": b"/prompt",
            "query_string": b"",
            "headers": [],
        }
        receive = received(
            {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}
        )
        await app(server)(scope, receive, send)

    asyncio.run(run())
    assert during == [1, 1]
    assert (server.answering_now, server.answered) == (0, 1)


def test_a_bug_is_logged_with_its_traceback_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    answer = sent_to(StubServer(), "GET", "/bug")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error\n\nServer got itself in trouble")
    (record,) = [record for record in caplog.records if record.name == "comfy_mock.server"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_trouble_of_the_real_server_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    assert sent_to(StubServer(), "GET", "/trouble").status_code == 500
    assert [record.getMessage() for record in caplog.records if record.name == "comfy_mock.server"] == [
        "GET /trouble is answered 500, as a real server would: asked for"
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_the_origin_rule_comes_before_everything(method: str) -> None:
    answer = sent_to(StubServer(), method, "/nope", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.content, "content-type" in answer.headers) == (403, b"", False)


def test_of_repeated_parameters_the_first_counts() -> None:
    answer = sent_to(StubServer(), "GET", "/history/x?a=1&a=2&b=%C3%BC+%2B&c&d=1;2")
    assert answer.json()["query"] == {"a": "1", "b": "ü +", "c": "", "d": "1;2"}


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\ud800"])
def test_a_header_that_would_break_the_answer_is_trouble(value: str) -> None:
    with pytest.raises(ServerTrouble):
        answer_headers(Answer(200, headers=(("X-Name", value),)), "GET", 0.0)


def test_names_in_headers_are_raw_utf8() -> None:
    headers = dict(answer_headers(Answer(200, headers=(("X-Name", "ü"),)), "GET", 0.0))
    assert headers[b"x-name"] == b"\xc3\xbc"
