"""How connections and bodies are handled: HTTP/1.0, pipelining, refusals of the parser, encodings, limits, upgrades.

Protocol 1.1, 1.3 and 1.6, recording http_edges, and what aiohttp 3.14 does.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from raw_http import ask, received, request
from shell_driver import exchange

from comfy_mock import ComfyMock

PLAIN = "text/plain; charset=utf-8"
QUEUE = b'{"exec_info": {"queue_remaining": 0}}'
LIMIT = 4096


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ComfyMock(max_upload_size=LIMIT / 1048576) as server:
        yield server.port


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    first = b"POST /queue HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    second = b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    third = b"GET /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    answers = exchange(port, first + second + third + request("HEAD /prompt"), until_closed=True)
    lines = [line for line in answers.split(b"\r\n") if b"HTTP/1.1" in line]
    assert [line[line.index(b"HTTP") :] for line in lines] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 405 Method Not Allowed",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
    ]


def test_what_follows_a_500_is_not_answered(port: int) -> None:
    broken = b"POST /queue HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{"
    answers = exchange(port, broken + request("GET /prompt"), until_closed=True)
    assert answers.count(b"HTTP/1.1") == 1
    assert b"\r\nConnection: close\r\n" in answers


@pytest.mark.parametrize(
    ("sent", "status_line", "body"),
    [
        (b"GET /prompt HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK", QUEUE),
        (b"GET /nope HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.0 404 Not Found", b""),
        (b"HEAD /prompt HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK", b""),
        (b"POST /queue HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.0 200 OK", b""),
    ],
)
def test_http_1_0_is_answered_in_its_own_terms(port: int, sent: bytes, status_line: str, body: bytes) -> None:
    answer = exchange(port, sent, until_closed=True)
    assert received(answer).status_line == status_line
    assert received(answer).body == body
    assert b"chunked" not in answer
    assert b"Connection" not in answer


NAMED = b"GET /prompt HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (
            b"BREW /prompt HTTP/1.1\r\nHost: a\r\n\r\n",
            "Invalid method encountered:\n\n  b'BREW /prompt HTTP/1.1'\n     ^",
        ),
        (b"get /prompt HTTP/1.1\r\nHost: a\r\n\r\n", "Invalid method encountered:\n\n  b'get /prompt HTTP/1.1'\n    ^"),
        (b"GEX /x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n", "Invalid method encountered:\n\n  b'GEX /x?y=1 HTTP/1.1'\n      ^"),
        (b"garbage\r\n\r\n", "Invalid method encountered:\n\n  b'garbage'\n    ^"),
        (
            b"GET prompt HTTP/1.1\r\nHost: a\r\n\r\n",
            "Invalid characters in url:\n\n  b'GET prompt HTTP/1.1'\n               ^",
        ),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "*"),
        (
            b"GET /history/\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n",
            "Invalid char in url path:\n\n  b'GET /history/\\xc3\\xbc HTTP/1.1'\n                 ^",
        ),
        (
            b"GET /view?filename=\xff&type=input HTTP/1.1\r\nHost: a\r\n\r\n",
            "Invalid char in url query:\n\n  b'GET /view?filename=\\xff&type=input HTTP/1.1'\n                       ^",
        ),
        (
            b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "Bad status line:\n  Expected HTTP/, RTSP/ or ICE/:\n\n  b'GET /a b HTTP/1.1'\n           ^",
        ),
        (
            b"GET /prompt http/1.1\r\nHost: a\r\n\r\n",
            "Bad status line:\n  Expected HTTP/, RTSP/ or ICE/:\n\n  b'GET /prompt http/1.1'\n                ^",
        ),
        (b"GET /prompt HTTP/1.1\r\n\r\n", "Missing 'Host' header in request."),
        (NAMED + b"Host: b\r\n\r\n", "Duplicate 'Host' header found."),
        (b"GET /prompt HTTP/1.1\r\nHost : a\r\n\r\n", "Invalid header token:\n\n  b'Host : a'\n        ^"),
        (NAMED + b"foo\r\n\r\n", "Invalid header token:\n\n  b'foo'\n       ^"),
        (NAMED + b"f(o: 1\r\n\r\n", "Invalid header token:\n\n  b'f(o: 1'\n     ^"),
        (NAMED + b": 1\r\n\r\n", "Invalid header token:\n\n  b': 1'\n    ^"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "Received HTTPS traffic on an HTTP port"),
        (NAMED + b"X: " + b"a" * 8191 + b"\r\n\r\n", f"Got more than 8190 bytes when reading: b'{'a' * 100}...'."),
        (
            b"GET /" + b"a" * 8190 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            f"Got more than 8190 bytes when reading: bytearray(b'/{'a' * 99}...').",
        ),
        (NAMED + b"".join(b"X%d: 1\r\n" % number for number in range(128)) + b"\r\n", "Too many headers received"),
        (
            b"POST /queue HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
            "Can not decode content-encoding: brotli (br). Please install `Brotli`",
        ),
        (
            b"POST /queue HTTP/1.1\r\nHost: a\r\nContent-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}",
            "Can not decode content-encoding: zstandard (zstd). Please install `backports.zstd`",
        ),
    ],
)
def test_what_the_parser_refuses_ends_the_connection_in_http_1_0(port: int, sent: bytes, text: str) -> None:
    answer = exchange(port, sent, until_closed=True)
    assert b"Connection" not in answer
    parts = received(answer)
    assert parts.status_line == "HTTP/1.0 400 Bad Request"
    assert parts.headers == {"Content-Type": PLAIN, "Content-Length": str(len(text))}
    assert parts.body.decode() == text


@pytest.mark.parametrize(
    "sent",
    [
        NAMED + b"X: " + b"a" * 8190 + b"\r\nConnection: close\r\n\r\n",
        b"GET /prompt?" + b"a" * 8182 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        NAMED + b"".join(b"X%d: 1\r\n" % number for number in range(126)) + b"Connection: close\r\n\r\n",
    ],
)
def test_what_is_just_short_enough_passes(port: int, sent: bytes) -> None:
    assert received(exchange(port, sent, until_closed=True)).body == QUEUE


def test_garbage_in_the_middle_of_a_body_ends_the_connection(port: int) -> None:
    sent = b"POST /queue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    assert received(exchange(port, sent, until_closed=True)).status_line == "HTTP/1.0 400 Bad Request"


@pytest.mark.parametrize(
    ("line", "expected"), [("GET /prompt", "foo"), ("POST /nope", "200-ok"), ("OPTIONS /x", "100-continue, x")]
)
def test_other_expectations_fail(port: int, line: str, expected: str) -> None:
    answer = ask(port, line, f"Expect: {expected}")
    assert answer.status_line == "HTTP/1.1 417 Expectation Failed"
    assert answer.headers["Content-Type"] == PLAIN
    assert answer.body.decode() == f"Unknown Expect: {expected}"


@pytest.mark.parametrize("name", ["100-continue", "100-Continue"])
def test_leave_is_given_to_send_a_body(port: int, name: str) -> None:
    answer = exchange(port, request("POST /queue", f"Expect: {name}", body=b"{}"), until_closed=True)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def bare(body: bytes) -> bytes:
    """Deflated without the header that zlib puts before it."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


