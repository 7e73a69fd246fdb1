"""What a request asks, in a form in which a recorded one and a live one can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from msgspec import UNSET
from starlette.types import Scope

from comfy_contracts import jsontext
from comfy_contracts.har import Request
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.uploads import UploadedFile
from comfy_mock.server.asgi import request_of, target_of
from comfy_mock.server.forms import header_value, parse_form

_TELLING = ("comfy-user", "if-modified-since", "if-none-match", "if-range", "range")
"""The headers on which an answer depends: who asks, and for which part of a file, unless it is known already."""

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Question:
    """A request. `value` is all of it that counts, as a JSON value; `sha256` is of its body as sent.

    In `value` a path is percent-encoded in one way only, `query` has the values of each parameter, and the body is
    `json`, `form` (where the boundary does not count), `text` or `bytes`; there is none where the request has none.
    `omitted` is true of a recorded request whose body was not kept: of it only the `sha256` is known.
    """

    method: str
    target: str
    value: Mapping[str, Any]
    sha256: str
    omitted: bool = False

    @property
    def path(self) -> str:
        """The path, without the query."""
        return str(self.value["path"])

    @property
    def json(self) -> Any:
        """The JSON body; None where there is none."""
        return self.value.get("json")

    @property
    def topic(self) -> str:
        """The first word of its path, but for `api` and a version: `history`, or `jobs`."""
        words = [word for word in self.path.split("/") if word]
        return next((word for word in words if word not in ("api", "v2")), "")

    @property
    def posts_prompt(self) -> bool:
        """Whether it submits a prompt."""
        return self.method == "POST" and self.topic == "prompt"

    @property
    def without_body(self) -> dict[str, Any]:
        """The value as if it had no body."""
        return {name: self.value[name] for name in ("method", "path", "query", "headers")}

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def question_of(scope: Scope, body: bytes = b"") -> Question:
    """What a live request asks; of a WebSocket, its upgrade."""
    request = request_of(scope)
    return _question(request.method, target_of(scope), request.headers, body)


def recorded_question(request: Request) -> Question:
    """What a recorded request asked. Raises `HarError` where its body is garbled."""
    url = request.url.partition("#")[0]
    start = url.find("/", url.find("//") + 2)
    headers: dict[str, str] = {}
    for header in request.headers:
        headers.setdefault(header.name.lower(), header.value)
    if request.post_data is not UNSET:
        headers.setdefault("content-type", request.post_data.mime_type)
    question = _question(request.method, url[start:] if start >= 0 else "/", headers, request.body)
    if request.post_data is UNSET or request.post_data.omitted is not True:
        return question
    sha256 = request.post_data.sha256
    return replace(question, value=question.without_body, sha256=sha256 if sha256 is not UNSET else "", omitted=True)


def _question(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Question:
    target = target.partition("#")[0]
    path, _, query = target.partition("?")
    parameters: dict[str, list[str]] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(name, []).append(text)
    value = {
        "method": method,
        "path": "/".join(quote(unquote(segment), safe="") for segment in path.split("/")),
        "query": parameters,
        "headers": {name: headers[name] for name in _TELLING if name in headers},
        **_body(headers.get("content-type", ""), body),
    }
    return Question(method, target, value, hashlib.sha256(body).hexdigest())


def _body(content_type: str, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        # whatever its type: that of a JSON body is never looked at (protocol 1.1)
        return {"json": jsontext.loads(body)}
    except (ValueError, RecursionError):
        kind, parameters = header_value(content_type)
    if kind not in _FORMS:
        return _raw(body)
    try:
        return {"form": {name: _field(field) for name, field in parse_form(content_type, body).items()}}
    except ServerTrouble:
        return _raw(body, parameters.get("boundary", ""))


def _field(field: str | bytes | UploadedFile) -> Any:
    if isinstance(field, UploadedFile):
        return {"filename": field.filename, **_raw(field.content)}
    return _raw(field) if isinstance(field, bytes) else field


def _raw(body: bytes, boundary: str = "") -> dict[str, Any]:
    body = body.replace(boundary.encode("latin-1", "replace"), b"boundary") if boundary else body
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and len(text) <= _LONGEST_TEXT:
        return {"text": text}
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
