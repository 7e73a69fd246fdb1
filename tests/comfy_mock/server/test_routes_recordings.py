"""The recorded exchanges of metadata, models, users, settings, user data, internal and static routes, sent again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from shell_driver import HOST, WithoutScript, expected_headers, recording, sent_again, shown

from comfy_contracts import har
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.files import Files
from comfy_mock.engine.options import Options
from comfy_mock.server.app import create_app
from comfy_mock.server.directory_files import DirectoryFiles

NOW = 1_795_440_265.25
MODELS = {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}

PATHS = re.compile(
    r"(/api)?/(system_stats|features|object_info|node_replacements|extensions|i18n|workflow_templates|global_subgraphs"
    r"|embeddings|models|view_metadata|experiment|users|settings|userdata|v2|assets|tags|user\.css|templates|docs|upload)"
    r"|/internal|/prompt"
)
"""What is sent again. Uploads and prompts only because lists of files are asked for after them."""

MACHINE = {
    "/system_stats": "its memory",
    "/internal/logs": "its log",
    "/internal/logs/raw": "its log",
    "/internal/folder_paths": "its paths",
    "/experiment/models": "its paths",
    "/experiment/models/checkpoints": "its files",
    "/extensions": "what its frontend package holds",
    "/global_subgraphs": "what its template package holds",
}
"""Answers that speak of the recorded machine: of these the shape is compared."""

TIMES = ("modified", "created")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Server(WithoutScript):
    def __init__(self, files: Files | None = None, **options: Any) -> None:
        super().__init__()
        options = {"models": MODELS, "preview_method": "latent2rgb", **options}
        self.engine = Engine(Options(**options), now=NOW, files=files)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        self.engine.now += 0.001
        yield
        self.engine.advance(self.engine.now + 1)

    async def websocket_endpoint(self, websocket: Any, record: Any) -> None:
        raise AssertionError("no sockets here")


def shape(value: Any) -> Any:
    """Keys and types; of a list the shapes that occur in it."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return list(dict.fromkeys(json.dumps(shape(member)) for member in value))
    return type(value).__name__


def comparable(path: str, body: bytes, content_type: str) -> Any:
    if not content_type.startswith("application/json") or not body:
        return body
    value = json.loads(body)
    bare = path.removeprefix("/api")
    if bare in ("/extensions", "/global_subgraphs"):
        return type(value).__name__
    if bare == "/internal/logs/raw":
        return shape({**value, "entries": value["entries"][:1]})
    if bare in MACHINE:
        return shape(value)
    return without_clocks_and_ids(value)


def without_clocks_and_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            UUID.sub("<id>", name): type(member).__name__ if name in TIMES else without_clocks_and_ids(member)
            for name, member in value.items()
            if name != "output_tooltips"
        }
    if isinstance(value, list):
        return [without_clocks_and_ids(member) for member in value]
    return UUID.sub("<id>", value) if isinstance(value, str) else value


def is_ours(entry: har.Entry) -> bool:
    return PATHS.match(urlsplit(entry.request.url).path) is not None


def check(name: str, entry: har.Entry, answer: httpx.Response) -> None:
    path = urlsplit(entry.request.url).path
    asked = f"{name}: {entry.request.method} {entry.request.url}"
    if "/experiment/models/preview/checkpoints/0/v1-5" in path:
        # The recorded file was a link out of its folder, which is forbidden; here there is no picture.
        assert (answer.status_code, entry.response.status) == (404, 403), asked
        return
    assert answer.status_code == entry.response.status, asked
    recorded = entry.response.body or b""
    expected, got = expected_headers(entry), shown(answer.headers.items())
    kind = expected.get("content-type", "")
    if answer.request.method != "HEAD":
        assert comparable(path, answer.content, kind) == comparable(path, recorded, kind), asked
    expected.pop("content-length", None)
    got.pop("content-length", None)
    assert got == expected, asked


async def send_again(name: str, server: Server) -> int:
    compared = 0
    renamed: dict[str, str] = {}
    transport = httpx.ASGITransport(create_app(server))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
        for entry in filter(is_ours, recording(name)):
            answer = await http.send(sent_again(http, entry, renamed))
            check(name, entry, answer)
            if entry.request.method == "POST" and urlsplit(entry.request.url).path == "/users" and answer.is_success:
                renamed[json.loads(entry.response.body or b"")] = answer.json()
            compared += 1
    return compared


@pytest.mark.parametrize(
    ("name", "options", "exchanges"),
    [
        ("metadata_routes", {}, 66),
        ("api_alias", {}, 59),
        ("settings", {}, 38),
        ("userdata", {}, 119),
        ("multi_user", {"multi_user": True}, 43),
        ("malformed_bodies", {}, 137),
        ("upload_image", {}, 43),
    ],
)
def test_is_answered_as_recorded(name: str, options: dict[str, Any], exchanges: int) -> None:
    assert asyncio.run(send_again(name, Server(**options))) == exchanges


@pytest.mark.parametrize("name", ["settings", "userdata", "upload_image"])
def test_is_answered_as_recorded_from_a_directory(name: str, tmp_path: Path) -> None:
    assert asyncio.run(send_again(name, Server(DirectoryFiles({"/comfyui": tmp_path})))) > 0
