"""What every request goes through before its handler, and every answer after it: plain functions (protocol 1.4-1.6)."""

from __future__ import annotations

import ipaddress
import posixpath
import zlib
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from comfy_contracts.profiles import Profile
from comfy_mock.engine.answers import JSON, PLAIN, Answer, ServerTrouble
from comfy_mock.engine.options import Options

_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' data:; frame-src 'self'; object-src 'self';"
)

_ZLIB_WINDOW = {"deflate": zlib.MAX_WBITS, "gzip": 16 + zlib.MAX_WBITS}


def origin_refused(headers: Mapping[str, str]) -> bool:
    """Whether the origin rule refuses a request (or a WebSocket upgrade) with these headers (protocol 1.4).

    Header names are in lower case. The rule is off under `--enable-cors-header`; the caller looks at that. Raises
    `ServerTrouble` for an `Origin` or `Host` that cannot be read, on which the real server fails.
    """
    if headers.get("sec-fetch-site") == "cross-site":
        return True
    if "host" not in headers or "origin" not in headers:
        return False
    try:
        host = urlsplit(f"//{headers['host'].lower()}")
        origin = urlsplit(headers["origin"].lower())
        host_name = host.netloc if origin.port is not None else host.hostname
        origin_name = origin.netloc if host.port is not None else origin.hostname
    except ValueError as error:
        raise ServerTrouble(f"the Origin or the Host of the request cannot be read: {error}") from error
    return _is_loopback(host.hostname) and bool(host_name) and bool(origin_name) and host_name != origin_name


def _is_loopback(name: str | None) -> bool:
    """Names are not looked up: only `localhost` counts, whatever the machine's resolver knows of others."""
    if name is None:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def finished(answer: Answer, options: Options, *, path: str, accept_encoding: str, handled: bool) -> Answer:
    """The answer with the headers that the server's switches and its path call for, compressed if that is on.

    `handled` is false for answers made before any handler was asked: the refusal of the origin rule and OPTIONS.
    """
    if answer.from_exception:
        return answer
    profile = Profile.of(options.version)
    if handled and options.disable_api_nodes:
        answer = _with_headers(answer, ("Content-Security-Policy", _CSP))
    if options.enable_cors_header is not None:
        answer = _with_headers(answer, *_cors(options.enable_cors_header, patch=profile.has("cors_patch")))
    if options.enable_compress_response_body:
        answer = _compressed(answer, accept_encoding)
    return _with_cache_control(answer, path, "no-store" if profile.has("no_store") else "no-cache")


def _cors(origin: str, *, patch: bool) -> tuple[tuple[str, str], ...]:
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", f"POST, GET, DELETE, PUT, OPTIONS{', PATCH' if patch else ''}"),
        ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
        ("Access-Control-Allow-Credentials", "true"),
    )


def _with_headers(answer: Answer, *headers: tuple[str, str]) -> Answer:
    return replace(answer, headers=(*answer.headers, *headers))


def _compressed(answer: Answer, accept_encoding: str) -> Answer:
    """The recorded server compresses only for clients that know gzip, but prefers deflate when they know both."""
    # Files are never compressed: theirs are the types without a charset.
    if not answer.body or answer.content_type not in (JSON, PLAIN) or "gzip" not in accept_encoding:
        return answer
    encoding = "deflate" if "deflate" in accept_encoding.lower() else "gzip"
    compressor = zlib.compressobj(wbits=_ZLIB_WINDOW[encoding])
    body = compressor.compress(answer.body) + compressor.flush()
    return _with_headers(replace(answer, body=body), ("Content-Encoding", encoding))


def _with_cache_control(answer: Answer, path: str, of_scripts: str) -> Answer:
    """`of_scripts` is what is said of scripts, styles and indexes, which the frontend's next release replaces."""
    if any(name.lower() == "cache-control" for name, _ in answer.headers):
        return answer
    name = posixpath.basename(path)
    if path.endswith((".js", ".css")) or (name.startswith("index") and name.endswith(".json")):
        return _with_headers(answer, ("Cache-Control", of_scripts))
    if not path.lower().endswith(_IMAGES):
        return answer
    # The real server looks at the status before its file handler opens the file, so for a missing file it is 200 too.
    status = 200 if answer.chunked or answer.status in (304, 412, 416) else answer.status
    if status == 404:
        return _with_headers(answer, ("Cache-Control", "public, max-age=3600"))
    if 200 <= status <= 206 or status in (301, 308):
        return _with_headers(answer, ("Cache-Control", "public, max-age=86400"))
    if status in (302, 303, 307):
        return _with_headers(answer, ("Cache-Control", "no-cache"))
    return answer
