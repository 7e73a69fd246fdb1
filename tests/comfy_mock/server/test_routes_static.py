"""The index page, the packages that are not there, the assets API that is off (protocol 2.8, 2.9)."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from shell_driver import HOST
from test_routes_recordings import Server

from comfy_mock.server.app import create_app

UUID = "2fb71142-e8f1-4d06-aa7d-2995e135790e"

ASSETS = [
    ("HEAD", "/api/assets/hash/blake3:x"),
    ("GET", "/api/assets"),
    ("POST", "/api/assets"),
    ("POST", "/api/assets/from-hash"),
    ("GET", f"/api/assets/{UUID}"),
    ("PUT", f"/api/assets/{UUID}"),
    ("DELETE", f"/api/assets/{UUID}"),
    ("GET", f"/api/assets/{UUID}/content"),
    ("POST", f"/api/assets/{UUID}/tags"),
    ("DELETE", f"/api/assets/{UUID}/tags"),
    ("GET", "/api/tags"),
    ("GET", "/api/assets/tags/refine"),
    ("POST", "/api/assets/seed"),
    ("GET", "/api/assets/seed/status"),
    ("POST", "/api/assets/seed/cancel"),
    ("POST", "/api/assets/prune"),
]


def ask(method: str, path: str, server: Server | None = None, content: bytes = b"") -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(server or Server()))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
            return await http.request(method, path, content=content)

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/", "/api/"])
def test_the_index_page_says_what_this_is_and_is_never_kept(path: str) -> None:
    answer = ask("GET", path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["cache-control"] == "no-store, must-revalidate"
    assert (answer.headers["pragma"], answer.headers["expires"]) == ("no-cache", "0")
    assert "<h1>comfy-mock</h1>" in answer.text
    assert "ComfyUI 0.33.0" in answer.text
    assert "887 node classes" in answer.text


@pytest.mark.parametrize(
    ("path", "status", "kind", "body"),
    [
        ("/docs", 403, "text/plain; charset=utf-8", "403: Forbidden"),
        ("/docs/", 403, "text/plain; charset=utf-8", "403: Forbidden"),
        ("/docs/nope", 404, "application/octet-stream", ""),
        ("/templates", 404, "application/octet-stream", ""),
        ("/templates/nope.json", 404, "text/plain; charset=utf-8", "404: Not Found"),
        ("/index.html", 404, "application/octet-stream", ""),
    ],
)
def test_what_packages_would_serve_is_missing(path: str, status: int, kind: str, body: str) -> None:
    answer = ask("GET", path)
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (status, kind, body)


@pytest.mark.parametrize(("method", "path"), ASSETS)
def test_the_assets_api_is_off(method: str, path: str) -> None:
    answer = ask(method, path)
    assert answer.status_code == 503
    if method != "HEAD":
        assert answer.json() == {
            "error": {
                "code": "SERVICE_DISABLED",
                "message": "Assets system is disabled. Start the server with --enable-assets to use this feature.",
                "details": {},
            }
        }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/assets", 404), ("GET", "/api/assets/x", 404), ("PUT", "/api/assets/x", 405), ("GET", "/tags", 404)],
)
def test_there_is_nothing_of_it_elsewhere(method: str, path: str, status: int) -> None:
    assert ask(method, path).status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"clientId": "a", "enabled": true}', 200),
        (b'{"enabled": true}', 500),
        (b'{"clientId": "a"}', 500),
        (b'{"clientId": ["a"], "enabled": true}', 500),
        (b"[]", 500),
        (b"x", 500),
    ],
)
def test_subscribing_to_the_log(content: bytes, status: int) -> None:
    server = Server()
    answer = ask("PATCH", "/internal/logs/subscribe", server, content)
    assert answer.status_code == status
    assert list(server.engine.logs.subscribers) == (["a"] if status == 200 else [])
    if status == 200:
        assert answer.content == b""
        ask("PATCH", "/internal/logs/subscribe", server, b'{"clientId": "a", "enabled": false}')
        assert not server.engine.logs.subscribers


def test_files_are_listed_newest_first() -> None:
    server = Server()
    files = server.engine.files
    for name, time in (("old.png", 1.0), ("new.png", 3.0), ("same.png", 3.0), (".hidden", 9.0), ("sub/x.png", 9.0)):
        files.write(f"/comfyui/output/{name}", b"", now=time)
    listed = ask("GET", "/internal/files/output", server).json()
    assert listed == ["same.png [output]", "new.png [output]", "old.png [output]"]
