"""What a request asks for: its route, with the parts of the path that are free in braces."""

from __future__ import annotations

import re

from comfy_contracts.equivalence import TEXT_RULES
from comfy_contracts.har import Entry

_ID = re.compile(next(rule.pattern for rule in TEXT_RULES if rule.name == "id"))

_ROUTES = (
    "/history/{prompt_id}",
    "/object_info/{node_class}",
    "/models/{folder}",
    "/view_metadata/{folder}",
    "/experiment/models/{folder}",
    "/experiment/models/preview/{folder}/{path_index}/{filename}",
    "/settings/{id}",
    "/userdata/{file}",
    "/userdata/{file}/move/{dest}",
    "/global_subgraphs/{id}",
    "/internal/files/{directory_type}",
    "/api/jobs/cancel",
    "/api/jobs/{job_id}",
    "/api/jobs/{job_id}/cancel",
    "/api/assets/{id}",
    "/api/assets/{id}/content",
    "/api/assets/{id}/tags",
)
"""The routes whose paths have free parts (protocol 2), and those that only look so; the first that fits counts."""

_FIXED = ("/internal/logs", "/internal/folder_paths", "/api/assets/from-hash", "/api/assets/seed", "/api/assets/prune")


def _pattern(route: str) -> re.Pattern[str]:
    parts = re.split(r"({\w+})", route)
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts))


_PATTERNS = {route: _pattern(route) for route in _ROUTES}


def route_of(method: str, path: str) -> str:
    """The route of a request, such as `GET /history/{prompt_id}`; of an unknown one the path, without its random ids.

    The alias under `/api` (protocol 1.2) is a route of its own.
    """
    if path in _FIXED:
        return f"{method} {path}"
    for prefix in ("", "/api"):
        bare = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else ""
        known = next((route for route, pattern in _PATTERNS.items() if pattern.fullmatch(bare)), None)
        if known is not None:
            return f"{method} {prefix}{known}"
    return f"{method} {_ID.sub('{id}', path)}"


def is_unrouted(entry: Entry) -> bool:
    """Whether an answer says that the server has no such route (protocol 1.2 and 1.3).

    That is 405, or 404 with the body of an HTTP library. A 404 that a handler makes has JSON or words of its own, or
    neither a body nor a type; of HEAD the two look alike, so it counts as a handler's.
    """
    response = entry.response
    if response.status == 405:
        return True
    if response.status != 404:
        return False
    if response.body:
        return response.body.removeprefix(b"404:").strip() == b"Not Found"
    return response.header("content-type") is not None
