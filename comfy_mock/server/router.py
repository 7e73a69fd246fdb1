"""Which endpoint a request is for, with all the quirks of the real server's routing (protocol 1.2)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from comfy_mock.engine.answers import PLAIN, Answer, ServerTrouble, static_missing, text_answer
from comfy_mock.engine.memory_files import NAME_BYTES_MAX
from comfy_mock.server.http import Endpoint, HttpRequest

_VARIABLE = re.compile(r"\{(\w+)(?::(uuid|rest))?\}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True)
class _Segment:
    """One part of an endpoint's path: a literal, or the name of a variable and its kind."""

    literal: str | None
    name: str = ""
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class _Route:
    endpoint: Endpoint
    segments: tuple[_Segment, ...]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The variable segments if the path is this route's, else None."""
        found: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.kind == "rest":
                return None if index >= len(segments) else {**found, segment.name: "/".join(segments[index:])}
            if index >= len(segments) or not _fits(segment, segments[index]):
                return None
            if segment.literal is None:
                found[segment.name] = segments[index]
        return found if len(segments) == len(self.segments) else None


def _fits(segment: _Segment, sent: str) -> bool:
    if segment.literal is not None:
        return sent == segment.literal
    if segment.kind == "uuid":
        return _UUID.fullmatch(sent) is not None
    return sent != "" and "{" not in sent and "}" not in sent


@dataclass(frozen=True, slots=True)
class Found:
    """The endpoint that a request is for, and the variable segments of its path."""

    endpoint: Endpoint
    path_params: dict[str, str]


class Router:
    """The table of all endpoints, in the order in which they are asked.

    Raises `ValueError` for two endpoints with one method and path.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._literal: dict[tuple[str, ...], list[Endpoint]] = {}
        self._variable: list[_Route] = []
        known: set[tuple[str, str]] = set()
        for endpoint in endpoints:
            for path in (endpoint.path, f"/api{endpoint.path}") if endpoint.alias else (endpoint.path,):
                if (endpoint.method, path) in known:
                    raise ValueError(f"two endpoints answer {endpoint.method} {path}")
                known.add((endpoint.method, path))
                self._add(endpoint, path)

    def _add(self, endpoint: Endpoint, path: str) -> None:
        segments = tuple(_segment(part) for part in path.removeprefix("/").split("/"))
        if all(segment.literal is not None for segment in segments):
            self._literal.setdefault(tuple(path.removeprefix("/").split("/")), []).append(endpoint)
        else:
            self._variable.append(_Route(endpoint, segments))

    def find(self, method: str, raw_path: str) -> Found | Answer:
        """The endpoint for a method and a path as sent (without the query), or what the server says without one."""
        if method == "CONNECT" or not raw_path:
            return _not_found()
        segments = [unquote(segment) for segment in raw_path.removeprefix("/").split("/")]
        allowed: set[str] = set()
        for endpoint, path_params in self._matches(segments):
            if method == endpoint.method or (method == "HEAD" and endpoint.method == "GET"):
                return Found(endpoint, path_params)
            allowed |= {"GET", "HEAD"} if endpoint.method == "GET" else {endpoint.method}
        if segments[0] == "internal":
            return _wrong_method(allowed) if allowed else _not_found()
        if method in ("GET", "HEAD"):
            return _no_such_file(unquote(raw_path))
        return _wrong_method(allowed | {"GET", "HEAD"})

    def _matches(self, segments: list[str]) -> Iterator[tuple[Endpoint, dict[str, str]]]:
        for endpoint in self._literal.get(tuple(segments), ()):
            yield endpoint, {}
        for route in self._variable:
            path_params = route.match(segments)
            if path_params is not None:
                yield route.endpoint, path_params


def _segment(part: str) -> _Segment:
    variable = _VARIABLE.fullmatch(part)
    return _Segment(None, variable.group(1), variable.group(2)) if variable else _Segment(part)


def _wrong_method(allowed: set[str]) -> Answer:
    headers = (("Allow", ",".join(sorted(allowed))),)
    return Answer(405, b"405: Method Not Allowed", PLAIN, headers, from_exception=True)


def _not_found() -> Answer:
    return text_answer("404: Not Found", 404, from_exception=True)


def _no_such_file(path: str) -> Found | Answer:
    """The frontend's file handler stands behind every path; it tells missing files from paths that lead out of it."""
    normal = posixpath.normpath(path.removeprefix("/"))
    if normal.startswith(("..", "/")) or "\0" in path:
        return _not_found()
    if normal == ".":
        return text_answer("403: Forbidden", 403, from_exception=True)
    # An operating system fails to look for such a name, and the handler with it.
    if len(normal.split("/")[0].encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        return Found(Endpoint("GET", path, _too_long, alias=False), {})
    return static_missing()


def _too_long(_engine: Any, request: HttpRequest) -> Answer:
    raise ServerTrouble(f"no file can have the name {request.path}")
