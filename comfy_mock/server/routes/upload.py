"""Bringing files (protocol 2.5)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.uploads import upload_image, upload_mask
from comfy_mock.server.http import Endpoint, HttpRequest


def post_image(engine: Engine, request: HttpRequest) -> Answer:
    return upload_image(engine.files, engine.folders, request.form(), now=engine.now)


def post_mask(engine: Engine, request: HttpRequest) -> Answer:
    return upload_mask(engine.files, engine.folders, request.form(), now=engine.now)


ENDPOINTS = [
    Endpoint("POST", "/upload/image", post_image),
    Endpoint("POST", "/upload/mask", post_mask),
]
