"""Prompts, the queue, the history and interruption (protocol 2.2, 3, 4)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.server.http import Endpoint, HttpRequest, MalformedJson


def get_prompt(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer({"exec_info": {"queue_remaining": engine.queue_remaining}})


def post_prompt(engine: Engine, request: HttpRequest) -> Answer:
    return engine.submit(request.json(), usage_source=request.headers.get("comfy-usage-source"))


def get_queue(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(engine.queue.shown())


def post_queue(engine: Engine, request: HttpRequest) -> Answer:
    return engine.edit_queue(request.json())


def get_history(engine: Engine, request: HttpRequest) -> Answer:
    try:
        max_items = int(request.query["max_items"]) if "max_items" in request.query else None
        offset = int(request.query.get("offset", "-1"))
    except ValueError as problem:
        raise ServerTrouble(f"max_items and offset are integers: {problem}") from problem
    return json_answer(engine.queue.shown_history(max_items, offset))


def get_history_entry(engine: Engine, request: HttpRequest) -> Answer:
    prompt_id = request.path_params["prompt_id"]
    entry = engine.queue.history.get(prompt_id)
    return json_answer({} if entry is None else {prompt_id: entry})


def post_history(engine: Engine, request: HttpRequest) -> Answer:
    return engine.edit_history(request.json())


def post_interrupt(engine: Engine, request: HttpRequest) -> Answer:
    try:
        body = request.json()
    except MalformedJson:
        body = {}
    if not isinstance(body, dict):
        raise ServerTrouble("the body is no object")
    engine.interrupt(body.get("prompt_id"))
    return empty()


def post_free(engine: Engine, request: HttpRequest) -> Answer:
    return engine.free(request.json())


ENDPOINTS = [
    Endpoint("GET", "/prompt", get_prompt),
    Endpoint("POST", "/prompt", post_prompt),
    Endpoint("GET", "/queue", get_queue),
    Endpoint("POST", "/queue", post_queue),
    Endpoint("GET", "/history", get_history),
    Endpoint("POST", "/history", post_history),
    Endpoint("GET", "/history/{prompt_id}", get_history_entry),
    Endpoint("POST", "/interrupt", post_interrupt),
    Endpoint("POST", "/free", post_free),
]
