"""What switches add to each kind of answer, and to which they cannot (protocol 1.3, 1.6, 2.2, 2.6)."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from raw_http import ask

from comfy_mock import ComfyMock

ORIGIN = "https://comfy.example"
CORS = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Allow-Methods": "POST, GET, DELETE, PUT, OPTIONS, PATCH",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Allow-Credentials": "true",
}
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' data:; frame-src 'self'; object-src 'self';"
)


def filled(**options: Any) -> ComfyMock:
    server = ComfyMock(**options)
    server.engine.files.write("/comfyui/input/ten.txt", b"0123456789", now=0.0)
    server.engine.files.write("/comfyui/user/default/ten.txt", b"0123456789", now=0.0)
    server.engine.files.write("/comfyui/user/default/gone.txt", b"", now=0.0)
    return server


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server with both switches on that add headers to all that passes the middlewares."""
    with filled(enable_cors_header=ORIGIN, disable_api_nodes=True, max_upload_size=0.001) as server:
        yield server.port


PASSING = [
    ("GET /prompt", 200),
    ("HEAD /prompt", 200),
    ("GET /", 200),
    ("GET /nope", 404),
    ("HEAD /nope", 404),
    ("GET /models/nope", 404),
    ("GET /api/jobs/nope", 404),
    ("GET /api/jobs?limit=x", 400),
    ("POST /interrupt", 200),
    ("GET /api/assets", 503),
    ("GET /internal/logs", 200),
    ("GET /view?filename=ten.txt&type=input", 200),
    ("GET /view?filename=example.png&type=input&preview=webp", 200),
    ("GET /userdata/ten.txt", 200),
    ("GET /userdata/.", 403),
    ("GET /userdata?dir=..", 403),
]
NOT_PASSING = [
    ("PUT /prompt", 405),
    ("GET /ws", 400),
    ("GET /..", 404),
    ("GET /.", 403),
    ("GET /docs", 403),
    ("GET /internal/nope", 404),
    ("GET /templates/nope", 404),
    ("POST /queue", 500),
    ("BREW /prompt", 400),
]


@pytest.mark.parametrize(("line", "status"), PASSING)
def test_what_passes_the_middlewares_has_their_headers(port: int, line: str, status: int) -> None:
    answer = ask(port, line)
    assert answer.status == status
    assert {name: value for name, value in answer.headers.items() if name in CORS} == CORS
    assert answer.headers["Content-Security-Policy"] == CSP


@pytest.mark.parametrize(("line", "status"), NOT_PASSING)
def test_what_the_http_layer_answers_has_not(port: int, line: str, status: int) -> None:
    answer = ask(port, line)
    assert answer.status == status
    assert not set(answer.headers) & {*CORS, "Content-Security-Policy", "Cache-Control"}


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("GET /userdata/ten.txt", ["Range: bytes=0-1"], 206),
        ("GET /userdata/ten.txt", ["Range: bytes=99-"], 416),
        ("GET /userdata/ten.txt", ["If-None-Match: *"], 304),
        ("GET /userdata/ten.txt", ['If-Match: "x"'], 412),
        ("DELETE /userdata/gone.txt", [], 204),
        ("GET /prompt", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"], 200),
        ("GET /prompt", ["Origin: http://127.0.0.1:port"], 200),
    ],
)
def test_answers_about_parts_of_files_pass_too(port: int, line: str, headers: list[str], status: int) -> None:
    answer = ask(port, line, *headers)
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_preflight_is_answered_without_asking_anybody(port: int) -> None:
    for target in ("/prompt", "/nope", "/internal/nope"):
        answer = ask(port, f"OPTIONS {target}", "Origin: http://evil.example", "Access-Control-Request-Method: POST")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers == {"Content-Length": "0", **CORS}


def test_a_body_over_the_limit_is_refused_on_every_route_that_reads_it(port: int) -> None:
    limit = round(0.001 * 1048576)
    form = "Content-Type: multipart/form-data; boundary=B"
    for target in ("/prompt", "/queue", "/settings/x", "/userdata/x", "/users", "/upload/image", "/api/jobs/cancel"):
        answer = ask(port, f"POST {target}", form, body=b"x" * (limit + 1))
        assert answer.status_line == "HTTP/1.1 413 Request Entity Too Large"
        assert answer.body == f"Maximum request body size {limit} exceeded.".encode()
        assert not set(answer.headers) & set(CORS)
    assert ask(port, "POST /api/jobs/x/cancel", body=b"x" * (limit + 1)).status == 200
    assert ask(port, "POST /system_stats", body=b"x" * (limit + 1)).status == 405
    assert json.loads(ask(port, "GET /features").body)["max_upload_size"] == 0.001 * 1048576


@pytest.fixture(scope="module")
def packing_port() -> Iterator[int]:
    with filled(enable_compress_response_body=True) as server:
        yield server.port


@pytest.mark.parametrize(
    ("line", "accepted", "encoding"),
    [
        ("GET /prompt", "gzip", "gzip"),
        ("HEAD /prompt", "gzip", "gzip"),
        ("GET /prompt", "gzip;q=0", "gzip"),
        ("GET /prompt", "x-gzip", "gzip"),
        ("GET /prompt", "gzip, deflate", "deflate"),
        ("GET /prompt", "deflate, gzip, br", "deflate"),
        ("GET /prompt", "deflate", None),
        ("GET /prompt", "GZIP", None),
        ("GET /prompt", "br", None),
        ("GET /prompt", "*", None),
        ("GET /prompt", "", None),
        ("GET /api/jobs?limit=x", "gzip", "gzip"),
        ("GET /userdata?dir=nope", "gzip", "gzip"),
        ("GET /history/x.png", "gzip", "gzip"),
        ("GET /internal/logs", "gzip", "gzip"),
        ("GET /nope", "gzip", None),
        ("GET /", "gzip", None),
        ("GET /models/nope", "gzip", None),
        ("PUT /prompt", "gzip", None),
        ("GET /view?filename=ten.txt&type=input", "gzip", None),
        ("GET /userdata/ten.txt", "gzip", None),
    ],
)
def test_what_is_compressed(packing_port: int, line: str, accepted: str, encoding: str | None) -> None:
    plain = ask(packing_port, line)
    answer = ask(packing_port, line, f"Accept-Encoding: {accepted}")
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.status == plain.status
    if line.startswith("GET") and encoding is not None:
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert {"gzip": gzip.decompress, "deflate": zlib.decompress}[encoding](answer.body) == plain.body
