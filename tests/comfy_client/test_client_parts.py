"""The smaller parts of the client: errors, retries, requests, plugins, listeners, and the rules of the package."""

from __future__ import annotations

import pickle
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import comfy_client
from comfy_client import _calls as calls
from comfy_client import _errors
from comfy_client._errors import (
    ClientClosed,
    ComfyError,
    ExecutionFailed,
    ExecutionInterrupted,
    InvalidName,
    InvalidWorkflow,
    MetadataError,
    NotFound,
    PromptLost,
    PromptRejected,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    WaitTimeout,
    WorkflowError,
)
from comfy_client._plugins import Plugin, chained
from comfy_client._requests import base_url_of, error_of, read
from comfy_client._retries import BadStatus, NoAnswer, Retries, retry_after
from comfy_client._workflow_checks import Problem
from comfy_contracts import messages
from comfy_contracts.prompts import NodeErrors, ValidationReason

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client"))

URL = "http://x/queue"

ERRORS: list[ComfyError] = [
    WorkflowError("no"),
    InvalidName("a\ud800"),
    MetadataError("no picture"),
    InvalidWorkflow([Problem("value_not_in_list", "no such sampler", "refused", "3", "KSampler", "Main", "name")]),
    PromptRejected(
        ValidationReason("t", "m", "d", {}),
        {"3": NodeErrors([ValidationReason("x", "bad", "steps", {"input_name": "steps"})], ["9"], "KSampler")},
        {"3": "mine"},
    ),
    ExecutionFailed(
        "p", messages.ExecutionError("p", "5", "N", [], "boom\n", "ValueError", ["line\n"], {"x": [1]}, [], timestamp=1)
    ),
    ExecutionFailed("p"),
    ExecutionInterrupted("p", messages.ExecutionInterrupted("p", "3", "N", [], 1)),
    ExecutionInterrupted("p"),
    PromptLost("p"),
    WaitTimeout("prompt p", 2.5, "running"),
    ServerUnreachable("http://x", "refused"),
    ServerError("GET", "http://x", 500, "trouble"),
    NotFound("GET", "http://x", 404),
    ProtocolError("the answer of GET /", "not JSON"),
    ClientClosed(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: ComfyError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert isinstance(copy, ComfyError)


def test_errors_say_what_the_server_said() -> None:
    failed = str(next(error for error in ERRORS if isinstance(error, ExecutionFailed)))
    for part in ("node 5 (N)", "ValueError", "boom", "x=1", "line"):
        assert part in failed
    (late,) = (error for error in ERRORS if isinstance(error, WaitTimeout))
    assert "2.5 s" in str(late)
    assert "running" in str(late)
    assert isinstance(late, TimeoutError)
    assert any(isinstance(error, ConnectionError) for error in ERRORS)


def test_the_tree_of_errors_is_drawn_whole() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", _errors.__doc__ or "")) | {"ComfyError"}
    there = {name for name, cls in vars(_errors).items() if isinstance(cls, type) and issubclass(cls, ComfyError)}
    assert drawn == there == {name for name in comfy_client.__all__ if name in drawn}
    assert {type(error).__name__ for error in ERRORS} == there - {"ComfyError", "PromptFailed"}


@given(st.integers(1, 30), st.floats(0, 1), st.booleans())
def test_waits_grow_are_bounded_and_end(attempt: int, random: float, repeatable: bool) -> None:
    policy = Retries(attempts=10, first_wait=0.5, longest_wait=4.0)
    wait = policy.wait(NoAnswer("refused", sent=False), attempt, repeatable=repeatable, random=random)
    if attempt >= 10:
        assert wait is None
    else:
        assert wait is not None
        expected = min(0.5 * 2 ** (attempt - 1), 4.0)
        assert expected / 2 <= wait <= expected * 1.5


@pytest.mark.parametrize(
    ("failure", "repeatable", "again"),
    [
        (NoAnswer("refused", sent=False), False, True),
        (NoAnswer("cut", sent=True), False, False),
        (NoAnswer("cut", sent=True), True, True),
        (BadStatus(429), True, True),
        (BadStatus(503), True, True),
        (BadStatus(503), False, False),
        (BadStatus(500), True, False),
        (BadStatus(404), True, False),
        (BadStatus(503, retry_after=3600), True, False),
    ],
)
def test_what_is_tried_again(failure: Any, repeatable: bool, again: bool) -> None:
    assert (Retries().wait(failure, 1, repeatable=repeatable, random=0.5) is not None) is again


def test_the_server_may_ask_for_a_longer_wait() -> None:
    assert Retries().wait(BadStatus(429, retry_after=7.0), 1, repeatable=True, random=0.5) == 7.0
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert retry_after({"Retry-After": "120"}, moment) == 120
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, moment) == 60
    assert retry_after({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, moment) == 0
    assert retry_after({"retry-after": "soon"}, moment) is None
    assert retry_after({}, moment) is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8188", "http://localhost:8188/"),
        ("example.com", "http://example.com/"),
        ("https://x/comfy/", "https://x/comfy"),
        ("http://[::1]:1/?a=1#b", "http://[::1]:1/"),
    ],
)
def test_a_server_is_named_by_url_or_host(text: str, url: str) -> None:
    assert str(base_url_of(text)) == url


