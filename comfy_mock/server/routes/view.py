"""Looking at files (protocol 2.4)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.view import view
from comfy_mock.server.http import Endpoint, HttpRequest


def get_view(engine: Engine, request: HttpRequest) -> Answer:
    return view(engine.files, engine.folders, request.query, request.headers)


ENDPOINTS = [Endpoint("GET", "/view", get_view, slow=True)]
