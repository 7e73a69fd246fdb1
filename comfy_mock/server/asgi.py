"""Requests and answers as ASGI messages."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import parse_qsl, quote, unquote

from starlette.types import Receive, Scope, Send

from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.content_types import BINARY
from comfy_mock.server.http import HttpRequest

SERVER = "Python/3.11 aiohttp/3.14.5"
"""What the recorded server calls itself."""

RawHeaders = list[tuple[bytes, bytes]]

MEMBERS_MAX = 10_000
"""How many gzip files in a row one body may be: each costs time, even one that holds nothing."""

_FIRST_SLICE_BYTES = 256

_LAST_DATE = 253402300799.0
"""The end of the year 9999, in seconds since the epoch."""

_HOST = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_LENGTH = (204, 304)
_PHRASES = {413: "Request Entity Too Large", 416: "Requested Range Not Satisfiable"}
"""Reason phrases that newer Pythons have under another name than the recorded server."""


class ClientGone(Exception):
    """The client went away before its request was complete."""


class BodyTooLarge(Exception):
    """The body is larger than the limit. `unread` says whether there is more of it than has been read."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__("the body is too large")
        self.unread = unread


def target_of(scope: Scope) -> str:
    """The target of the request line as sent: path and query, in odd cases more than that."""
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    path, query = raw_path.decode("latin-1"), scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def request_of(scope: Scope) -> HttpRequest:
    """The request of an ASGI scope (of a WebSocket: its upgrade request), with no body yet.

    A target with scheme and host, as proxies are sent, is cut down to its path and query; so is one with a fragment.
    """
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape"))
    target = target_of(scope).partition("#")[0]
    path, _, sent_query = _HOST.sub("", target).partition("?")
    query = parse_qsl(sent_query, keep_blank_values=True)
    return HttpRequest(
        method=scope.get("method", "GET"),
        path=unquote(path),
        raw_path=path,
        query=dict(reversed(query)),
        headers=headers,
    )


async def read_body(receive: Receive, request: HttpRequest, limit: int) -> bytes:
    """The whole body. Never holds much more than `limit` bytes of it.

    Raises `BodyTooLarge`, at once if the request says that it will be, and `ClientGone`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 20 or int(announced) > limit):
        raise BodyTooLarge(unread=True)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(unread=more)
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body as it was before its `Content-Encoding`; what is neither gzip nor deflate stays as it is.

    A gzip body may be several in a row, and may end too soon. Raises `BodyTooLarge` where it swells beyond `limit`
    bytes, and `ServerTrouble` where it is not what its header says, or more than `MEMBERS_MAX` in a row.
    """
    if encoding == "gzip":
        window = 16 + zlib.MAX_WBITS
    elif encoding == "deflate":
        # Some clients send the bare format, without the header that zlib puts before it.
        window = zlib.MAX_WBITS if body[:1] and body[0] & 0xF == 8 else -zlib.MAX_WBITS
    else:
        return body
    packed, size, members = memoryview(body), 0, 0
    parts: list[bytes] = []
    while packed:
        members += 1
        if members > MEMBERS_MAX:
            raise ServerTrouble(f"the body is more than {MEMBERS_MAX} {encoding} files in a row")
        decompressor = zlib.decompressobj(window)
        slice_bytes = _FIRST_SLICE_BYTES
        while packed and not decompressor.eof:
            given = packed[:slice_bytes]
            try:
                part = decompressor.decompress(given, limit + 1 - size)
            except zlib.error as error:
                raise ServerTrouble(f"the body is not {encoding}: {error}") from error
            size += len(part)
            if size > limit:
                raise BodyTooLarge(unread=False)
            parts.append(part)
            packed = packed[len(given) - len(decompressor.unused_data) :]
            # What follows the member is copied each time: slices stay in proportion to what it was so far.
            slice_bytes *= 2
    return b"".join(parts)


def answer_headers(answer: Answer, method: str, now: float) -> RawHeaders:
    """The headers of an answer to a request of this method at time `now` (seconds since the epoch).

    Raises `ServerTrouble` for a header that would break the answer apart: one with line breaks in it.
    """
    headers: list[tuple[str, str]] = []
    head_of_nothing = method == "HEAD" and not answer.body
    if answer.content_type is not None and not (head_of_nothing and answer.chunked and answer.content_type == BINARY):
        headers.append(("content-type", answer.content_type))
    headers.extend(answer.headers)
    if not answer.chunked and answer.status not in _WITHOUT_LENGTH and (answer.content_type or not head_of_nothing):
        headers.append(("content-length", str(len(answer.body))))
    headers.append(("date", format_datetime(datetime.fromtimestamp(min(now, _LAST_DATE), timezone.utc), usegmt=True)))
    headers.append(("server", SERVER))
    for name, value in headers:
        if _UNSENDABLE.search(value):
            raise ServerTrouble(f"the header {name} cannot hold {value!r}")
    try:
        return [(name.lower().encode("ascii"), value.encode("utf-8", "surrogateescape")) for name, value in headers]
    except UnicodeEncodeError as error:
        raise ServerTrouble(f"a header cannot be encoded: {error}") from error


async def send_answer(send: Send, answer: Answer, headers: RawHeaders, method: str) -> None:
    """Send an answer that is complete. A reason phrase of its own goes along for servers that can send one."""
    await send(_start("http.response.start", answer, headers))
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


async def send_beginning(send: Send, answer: Answer, headers: RawHeaders, part: bytes) -> None:
    """Send an answer's headers and a part of its body. The rest does not come."""
    await send(_start("http.response.start", answer, headers))
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def send_early_answer(receive: Receive, send: Send, answer: Answer, headers: RawHeaders) -> None:
    """Send an answer while the client is still sending its body, and let the client send the rest, unseen.

    A connection that is closed before that would be reset, and clients would lose the answer.
    """
    await send(_start("http.response.start", answer, headers))
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.body", "body": b""})


async def refuse_upgrade(scope: Scope, receive: Receive, send: Send, answer: Answer, headers: RawHeaders) -> None:
    """Answer the upgrade request of a WebSocket as plain HTTP."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    await send(_start("websocket.http.response.start", answer, headers))
    await send({"type": "websocket.http.response.body", "body": answer.body})


def _start(kind: str, answer: Answer, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, object]:
    start: dict[str, object] = {"type": kind, "status": answer.status, "headers": list(headers)}
    reason = _PHRASES.get(answer.status) if answer.reason is None else answer.reason
    if reason is not None:
        start["reason"] = reason
    if answer.malformed:
        start["http_version"] = "1.0"
    return start