PACKED = [
    ("gzip", gzip.compress(b'"x"', mtime=0), b'"x"'),
    ("GZIP", gzip.compress(b'"x"', mtime=0), b'"x"'),
    ("deflate", zlib.compress(b'"x"'), b'"x"'),
    ("deflate", bare(b'"x"'), b'"x"'),
    ("gzip", gzip.compress(b'"x"', mtime=0)[:-3], b'"x"'),
    ("gzip", gzip.compress(b'"', mtime=0) + gzip.compress(b'x"', mtime=0), b'"x"'),
    ("identity", b'"x"', b'"x"'),
    ("x-gzip", b'"x"', b'"x"'),
    ("gzip", b'"x"', None),
    ("deflate", b"\xff\xff", None),
    ("deflate", zlib.compress(b'"x"') + b"zz", None),
    ("gzip", gzip.compress(b'"x"', mtime=0) + b"xx", None),
]


@pytest.mark.parametrize(("encoding", "sent", "body"), PACKED)
def test_packed_bodies_are_unpacked(port: int, encoding: str, sent: bytes, body: bytes | None) -> None:
    answer = ask(port, "POST /userdata/packed", f"Content-Encoding: {encoding}", body=sent)
    assert answer.status == (500 if body is None else 200)
    if body is not None:
        assert ask(port, "GET /userdata/packed").body == body


