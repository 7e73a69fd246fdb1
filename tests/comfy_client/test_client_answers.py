"""Answers that mean something else than they seem to, or that cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from both_clients import PACE, Kind, client_of
from scripted_server import GRAPH, PNG, Scripted, entry, item, plain, scripted
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from comfy_client import (
    ComfyError,
    InvalidName,
    NotFound,
    ProtocolError,
    Retries,
    ServerError,
    ServerUnreachable,
    TokenPlugin,
    WaitTimeout,
)

WAIT = 10


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


# Statuses


@pytest.mark.parametrize("status", [300, 302, 304, 307])
def test_a_redirection_is_no_answer_and_says_where_it_leads(kind: Kind, status: int, server: Scripted) -> None:
    server.answers["/view"] = plain(status, Location="/login?token=abc")
    server.answers["/interrupt"] = plain(status, Location="/login?token=abc")
    with client_of(kind, server.url) as client:
        for ask in (lambda: client.view("a.png"), client.interrupt):
            with pytest.raises(ServerError) as caught:
                ask()
            assert caught.value.status == status
            if status in (302, 307):
                assert caught.value.location == "/login"
                assert "It redirects to /login" in str(caught.value)


def test_a_redirected_post_names_the_redirection_and_queues_nothing(kind: Kind, server: Scripted) -> None:
    server.answers["/prompt"] = plain(302, Location="https://sso.example.com/login")
    with client_of(kind, server.url) as client, pytest.raises(ServerError, match=r"sso\.example\.com") as caught:
        client.submit(GRAPH, path="polling")
    assert caught.value.prompt_id is None
    assert server.requests.count("POST /prompt") == 1


def test_a_redirection_that_a_client_of_ones_own_follows_by_another_request_is_no_answer(
    kind: Kind, server: Scripted
) -> None:
    server.answers["/interrupt"] = plain(302, Location="/login")
    server.answers["/login"] = plain(200, b"<html>")
    server.answers["/object_info"] = plain(302, Location="/all")
    server.answers["/all"] = plain(200, {"A": {}})
    cls = httpx.Client if kind == "blocking" else httpx.AsyncClient
    own = cls(follow_redirects=True, trust_env=False)
    with client_of(kind, server.url, http_client=own) as client:
        with pytest.raises(ServerError, match="It redirects to /login"):
            client.interrupt()
        assert client.object_info() == {"A": {}}
        if kind == "async":
            client._loop.run_until_complete(own.aclose())
        else:
            own.close()


def test_an_answer_without_content_is_no_file(kind: Kind, server: Scripted) -> None:
    server.answers["/view"] = plain(204)
    with client_of(kind, server.url) as client, pytest.raises(ProtocolError, match="204"):
        client.view("a.png")


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("path", ["auto", "polling"])
def test_a_queue_that_never_answers_is_no_matter_where_the_history_does(
    kind: Kind, status: int, path: str, server: Scripted
) -> None:
    server.answers["/queue"] = plain(status)
    asked = 0

    def history(request: Request) -> Response:
        nonlocal asked
        asked += 1
        prompt_id = request.url.path.rpartition("/")[2]
        return JSONResponse({prompt_id: entry(prompt_id)} if asked > 1 else {})

    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, path=path)
        server.history.clear()
        server.answers[f"/history/{job.prompt_id}"] = history
        assert job.wait(WAIT) == "success"


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_do_not_count_any_more_end_a_wait(kind: Kind, status: int, server: Scripted) -> None:
    server.on_post = server.waits
    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, path="polling")
        server.answers["/queue"] = server.answers[f"/history/{job.prompt_id}"] = plain(status)
        with pytest.raises(ServerError) as caught:
            job.wait(WAIT)
        assert caught.value.status == status


# What can be read all the same


def test_an_answer_that_names_no_errors_has_none(kind: Kind, server: Scripted) -> None:
    async def short(body: dict[str, Any], number: int) -> Response:
        server.history[body["prompt_id"]] = entry(body["prompt_id"], number)
        return JSONResponse({"prompt_id": body["prompt_id"], "number": number})

    server.on_post = short
    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, path="polling")
        assert job.node_errors == {}
        assert job.wait(WAIT) == "success"


META = {"node_id": "2", "display_node": "2", "parent_node": None, "real_node_id": "2", "more": 1}

ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no status": lambda entry: entry.pop("status"),
    "null status": lambda entry: entry.update(status=None),
    "no messages": lambda entry: entry["status"].pop("messages"),
    "null messages": lambda entry: entry["status"].update(messages=None),
    "odd messages": lambda entry: entry["status"].update(messages=[["execution_start", {}, 3], 5, [1, 2]]),
    "no completed": lambda entry: entry["status"].pop("completed"),
    "no outputs": lambda entry: entry.pop("outputs"),
    "null outputs": lambda entry: entry.update(outputs=None),
    "null output": lambda entry: entry.update(outputs={"2": None}),
    "no meta": lambda entry: entry.pop("meta"),
    "null meta": lambda entry: entry.update(meta=None),
    "odd meta": lambda entry: entry.update(meta={"2": {}}),
    "more": lambda entry: entry.update(more=1, meta={"2": META}),
    "longer prompt": lambda entry: entry["prompt"].extend([1, 2]),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_entry_of_the_history_is_read_as_far_as_it_goes(odd: str, server: Scripted) -> None:
    async def made(body: dict[str, Any], number: int) -> None:
        ODD[odd](server.history.setdefault(body["prompt_id"], entry(body["prompt_id"], number)))

    server.on_post = made
    with client_of("blocking", server.url) as client:
        result = client.run(GRAPH, path="polling", timeout=WAIT)
        assert result.outputs == {}
        assert list(client.prompt_outputs(result.prompt_id)) == []


@pytest.mark.parametrize("broken", [{"prompt": [0, "p"]}, 5, {"outputs": 3, "prompt": [0, "p", {}, {}, []]}])
def test_an_entry_that_nobody_can_read_is_told_soon(kind: Kind, broken: Any, server: Scripted) -> None:
    async def made(body: dict[str, Any], number: int) -> None:
        server.history[body["prompt_id"]] = broken

    server.on_post = made
    began = time.monotonic()
    patient = replace(PACE, unreachable_after=60.0)
    with client_of(kind, server.url, pace=patient) as client, pytest.raises(ProtocolError, match="history"):
        client.run(GRAPH, path="polling", timeout=WAIT)
    assert time.monotonic() - began < WAIT / 2


def test_json_that_is_nested_too_deeply_is_an_error_of_the_tree(kind: Kind, server: Scripted) -> None:
    server.answers["/queue"] = plain(200, b"[" * 100_000 + b"]" * 100_000)
    with client_of(kind, server.url) as client, pytest.raises(ProtocolError, match="queue"):
        client.queue()


# Names and secrets


def test_half_a_character_in_a_name_is_an_error_of_the_tree(kind: Kind, server: Scripted) -> None:
    half = "a\ud800.png"
    with client_of(kind, server.url) as client:
        asks: list[Callable[[], Any]] = [
            lambda: client.view(half),
            lambda: client.view_url(half),
            lambda: client.history_entry(half),
            lambda: client.get_job(half),
            lambda: client.upload_image(PNG, name=half),
            lambda: client.upload_image(PNG, name="a.png", subfolder=half),
            lambda: client.model_preview("checkpoints", half),
            lambda: client.list_user_data(half),
            lambda: client.request("GET", "/x", params={"a": half}),
            lambda: client.wait_for(half, timeout=WAIT),
        ]
        for ask in asks:
            with pytest.raises(InvalidName) as caught:
                ask()
            assert str(caught.value).encode("ascii")
    assert not [request for request in server.requests if request != "WS"]


def test_no_error_shows_a_password_or_a_token(kind: Kind, server: Scripted) -> None:
    with client_of(kind, server.url.replace("//", "//me:secret@"), retries=Retries(attempts=1)) as client:
        client.use(TokenPlugin("secret", param="token"))

        async def refuse(socket: Any) -> Response:
            return Response(status_code=403)

        server.handshake = refuse
        server.answers["/queue"] = plain(200, b"<html>")
        server.answers["/features"] = plain(302, Location=f"{server.url}/login?token=secret")
        errors: list[ComfyError] = []
        for ask in (lambda: client.get_job("x"), client.queue, client.features, lambda: client.connect("websocket")):
            with pytest.raises(ComfyError) as caught:
                ask()
            errors.append(caught.value)
        assert [type(error) for error in errors] == [NotFound, ProtocolError, ServerError, ServerError]
        assert "secret" not in "".join(f"{error} {vars(error)}" for error in errors)
    with client_of(kind, "http://me:secret@127.0.0.1:9", retries=Retries(attempts=1)) as client:
        with pytest.raises(ServerUnreachable, match=r"no answer from http://127\.0\.0\.1:9/queue") as unreachable:
            client.queue()
        assert "secret" not in str(unreachable.value)


def test_credentials_in_the_url_are_sent(kind: Kind, server: Scripted) -> None:
    seen: list[str | None] = []

    def look(request: Request) -> Response:
        seen.append(request.headers.get("authorization"))
        return JSONResponse({})

    server.answers["/object_info"] = look
    with client_of(kind, server.url.replace("//", "//me:secret@")) as client:
        client.object_info()
    assert seen == ["Basic bWU6c2VjcmV0"]


# What is asked of a prompt


def test_the_status_follows_what_the_server_has(kind: Kind, server: Scripted) -> None:
    server.on_post = server.waits
    with client_of(kind, server.url) as client:
        job = client.submit(GRAPH, path="polling")
        assert job.status() == "queued"
        server.running, server.pending = server.pending, []
        assert job.status() == "running"
        server.running = []
        assert [job.status(), client.prompt_status(job.prompt_id)] == ["lost", "lost"]
        assert job.phase != "lost"  # one look proves nothing
        server.history[job.prompt_id] = entry(job.prompt_id)
        assert [job.status(), job.status()] == ["success", "success"]


def test_a_prompt_that_waits_again_has_not_the_result_of_before(kind: Kind, server: Scripted) -> None:
    server.history["again"] = entry("again", 1, {"2": {"text": ["old"]}})
    server.pending = [item("again", 2)]
    with client_of(kind, server.url) as client:
        assert client.prompt_status("again") == "queued"
        with pytest.raises(WaitTimeout):
            client.prompt_result("again")
        for path in ("polling", "auto"):
            with pytest.raises(WaitTimeout):
                client.wait_for("again", path=path, timeout=0.2)
        server.pending = []
        server.history["again"] = entry("again", 2, {"2": {"text": ["new"]}})
        assert client.wait_for("again", timeout=WAIT).texts == {"2": ("new",)}
