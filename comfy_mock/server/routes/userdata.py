"""The files that the frontend keeps for a user (protocol 2.6)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.userdata import UserData
from comfy_mock.engine.users import HEADER
from comfy_mock.server.http import Endpoint, HttpRequest


def _of_user(engine: Engine, request: HttpRequest) -> UserData:
    header = request.headers.get(HEADER)
    return UserData(engine.files, engine.users, header=header, query=request.query, now=engine.now)


def get_listing(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).listing()


def get_tree(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).tree()


def get_file(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).read(request.path_params["file"], request.headers)


def post_file(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).write(request.path_params["file"], request.body)


def delete_file(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).delete(request.path_params["file"])


def post_move(engine: Engine, request: HttpRequest) -> Answer:
    return _of_user(engine, request).move(request.path_params["file"], request.path_params["dest"])


ENDPOINTS = [
    Endpoint("GET", "/userdata", get_listing),
    Endpoint("GET", "/v2/userdata", get_tree),
    Endpoint("GET", "/userdata/{file}", get_file),
    Endpoint("POST", "/userdata/{file}", post_file),
    Endpoint("DELETE", "/userdata/{file}", delete_file),
    Endpoint("POST", "/userdata/{file}/move/{dest}", post_move, reads_body=False),
]
