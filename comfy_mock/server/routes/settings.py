"""A user's settings (protocol 2.6)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, empty, json_answer, text_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.user_settings import UserSettings
from comfy_mock.engine.users import HEADER, UnknownUser
from comfy_mock.server.http import Endpoint, Handler, HttpRequest


def _of_user(engine: Engine, request: HttpRequest) -> UserSettings:
    user = engine.users.identify(request.headers.get(HEADER))
    return UserSettings(engine.files, engine.users, user, now=engine.now)


def _for_known_users(handler: Handler) -> Handler:
    """Unlike the other routes that need a user, these refuse an unknown one properly."""

    def guarded(engine: Engine, request: HttpRequest) -> Answer:
        try:
            return handler(engine, request)
        except UnknownUser:
            return text_answer("401: Unauthorized", 401, from_exception=True)

    return guarded


@_for_known_users
def get_settings(engine: Engine, request: HttpRequest) -> Answer:
    return json_answer(_of_user(engine, request).all())


@_for_known_users
def get_setting(engine: Engine, request: HttpRequest) -> Answer:
    return json_answer(_of_user(engine, request).get(request.path_params["id"]))


@_for_known_users
def post_settings(engine: Engine, request: HttpRequest) -> Answer:
    _of_user(engine, request).merge(request.json())
    return empty()


@_for_known_users
def post_setting(engine: Engine, request: HttpRequest) -> Answer:
    _of_user(engine, request).set(request.path_params["id"], request.json())
    return empty()


ENDPOINTS = [
    Endpoint("GET", "/settings", get_settings),
    Endpoint("GET", "/settings/{id}", get_setting),
    Endpoint("POST", "/settings", post_settings),
    Endpoint("POST", "/settings/{id}", post_setting),
]