@pytest.mark.parametrize("text", ["", "ftp://x", "http://"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match="no server"):
        base_url_of(text)


def response(status: int, content: bytes) -> httpx.Response:
    return httpx.Response(status, content=content, request=httpx.Request("GET", "http://x/queue"))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"queue_running": 1}'])
def test_an_answer_of_another_shape_is_told(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="queue"):
        read(calls.queue(), response(200, content), URL)


def test_a_refusal_that_is_not_comfyuis_keeps_its_words() -> None:
    error = error_of(calls.post_prompt({}, {}), response(400, b"go away"), URL)
    assert isinstance(error, ServerError)
    assert "go away" in str(error)


@pytest.mark.parametrize("spec", [[["a", "b"], {}], ["COMBO", {"options": ["a", "b"]}]])
def test_choices_in_both_forms(spec: Any) -> None:
    body = {"VAELoader": {"input": {"required": {"vae_name": spec}}}}
    answer = httpx.Response(200, json=body, request=httpx.Request("GET", URL))
    assert read(calls.choices("vaes"), answer, URL) == ["a", "b"]
    with pytest.raises(ProtocolError, match="VAELoader"):
        read(calls.choices("vaes"), response(200, b"{}"), URL)


def test_plugins_wrap_each_other() -> None:
    order: list[str] = []

    class Named(Plugin):
        def __init__(self, name: str) -> None:
            self.name = name

        def flow(self, request: httpx.Request) -> Any:
            order.append(f"{self.name} before")
            yield request
            order.append(f"{self.name} after")

    request = httpx.Request("GET", "http://x")
    flow = chained([Named("outer"), Named("inner")], request)
    assert next(flow) is request
    with pytest.raises(StopIteration) as end:
        flow.send(response(200, b""))
    assert end.value.value.status_code == 200
    assert order == ["outer before", "inner before", "inner after", "outer after"]


def test_the_blocking_client_is_made_of_the_asynchronous_one() -> None:
    from make_sync import blocking, sources, target

    assert len(sources()) >= 4
    for source in sources():
        made = blocking(source.read_text(encoding="utf-8"), source.name)
        assert target(source).read_text(encoding="utf-8") == made, "run: python client/make_sync.py"


PURE = [
    "_actions",
    "_calls",
    "_errors",
    "_event_log",
    "_models",
    "_prompt_state",
    "_prompts",
    "_retries",
    "_schedule",
    "_tracker",
    "_watch",
]


@pytest.mark.parametrize("name", [*PURE, "events"])
def test_the_tracker_and_what_it_rests_on_do_no_io(name: str) -> None:
    from test_floors import impurities

    source = (ROOT / "client" / "comfy_client" / f"{name}.py").read_text(encoding="utf-8")
    assert impurities(source) == []


def test_all_that_is_public_is_documented() -> None:
    for name in comfy_client.__all__:
        thing = getattr(comfy_client, name)
        if not isinstance(thing, type):
            continue
        for attribute, value in vars(thing).items():
            if callable(value) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"
