"""The node catalogue (protocol 2.2)."""

from __future__ import annotations

from comfy_mock.engine.answers import JSON, Answer, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.server.http import Endpoint, HttpRequest


def get_object_info(engine: Engine, _request: HttpRequest) -> Answer:
    return Answer(200, engine.object_info.json_bytes(), JSON)


def get_class(engine: Engine, request: HttpRequest) -> Answer:
    class_type = request.path_params["node_class"]
    entry = engine.object_info.entry(class_type)
    return json_answer({} if entry is None else {class_type: entry})


ENDPOINTS = [
    Endpoint("GET", "/object_info", get_object_info),
    Endpoint("GET", "/object_info/{node_class}", get_class),
]
