"""What the real server refuses before any routing: requests that its HTTP parser does not understand.

Such a refusal is HTTP/1.0, and the connection is closed after it (recording http_edges).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from comfy_mock.engine.answers import Answer, text_answer
from comfy_mock.server.http import HttpRequest

_METHODS = frozenset(
    (
        "ACL",
        "BIND",
        "CHECKOUT",
        "CONNECT",
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LINK",
        "LOCK",
        "M-SEARCH",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "NOTIFY",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "PUT",
        "QUERY",
        "REBIND",
        "REPORT",
        "SEARCH",
        "SOURCE",
        "SUBSCRIBE",
        "TRACE",
        "UNBIND",
        "UNLINK",
        "UNLOCK",
        "UNSUBSCRIBE",
    )
)
"""The methods that the real server's HTTP parser knows."""

FIELD_BYTES_MAX = 8190
"""The longest target, and the longest value of a header."""

HEADERS_MAX = 128

_SHOWN_BYTES = 100
_PACKINGS = {
    "br": "brotli (br). Please install `Brotli`",
    "zstd": "zstandard (zstd). Please install `backports.zstd`",
}
_WITH_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNSENDABLE = re.compile(rb"[^!-~]")


def refusal(request: HttpRequest, target: str, headers: int) -> Answer | None:
    """The refusal of a request that an HTTP server could read but the real one does not; None if it does.

    `target` is the target of the request line as sent, `headers` the number of headers.
    """
    if request.method not in _METHODS:
        return malformed(unknown_method(_line(request, target)))
    if len(target) > FIELD_BYTES_MAX:
        return malformed(f"Got more than {FIELD_BYTES_MAX} bytes when reading: bytearray({_beginning(target)}).")
    too_long = next((value for value in request.headers.values() if len(value) > FIELD_BYTES_MAX), None)
    if too_long is not None:
        return malformed(f"Got more than {FIELD_BYTES_MAX} bytes when reading: {_beginning(too_long)}.")
    if headers > HEADERS_MAX:
        return malformed("Too many headers received")
    if target == "*" and request.method != "OPTIONS":
        return malformed(target)
    if not (target.startswith(("/", "*")) or _WITH_HOST.match(target) or request.method == "CONNECT"):
        line = _line(request, target)
        return malformed(_marked("Invalid characters in url:", line, line.rindex(b" ") + 1))
    packing = request.headers.get("content-encoding", "").lower()
    if packing in _PACKINGS:
        return malformed(f"Can not decode content-encoding: {_PACKINGS[packing]}")
    return None


def unexpected(request: HttpRequest) -> Answer | None:
    """The refusal of an `Expect` header that asks for anything but leave to send the body; None if there is none."""
    expected = request.headers.get("expect", "")
    if not expected or expected.lower() == "100-continue":
        return None
    return text_answer(f"Unknown Expect: {expected}", 417, from_exception=True)


def malformed(text: str) -> Answer:
    """A refusal by the real server's HTTP parser."""
    return replace(text_answer(text, 400, from_exception=True), malformed=True)


def complaint(received: bytes) -> str:
    """What the real server says of bytes that are no HTTP request at all. They begin where the request begins."""
    if received.startswith(b"\x16\x03"):
        return "Received HTTPS traffic on an HTTP port"
    line, *lines = (line.rstrip(b"\r") for line in received.split(b"\n"))
    method, _, rest = line.partition(b" ")
    if method.decode("latin-1") not in _METHODS:
        return unknown_method(line)
    target, _, version = rest.partition(b" ")
    odd = _UNSENDABLE.search(target)
    if odd:
        part = "query" if b"?" in target[: odd.start()] else "path"
        return _marked(f"Invalid char in url {part}:", line, len(method) + 1 + odd.start())
    if not version.startswith(b"HTTP/"):
        return _marked("Bad status line:\n  Expected HTTP/, RTSP/ or ICE/:", line, len(line) - len(version))
    for header in lines[: lines.index(b"")] if b"" in lines else lines:
        name = re.match(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*", header)
        end = 0 if name is None else name.end()
        if end == 0 or header[end : end + 1] != b":":
            return _marked("Invalid header token:", header, end)
    hosts = sum(header.lower().startswith(b"host:") for header in lines)
    if hosts != 1:
        return "Duplicate 'Host' header found." if hosts else "Missing 'Host' header in request."
    return "Invalid HTTP request received."


def unknown_method(line: bytes) -> str:
    """The complaint about a request line whose method HTTP does not have.

    The mark stands under the first letter that no method goes on with.
    """
    method = line.partition(b" ")[0].decode("latin-1")
    return _marked(
        "Invalid method encountered:", line, max(len(posixpath.commonprefix([method, other])) for other in _METHODS)
    )


def _line(request: HttpRequest, target: str) -> bytes:
    return f"{request.method} {target} HTTP/1.1".encode("latin-1", "replace")


def _marked(complaint: str, line: bytes, place: int) -> str:
    """A complaint that shows a line, as Python writes bytes, and below it a mark at its `place`."""
    before = repr(line[:place])[:-1]
    return f"{complaint}\n\n  {line!r}\n  {' ' * len(before)}^"


def _beginning(text: str) -> str:
    return repr(text.encode("utf-8", "surrogateescape")[:_SHOWN_BYTES] + b"...")
