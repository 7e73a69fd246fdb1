"""A recorded answer, made ready to be sent again."""

from __future__ import annotations

import gzip
import zlib

from msgspec import UNSET

from comfy_contracts.har import Response
from comfy_mock.engine.answers import Answer
from comfy_mock.server.asgi import RawHeaders
from comfy_mock.server.replay_ids import Ids

_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})
_NOT_MODIFIED = 304


def answer_of(response: Response, ids: Ids, method: str) -> tuple[Answer, RawHeaders]:
    """A recorded answer to a request of this method, with the ids of now, and its headers.

    Bodies that are no text stay as they are, and so do headers, but for those of the recorded connection.
    """
    is_packed = response.header("content-encoding") is not None and response.content.encoding is not UNSET
    body = _body(response, ids, is_packed)
    left_out = {*_OF_THE_CONNECTION, *(() if is_packed else ("content-encoding",))}
    has_own_length = method == "HEAD" or response.status == _NOT_MODIFIED
    headers: list[tuple[str, str]] = []
    for header in response.headers:
        name, value = header.name.lower(), header.value
        if name == "content-length" and not has_own_length:
            value = str(len(body))
        if name not in left_out or (name == "connection" and value.lower() == "close"):
            # browsers put several headers of one name into one, a line each
            headers.extend((name, line) for line in ids.text(value).split("\n"))
    # HTTP/2 has no reason phrases, and browsers then tell of none
    answer = Answer(response.status, body, reason=response.status_text or None)
    return answer, [(name.encode("ascii"), value.encode("utf-8", "surrogateescape")) for name, value in headers]


def _body(response: Response, ids: Ids, is_packed: bool) -> bytes:
    body = response.body or b""
    if not _is_text(response.header("content-type") or ""):
        return body
    plain = response.unpacked
    if plain is None:
        return body
    live = ids.text(plain.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if live == plain:
        return body
    if not is_packed:
        return live
    return gzip.compress(live, mtime=0) if response.header("content-encoding") == "gzip" else zlib.compress(live)


def _is_text(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind.endswith(("/json", "+json"))
