"""Which endpoint answers what (protocol 1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell_driver import ENDPOINTS

from comfy_mock.engine.answers import Answer, empty
from comfy_mock.server.http import Endpoint
from comfy_mock.server.router import Found, Router

ROUTER = Router(ENDPOINTS)


def params(path: str, method: str = "GET") -> dict[str, str] | None:
    found = ROUTER.find(method, path)
    return found.path_params if isinstance(found, Found) else None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/prompt", {}),
        ("/api/prompt", {}),
        ("/pr%6Fmpt", {}),
        ("/api%2Fprompt", None),
        ("/api/api/prompt", None),
        ("/prompt/", None),
        ("/PROMPT", None),
        ("//prompt", None),
        ("/api", None),
        ("/api/jobs", {}),
        ("/api/api/jobs", {}),
        ("/jobs", None),
        ("/history/abc", {"prompt_id": "abc"}),
        ("/history/a%2Fb", {"prompt_id": "a/b"}),
        ("/history/a%252Fb", {"prompt_id": "a%2Fb"}),
        ("/history/a/b", None),
        ("/history/", None),
        ("/history/%7Bx%7D", None),
        ("/echo/a/", {"name": "a", "tail": ""}),
        ("/echo/a/b/c%2Fd", {"name": "a", "tail": "b/c/d"}),
        ("/echo/a", None),
        ("/assets/0e37f2ba-9c4f-4a5e-8a4b-0d6b2f6b1c11", {"id": "0e37f2ba-9c4f-4a5e-8a4b-0d6b2f6b1c11"}),
        ("/assets/x", None),
        ("/internal/logs", {}),
        ("/api/internal/logs", None),
    ],
)
def test_paths_match_exactly(path: str, expected: dict[str, str] | None) -> None:
    assert params(path) == expected


def refusal(method: str, path: str) -> Answer:
    found = ROUTER.find(method, path)
    assert isinstance(found, Answer)
    return found


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/nope", "GET,HEAD"),
        ("PUT", "/prompt", "GET,HEAD,POST"),
        ("PROPFIND", "/prompt", "GET,HEAD,POST"),
        ("DELETE", "/interrupt", "GET,HEAD,POST"),
        ("POST", "/history/x", "GET,HEAD"),
        ("PUT", "/api/jobs/cancel", "GET,HEAD,POST"),
        ("GET", "/internal/logs/subscribe", "PATCH"),
        ("POST", "/internal/logs", "GET,HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allow: str) -> None:
    answer = refusal(method, path)
    assert (answer.status, answer.body, answer.from_exception) == (405, b"405: Method Not Allowed", True)
    assert answer.headers == (("Allow", allow),)


@pytest.mark.parametrize(("method", "path"), [("GET", "/internal/nope"), ("POST", "/internal"), ("HEAD", "/internal/")])
def test_there_is_no_file_server_under_internal(method: str, path: str) -> None:
    answer = refusal(method, path)
    assert (answer.status, answer.body, answer.content_type) == (404, b"404: Not Found", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "path", ["/%2e%2e/x", "/../x", "/a/..%2F..%2Fx", "/prompt%00", "//etc/passwd", "/%2Fetc/passwd"]
)
def test_paths_out_of_the_frontend_are_not_found_in_words(path: str) -> None:
    assert refusal("GET", path).body == b"404: Not Found"


@pytest.mark.parametrize("path", ["/nope", "/%", "/a/../b", "/interrupt", "/a..b"])
def test_a_missing_file_is_not_found_in_silence(path: str) -> None:
    answer = refusal("GET", path)
    assert (answer.status, answer.body, answer.chunked) == (404, b"", True)


def test_two_endpoints_for_the_same_are_a_mistake() -> None:
    twice = [
        Endpoint("GET", "/x", lambda engine, request: empty()),
        Endpoint("GET", "/api/x", lambda engine, request: empty()),
    ]
    with pytest.raises(ValueError, match="two endpoints answer GET /api/x"):
        Router(twice)


@given(st.sampled_from(["GET", "HEAD", "POST", "PATCH"]), st.text(alphabet="/.%2eFfhistorypi{}\0 a"))
def test_any_path_is_answered(method: str, path: str) -> None:
    found = ROUTER.find(method, f"/{path}")
    assert isinstance(found, Found) or found.status in (403, 404, 405)
