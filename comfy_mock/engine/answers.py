"""What a verb of the engine answers to an HTTP request: plain data, which the shell turns into bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfy_contracts import jsontext

JSON = "application/json; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    `headers` are those beyond `Content-Type` and `Content-Length`. `content_type` None means that the answer has none,
    as the real server's empty answers do (protocol 1.1). `chunked` marks the answers of its static file handler that
    come without a `Content-Length` (protocol 1.2). `reason` replaces the standard reason phrase.
    `from_exception` marks answers that bypass the middlewares' after-work: they have no CORS, CSP or cache headers
    (protocol 1.3). `malformed` marks refusals of requests that the real server's HTTP parser does not understand: they
    are HTTP/1.0, and close the connection.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    chunked: bool = False
    reason: str | None = None
    from_exception: bool = False
    malformed: bool = False


def empty(status: int = 200) -> Answer:
    """An answer with neither body nor content type."""
    return Answer(status)


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` in the text form of the real server: Python's default dump (protocol 1.1)."""
    return Answer(status, jsontext.dumps(value).encode("ascii"), JSON)


def text_answer(text: str, status: int = 200, *, from_exception: bool = False) -> Answer:
    """A plain text answer."""
    return Answer(status, text.encode("utf-8"), PLAIN, from_exception=from_exception)


def static_missing() -> Answer:
    """What the frontend's file handler says of a path that it does not have (protocol 1.2)."""
    return Answer(404, b"", "application/octet-stream", chunked=True)


class ServerTrouble(Exception):
    """The real server's handler fails here with an unhandled exception: the shell answers the 500 of protocol 1.3.

    The message says why, for the log; no client sees it.
    """
