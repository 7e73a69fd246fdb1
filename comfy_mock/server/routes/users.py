"""The users of the server (protocol 2.6)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.engine import Engine
from comfy_mock.server.http import Endpoint, HttpRequest


def get_users(engine: Engine, _request: HttpRequest) -> Answer:
    return engine.users.overview()


def post_users(engine: Engine, request: HttpRequest) -> Answer:
    return engine.users.add(request.json(), mint_id=engine.mint_uuid, now=engine.now)


ENDPOINTS = [
    Endpoint("GET", "/users", get_users),
    Endpoint("POST", "/users", post_users),
]
