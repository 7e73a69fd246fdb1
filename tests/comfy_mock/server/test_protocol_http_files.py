"""Ranges and conditions on every route that answers with a file: aiohttp 3.14's file response (protocol 2.4, 2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from raw_http import Received, ask

from comfy_mock import ComfyMock

TARGETS = ["/view?filename=ten.txt&type=input", "/userdata/ten.txt"]
EMPTY = "/view?filename=empty.txt&type=input"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ComfyMock() as server:
        for folder in ("/comfyui/input", "/comfyui/user/default"):
            server.engine.files.write(f"{folder}/ten.txt", b"0123456789", now=0.0)
            server.engine.files.write(f"{folder}/ten.png", b"0123456789", now=0.0)
            server.engine.files.write(f"{folder}/empty.txt", b"", now=0.0)
        yield server.port


RANGES = [
    ("bytes=0-0", "0-0"),
    ("bytes=2-4", "2-4"),
    ("bytes=0-", "0-9"),
    ("bytes=9-", "9-9"),
    ("bytes=0-99", "0-9"),
    ("bytes=00-01", "0-1"),
    ("bytes=0-99999999999999999999", "0-9"),
    ("bytes=-1", "9-9"),
    ("bytes=-10", "0-9"),
    ("bytes=-11", "0-9"),
    ("bytes=-0", "0-9"),
    ("Bytes=0-1", "0-1"),
    ("BYTES=0-1", "0-1"),
    ("bytes=10-", None),
    ("bytes=10-11", None),
    ("bytes=99999999999999999999-", None),
    ("bytes=5-2", None),
    ("bytes=5-4", None),
    ("bytes=-", None),
    ("bytes=", None),
    ("bytes", None),
    ("bytes=0-1,3-4", None),
    ("bytes=0-1,", None),
    ("bytes= 0-1", None),
    ("bytes=0 -1", None),
    ("bytes=0- 1", None),
    ("bytes=--1", None),
    ("bytes=+1-2", None),
    ("bytes=0x1-2", None),
    ("bytes=a-b", None),
    ("bytes=1-2-3", None),
    ("bytes:0-1", None),
    ("items=0-1", None),
    ("0-1", None),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("header", "part"), RANGES)
def test_ranges(port: int, target: str, method: str, header: str, part: str | None) -> None:
    answer = ask(port, f"{method} {target}", f"Range: {header}")
    if part is None:
        assert answer.status_line == "HTTP/1.1 416 Requested Range Not Satisfiable"
        assert answer.headers["Content-Range"] == "bytes */10"
        assert "Etag" not in answer.headers
        assert answer.body == (b"0\r\n\r\n" if method == "GET" else b"")
    else:
        first, last = map(int, part.split("-"))
        assert answer.status_line == "HTTP/1.1 206 Partial Content"
        assert answer.headers["Content-Range"] == f"bytes {part}/10"
        assert answer.headers["Content-Length"] == str(last + 1 - first)
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.body == (b"0123456789"[first : last + 1] if method == "GET" else b"")


@pytest.mark.parametrize(("header", "status"), [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-1", 416)])
def test_an_empty_file_has_no_parts(port: int, header: str, status: int) -> None:
    assert ask(port, f"GET {EMPTY}", f"Range: {header}").status == status


def moment(seconds: int) -> str:
    """A date so many seconds after the file's `Last-Modified`."""
    return f"<{seconds}>"


def asked_with(port: int, target: str, *headers: str) -> Received:
    """Ask with the ETag for `@`, without its quotes for `~`, and with dates for moments in the headers."""
    plain = ask(port, f"GET {target}")
    changed = parsedate_to_datetime(plain.headers["Last-Modified"])
    texts = {"@": plain.headers["Etag"], "~": plain.headers["Etag"].strip('"')}
    for seconds in (-1, 0, 1):
        texts[moment(seconds)] = format_datetime(changed + timedelta(seconds=seconds), usegmt=True)
    replaced = []
    for header in headers:
        name, _, value = header.partition(": ")
        for short, text in texts.items():
            value = value.replace(short, text)
        replaced.append(f"{name}: {value}")
    return ask(port, f"GET {target}", *replaced)


