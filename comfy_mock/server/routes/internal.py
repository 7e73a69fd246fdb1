"""What the frontend asks behind the API (protocol 2.7). These routes have no `/api` alias."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.models import FOLDERS
from comfy_mock.server.http import Endpoint, HttpRequest


def get_logs(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(engine.logs.text())


def get_raw_logs(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(engine.logs.raw())


def patch_subscribe(engine: Engine, request: HttpRequest) -> Answer:
    body = request.json()
    if not isinstance(body, dict) or "clientId" not in body or "enabled" not in body:
        raise ServerTrouble("the body must have clientId and enabled")
    if isinstance(body["clientId"], (list, dict)):
        raise ServerTrouble("clientId must be a text")
    engine.logs.subscribe(body["clientId"], enabled=bool(body["enabled"]))
    return empty()


def get_folder_paths(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer({name: engine.models.paths(name) for name in FOLDERS})


def get_files(engine: Engine, request: HttpRequest) -> Answer:
    kind = request.path_params["directory_type"]
    folder = engine.folders.of_type(kind)
    if folder is None:
        return json_answer({"error": "Invalid directory type"}, 400)
    times: dict[str, float] = {}
    for name in reversed(engine.files.names(folder)):
        stat = None if name.startswith(".") else engine.files.stat(f"{folder}/{name}")
        if stat is not None and not stat.is_folder:
            times[name] = stat.modified
    return json_answer([f"{name} [{kind}]" for name in sorted(times, key=lambda name: -times[name])])


ENDPOINTS = [
    Endpoint("GET", "/internal/logs", get_logs, alias=False),
    Endpoint("GET", "/internal/logs/raw", get_raw_logs, alias=False),
    Endpoint("PATCH", "/internal/logs/subscribe", patch_subscribe, alias=False),
    Endpoint("GET", "/internal/folder_paths", get_folder_paths, alias=False),
    Endpoint("GET", "/internal/files/{directory_type}", get_files, alias=False),
]
