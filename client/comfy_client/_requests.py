"""Requests of httpx from calls, and errors from its failures."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import httpx

from comfy_client._calls import Answer, Call
from comfy_client._errors import ComfyError, NotFound, ProtocolError, ServerError
from comfy_client._retries import BadStatus, NoAnswer, retry_after
from comfy_contracts import jsontext
from comfy_contracts.structs import ShapeError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def base_url_of(text: str) -> httpx.URL:
    """The URL of a server, of a whole URL or of `host[:port]`. Raises `ValueError` where it is neither."""
    url = httpx.URL(text if _SCHEME.match(text) else f"http://{text}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} is no server; write http://host:port, https://host, or host:port")
    return url.copy_with(path=url.path.rstrip("/") or "/", query=None, fragment=None)


def joined(base: httpx.URL, path: str) -> httpx.URL:
    """The URL of a path below that of a server. A whole URL is taken as it is."""
    url = httpx.URL(path)
    if url.is_absolute_url:
        return url
    return base.copy_with(raw_path=base.raw_path.rstrip(b"/") + b"/" + url.raw_path.lstrip(b"/"))


def limited(request: httpx.Request, own: httpx.Timeout, seconds: float) -> None:
    """Let no single step of a request take longer than `seconds`; `own` are the timeouts of its client."""
    timeouts = request.extensions.get("timeout", own.as_dict())
    least = {name: seconds if timeouts.get(name) is None else min(timeouts[name], seconds) for name in own.as_dict()}
    request.extensions = {**request.extensions, "timeout": least}


def arguments_of(call: Call[Any]) -> dict[str, Any]:
    """The arguments of `httpx.Client.build_request`, beside method and URL."""
    arguments: dict[str, Any] = {}
    if call.params:
        arguments["params"] = call.params
    if call.file is not None:
        arguments["files"] = {"image": (call.file.filename, call.file.content)}
        arguments["data"] = dict(call.form or {})
    elif call.json is not None:
        arguments["content"] = jsontext.dumps(call.json).encode("ascii")
        arguments["headers"] = {"Content-Type": "application/json"}
    elif call.content is not None:
        arguments["content"] = call.content
    return arguments


def no_answer(error: httpx.RequestError) -> NoAnswer:
    """What a failure of the network means for another attempt."""
    reason = str(error) or type(error).__name__
    return NoAnswer(reason, sent=not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)))


def bad_status(response: httpx.Response) -> BadStatus:
    """What another status than 200 to 299 means for another attempt."""
    return BadStatus(response.status_code, retry_after(dict(response.headers), datetime.now(timezone.utc)))


def error_of(call: Call[Any], response: httpx.Response, url: str) -> ComfyError:
    """The error that an answer with another status than 200 to 299 is."""
    if response.status_code == 400 and call.refusal is not None:
        try:
            return call.refusal(Answer(response.status_code, response.content))
        except ShapeError:
            pass  # Something else than ComfyUI said 400; its own words do.
    cls = NotFound if response.status_code == 404 else ServerError
    location = response.headers.get("location") if response.has_redirect_location else None
    said = response.text or response.reason_phrase
    return cls(call.method, url, response.status_code, said, None if location is None else shown(location))


def unfollowed(call: Call[Any], response: httpx.Response) -> httpx.Response:
    """The answer that counts: a redirection, where following it made another request of the call (a GET of a POST)."""
    return response.history[0] if response.history and response.request.method != call.method else response


def shown(url: httpx.URL | str) -> str:
    """A URL for messages: without credentials, and without a query, in which there may be some."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return repr(url)
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None))


def read(call: Call[Any], response: httpx.Response, url: str) -> Any:
    """The result of a call. Raises `ProtocolError` for an answer of another shape."""
    try:
        return call.read(Answer(response.status_code, response.content, dict(response.headers)))
    except ShapeError as error:
        raise ProtocolError(f"the answer of {call.method} {url}", str(error)) from error