def test_a_body_that_is_packed_badly_fails_where_malformed_json_does_not(port: int) -> None:
    assert ask(port, "POST /interrupt", "Content-Encoding: gzip", body=b"{}").status == 500
    assert ask(port, "POST /api/jobs/x/cancel", "Content-Encoding: gzip", body=b"{}").body == b'{"cancelled": false}'


def test_the_limit_is_that_of_the_unpacked_body(port: int) -> None:
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 1000, 413)):
        packed = gzip.compress(b"x" * size)
        answer = ask(port, "POST /userdata/big", "Content-Encoding: gzip", body=packed)
        assert answer.status == status
    assert answer.body == b"Maximum request body size 4096 exceeded."


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        ("", 200),
        ("text/plain", 200),
        ("garbage", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json; charset=", 200),
        ("application/json; CHARSET=UTF8", 200),
        ("application/json; charset=utf-8; charset=nope", 200),
        ("; charset=nope", 500),
        ("application/json; charset=nope", 500),
        ("application/json; charset=utf-16", 500),
        ("application/json; charset=base64", 500),
        ("application/json; charset=ascii", 500),
    ],
)
def test_charsets(port: int, content_type: str | None, status: int) -> None:
    headers = [] if content_type is None else [f"Content-Type: {content_type}"]
    assert ask(port, "POST /settings/x", *headers, body='"ü"'.encode()).status == status


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "A" * 22 + "==",
}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"Upgrade": "foo"}, 'No WebSocket UPGRADE hdr: foo\n Can "Upgrade" only to "WebSocket".'),
        ({"Upgrade": None}, 'No WebSocket UPGRADE hdr: None\n Can "Upgrade" only to "WebSocket".'),
        ({"Connection": None}, "No CONNECTION upgrade hdr: None"),
        ({"Connection": "keep-alive"}, "No CONNECTION upgrade hdr: keep-alive"),
        ({"Sec-WebSocket-Version": None}, "Unsupported version: "),
        ({"Sec-WebSocket-Version": "12"}, "Unsupported version: 12"),
        ({"Sec-WebSocket-Key": None}, "Handshake error: None"),
        ({"Sec-WebSocket-Key": "abc"}, "Handshake error: 'abc'"),
        ({"Sec-WebSocket-Key": "YWJj"}, "Handshake error: 'YWJj'"),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/api/ws?clientId=x"])
def test_what_opens_no_websocket_is_told(port: int, path: str, changed: dict[str, str | None], text: str) -> None:
    lines = [f"{name}: {value}" for name, value in {**UPGRADE, **changed}.items() if value is not None]
    sent = f"GET {path} HTTP/1.1\r\nHost: a\r\n" + "\r\n".join([*lines, "", ""])
    answer = received(exchange(port, sent.encode()))
    assert answer.status_line == "HTTP/1.1 400 Bad Request"
    assert answer.headers == {"Content-Type": PLAIN, "Content-Length": str(len(text))}
    assert answer.body.decode() == text


def test_an_upgrade_elsewhere_is_an_ordinary_request(port: int) -> None:
    lines = [f"{name}: {value}" for name, value in UPGRADE.items()]
    for line, end in (
        ("GET /nope", b"\r\n\r\n0\r\n\r\n"),
        ("POST /ws", b"405: Method Not Allowed"),
        ("GET /prompt", QUEUE),
    ):
        sent = f"{line} HTTP/1.1\r\nHost: a\r\n" + "\r\n".join([*lines, "", ""])
        answers = exchange(port, sent.encode() + request("GET /features"), until_closed=True)
        first, _, second = answers.partition(end)
        assert b"Connection" not in first
        assert second.startswith(b"HTTP/1.1 200 OK")