CONDITIONS = [
    (["If-None-Match: @"], 304),
    (["If-None-Match: *"], 304),
    (["If-None-Match: W/@"], 304),
    (['If-None-Match: "x", @'], 304),
    (["If-None-Match: @,"], 304),
    (['If-None-Match: "x"'], 200),
    (['If-None-Match: "x" @'], 200),
    (["If-None-Match: ~"], 200),
    (['If-None-Match: "x", *'], 200),
    (["If-None-Match: "], 200),
    (["If-Match: @"], 200),
    (["If-Match: *"], 200),
    (["If-Match: "], 200),
    (["If-Match: W/@"], 412),
    (['If-Match: "x"'], 412),
    (["If-Match: x"], 412),
    (["If-Match: @", "If-None-Match: @"], 304),
    (['If-Match: "x"', "If-None-Match: @"], 412),
    ([f"If-Modified-Since: {moment(0)}"], 304),
    ([f"If-Modified-Since: {moment(1)}"], 304),
    ([f"If-Modified-Since: {moment(-1)}"], 200),
    (["If-Modified-Since: garbage"], 200),
    (["If-Modified-Since: "], 200),
    (["If-Modified-Since: Tue, 32 Nov 2050 22:13:20 GMT"], 200),
    ([f"If-Unmodified-Since: {moment(0)}"], 200),
    ([f"If-Unmodified-Since: {moment(-1)}"], 412),
    (["If-Unmodified-Since: x"], 200),
    (['If-None-Match: "x"', f"If-Modified-Since: {moment(1)}"], 200),
    (["If-None-Match: @", f"If-Modified-Since: {moment(-1)}"], 304),
    (["If-None-Match: ", f"If-Modified-Since: {moment(1)}"], 304),
    (["If-Match: @", f"If-Unmodified-Since: {moment(-1)}"], 200),
    (["If-Match: ", f"If-Unmodified-Since: {moment(-1)}"], 412),
    (["Range: bytes=0-1", "If-Range: @"], 206),
    (["Range: bytes=0-1", 'If-Range: "x"'], 206),
    (["Range: bytes=0-1", f"If-Range: {moment(0)}"], 206),
    (["Range: bytes=0-1", f"If-Range: {moment(-1)}"], 200),
    (["Range: bytes=99-", f"If-Range: {moment(-1)}"], 200),
    (["Range: bytes=99-", f"If-Range: {moment(0)}"], 416),
    (["Range: bytes=99-", "If-None-Match: @"], 304),
    (["Range: bytes=0-1", 'If-Match: "x"'], 412),
    (["Range: bytes=0-1", 'If-None-Match: "x"'], 206),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
def test_conditions(port: int, target: str, headers: list[str], status: int) -> None:
    answer = asked_with(port, target, *headers)
    assert answer.status == status
    assert ("Etag" in answer.headers) is (status in (200, 206, 304))
    assert ("Accept-Ranges" in answer.headers) is (status in (200, 206))
    assert answer.headers.get("Content-Length") == {200: "10", 206: "2", 304: None, 412: "0", 416: None}[status]
    assert answer.body == {200: b"0123456789", 206: b"01", 416: b"0\r\n\r\n"}.get(status, b"")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    ("target", "headers", "cached"),
    [
        ("/userdata/ten.png", [], "public, max-age=86400"),
        ("/userdata/ten.png", ["If-None-Match: *"], "public, max-age=86400"),
        ("/userdata/ten.png", ["Range: bytes=99-"], "public, max-age=86400"),
        ("/userdata/nope.png", [], "public, max-age=3600"),
        ("/nope.PNG", [], "public, max-age=86400"),
        ("/view?filename=ten.png&type=input", [], None),
        ("/userdata/ten.txt?x=.png", [], None),
        ("/settings/x.png/", [], None),
        ("/settings/index.json", [], "no-store"),
        ("/settings/indexes.json", [], "no-store"),
        ("/settings/xindex.json", [], None),
        ("/history/index%2Fb.json", [], None),
        ("/history/a%2Findex.json", [], "no-store"),
        ("/history/x%2Ecss", [], "no-store"),
        ("/history/x.CSS", [], None),
        ("/nope.js", [], "no-store"),
        ("/..%2Fx.js", [], None),
    ],
)
def test_what_is_cached(port: int, target: str, headers: list[str], cached: str | None) -> None:
    assert ask(port, f"GET {target}", *headers).headers.get("Cache-Control") == cached


def test_options_of_a_style_sheet_is_not_kept_either(port: int) -> None:
    assert ask(port, "OPTIONS /x.css").headers == {"Content-Length": "0", "Cache-Control": "no-store"}
    assert ask(port, "OPTIONS /x.css", "Sec-Fetch-Site: cross-site").headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in ask(port, "PUT /x.css").headers
