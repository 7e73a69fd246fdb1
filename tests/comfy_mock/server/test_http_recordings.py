"""The recorded exchanges of the routes that the shell, /view and the uploads answer, sent again in process."""

from __future__ import annotations

import asyncio
import io
import zlib
from urllib.parse import urlsplit

import httpx
import PIL.Image
import PIL.ImageChops
import pytest
from shell_driver import app, client, expected_headers, recording, sent_again, shown

from comfy_contracts import har

OWN_PATHS = ("/view", "/upload/image", "/upload/mask", "/api/view", "/api/upload/image", "/ws", "/api/ws")
STUB_PATHS = ("/prompt", "/queue", "/history", "/interrupt", "/free", "/api/jobs")


def is_ours(entry: har.Entry) -> bool:
    """What the shell, /view and the uploads answer, and stubs can: no files that runs wrote, no handlers of others."""
    path, query = urlsplit(entry.request.url)[2:4]
    if "_00001_" in query:
        return False
    if path in OWN_PATHS:
        return True
    if path in STUB_PATHS:
        return entry.request.method not in ("POST", "PUT") or entry.response.status in (403, 405)
    no_route = entry.response.status == 404 and entry.response.header("content-length") != "0"
    return no_route or entry.response.status == 405 or entry.request.method == "OPTIONS"


def check(name: str, entry: har.Entry, answer: httpx.Response, body: bytes) -> None:
    asked = f"{name}: {entry.request.method} {entry.request.url}"
    assert answer.status_code == entry.response.status, asked
    expected, got = expected_headers(entry), shown(answer.headers.items())
    recorded = entry.response.body
    assert recorded is not None, asked
    if "content-encoding" in expected:
        assert zlib.decompress(body) == zlib.decompress(recorded), asked
    elif body != recorded and expected.get("content-type", "").startswith("image/"):
        check_picture(asked, recorded, body)
    else:
        assert body == recorded, asked
    if body != recorded or answer.request.method == "HEAD":
        # Encoders of other versions make files of other sizes.
        assert ("content-length" in got) == ("content-length" in expected), asked
        expected.pop("content-length", None)
        got.pop("content-length", None)
    if entry.request.header("connection") == "close":
        assert expected.pop("connection") == "close"  # uvicorn's part; seen in test_http_wire
    assert got == expected, asked


def check_picture(asked: str, expected: bytes, got: bytes) -> None:
    """Pixels as the encoder of another Pillow may round them, all else exactly."""
    one, other = PIL.Image.open(io.BytesIO(expected)), PIL.Image.open(io.BytesIO(got))
    assert (one.format, one.mode, one.size) == (other.format, other.mode, other.size), asked
    assert getattr(one, "text", {}) == getattr(other, "text", {}), asked
    for band, (low, high) in enumerate(PIL.ImageChops.difference(one, other).getextrema()):
        assert high <= 2, f"{asked}: band {band} differs by {low} to {high}"


@pytest.mark.parametrize(
    ("name", "options", "at_least"),
    [
        ("http_edges", {}, 60),
        ("view", {}, 80),
        ("upload_image", {}, 45),
        ("upload_mask", {}, 20),
        ("malformed_bodies", {}, 40),
        ("cors_enabled", {"enable_cors_header": "*"}, 6),
        ("compressed", {"enable_compress_response_body": True}, 8),
        ("api_alias", {}, 20),
    ],
)
def test_is_answered_as_recorded(name: str, options: dict[str, object], at_least: int) -> None:
    async def run() -> int:
        compared = 0
        validators: dict[str, str] = {}
        async with client(app(**options)) as http:
            for entry in filter(is_ours, recording(name)):
                answer = await http.send(sent_again(http, entry, validators), stream=True)
                check(name, entry, answer, b"".join([chunk async for chunk in answer.aiter_raw()]))
                for validator in ("etag", "last-modified"):
                    validators[entry.response.header(validator) or ""] = answer.headers.get(validator, "")
                compared += 1
        return compared

    assert asyncio.run(run()) >= at_least
