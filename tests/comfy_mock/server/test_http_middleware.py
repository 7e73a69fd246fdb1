"""The origin rule, cache, CORS and CSP headers, compression (protocol 1.4-1.6)."""

from __future__ import annotations

import contextlib
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer, static_missing, text_answer
from comfy_mock.engine.options import Options
from comfy_mock.server.middleware import finished, origin_refused


@pytest.mark.parametrize(
    ("host", "origin", "refused"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188", False),
        ("127.0.0.1:8188", "https://127.0.0.1:8188", False),
        ("127.0.0.1:8188", "http://127.0.0.1", False),
        ("127.0.0.1:8188", "null", False),
        ("127.0.0.1:8188", "", False),
        ("127.0.0.1:8188", "http://localhost:8188", True),
        ("127.0.0.1:8188", "http://127.0.0.1:9999", True),
        ("127.0.0.1:8188", "http://evil.com", True),
        ("127.1.2.3:8188", "http://evil.com", True),
        ("[::1]:8188", "http://evil.com", True),
        ("[::1]:8188", "http://[::1]:8188", False),
        ("LOCALHOST:8188", "http://LocalHost:8188", False),
        ("localhost", "http://localhost:9999", False),
        ("192.168.1.5:8188", "http://evil.com", False),
        ("example.com", "http://evil.com", False),
        ("127.0.0.1:8188", "chrome-extension://abc", True),
        ("127.0.0.1:8188", "file://", False),
    ],
)
def test_the_origin_rule(host: str, origin: str, refused: bool) -> None:
    assert origin_refused({"host": host, "origin": origin}) is refused


@pytest.mark.parametrize(("site", "refused"), [("cross-site", True), ("same-site", False), ("Cross-Site", False)])
def test_a_cross_site_fetch_is_refused(site: str, refused: bool) -> None:
    assert origin_refused({"sec-fetch-site": site}) is refused


def test_the_origin_rule_needs_both_headers() -> None:
    assert not origin_refused({"host": "127.0.0.1:8188"})
    assert not origin_refused({"origin": "http://evil.com"})


@given(st.text(), st.text())
def test_the_origin_rule_does_no_more_than_trouble_with_any_header(host: str, origin: str) -> None:
    with contextlib.suppress(ServerTrouble):
        origin_refused({"host": host, "origin": origin})


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:port"),
        ("127.0.0.1:8188", "http://127.0.0.1:99999"),
        ("example.com", "http://[::1"),
        ("example.com:port", "http://example.com"),
    ],
)
def test_what_cannot_be_read_is_trouble_for_the_origin_rule(host: str, origin: str) -> None:
    with pytest.raises(ServerTrouble):
        origin_refused({"host": host, "origin": origin})


def headers_of(
    answer: Answer, path: str = "/x", *, handled: bool = True, accept: str = "", **options: object
) -> dict[str, str]:
    done = finished(answer, Options(**options), path=path, accept_encoding=accept, handled=handled)  # type: ignore[arg-type]
    assert len(dict(done.headers)) == len(done.headers)
    return dict(done.headers)


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/userdata/x.css", json_answer("x.css"), "no-store"),
        ("/nope.js", static_missing(), "no-store"),
        ("/settings/index.json", json_answer(None), "no-store"),
        ("/templates/index.de.json", json_answer(None), "no-store"),
        ("/index/x.json", json_answer(None), None),
        ("/nope.png", static_missing(), "public, max-age=86400"),
        ("/userdata/nope.png", empty(404), "public, max-age=3600"),
        ("/history/x.PNG", json_answer({}), "public, max-age=86400"),
        ("/userdata/i.png", Answer(304), "public, max-age=86400"),
        ("/userdata/i.webp", Answer(403), None),
        ("/moved.tiff", Answer(302), "no-cache"),
        ("/view", Answer(200, b"x", "image/png"), None),
        ("/x.js", Answer(200, b"x", None, (("Cache-Control", "mine"),)), "mine"),
        ("/x.js", text_answer("404: Not Found", 404, from_exception=True), None),
    ],
)
def test_cache_headers_follow_the_path(path: str, answer: Answer, expected: str | None) -> None:
    assert headers_of(answer, path).get("Cache-Control") == expected


def test_cors_names_the_origin_that_was_asked_for() -> None:
    headers = headers_of(empty(), enable_cors_header="https://app.example")
    assert headers == {
        "Access-Control-Allow-Origin": "https://app.example",
        "Access-Control-Allow-Methods": "POST, GET, DELETE, PUT, OPTIONS, PATCH",
        "Access-Control-Allow-Headers": "Content-Type, Authorization",
        "Access-Control-Allow-Credentials": "true",
    }


def test_disabled_api_nodes_restrict_what_pages_may_load() -> None:
    assert "default-src 'self'" in headers_of(empty(), disable_api_nodes=True)["Content-Security-Policy"]
    assert headers_of(empty(), handled=False, disable_api_nodes=True) == {}


@pytest.mark.parametrize(
    ("answer", "accept", "encoding"),
    [
        (json_answer({}), "gzip", "gzip"),
        (json_answer({}), "gzip, deflate, br", "deflate"),
        (text_answer("x"), "x-gzip;q=0", "gzip"),
        (text_answer("x"), "GZIP", None),
        (json_answer({}), "deflate", None),
        (json_answer({}), "", None),
        (empty(), "gzip", None),
        (Answer(200, b"{}", "application/json"), "gzip", None),
        (Answer(200, b"x", "image/png"), "gzip", None),
    ],
)
def test_what_is_compressed(answer: Answer, accept: str, encoding: str | None) -> None:
    assert headers_of(answer, accept=accept, enable_compress_response_body=True).get("Content-Encoding") == encoding


def test_the_compressed_body_is_the_body() -> None:
    options = Options(enable_compress_response_body=True)
    done = finished(json_answer([1]), options, path="/x", accept_encoding="gzip", handled=True)
    assert gzip.decompress(done.body) == b"[1]"
