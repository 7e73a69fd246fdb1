"""Models and embeddings (protocol 2.3)."""

from __future__ import annotations

import posixpath

from comfy_mock.engine.answers import Answer, empty, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.model_previews import model_preview
from comfy_mock.engine.models import FOLDERS
from comfy_mock.server.http import Endpoint, HttpRequest


def get_folders(_engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(list(FOLDERS))


def get_names(engine: Engine, request: HttpRequest) -> Answer:
    folder = request.path_params["folder"]
    return json_answer(engine.models.names(folder)) if folder in FOLDERS else empty(404)


def get_embeddings(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer([posixpath.splitext(name)[0] for name in engine.models.names("embeddings")])


def get_metadata(engine: Engine, request: HttpRequest) -> Answer:
    metadata = engine.models.metadata(request.path_params["folder_name"], request.query.get("filename", ""))
    return empty(404) if metadata is None else json_answer(metadata)


def get_all(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(
        [
            {"name": folder.name, "folders": engine.models.paths(folder.name), "extensions": sorted(folder.extensions)}
            for folder in FOLDERS.values()
            if folder.name not in ("configs", "custom_nodes")
        ]
    )


def get_listing(engine: Engine, request: HttpRequest) -> Answer:
    folder = request.path_params["folder"]
    if folder not in FOLDERS:
        return empty(404)
    return json_answer(
        [
            {
                "name": file.name,
                "pathIndex": file.path_index,
                "modified": file.modified,
                "created": file.created,
                "size": file.size,
            }
            for file in engine.models.listing(folder)
        ]
    )


def get_preview(engine: Engine, request: HttpRequest) -> Answer:
    named = request.path_params
    return model_preview(engine.models, engine.files, named["folder"], named["path_index"], named["filename"])


ENDPOINTS = [
    Endpoint("GET", "/embeddings", get_embeddings),
    Endpoint("GET", "/models", get_folders),
    Endpoint("GET", "/models/{folder}", get_names),
    Endpoint("GET", "/view_metadata/{folder_name}", get_metadata),
    Endpoint("GET", "/experiment/models", get_all),
    Endpoint("GET", "/experiment/models/{folder}", get_listing),
    Endpoint("GET", "/experiment/models/preview/{folder}/{path_index}/{filename:rest}", get_preview),
]
