"""The assets API, which is off (protocol 2.9). Its routes are there under `/api` only."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.server.http import Endpoint, HttpRequest

_DISABLED = "Assets system is disabled. Start the server with --enable-assets to use this feature."

_ROUTES = (
    ("HEAD", "/api/assets/hash/{hash}"),
    ("GET", "/api/assets"),
    ("POST", "/api/assets"),
    ("POST", "/api/assets/from-hash"),
    ("GET", "/api/assets/{id:uuid}"),
    ("PUT", "/api/assets/{id:uuid}"),
    ("DELETE", "/api/assets/{id:uuid}"),
    ("GET", "/api/assets/{id:uuid}/content"),
    ("POST", "/api/assets/{id:uuid}/tags"),
    ("DELETE", "/api/assets/{id:uuid}/tags"),
    ("GET", "/api/tags"),
    ("GET", "/api/assets/tags/refine"),
    ("POST", "/api/assets/seed"),
    ("GET", "/api/assets/seed/status"),
    ("POST", "/api/assets/seed/cancel"),
    ("POST", "/api/assets/prune"),
)


def refuse(_engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer({"error": {"code": "SERVICE_DISABLED", "message": _DISABLED, "details": {}}}, 503)


ENDPOINTS = [
    Endpoint(method, path, refuse, alias=False, reads_body=False, fact="assets_routes") for method, path in _ROUTES
]
